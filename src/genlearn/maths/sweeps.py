"""Visits of the units of a fully connected machine, one by one, side by side over the rows."""

from __future__ import annotations

import torch
from torch import Tensor

from genlearn.maths.rng import uniform
from genlearn.shapes import Float

UNITS = 64


def gibbs(
    J: Float[Tensor, "N N"], c: Float[Tensor, "*_ N"], s: Float[Tensor, "B N"], rng: torch.Generator, n: int = 1
) -> Float[Tensor, "B N"]:
    """n sweeps of Gibbs sampling from s [B, N], with weights J [N, N] and biases c [N] or [B, N]."""
    rows, shape = s.T.clone(memory_format=torch.contiguous_format), s.shape
    for _ in range(n):
        # A unit is on where u < sigmoid(input), that is where logit(u) < input.
        noise = uniform(shape, rng, s.dtype).logit_().T.contiguous()
        sweep(J, c.expand(shape).T, rows, noise)
    return rows.T.contiguous()


def sweep(
    J: Float[Tensor, "N N"],
    c: Float[Tensor, "N #B"],
    s: Float[Tensor, "N B"],
    noise: Float[Tensor, "N B"] | None = None,
) -> None:
    """Visit each unit in turn, in place: s_i = [noise_i < x_i], or sigmoid(x_i) without noise, x_i = c_i + J_i s.

    s, noise [N, B], c [N, B] or [N, 1]: a unit is a contiguous row. What units get from outside their block of 64 is
    one product of matrices, what they get from inside is fresh at each step: the law of single updates of all N inputs
    after each unit, in a quarter of the time.
    """
    for i in range(0, len(J), UNITS):
        J_i, s_i = J[i : i + UNITS], s[i : i + UNITS]
        inside = J_i[:, i : i + UNITS]
        outside = torch.addmm(c[i : i + UNITS], J_i, s).addmm_(inside, s_i, alpha=-1)
        inputs = zip(outside.unbind(), inside.unbind(), s_i.unbind(), strict=True)
        for j, (x, weights, unit) in enumerate(inputs):
            x.addmv_(s_i.T, weights)
            if noise is None:
                torch.sigmoid(x, out=unit)
            else:
                torch.lt(noise[i + j], x, out=unit)
