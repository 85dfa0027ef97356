"""The general Boltzmann machine learns what visible weights are for, and real digits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from genlearn.maths.ais import schedule
from genlearn.models import bm
from genlearn.models.bm import BoltzmannMachine
from genlearn.models.rbm import RBM


def bars_and_stripes(n: int) -> np.ndarray:
    """The distinct images of n x n pixels whose rows are all equal, or whose columns are."""
    bits = np.array(list(itertools.product([0.0, 1.0], repeat=n)))
    rows = np.repeat(bits[:, :, None], n, 2)
    return np.unique(np.concatenate([rows, rows.swapaxes(1, 2)]).reshape(-1, n * n), axis=0)


@pytest.mark.parametrize("clamped", ["mean-field", "gibbs"])
def test_bars_and_stripes(clamped):
    """Exact log-likelihood: near its bound -log 14 with two hidden units, where an RBM of two is far away."""
    images = bars_and_stripes(3)
    X = np.tile(images, (20, 1))
    common = {
        "n_hidden": 2, "epochs": 150, "batch_size": 70, "learning_rate": "linear(0.3, 0, over=42000)",
        "precision": "float64", "random_state": 0,
    }  # fmt: skip
    model = BoltzmannMachine(clamped=clamped, **common).fit(X)
    assert model.score_kind() == "exact"
    best, independent = -np.log(14), -9 * np.log(2)
    assert best > model.score(images) > best - 0.3
    assert model.score(images) > RBM(**common).fit(X).score(images) + 2 > independent + 2
    seen = {tuple(x) for x in images}
    hits = np.mean([tuple(x) in seen for x in model.sample(500, random_state=0).round()])
    assert hits > 0.8


def test_neighbours_that_agree():
    """A lattice of 3 x 4 spins, whose law is known: visible weights alone can give it."""
    states = np.array(list(itertools.product([0.0, 1.0], repeat=12)))
    spins = 2 * states.reshape(-1, 3, 4) - 1
    agree = (spins[:, 1:] * spins[:, :-1]).sum((1, 2)) + (spins[:, :, 1:] * spins[:, :, :-1]).sum((1, 2))
    p = np.exp(0.4 * agree) / np.exp(0.4 * agree).sum()
    X = states[np.random.RandomState(0).choice(len(states), 3000, p=p)]
    common = {
        "n_hidden": 1, "epochs": 12, "learning_rate": "linear(0.2, 0, over=36000)", "precision": "float64",
        "random_state": 0,
    }  # fmt: skip
    model = BoltzmannMachine(**common).fit(X)
    entropy, got = -(p @ np.log(p)), p @ model.score_samples(states)
    assert got > -entropy - 0.05
    assert got > p @ RBM(**common).fit(X).score_samples(states) + 0.4
    # The weights find who is whose neighbour.
    r = model.nets_.bm.r.abs().numpy()
    i, j = np.indices((12, 12))
    near = np.abs(i // 4 - j // 4) + np.abs(i % 4 - j % 4) == 1
    assert r[near].min() > 2 * r[~near].max()


@pytest.fixture(scope="module")
def split(digits) -> tuple[np.ndarray, np.ndarray]:
    binary = (digits > 0.5).astype(np.float32)
    return binary[:1400], binary[1400:]


@pytest.fixture(scope="module")
def fitted(split) -> BoltzmannMachine:
    """20 hidden units: more than can be summed out."""
    model = BoltzmannMachine(n_hidden=20, epochs=20, learning_rate="linear(0.1, 0, over=28000)", random_state=0)
    return model.fit(split[0])


def test_digits_beat_independent_pixels(split, fitted, monkeypatch):
    train, test = split
    p = train.mean(0).clip(0.01, 0.99)
    independent = float((test * np.log(p) + (1 - test) * np.log(1 - p)).sum(1).mean())
    assert fitted.score_kind() == "pseudo"
    assert fitted.score(test) > independent + 6
    monkeypatch.setattr(bm, "schedule", lambda n: schedule(200))
    bound = fitted.log_likelihoods(test)["mean field"]
    assert bound.kind == "estimate of a bound"
    assert bound.values.mean().item() > independent + 3
    assert np.abs(fitted.sample(400, random_state=0).mean(0) - train.mean(0)).mean() < 0.05


def test_missing_pixels_are_found_better_than_by_the_mean_image(split, fitted):
    train, test = split
    known = np.arange(64) < 32
    filled = fitted.complete(test, known, random_state=0)
    assert np.array_equal(filled[:, known], test[:, known])
    error, floor = (np.square(x - test)[:, ~known].mean() for x in (filled, train.mean(0)))
    assert error < 0.9 * floor
