"""The deep Boltzmann machine on real digits, 8 x 8."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from genlearn.models.dbm import DBM

ORDER = np.random.default_rng(0).permutation(1797)
SMALL = {
    "hidden": (100, 50),
    "pretrain_epochs": 10,
    "epochs": 25,
    "batch_size": 50,
    "learning_rate": "linear(0.05, 0, over=35000)",
    "n_gibbs": 50,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def split(digits) -> tuple[np.ndarray, np.ndarray]:
    """Digits of black and white pixels: 1,400 to learn from, 397 held out."""
    x = (digits > 0.5).astype(np.float32)[ORDER]
    return x[:1400], x[1400:]


@pytest.fixture(scope="module")
def fitted(split) -> DBM:
    return DBM(**SMALL).fit(split[0])


def test_the_bound_beats_independent_pixels_and_pretraining(split):
    """log Z is exact: 16 units in the first layer."""
    train, test = split
    p = train.mean(0).clip(0.01, 0.99)
    floor = (test * np.log(p) + (1 - test) * np.log(1 - p)).sum(1).mean()
    small = SMALL | {"hidden": (16, 30)}
    pretrained, joint = (DBM(**small | {"epochs": n}).fit(train) for n in (1e-9, 25))
    scores = [model.log_likelihoods(test)["bound"].values.mean().item() for model in (pretrained, joint)]
    print(f"independent pixels {floor:.2f}, pretrained {scores[0]:.2f}, all layers {scores[1]:.2f} nats")
    assert scores[1] > floor + 3
    assert scores[1] > scores[0] + 0.5
    assert joint.score(test) == pytest.approx(scores[1], abs=1e-3)
    assert joint.score_kind() == "lower bound"


def test_completion_beats_the_mean_image(split, fitted):
    """The mean of ten draws; one draw has the variance of the pixels beside their error."""
    train, test = split
    known = np.arange(64) < 32
    draws = [fitted.complete(test, known, random_state=seed) for seed in range(10)]
    assert np.array_equal(draws[0][:, known], test[:, known])
    error = np.square(np.mean(draws, 0) - test)[:, ~known].mean()
    mean = np.square(train.mean(0) - test)[:, ~known].mean()
    print(f"squared error {error:.4f}, of the mean image {mean:.4f}")
    assert error < 0.9 * mean


def test_samples_have_the_means_and_correlations_of_digits(split, fitted):
    samples = fitted.sample(500, random_state=0) > np.random.default_rng(0).random((500, 64))
    train = split[0]
    assert np.abs(samples.mean(0) - train.mean(0)).mean() < 0.05
    varied = train.var(0) > 0.05
    c, d = (np.corrcoef(x[:, varied].T)[np.triu_indices(varied.sum(), 1)] for x in (samples, train))
    print(f"correlation of the correlations {np.corrcoef(c, d)[0, 1]:.3f}")
    assert np.corrcoef(c, d)[0, 1] > 0.8


def test_fine_tuned_error(digits):
    """A quarter of the labels is unknown."""
    x, y = digits[ORDER], load_digits().target[ORDER]
    given = np.where(np.arange(1400) % 4 == 3, -1, y[:1400])
    tuned = {"epochs": 10, "fine_tune": 25, "fine_tune_rate": "linear(0.01, 0, over=26000)", "dropout": 0.3}
    model = DBM(**SMALL | tuned).fit(x[:1400], given)
    twin = DBM(**SMALL | {"epochs": 10}).fit(x[:1400])
    accuracy = (model.predict(x[1400:]) == y[1400:]).mean()
    print(f"accuracy {accuracy:.3f}")
    assert accuracy > 0.93
    # back-propagation leaves the machine as it was
    assert torch.equal(model.nets_.dbm.W[0], twin.nets_.dbm.W[0])
    assert not hasattr(twin, "predict")
