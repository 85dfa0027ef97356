"""Autoencoders against principal components, and against what their parameters say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from genlearn.data import load
from genlearn.hooks import bottleneck
from genlearn.losses.reconstruction import RECONSTRUCTIONS
from genlearn.maths.rng import make_rng
from genlearn.metrics import evaluate
from genlearn.models.autoencoder import Autoencoder
from genlearn.nets import MLP, TiedDecoder

LINEAR = {"hidden": (), "loss": "mse", "precision": "float64", "optimizer": "adam", "device": "cpu", "random_state": 0}


def principal(X: np.ndarray, k: int) -> tuple[np.ndarray, float]:
    """The first k principal directions [d, k], and the mean squared error of an image that they leave."""
    centred = X - X.mean(0)
    _, s, v = np.linalg.svd(centred, full_matrices=False)
    return v[:k].T, float((s[k:] ** 2).sum() / len(X))


def spectrum(n: int = 400, d: int = 12) -> np.ndarray:
    """Rows [n, d] off the origin whose variances fall by half from direction to direction."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return rng.normal(size=(n, d)) * 2.0 ** (-np.arange(d) / 2) @ turn + rng.normal(size=d)


@pytest.mark.parametrize("tied", [False, True])
def test_a_linear_autoencoder_is_principal_components(tied):
    X, k = spectrum(), 3
    directions, least = principal(X, k)
    rate = "linear(0.05, 0, over=800000)"
    model = Autoencoder(n_latent=k, tied=tied, epochs=2000, batch_size=400, learning_rate=rate, **LINEAR).fit(X)
    error = np.square(model.inverse_transform(model.transform(X)) - X).sum(1).mean()
    assert least * (1 - 1e-12) <= error < least * (1 + 1e-3)
    parts = {"train": X, "valid": X, "test": X, "sample": None, "likelihoods": None}
    (score,) = evaluate(**parts, bottleneck=bottleneck(model))
    assert score.value == pytest.approx(error)
    assert score.floor["3 principal components"] == pytest.approx(least)
    images = model.inverse_transform(np.concatenate([np.zeros((1, k)), np.eye(k)]))
    span = (images[1:] - images[0]).T
    assert np.rad2deg(subspace_angles(span, directions)).max() < 0.1


@pytest.mark.slow
@pytest.mark.usefixtures("real_mnist")
def test_thirty_linear_codes_of_mnist():
    """13.87 for 30 principal components on test images (Hinton and Salakhutdinov 2006)."""
    data, n = load("mnist"), 54_000
    train, test = (part.x.flatten(1).double().numpy() / 255 for part in (data.train, data.test))
    directions, _ = principal(train, 30)
    centred = test - train.mean(0)
    pca = np.square(centred - centred @ directions @ directions.T).sum(1).mean()
    options = LINEAR | {"precision": "float32"}
    model = Autoencoder(n_latent=30, epochs=20, learning_rate=f"linear(2e-3, 0, over={20 * n})", **options).fit(train)
    error = np.square(model.inverse_transform(model.transform(test)) - test).sum(1).mean()
    print(f"squared error of a test image: linear autoencoder {error:.3f}, principal components {pca:.3f}")
    assert abs(error - 13.87) < 0.2
    assert abs(error - pca) < 0.1


def test_what_a_reconstruction_costs():
    x, out = torch.rand(5, 2, 3, generator=make_rng(0)).double(), torch.randn(5, 2, 3, generator=make_rng(1)).double()
    p = out.sigmoid()
    expected = {
        "bce": -(x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2)),
        "mse": (x - out).square().sum((1, 2)),
        "rmse": (x - out).square().mean((1, 2)).sqrt() * math.sqrt(6),
    }
    for name, value in expected.items():
        torch.testing.assert_close(RECONSTRUCTIONS[name](x, out), value)
    out.requires_grad_()
    assert torch.isfinite(torch.autograd.grad(RECONSTRUCTIONS["rmse"](out.detach(), out).sum(), out)[0]).all()


@pytest.mark.parametrize("sizes", [(6, 2), (6, 5, 4, 2)])
def test_a_tied_decoder_has_the_weights_of_the_encoder(sizes):
    encoder, decoder = MLP(sizes, "tanh").double(), TiedDecoder(sizes[::-1], "tanh").double()
    rng = make_rng(0)
    with torch.no_grad():
        for p in (*encoder.parameters(), *decoder.parameters()):
            p.normal_(generator=rng)
    h = z = torch.randn(3, 2, generator=rng).double()
    weights = [p for p in encoder.parameters() if p.ndim == 2][::-1]
    for i, (w, b) in enumerate(zip(weights, decoder.biases, strict=True)):
        h = (h.tanh() if i else h) @ w + b
    torch.testing.assert_close(decoder(z, encoder), h)
    torch.testing.assert_close(decoder(z, encoder, rng), h)  # no dropout unless asked for
    assert {p.ndim for p in decoder.parameters()} == {1}


@pytest.mark.parametrize("loss", ["bce", "mse"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_first_images_are_about_the_mean_of_the_data(loss, tied, digits):
    X = digits.astype(np.float64)
    rate = {"learning_rate": 1e-9, "epochs": 1, "hidden": (), "precision": "float64", "random_state": 0}
    model = Autoencoder(loss=loss, tied=tied, **rate).fit(X)
    first = model.inverse_transform(np.zeros((1, 30)))
    expected = X.mean(0).clip(0.01, 0.99) if loss == "bce" else X.mean(0)
    assert np.abs(first - expected).max() < 1e-6


@pytest.mark.parametrize("density", ["gaussian", "mixture", "jitter"])
def test_the_density_is_that_of_the_training_codes(density, digits, tmp_path):
    """Of the averaged nets and of the raw ones each their own; the same after a file."""
    few = {"hidden": (16,), "n_latent": 3, "n_components": 2, "n_codes": 50}
    model = Autoencoder(density=density, **few, ema=2000.0, epochs=3, random_state=0).fit(digits)
    twin = Autoencoder.load(model.save(tmp_path))
    for nets, theirs in ((model.nets_, twin.nets_), (model.averaged_nets_, twin.averaged_nets_)):
        law = model._prior()
        law.fit(torch.from_numpy(model.transform(digits, nets=nets)))
        assert nets.prior.fitted
        for name, value in law.state_dict().items():
            torch.testing.assert_close(nets.prior.state_dict()[name], value, msg=name)
            assert torch.equal(nets.prior.state_dict()[name], theirs.prior.state_dict()[name])
    assert not torch.equal(model.nets_.prior.mean, model.averaged_nets_.prior.mean)
    assert np.array_equal(model.sample(5, random_state=1), twin.sample(5, random_state=1))


def test_what_does_not_go_together_is_refused_in_one_line(digits):
    sigmoid = {"pretrain": True, "activation": "sigmoid"}
    for options in (
        {"pretrain": True},
        {**sigmoid, "network": "conv"},
        {**sigmoid, "loss": "mse"},
        {"tied": True, "network": "conv"},
        {"dropout": 0.5, "network": "conv"},
    ):
        with pytest.raises(ValueError, match="the usual fix is") as error:
            Autoencoder(**options).fit(digits)
        assert "\n" not in str(error.value)
