"""Denoising autoencoders: their noise, and what their residual is of data of known law."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from genlearn.maths.corruption import CORRUPTIONS
from genlearn.maths.rng import make_rng, normal
from genlearn.models.autoencoding import Autoencoding
from genlearn.models.denoising import DenoisingAutoencoder
from genlearn.train import Batch

N = 200_000


def shares(x: Tensor, noisy: Tensor) -> list[float]:
    return [float(part.double().mean()) for part in (noisy == x, noisy == 0, noisy == 1)]


def test_noise_is_what_its_name_says():
    """Of a pixel .7: its share that stays, that is 0, that is 1, within five standard errors."""
    x, rng = torch.full((N, 1), 0.7), make_rng(0)
    error = 5 * 0.5 / N**0.5
    assert shares(x, CORRUPTIONS["masking"](x, 0.3, rng)) == pytest.approx([0.7, 0.3, 0], abs=error)
    assert shares(x, CORRUPTIONS["salt-and-pepper"](x, 0.4, rng)) == pytest.approx([0.6, 0.2, 0.2], abs=error)
    noise = CORRUPTIONS["gaussian"](x, 0.5, rng) - x
    assert noise.mean().item() == pytest.approx(0, abs=0.5 * 2 * error)
    assert noise.std().item() == pytest.approx(0.5, abs=0.5 * 2 * error)
    for noise_of in CORRUPTIONS.values():
        assert torch.equal(noise_of(x[:9], 0.0, rng), x[:9])


def test_noise_hits_each_pixel_by_itself():
    x = torch.full((N, 2), 0.7)
    for name in ("masking", "salt-and-pepper"):
        hit = (CORRUPTIONS[name](x, 0.3, make_rng(1)) != 0.7).double()
        assert abs(torch.corrcoef(hit.T)[0, 1].item()) < 5 / N**0.5


@pytest.mark.parametrize("seed", [0, 1])
def test_the_residual_of_gaussian_data_is_the_score_of_their_noisy_law(seed):
    """x ~ N(m, C): E[x | x~] - x~ = -sigma^2 (C + sigma^2 I)^-1 (x~ - m), which a linear net can be (Vincent 2011)."""
    rng, sigma = np.random.default_rng(seed), 0.6
    X = rng.normal(size=(4000, 3)) @ np.array([[1.0, 0.4, 0], [0, 0.8, -0.3], [0, 0, 0.5]]) + [1, -2, 0.5]
    options = {"hidden": (), "n_latent": 3, "loss": "mse", "precision": "float64", "density": "gaussian"}
    rate = f"linear(0.02, 0, over={80 * len(X)})"
    model = DenoisingAutoencoder(
        level=sigma, epochs=80, batch_size=400, learning_rate=rate, random_state=seed, **options
    )
    model.fit(X)
    x = rng.normal(size=(50, 3)) * 1.5 + X.mean(0)
    expected = -(x - X.mean(0)) @ np.linalg.inv(np.cov(X.T, ddof=0) + sigma**2 * np.eye(3))
    got = model.smoothed_score(x)
    assert got.shape == x.shape
    assert np.abs(got - expected).max() < 0.04 * np.abs(expected).max()


def test_the_loss_is_of_clean_images_from_noisy_ones(digits):
    """With a corruption of one's own, which is known: the encoder is shown x / 2, the decoder asked for x."""
    seen = []

    def half(x, rng):
        seen.append(normal(x.shape, rng))
        return x / 2

    x = torch.from_numpy(digits[:20])
    model = DenoisingAutoencoder.from_preset("tiny", corruption=half, random_state=0)
    nets = model._fresh_nets((64,), 0)
    loss, _ = model._loss(nets, Batch(x), make_rng(0))
    z = nets.encoder(x / 2)
    assert torch.allclose(loss, torch.nn.functional.binary_cross_entropy_with_logits(nets.decoder(z), x) * 64)
    assert seen[0].shape == x.shape
    assert issubclass(DenoisingAutoencoder, Autoencoding)
    assert not hasattr(model, "smoothed_score")


def test_noisy_digits_come_out_cleaner(digits):
    """Of held-out digits: nearer to the clean ones than the noisy ones are, in the type that fit was given."""
    X = (255 * digits.reshape(-1, 8, 8)).astype(np.uint8)
    options = {"hidden": (256,), "n_latent": 64, "epochs": 40, "batch_size": 50, "random_state": 0}
    model = DenoisingAutoencoder(noise="salt-and-pepper", level=0.3, density="gaussian", **options).fit(X[:1400])
    clean = X[1400:].astype(float)
    noisy = CORRUPTIONS["salt-and-pepper"](torch.from_numpy(clean / 255), 0.3, make_rng(5)).mul(255).byte().numpy()
    out = model.denoise(noisy)
    assert out.dtype == np.uint8 and out.shape == noisy.shape
    assert np.square(out - clean).mean() < 0.3 * np.square(noisy.astype(float) - clean).mean()


def test_a_share_above_one_is_refused():
    with pytest.raises(ValueError, match="level is 2 with noise 'masking', expected a share between 0 and 1"):
        DenoisingAutoencoder(noise="masking", level=2).check_parameters()
