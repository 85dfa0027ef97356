"""Toy densities in the plane: equal mixtures of round Gaussians (ring and grid as in PacGAN, Lin et al. 2018)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .part import Data, PrepareReport
from .split import digests, parts

DENSITIES = {
    "ring": "8 Gaussians on a circle of radius 1, sd 0.01",
    "grid": "25 Gaussians on a 5 x 5 grid of spacing 2, sd 0.05",
    "gaussians": "2 Gaussians at (-1, 0) and (1, 0), sd 0.2",
}


def modes(name: str) -> tuple[NDArray[np.float32], float]:
    """Centres [k, 2] and the standard deviation of a toy density.

    Raises ValueError for a name that is none of them.
    """
    if name == "ring":
        angle = 2 * np.pi * np.arange(8) / 8
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32), 0.01
    if name == "grid":
        axis = np.arange(-4.0, 5.0, 2.0, dtype=np.float32)
        return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2), 0.05
    if name == "gaussians":
        return np.array([[-1.0, 0.0], [1.0, 0.0]], np.float32), 0.2
    raise ValueError(f"unknown toy density {name!r}: expected one of {', '.join(DENSITIES)}")


def toy(name: str, n: int = 100_000, seed: int = 0) -> Data:
    """x = centre[y] + sd * N(0, 1), y uniform: `n` rows to train and n / 10 each, drawn apart, to validate and test."""
    if n < 1:
        raise ValueError(f"n = {n}: expected at least 1 row of {name}")
    centres, sd = modes(name)
    held_out = max(n // 10, 1)
    side = np.repeat(np.arange(3, dtype=np.int8), [n, held_out, held_out])
    draws = []
    for rng, count in zip(np.random.default_rng(seed).spawn(3), (n, held_out, held_out), strict=True):
        y = rng.integers(len(centres), size=count)
        draws.append((centres[y] + np.float32(sd) * rng.standard_normal((count, 2), np.float32), y))
    x, y = (np.concatenate(columns) for columns in zip(*draws, strict=True))
    train, valid, test = parts(x, y, digests(x), side)
    labels = tuple(f"({a:g}, {b:g})" for a, b in (centres.round(3) + 0.0).tolist())
    source = f"drawn: {DENSITIES[name]}, seed {seed}"
    return Data(name, train, valid, test, labels, "independent draws", "none needed", source, PrepareReport())
