"""Energies of binary states whose bits are flipped, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

from genlearn.shapes import Float, Int

Energy: TypeAlias = Callable[[Tensor], Tensor]
"""E: [B, ...] -> [B], every row by itself; p(x) is proportional to exp(-E(x))."""


def flip_differences(energy: Energy, v: Float[Tensor, "B ..."], indices: Int[Tensor, "B n"]) -> Float[Tensor, "B n"]:
    """E(v with bit i flipped) - E(v) for i in indices [B, n], by evaluating E on n flipped copies of v [B, ...]."""
    n, flat = indices.shape[1], v.flatten(1)
    copies = flat[:, None].repeat(1, n, 1).scatter_(2, indices[..., None], 1 - flat.gather(1, indices)[..., None])
    return energy(copies.view(-1, *v.shape[1:])).view(-1, n) - energy(v)[:, None]
