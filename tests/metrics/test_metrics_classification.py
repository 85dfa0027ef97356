"""The error rate against counts and Wilson's formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genlearn.metrics import error_rate, evaluate


def test_error_counts_what_is_known_and_wrong():
    y = np.array([0, 1, 2, 2, -1, -1])
    result = error_rate(np.array([0, 2, 2, 1, 0, 1]), y, np.array([2, 2, 2, 0, -1, -1, -1, -1]))
    assert (result.value, result.n, result.details["wrong"]) == (50.0, 4, 2)
    assert result.floor["most frequent label"] == 50.0
    with pytest.raises(ValueError, match="no test image has a known label"):
        error_rate([0, 1], [-1, -1], [0])


def test_the_interval_is_wilsons():
    """Its ends solve |p - wrong / n| = z sqrt(p (1 - p) / n)."""
    predicted = torch.zeros(1000, dtype=torch.long)
    y = torch.zeros(1000, dtype=torch.long)
    y[:30] = 1
    result = error_rate(predicted, y, y)
    assert result.se == pytest.approx(100 * np.sqrt(0.03 * 0.97 / 1000), rel=1e-12)
    for end in result.interval:
        p = end / 100
        assert abs(p - 0.03) == pytest.approx(1.96 * np.sqrt(p * (1 - p) / 1000), rel=1e-9)
    assert result.interval[0] < 3 < result.interval[1]


def test_the_protocol_scores_a_model_that_tells_labels():
    x = np.zeros((10, 4), np.uint8)
    y = np.arange(10) % 2
    parts = {"train": x, "valid": x, "test": x, "sample": None, "likelihoods": None}
    (result,) = evaluate(**parts, predict=lambda x: np.zeros(len(x)), labels=(y, y))
    assert (result.name, result.value) == ("error", 50.0)
    assert evaluate(**parts, predict=lambda x: np.zeros(len(x)), labels=None) == []
