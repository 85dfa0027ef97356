"""One score with all that is needed to read it, and the bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from genlearn._types import ScoreKind


@dataclass(frozen=True)
class Result:
    """A score: `value` in `unit` over `n` images, its standard error and 95 % interval.

    kind: what a log-likelihood is worth (exact, lower bound, estimate, estimate of a bound, pseudo). floor, ceiling:
    the same score of baselines and of real data, by name. extractor: the features that were compared. details: the
    protocol's settings. notes: what a reader must know, in plain words.
    """

    name: str
    value: float
    n: int
    unit: str
    se: float | None = None
    interval: tuple[float, float] | None = None
    kind: ScoreKind | None = None
    floor: Mapping[str, float] = field(default_factory=dict)
    ceiling: Mapping[str, float] = field(default_factory=dict)
    extractor: str = "pixels"
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain objects that JSON can hold; a number that it cannot becomes "inf", "-inf" or "nan"."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Result:
        """The result that `to_json` wrote; ValueError if a field is missing or unknown."""
        try:
            read: dict[str, Any] = {key: {k: float(v) for k, v in row[key].items()} for key in ("floor", "ceiling")}
            read |= {"value": float(row["value"]), "se": None if row["se"] is None else float(row["se"])}
            read["interval"] = None if row["interval"] is None else tuple(map(float, row["interval"]))
            words = [row["name"], row["unit"], row["extractor"], row["kind"] or "", *row["notes"]]
            whole = all(isinstance(word, str) for word in words) and isinstance(row["details"], Mapping)
            if not whole or not isinstance(row["n"], int) or len(read["interval"] or "lh") != 2:
                raise TypeError("a field is of another kind")
            return cls(**{**row, **read, "notes": tuple(row["notes"])})
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"no record of a score ({error}); expected what Result.to_json writes") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def mean(values: Tensor) -> Tensor:
    """Over the last axis."""
    return values.mean(-1)


def standard_error(values: Tensor) -> float | None:
    """That of the mean of values [n], none of a single one."""
    return float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None


def median(values: Tensor) -> Tensor:
    """Over the last axis; of an even number, the lower of the middle two."""
    return values.median(-1).values


def resample(
    values: Tensor, statistic: Callable[[Tensor], Tensor] = mean, n_resamples: int = 1000, *, rng: torch.Generator
) -> Tensor:
    """The statistic of n_resamples draws with replacement from values [n]: [n_resamples] float64 (Efron 1979).

    `statistic` maps [..., n] to [...].
    """
    values = values.double().cpu()
    block = max(1, 2**20 // len(values))
    parts = []
    for start in range(0, n_resamples, block):
        rows = torch.randint(len(values), (min(block, n_resamples - start), len(values)), generator=rng)
        parts.append(statistic(values[rows]))
    return torch.cat(parts)


def percentiles(draws: Tensor, level: float = 0.95) -> tuple[float, float]:
    """The central interval that holds `level` of the draws."""
    tail = (1 - level) / 2
    low, high = draws.quantile(draws.new_tensor([tail, 1 - tail])).tolist()
    return low, high


def bootstrap(
    values: Tensor,
    statistic: Callable[[Tensor], Tensor] = mean,
    n_resamples: int = 1000,
    *,
    rng: torch.Generator,
    level: float = 0.95,
) -> tuple[float, float]:
    """The percentile bootstrap interval at `level` of a statistic of values [n] (Efron 1979); see `resample`."""
    return percentiles(resample(values, statistic, n_resamples, rng=rng), level)
