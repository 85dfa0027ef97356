"""The evaluation as a whole: what is possible is scored, what is asked for and impossible is an error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genlearn._types import Likelihood
from genlearn.metrics import METRICS, evaluate


@pytest.fixture
def parts(digits):
    return {"train": digits[:900], "valid": digits[900:1200], "test": digits[1200:]}


def bounds(x: np.ndarray) -> dict[str, Likelihood]:
    values = torch.arange(len(x), dtype=torch.float32)
    return {"ELBO": Likelihood(values - 1000, "lower bound"), "AIS": Likelihood(values, "estimate", (-1.0, 2.0))}


def test_every_possible_metric_is_scored_once_on_all_test_images(parts, digits):
    asked = []

    def sample(n: int) -> np.ndarray:
        asked.append(n)
        return digits[:n]

    results = {r.name: r for r in evaluate(**parts, sample=sample, likelihoods=bounds, n_samples=500)}
    assert list(results) == ["log-likelihood (ELBO)", "log-likelihood (AIS)", "parzen", "nearest"]
    assert asked == [500]
    assert results["log-likelihood (ELBO)"].value == pytest.approx(596 / 2 - 1000)
    assert results["log-likelihood (ELBO)"].kind == "lower bound"
    assert results["log-likelihood (AIS)"].details["shift"] == [-1, 2]
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
        evaluate(**parts, sample=lambda n: parts["train"], likelihoods=None, metrics=["parzen"])


def test_metrics_come_in_the_order_asked(parts):
    results = evaluate(
        **parts, sample=lambda n: parts["train"][:n], likelihoods=None, metrics=["nearest", "parzen"], n_samples=50
    )
    assert [r.name for r in results] == ["nearest", "parzen"]


def test_an_unknown_metric_is_named_with_the_nearest(parts):
    with pytest.raises(ValueError, match="unknown metric 'parsen': did you mean 'parzen'"):
        evaluate(**parts, sample=None, likelihoods=None, metrics=["parsen"])
    with pytest.raises(ValueError, match=f"expected one of {', '.join(METRICS)}"):
        evaluate(**parts, sample=None, likelihoods=None, metrics=["zzz"])


def test_the_same_seed_gives_the_same_results(parts):
    def run() -> list:
        return evaluate(**parts, sample=lambda n: parts["train"][:n], likelihoods=bounds, n_samples=100, seed=3)

    assert run() == run()
