"""The evaluation as a whole: what is possible is scored, what is asked for and impossible is an error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genlearn._types import Likelihood
from genlearn.metrics import METRICS, evaluate, independent_pixels, likelihood, nearest, parzen


@pytest.fixture
def parts(digits):
    return {"train": digits[:900], "valid": digits[900:1200], "test": digits[1200:]}


def bounds(x: np.ndarray, seed: int) -> dict[str, Likelihood]:
    values = torch.arange(len(x), dtype=torch.float32)
    return {"ELBO": Likelihood(values - 1000, "lower bound"), "AIS": Likelihood(values, "estimate", (-1.0, 2.0))}


def test_every_possible_metric_is_scored_once_on_all_test_images(parts, digits):
    asked = []

    def sample(n: int, seed: int) -> np.ndarray:
        asked.append(n)
        return digits[:n]

    results = {r.name: r for r in evaluate(**parts, sample=sample, likelihoods=bounds, n_samples=500)}
    assert list(results) == ["log-likelihood (ELBO)", "log-likelihood (AIS)", "parzen", "nearest"]
    assert asked == [500]
    assert results["log-likelihood (ELBO)"].value == pytest.approx(596 / 2 - 1000)
    assert results["log-likelihood (ELBO)"].kind == "lower bound"
    assert results["log-likelihood (AIS)"].details["shift"] == [-1, 2]
    assert "The interval includes [-2.00, +1.00] nats" in results["log-likelihood (AIS)"].notes[0]
    assert results["parzen"].n == 597
    assert results["parzen"].details["n_samples"] == 500
    assert set(results["parzen"].floor) == {"mean image"}
    assert results["nearest"].value == 0


def test_what_is_not_possible_is_left_out_unless_asked_for(parts):
    names = [r.name for r in evaluate(**parts, sample=None, likelihoods=bounds)]
    assert names == ["log-likelihood (ELBO)", "log-likelihood (AIS)"]
    with pytest.raises(ValueError, match="metric 'parzen' is not possible here: there is no sample"):
        evaluate(**parts, sample=None, likelihoods=bounds, metrics=["parzen"])
    assert evaluate(**parts, sample=None, likelihoods=None) == []
    parts["valid"] = parts["valid"][:0]
    with pytest.raises(ValueError, match="metric 'parzen' is not possible here: there is no valid"):
        evaluate(**parts, sample=lambda n, seed: parts["train"], likelihoods=None, metrics=["parzen"])


def test_metrics_come_in_the_order_asked(parts):
    results = evaluate(
        **parts,
        sample=lambda n, seed: parts["train"][:n],
        likelihoods=None,
        metrics=["nearest", "parzen"],
        n_samples=50,
    )
    assert [r.name for r in results] == ["nearest", "parzen"]


def test_an_unknown_metric_is_named_with_the_nearest(parts):
    with pytest.raises(ValueError, match="unknown metric 'parsen': did you mean 'parzen'"):
        evaluate(**parts, sample=None, likelihoods=None, metrics=["parsen"])
    with pytest.raises(ValueError, match=f"expected one of {', '.join(METRICS)}"):
        evaluate(**parts, sample=None, likelihoods=None, metrics=["zzz"])


def test_every_metric_reads_its_own_part(parts, digits):
    """By values worked out from the parts: floor and reference on train, sigma on validation, scores on test."""
    parts["train"], parts["valid"] = parts["train"] * 0.5, 1 - parts["valid"]
    values = torch.arange(597.0)
    likelihoods = {
        "B": Likelihood(values, "exact", notes=("to know",)),
        "G": Likelihood(values, "estimate", law="gaussian"),
    }
    samples = digits[:100]
    binary, gaussian, windows, near = evaluate(
        **parts, sample=lambda n, seed: samples, likelihoods=lambda x, seed: likelihoods if x is parts["test"] else {}
    )
    assert binary.floor == independent_pixels(parts["train"], parts["test"], "binary")
    assert gaussian.floor == independent_pixels(parts["train"], parts["test"], "gaussian")
    assert (binary.kind, binary.notes, gaussian.kind, gaussian.notes) == ("exact", ("to know",), "estimate", ())
    alone = parzen(samples, parts["valid"], parts["test"])
    assert (windows.value, windows.details) == (alone.value, alone.details)
    assert windows.floor["mean image"] == pytest.approx(
        parzen(parts["train"].mean(0, keepdims=True), parts["valid"], parts["test"]).value, rel=1e-6
    )
    assert near.details["median_sample"] == float(nearest(samples, parts["train"])[0].median())
    assert near.details["median_held_out"] == float(nearest(parts["test"], parts["train"])[0].median())


def test_labels_are_held_against_those_of_test_and_the_floor_is_of_train(parts):
    y, y_train = np.arange(597) % 3, np.ones(900, int)
    (error,) = evaluate(
        **parts, sample=None, likelihoods=None, labels=(y_train, y),
        predict=lambda x: np.zeros(len(x)) if x is parts["test"] else y,
    )  # fmt: skip
    assert (error.value, error.n) == (pytest.approx(200 / 3), 597)
    assert error.floor["most frequent label"] == pytest.approx(200 / 3)
    assert error.details["wrong"] == 398
    constant = evaluate(
        **parts, sample=None, likelihoods=None, labels=(y_train, 0 * y), predict=lambda x: np.zeros(len(x))
    )[0]
    assert (constant.value, constant.floor["most frequent label"]) == (0, 100)


def run(parts, seed: int) -> tuple[list[int], list]:
    """The seeds that a model is handed, and the scores."""
    handed = []

    def sample(n: int, seed: int) -> np.ndarray:
        handed.append(seed)
        return np.random.default_rng(seed).permutation(parts["train"])[:n] ** 2

    def likelihoods(x: np.ndarray, seed: int) -> dict[str, Likelihood]:
        handed.append(seed)
        return bounds(x, seed)

    return handed, evaluate(**parts, sample=sample, likelihoods=likelihoods, n_samples=100, seed=seed)


def test_one_seed_gives_one_result_and_another_one_another(parts):
    (handed, results), (again, same), (others, different) = run(parts, 3), run(parts, 3), run(parts, 4)
    assert results == same
    assert handed == again
    assert len({*handed, *others, 3, 4}) == 6  # samples, likelihoods and the seed itself: no two the same
    assert all(0 <= seed < 2**32 for seed in handed + others)
    for a, b in zip(results, different, strict=True):
        assert a.interval != b.interval
    assert results[2].value != different[2].value


def test_the_metrics_own_choices_follow_the_seed_too(parts, monkeypatch):
    """The bootstrap's draws and the real images of the ceiling, each where everything else is the same."""
    monkeypatch.setattr(likelihood, "N_CENTRES", 50)
    samples = parts["train"][:100] ** 2
    a, again, b = (
        evaluate(**parts, sample=lambda n, seed: samples, likelihoods=bounds, seed=seed) for seed in (0, 0, 1)
    )  # fmt: skip
    assert a == again
    for one, other in zip(a, b, strict=True):
        assert one.value == other.value
        assert one.interval != other.interval
    assert a[2].ceiling != b[2].ceiling
    assert a[2].floor == b[2].floor
