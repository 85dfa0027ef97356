"""Parzen windows, 784 dimensions, 10,000 centres, float64, against the one product of the same size, alone."""

from __future__ import annotations

from _paired import paired  # isort: skip (sets the threads before torch is loaded)

import torch
from torch import Tensor

from genlearn.metrics import parzen_log_prob

rng = torch.Generator().manual_seed(0)
centres, x = torch.rand(2, 10_000, 784, generator=rng, dtype=torch.float64)
sigmas = torch.logspace(-1, 0, 10, dtype=torch.float64)


def compare(title: str, x: Tensor, sigmas: Tensor) -> None:
    contenders = {"product": lambda: x @ centres.T, "genlearn": lambda: parzen_log_prob(x, centres, sigmas)}
    paired(f"{title} {__doc__}", contenders, "product")


if __name__ == "__main__":
    compare("10,000 rows, one width:", x, sigmas[2:3])
    compare("1,000 rows, ten widths:", x[:1000], sigmas)
