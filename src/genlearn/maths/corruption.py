"""Noise on images, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from genlearn.maths.rng import coins, normal
from genlearn.shapes import Float

NoiseName: TypeAlias = Literal["gaussian", "masking", "salt-and-pepper"]


def gaussian(x: Float[Tensor, "B *d"], sigma: float, rng: torch.Generator) -> Float[Tensor, "B *d"]:
    """x + sigma eps, eps ~ N(0, I): [B, ...]."""
    return x + sigma * normal(x.shape, rng, x.dtype)


def masking(x: Float[Tensor, "B *d"], p: float, rng: torch.Generator) -> Float[Tensor, "B *d"]:
    """x with each pixel set to 0 with probability p: [B, ...]."""
    return x * coins(x.shape, 1 - p, rng)


def salt_and_pepper(x: Float[Tensor, "B *d"], p: float, rng: torch.Generator) -> Float[Tensor, "B *d"]:
    """x with each pixel replaced with probability p, by 0 or 1 as a fair coin falls: [B, ...]."""
    hit = coins(x.shape, p, rng)
    return torch.where(hit, coins(x.shape, 0.5, rng).to(x.dtype), x)


CORRUPTIONS: dict[NoiseName, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    "gaussian": gaussian,
    "masking": masking,
    "salt-and-pepper": salt_and_pepper,
}


def check_level(noise: NoiseName, level: float) -> None:
    """Raise a one-line ValueError where the level of a noise is no share, and should be one."""
    if noise != "gaussian" and level > 1:
        raise ValueError(f"level is {level} with noise {noise!r}, expected a share between 0 and 1")
