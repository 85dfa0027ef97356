"""Two laws whose supports slide apart: what JSD and W1 see (Arjovsky, Chintala and Bottou 2017, example 1)."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from genlearn.lab.divergences import Array, js, kl, wasserstein
from genlearn.words import unknown

Shape: TypeAlias = Literal["points", "intervals"]
CELL = 0.01
REACH = 3  # the laws lie on cells between -REACH and REACH + 1


class Supports(NamedTuple):
    """What `supports` found: nats (kl, js, value), the unit of x (w1), and slopes per unit of the shift."""

    kl: float
    js: float
    value: float
    w1: float
    js_slope: float
    w1_slope: float


def sliding_laws(shift: float, shape: Shape = "intervals") -> tuple[Array, Array, Array]:
    """(x, p, q): probabilities p, q [n] on the middles x [n] of cells of 0.01.

    shape "points": p is at 0, q at `shift` (two parallel lines, seen from their end); "intervals": p is uniform on
    [0, 1], q on [shift, shift + 1]. `shift` is rounded to cells. Raises ValueError for |shift| > 2 or another shape.
    """
    if shape not in ("points", "intervals"):
        raise ValueError(unknown("shape", shape, ("points", "intervals")))
    if not abs(shift) <= 2:
        raise ValueError(f"shift is {shift}, expected a number from -2 to 2")
    cells = 1 if shape == "points" else round(1 / CELL)
    x = np.asarray(CELL * (np.arange(-round(REACH / CELL), round((REACH + 1) / CELL)) + 0.5), np.float64)
    p, q = np.zeros((2, len(x)))
    start = round(REACH / CELL)
    p[start : start + cells] = 1 / cells
    start += round(shift / CELL)
    q[start : start + cells] = 1 / cells
    return x, p, q


def supports(shift: float, shape: Shape = "intervals") -> Supports:
    """KL, JSD, V(D*, G) = -log 4 + 2 JSD and W1 of `sliding_laws`, with their slopes (central differences of a cell).

    Intervals: JSD = |s| log 2 up to |s| = 1, then log 2; points: 0 for s = 0, else log 2. W1 = |s| for both. Where the
    supports are disjoint, JSD has no slope left, KL is infinite, and W1 still has the slope +-1.
    """
    x, p, q = sliding_laws(shift, shape)
    near = [sliding_laws(max(-2.0, min(2.0, shift + h)), shape)[2] for h in (-CELL, CELL)]
    width = float(x @ (near[1] - near[0])) or math.inf
    d, below, above = (js(p, r) for r in (q, *near))
    w1, lower, upper = (wasserstein(p, r, x) for r in (q, *near))
    found = (kl(p, q), d, -math.log(4) + 2 * d, w1, (above - below) / width, (upper - lower) / width)
    return Supports(*(round(v, 12) + 0.0 for v in found))  # sums of 100 terms: what is 0 shall not read 5e-15
