"""What autoencoders reach on real MNIST in minutes on two cores (make test-all)."""

from __future__ import annotations

from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from genlearn.data import load
from genlearn.losses import cross_entropy
from genlearn.maths import squared_jacobian_norm
from genlearn.maths.rng import make_rng
from genlearn.models.autoencoder import Autoencoder
from genlearn.models.contractive import ContractiveAutoencoder
from genlearn.models.denoising import DenoisingAutoencoder
from genlearn.models.gsn import GSN
from genlearn.models.layers import climb

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("real_mnist"), pytest.mark.timeout(3000)]


@pytest.fixture(scope="module")
def mnist():
    return load("mnist")


def test_thirty_codes_from_a_stack_of_rbms(mnist):
    """Squared error of a test image: 13.87 for principal components; published after full training 3.00."""
    model = Autoencoder.from_preset("hinton-2006", epochs=20, random_state=0)
    model.fit(mnist)
    x = mnist.test.x.numpy()
    errors = np.square(model.inverse_transform(model.transform(x)) / 255.0 - x / 255.0).sum((1, 2, 3))
    print(f"squared error of a test image from 30 codes: {errors.mean():.3f} +- {errors.std() / 100:.3f}")
    assert errors.mean() < 4.3


def test_features_of_contracted_and_of_masked_images(mnist):
    """Logistic regression on the codes, its C chosen by validation images: less than 3 % of the test images wrong.

    Without the penalty the same net reconstructs better after one epoch, and its codes move more with the image.
    """

    def error(model):
        parts = [model.transform(part.x.numpy()) for part in (mnist.train, mnist.valid, mnist.test)]
        mean, sd = parts[0].mean(0), parts[0].std(0) + 1e-3
        train, valid, test = ((part - mean) / sd for part in parts)
        fits = [LogisticRegression(C=C, max_iter=200).fit(train, mnist.train.y.numpy()) for C in (0.01, 0.1)]
        best = max(fits, key=lambda fit: fit.score(valid, mnist.valid.y.numpy()))
        return 1 - best.score(test, mnist.test.y.numpy())

    def squares(model):
        x = mnist.test.x.numpy()
        return np.square(model.inverse_transform(model.transform(x)) / 255.0 - x / 255.0).sum((1, 2, 3)).mean()

    def jacobian(model):
        x = mnist.test.x[:500].flatten(1) / 255
        return squared_jacobian_norm(partial(climb, model.nets_.layers), x).mean().item()

    options = {"hidden": (), "n_latent": 1000, "n_codes": 100, "random_state": 0}
    contracted = ContractiveAutoencoder(epochs=6, **options).fit(mnist)
    free = ContractiveAutoencoder(contraction=0.0, epochs=1, **options).fit(mnist)
    masked = DenoisingAutoencoder(
        hidden=(1000,), n_latent=1000, noise="masking", level=0.3, density="gaussian", epochs=10,
        learning_rate="linear(1e-3, 0, over=budget)", random_state=0,
    ).fit(mnist)  # fmt: skip
    for name, model in {"contractive": contracted, "without the penalty": free}.items():
        print(f"{name}: squared error {squares(model):.2f}, squared norm of the Jacobian {jacobian(model):.0f}")
    errors = error(contracted), error(masked)
    print(f"errors: contractive {errors[0]:.2%}, denoising {errors[1]:.2%}")
    assert max(errors) < 0.03
    assert squares(free) < squares(contracted)
    assert jacobian(contracted) < jacobian(free) / 2


def test_a_generative_stochastic_network(mnist):
    """500 units, 5 epochs: cross-entropy of a pixel (the mean image: .2625), and the digits that its chain draws."""
    model = GSN(epochs=5, random_state=0).fit(mnist)
    x = mnist.test.x.flatten(1) / 255
    with torch.no_grad():
        steps = islice(model._states(model.nets_, x, make_rng(0)), model.walkback)
        costs = [cross_entropy(x, logits).mean().item() / 784 for _, logits in steps]
    train = mnist.train.x[:20_000].flatten(1).numpy(), mnist.train.y[:20_000].numpy()
    drawn = KNeighborsClassifier(1).fit(*train).predict(model.sample(1000, random_state=0).reshape(1000, -1))
    classes = np.bincount(drawn, minlength=10)
    print(f"cross-entropy of a pixel by step of walkback: {np.round(costs, 3)}; digits of 1,000 samples: {classes}")
    assert costs[0] < 0.17
    assert np.mean(costs) < 0.2
    assert (classes > 0).sum() >= 9
