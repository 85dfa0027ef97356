"""Langevin dynamics."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from genlearn.maths.flips import Energy
from genlearn.maths.rng import normal, uniform
from genlearn.shapes import Float


@torch.no_grad()
def langevin_chain(
    energy: Energy, x: Float[Tensor, "B *d"], step: float, rng: torch.Generator
) -> Iterator[Float[Tensor, "B *d"]]:
    """States of the Metropolis-adjusted Langevin algorithm from x [B, ...], endlessly; exp(-E) is invariant.

    Proposes y = x - step/2 grad E(x) + sqrt(step) eps (Roberts and Tweedie 1996), step > 0 in the units of x squared;
    it is not the unadjusted chain, which keeps another law.
    """

    def at(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            e = energy(x)
            (g,) = torch.autograd.grad(e.sum(), x)
        x = x.detach()
        return x, e.detach(), x - step / 2 * g

    def square(x: Tensor) -> Tensor:
        return x.flatten(1).square().sum(1) / (2 * step)

    x, e, drift = at(x)
    while True:
        y, e_y, drift_y = at(drift + step**0.5 * normal(x.shape, rng, x.dtype))
        log_ratio = e - e_y + square(y - drift) - square(x - drift_y)
        accepted = uniform(e.shape, rng, e.dtype).log() < log_ratio  # never where the energy is NaN
        rows = accepted.view(-1, *[1] * (x.ndim - 1))
        x, drift, e = torch.where(rows, y, x), torch.where(rows, drift_y, drift), torch.where(accepted, e_y, e)
        yield x
