"""Layers by which D sees how the rows of a batch differ: all of one kind would give samples of one mode away."""

from __future__ import annotations

from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from genlearn.parallel import all_rows
from genlearn.shapes import Float


class MinibatchDiscrimination(nn.Module):
    """[x_i, o(x_i)], o(x_i)_b = sum_j exp(-|M_ib - M_jb|_1), M_i = x_i T: [B, n] -> [B, n + kernels].

    j runs over the rows of all processes, i among them. T is [n, kernels x rows of a kernel].
    Salimans et al. 2016, section 3.2 (50 kernels of 5 rows in their code).
    """

    def __init__(self, n_in: int, kernels: int = 50, rows: int = 5) -> None:
        super().__init__()
        self.n_extra, self.rows = kernels, rows
        self.T = nn.Parameter(0.05 * torch.randn(n_in, kernels * rows))

    def forward(self, x: Float[Tensor, "B n"]) -> Float[Tensor, "B m"]:
        """x and how near the other rows are."""
        M = (x @ self.T).unflatten(1, (self.n_extra, self.rows))
        # One row of the kernels at a time, [B, B, kernels], stays near the processor: half the time of all at once.
        rows = zip(M.unbind(2), all_rows(M).unbind(2), strict=True)
        distances = reduce(add, ((row[:, None] - other).abs() for row, other in rows))
        return torch.cat([x, distances.neg().exp().sum(1).to(x.dtype)], 1)


class MinibatchDeviation(nn.Module):
    """[x_i, s], s the standard deviation over the rows, averaged over the features: [B, n] -> [B, n + 1].

    The rows are those of all processes. Karras et al. 2018, section 3.
    """

    n_extra = 1

    def __init__(self, n_in: int) -> None:
        super().__init__()

    def forward(self, x: Float[Tensor, "B n"]) -> Float[Tensor, "B m"]:
        """x and the one number."""
        s = (all_rows(x).var(0, correction=0) + 1e-8).sqrt().mean()
        return torch.cat([x, s.expand(len(x), 1).to(x.dtype)], 1)


MINIBATCH: dict[str, type[MinibatchDiscrimination] | type[MinibatchDeviation]] = {
    "discrimination": MinibatchDiscrimination,
    "deviation": MinibatchDeviation,
}
