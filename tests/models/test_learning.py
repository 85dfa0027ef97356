"""Every model learns something far from chance in seconds: 8x8 digits and points in the plane."""

from __future__ import annotations

import numpy as np
import pytest

from genlearn.data import load
from genlearn.data import modes as modes_of
from genlearn.models.gan import GAN
from genlearn.models.rbm import RBM
from genlearn.models.vae import VAE


@pytest.fixture(scope="module")
def split(digits) -> tuple[np.ndarray, np.ndarray]:
    return digits[:1400], digits[1400:]


def independent_pixels(train: np.ndarray, test: np.ndarray) -> float:
    """The floor: log-likelihood of binarised pixels under their means, in nats per image."""
    p = train.mean(0).clip(0.01, 0.99)
    return float((test * np.log(p) + (1 - test) * np.log(1 - p)).sum(1).mean())


def test_rbm_beats_independent_pixels_exactly(split):
    train, test = ((x > 0.5).astype(np.float32) for x in split)
    model = RBM(n_hidden=20, epochs=40, learning_rate="linear(0.2, 0, over=56000)", random_state=0).fit(train)
    likelihood = model.log_likelihoods(test)["exact"]
    assert likelihood.values.mean().item() > independent_pixels(train, test) + 3


def test_rbm_ais_agrees_with_enumeration(split):
    """The interval of AIS covers the exact value on a machine trained on digits."""
    from genlearn.maths.ais import ais, schedule
    from genlearn.maths.rng import make_rng

    model = RBM(n_hidden=16, epochs=20, random_state=0).fit(split[0])
    net = model.nets_.rbm
    exact = net.log_partition(schedule(2)).value
    got = ais(net.W, net.a, net.b, a_base=net.a_base, betas=schedule(1000), n_chains=100, rng=make_rng(1))
    assert abs(got.log_z - exact) < 0.1
    assert got.lower <= exact <= got.upper


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_vae_beats_independent_pixels(split, network):
    train, test = (x.reshape(-1, 8, 8) for x in split)
    model = VAE(network=network, hidden=(100,), width=16, n_latent=10, epochs=60, learning_rate=3e-3, random_state=0)
    bounds = model.fit(train).log_likelihoods(test)
    elbo, iwae = (bounds[name].values.mean().item() for name in ("ELBO", "IWAE-50"))
    assert iwae > elbo > independent_pixels(*split) + 3
    error = np.square(model.inverse_transform(model.transform(test)) - test).mean()
    assert error < 0.5 * np.square(train.mean(0) - test).mean()


def test_gaussian_vae_and_rbm_learn_the_scale_of_real_numbers(split):
    train, test = (10 * x - 3 for x in split)

    def floor(sd: np.ndarray) -> float:
        """Independent Gaussian pixels with these standard deviations."""
        z = (test - train.mean(0)) / sd
        return float((-0.5 * np.square(z) - np.log(sd * np.sqrt(2 * np.pi))).sum(1).mean())

    vae = VAE(likelihood="gaussian", n_latent=8, epochs=40, random_state=0).fit(train)
    rbm = RBM(visible="gaussian", n_hidden=16, epochs=30, learning_rate=0.01, random_state=0).fit(train)
    assert vae.score(test) > floor(np.full(64, np.sqrt(train.var(0).mean()))) + 10
    assert rbm.score_kind() == "exact"
    assert rbm.score(test) > floor(rbm.nets_.rbm.sigma.numpy()) + 5
    assert abs(vae.sample(500, random_state=0).mean() - train.mean()) < 1


def test_gan_covers_two_modes():
    data = load("gaussians", n=5000)
    centres, sd = modes_of("gaussians")
    model = GAN(
        output="linear", n_latent=2, hidden=(64, 64), hidden_d=(64, 64), dropout_d=0.0, penalty="r1(0.1)", epochs=40,
        learning_rate=1e-3, ema=20_000, random_state=0,
    ).fit(data)  # fmt: skip
    points = model.sample(1000, random_state=0)
    distance = np.linalg.norm(points[:, None] - centres[None], axis=2)
    share = np.bincount(distance.argmin(1), minlength=len(centres)) / len(points)
    assert share.min() > 0.25
    assert (distance.min(1) < 4 * sd).mean() > 0.8


def test_gan_preset_and_its_changes():
    model = GAN.from_preset("goodfellow-2014", epochs=1)
    assert (model.order, model.network, model.epochs) == ("simultaneous", "maxout", 1)
    with pytest.raises(ValueError, match="did you mean 'goodfellow-2014'"):
        GAN.from_preset("goodfelow-2014")
