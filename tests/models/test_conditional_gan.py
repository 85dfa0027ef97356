"""Labels on both sides of the conditional GAN."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from torch.nn.functional import one_hot

from genlearn._types import Batch
from genlearn.maths.rng import make_rng
from genlearn.models.conditional_gan import ConditionalGAN
from genlearn.train import Schedule


def blocks(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Images of 4 x 4 whose bright quarter is their class; every seventh label is unknown."""
    y = np.arange(n) % 4
    x = np.random.default_rng(0).uniform(0, 0.2, (n, 4, 4))
    for i, (row, column) in enumerate(((0, 0), (0, 2), (2, 0), (2, 2))):
        x[y == i, row : row + 2, column : column + 2] += 0.8
    return x, np.where(np.arange(n) % 7 == 0, -1, y)


def test_both_players_are_told_the_class():
    """D of the class that an image has, G of the same classes; the penalty too."""
    x, y = blocks()
    model = ConditionalGAN(hidden=(8,), hidden_d=(8,), n_latent=3, penalty="r1(1)", epochs=1, random_state=0).fit(x, y)
    nets, told = model.nets_, {"G": [], "D": []}
    nets.G.register_forward_pre_hook(lambda module, inputs: told["G"].append(inputs[0][:, 3:]))
    nets.D.register_forward_pre_hook(lambda module, inputs: told["D"].append(inputs[0][:, 16:]))
    labels = torch.tensor([2, 0, 3, 3, 1])
    label = one_hot(labels, 4).float()
    batch = Batch(torch.rand(5, 1, 4, 4), labels)
    model._loss_d(nets, batch, make_rng(0))
    assert torch.equal(told["G"][0], label)
    assert torch.equal(told["D"][0], label.repeat_interleave(2, 0))  # row beside row
    assert torch.equal(told["D"][1], label)
    told["D"].clear()
    model._loss_g(nets, batch, make_rng(0))
    assert torch.equal(told["G"][1], label) and torch.equal(told["D"][0], label)


def test_images_without_a_label_are_left_out(monkeypatch):
    seen = set()
    loss = ConditionalGAN._loss_d
    monkeypatch.setattr(
        ConditionalGAN, "_loss_d", lambda self, n, b, r: seen.update(b.y.tolist()) or loss(self, n, b, r)
    )
    ConditionalGAN(hidden=(8,), hidden_d=(8,), n_latent=3, epochs=1, random_state=0).fit(*blocks())
    assert seen == {0, 1, 2, 3}


def test_a_class_is_drawn():
    """As often as in the data if none is asked for."""
    x, y = blocks()
    keep = (y != 3) & (y != 1) | (np.arange(len(y)) < 100)
    model = ConditionalGAN(
        hidden=(32,), hidden_d=(32,), n_latent=3, learning_rate=2e-3, epochs=60, batch_size=50, random_state=0
    ).fit(x[keep], y[keep])

    def brightest(images):
        return np.stack([images[:, r : r + 2, c : c + 2].mean((1, 2)) for r in (0, 2) for c in (0, 2)], 1).argmax(1)

    asked = np.arange(80) % 4
    assert (brightest(model.sample(80, y=asked, random_state=0)) == asked).mean() > 0.95
    shares = np.bincount(brightest(model.sample(2000, random_state=1)), minlength=4) / 2000
    given = np.bincount(y[keep & (y >= 0)], minlength=4) / (y[keep] >= 0).sum()
    assert np.abs(shares - given).max() < 0.06
    codes = np.eye(4)[[2, 2]]
    assert brightest(model.inverse_transform(np.concatenate([np.zeros((2, 3)), codes], 1))).tolist() == [2, 2]


def test_labels_are_needed():
    x, _ = blocks(20)
    with pytest.raises(ValueError, match="requires y to be passed"):
        ConditionalGAN().fit(x)


@pytest.mark.slow
def test_drawn_digits_are_recognised():
    """By a classifier that never saw them."""
    digits, labels = load_digits(return_X_y=True)
    judge = SVC().fit(digits[:900], labels[:900])
    print(f"of real digits it reads {judge.score(digits[900:], labels[900:]):.3f}")
    model = ConditionalGAN(epochs=300, ema=20_000.0, n_latent=20, random_state=0).fit(digits / 16, labels)
    asked = np.arange(1000) % 10
    share = (judge.predict(16 * model.sample(1000, y=asked, random_state=0)) == asked).mean()
    print(f"of drawn ones {share:.3f}")
    assert share >= 0.95


def test_the_recipe_of_2014():
    """Two branches on each side (section 4.1): z and the class apart, then together; D's are maxout."""
    model = ConditionalGAN.from_preset("mirza-2014")
    model.border_ = ConditionalGAN(hidden=(3,), hidden_d=(3,), epochs=1).fit(*blocks(40)).border_  # four classes
    nets = model._fresh_nets((1, 28, 28), 0)
    shapes = [tuple(p.shape) for name, p in nets.G.named_parameters() if name.endswith("weight")]
    assert shapes == [(200, 100), (1000, 4), (1200, 1200), (784, 1200)]
    shapes = [tuple(p.shape) for name, p in nets.D.named_parameters() if name.endswith("weight")]
    assert shapes == [(5 * 240, 784), (5 * 50, 4), (4 * 240, 290), (1, 240)]
    schedule = Schedule.parse(model.learning_rate)
    for updates in (0, 1000, 50_000):
        assert schedule(100 * updates) == pytest.approx(0.1 / 1.00004**updates, rel=1e-4)
    assert schedule(1e9) == pytest.approx(1e-6)


def test_branches_are_two():
    with pytest.raises(ValueError, match=r"branches_d is \(5,\), expected none or two, such as 200,1000"):
        ConditionalGAN(branches_d=(5,)).fit(*blocks())
