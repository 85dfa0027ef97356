"""Labels on both sides of the conditional VAE; the bound without them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from genlearn._types import Batch
from genlearn.maths.rng import make_rng, normal
from genlearn.models.conditional_vae import ConditionalVAE
from genlearn.models.vae import VAE

SMALL = {"n_latent": 2, "random_state": 0}


def blocks(n: int = 600, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Images of 8 x 8 whose bright quarter is their class; every seventh label is unknown."""
    y = np.arange(n) % 4
    x = np.random.default_rng(0).uniform(0, 0.2, (n, channels, 8, 8))
    for i, (row, column) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
        x[y == i, :, row : row + 4, column : column + 4] += 0.8
    return x.astype(np.float32), np.where(np.arange(n) % 7 == 0, -1, y)


def brightest(x: np.ndarray) -> np.ndarray:
    quarters = x.mean(1).reshape(-1, 2, 4, 2, 4).mean((2, 4))
    return quarters.reshape(-1, 4).argmax(1)


@pytest.mark.parametrize("channels", [1, 3])  # fully connected; convolutions and a Gaussian law
def test_a_class_is_drawn_and_recognised(channels):
    x, y = blocks(channels=channels)
    model = ConditionalVAE(hidden=(32,), width=8, learning_rate=1e-2, epochs=60, **SMALL).fit(x, y)
    asked = np.arange(80) % 4
    assert (brightest(model.sample(80, y=asked, random_state=0)) == asked).mean() > 0.95
    fresh, classes = blocks(100, channels)
    truth = np.where(classes < 0, np.arange(100) % 4, classes)
    assert (model.predict(fresh) == truth).mean() > 0.95
    assert np.array_equal(model.sample(y=asked, random_state=0), model.sample(80, y=asked, random_state=0))
    assert model.sample(y=2).shape == model.sample().shape == (1, channels, 8, 8)
    drawn = brightest(model.sample(400, random_state=1))
    assert np.abs(np.bincount(drawn, minlength=4) / 400 - 0.25).max() < 0.1
    codes = model.transform(fresh)
    assert codes.shape == (100, 6)
    assert np.array_equal(codes[:, 2:].argmax(1), model.predict(fresh))


def test_images_without_a_label_are_left_out_and_labels_are_needed(monkeypatch):
    seen, loss = set(), ConditionalVAE._loss
    monkeypatch.setattr(ConditionalVAE, "_loss", lambda self, n, b, r: seen.update(b.y.tolist()) or loss(self, n, b, r))
    x, y = blocks()
    ConditionalVAE(hidden=(4,), epochs=1, **SMALL).fit(x, y)
    assert seen == {0, 1, 2, 3}
    with pytest.raises(ValueError, match="requires y to be passed"):
        ConditionalVAE(epochs=1).fit(x)


def test_both_nets_are_told_the_class_and_the_label_is_summed_out():
    """The loss of a class is that of a plain VAE which sees [x, y] and decodes [z, y]; the score is the sum's log."""
    x, y = blocks(60)
    model = ConditionalVAE(hidden=(5,), epochs=1, precision="float64", binarize=False, **SMALL).fit(x, y)
    nets, rows = model.nets_, torch.from_numpy(x[:6]).double()
    label = torch.tensor([2, 0, 3, 3, 1, 0])
    one_hot = torch.eye(4, dtype=torch.float64)[label]
    loss, logs = model._loss(nets, Batch(rows, label), make_rng(0))
    mean, log_var = nets.encoder(torch.cat([rows.flatten(1), one_hot], 1)).chunk(2, 1)
    z = mean + (0.5 * log_var).exp() * normal((6, 1, 2), make_rng(0), torch.float64)[:, 0]
    out = nets.decoder(torch.cat([z, one_hot], 1)) + nets.pixels.bias
    cost = torch.nn.functional.binary_cross_entropy_with_logits(out, rows.flatten(1), reduction="none").sum(1).mean()
    assert logs["reconstruction"].item() == pytest.approx(cost.item())
    assert loss.item() == pytest.approx((cost + 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1).mean()).item())
    bits = (rows > 0.5).double()
    noise = normal((16, 1, 2), make_rng(0), torch.float64)
    by_class = [VAE._elbo(model, nets, bits, noise, torch.full((6,), k)) for k in range(4)]
    shares = np.bincount(y[y >= 0]) / (y >= 0).sum()
    expected = torch.stack([b + math.log(s) for b, s in zip(by_class, shares, strict=True)]).logsumexp(0)
    torch.testing.assert_close(model._scorer(nets)(bits), expected)
    torch.testing.assert_close(model._classify(nets, bits).exp().sum(1), torch.ones(6).double())


def test_convolutions_are_told_the_class_as_a_plane_of_its_own():
    x, y = blocks(28)
    model, seen = ConditionalVAE(network="conv", width=2, epochs=1, **SMALL).fit(x, y), []
    model.nets_.encoder.trunk.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    images, classes = torch.from_numpy(x[:4]), torch.tensor([2, 0, 3, 1])
    model._posterior(model.nets_, images, classes)
    planes = torch.eye(4)[classes][:, :, None, None].expand(-1, -1, 8, 8)
    assert torch.equal(seen[0], torch.cat([images, planes], 1))
