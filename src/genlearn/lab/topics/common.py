"""What topics share: a quadrature, the seeds, how a number is known."""

from __future__ import annotations

from genlearn.lab.divergences import quadrature
from genlearn.lab.topic import Control

X, W = quadrature(-16, 16, 8001)  # no farther: densities must not underflow, or KL would be infinite
EXACT, QUADRATURE = "exact", "by quadrature"
SEEDS = Control("seed", "seed", (0, 1, 2), 0)
