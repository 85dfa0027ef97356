"""What topics share: a quadrature, the seeds, how a number is known, curves over training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genlearn.lab.divergences import quadrature
from genlearn.lab.topic import Control

X, W = quadrature(-20, 20)  # N(4, 4) ends within rounding; farther, densities underflow, and KL would be infinite
EXACT, QUADRATURE = "exact", "by quadrature"
SEEDS = Control("seed", "seed", (0, 1, 2), 0)


def over_training(frames: Sequence[Any], every: int, round: int, keys: Sequence[str]) -> dict[str, Any]:
    """The frame at a round, the curve over all frames of each of `keys` as all_KEY, and both places on its axis."""
    curves = {f"all_{k}": np.array([getattr(f, k) for f in frames]) for k in keys}
    frame: dict[str, Any] = frames[round // every]._asdict()
    return frame | curves | {"rounds": every * np.arange(len(frames)), "at": round}
