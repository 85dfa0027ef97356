"""Means over a few seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Mean:
    """A mean over n seeds and its interval; the interval is not a number where there is one seed."""

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """Plain objects that JSON can hold."""
        return {"mean": self.value, "interval": [self.low, self.high] if self.n > 1 else None, "n": self.n}

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


def over_seeds(values: Sequence[float], level: float = 0.95) -> Mean:
    """mean +- t s / sqrt(n), t the quantile of Student's law with n - 1 degrees of freedom: of values of n seeds.

    Of differences within seeds it is the paired t interval (Student 1908). Equal values give an interval of width 0.
    Raises ValueError for no values.
    """
    from scipy.stats import t  # slow to load

    x = np.asarray(values, np.float64)
    if not len(x):
        raise ValueError("there are no values, expected one seed at least")
    half = t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)) if len(x) > 1 else math.nan
    return Mean(float(x.mean()), float(x.mean() - half), float(x.mean() + half), len(x))
