"""Modes hit, high quality and reverse KL: by hand, and at their floors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from genlearn.data import load, modes
from genlearn.metrics import histogram_kl, mode_coverage


def test_by_hand():
    """Three modes on a line: two samples at the first, one far from the third, none near the second."""
    centres = [[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]]
    got = mode_coverage([[0.1, 0.0], [0.0, -0.29], [20.0, 0.31], [0.0, 0.0]], centres, 0.1)
    assert (got.hit, got.high_quality, got.counts.tolist()) == (1, 0.75, [3, 0, 1])
    assert got.reverse_kl == pytest.approx(0.75 * math.log(0.75 * 3) + 0.25 * math.log(0.25 * 3))
    assert mode_coverage([[20.0, 0.31]], centres, 0.1, within=3.2).hit == 1


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_samples_of_the_mixture_itself_reach_the_floor(name):
    """All modes; all but exp(-9 / 2) of high quality; (K - 1) / (2 n) nats on average."""
    centres, sd = modes(name)
    x = load(name, n=20_000).train.x
    got = mode_coverage(x, centres, sd)
    assert got.hit == len(centres)
    bad = math.exp(-4.5)
    assert abs(1 - got.high_quality - bad) < 5 * (bad / len(x)) ** 0.5
    k = len(centres) - 1
    assert got.reverse_kl < (k + 5 * (2 * k) ** 0.5) / (2 * len(x))  # 2 n KL is chi squared with K - 1 degrees


@pytest.mark.parametrize("kept", [1, 3, 8])
def test_a_collapsed_sampler_is_seen(kept):
    centres, sd = modes("ring")
    x = load("ring", n=8000).train
    got = mode_coverage(x.x[x.y < kept], centres, sd)
    assert got.hit == kept
    assert got.reverse_kl == pytest.approx(math.log(8 / kept), abs=0.01)


def test_against_other_probabilities():
    assert histogram_kl([1, 1, 2], [0.25, 0.25, 0.5]) == pytest.approx(0)
    assert histogram_kl([1, 0, 1], [0.5, 0.25, 0.25]) == pytest.approx(0.5 * math.log(2))
    assert histogram_kl(np.array([1, 1]), torch.tensor([1.0, 0.0])) == math.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mode_coverage([[0.0, 1.0]], [[0.0]], 1.0), "images differ in their number of values"),
        (lambda: mode_coverage([[0.0]], [[0.0]], 0.0), "sd is 0.0, expected a standard deviation above 0"),
        (lambda: histogram_kl([0, 0]), "expected numbers of samples by mode"),
        (lambda: histogram_kl([1, 2], [1.0]), "one probability for each"),
    ],
)
def test_bad_input_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
