"""Records of scores, and the bootstrap."""

from __future__ import annotations

import json
import math

import pytest
import torch

from genlearn.metrics import Result, bootstrap
from genlearn.metrics.result import median, resample

FULL = Result(
    name="AIS", value=-95.5, n=10, unit="nats", se=0.5, interval=(-math.inf, -94.0), kind="estimate",
    floor={"mean image": -206.0}, ceiling={"real": math.inf}, details={"sigmas": [0.1, 0.2]}, notes=("a", "b"),
)  # fmt: skip


@pytest.mark.parametrize("result", [FULL, Result("x", 1.0, 2, "ratio")])
def test_json_gives_the_same_result(result):
    text = json.dumps(result.to_json(), allow_nan=False)
    assert Result.from_json(json.loads(text)) == result


def test_a_record_without_a_field_is_refused():
    row = FULL.to_json()
    del row["interval"]
    with pytest.raises(ValueError, match=r"no record of a score .*interval"):
        Result.from_json(row)
    with pytest.raises(ValueError, match=r"no record of a score .*colour"):
        Result.from_json({**FULL.to_json(), "colour": 1})


def test_bootstrap_of_a_mean_is_its_normal_interval():
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(5000, generator=rng) * 3 + 7
    low, high = bootstrap(values, n_resamples=2000, rng=rng)
    half = 1.96 * 3 / math.sqrt(5000)
    assert low == pytest.approx(float(values.mean()) - half, abs=0.15 * half)
    assert high == pytest.approx(float(values.mean()) + half, abs=0.15 * half)
    low, high = bootstrap(values, rng=rng, level=0.5)
    assert high - low == pytest.approx(2 * 0.6745 * half / 1.96, rel=0.15)


def test_the_bootstrap_is_of_the_statistic_asked_for():
    values = torch.cat([torch.ones(90), torch.full((10,), 1e6)])
    assert bootstrap(values, median, rng=torch.Generator().manual_seed(0)) == (1, 1)
    assert bootstrap(values, rng=torch.Generator().manual_seed(0))[0] > 1e4


def test_draws_of_a_bootstrap_are_the_same_in_blocks_or_not():
    """The number of resamples does not change with the block; every draw is a statistic of given values."""
    values = torch.arange(3.0)
    draws = resample(values, median, n_resamples=500, rng=torch.Generator().manual_seed(0))
    assert draws.shape == (500,)
    # The median of three draws from {0, 1, 2} is 0 with probability 7/27, 1 with 13/27.
    counts = [int((draws == v).sum()) / 500 for v in (0, 1, 2)]
    assert counts == pytest.approx([7 / 27, 13 / 27, 7 / 27], abs=0.07)
    long = resample(torch.zeros(2**20), n_resamples=3, rng=torch.Generator().manual_seed(0))
    assert long.tolist() == [0, 0, 0]
