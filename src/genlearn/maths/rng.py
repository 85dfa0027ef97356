"""Explicit random numbers that do not depend on how many processes share a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genlearn.shapes import Bool, Float


class Rng(torch.Generator):
    """A generator that draws the noise of the whole batch and keeps the rows of this process.

    Every one of `world` processes holds the same state; each asks for its own B rows, the generator draws world * B
    and returns rows rank * B to (rank + 1) * B. N processes therefore see the noise that one process would see.
    """

    rank: int = 0
    world: int = 1


def make_rng(seed: int, device: torch.device | str = "cpu") -> Rng:
    """A generator on `device`, seeded with `seed`."""
    rng = Rng(device)
    rng.manual_seed(seed)
    return rng


def spawn(seed: int, n: int) -> list[int]:
    """n seeds that give independent generators, of one seed (numpy's SeedSequence)."""
    return [int(child.generate_state(1, np.uint64)[0] >> 1) for child in np.random.SeedSequence(seed).spawn(n)]


class Seeds(NamedTuple):
    """Independent seeds of everything that is random in a run."""

    build: int
    play: int
    order: int
    watch: int

    @classmethod
    def of(cls, seed: int) -> Seeds:
        """Those of one seed."""
        return cls(*spawn(seed, 4))


def _rows(noise: Tensor, rng: torch.Generator) -> Tensor:
    world = getattr(rng, "world", 1)
    if world == 1:
        return noise
    return noise.chunk(world)[getattr(rng, "rank", 0)]


def _empty(shape: Sequence[int], rng: torch.Generator, dtype: torch.dtype | None) -> Tensor:
    return torch.empty((shape[0] * getattr(rng, "world", 1), *shape[1:]), dtype=dtype, device=rng.device)


def uniform(
    shape: Sequence[int], rng: torch.Generator, dtype: torch.dtype | None = None, low: float = 0.0, high: float = 1.0
) -> Float[Tensor, "..."]:
    """u ~ U(low, high), independent; the first axis is the batch."""
    return _rows(_empty(shape, rng, dtype).uniform_(low, high, generator=rng), rng)


def normal(shape: Sequence[int], rng: torch.Generator, dtype: torch.dtype | None = None) -> Float[Tensor, "..."]:
    """eps ~ N(0, 1), independent; the first axis is the batch."""
    return _rows(_empty(shape, rng, dtype).normal_(generator=rng), rng)


def thresholds(shape: Sequence[int], rng: torch.Generator, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """u [*shape] and f [*shape[1:]]: u + f is uniform on [-2^15, 2^15), in steps of 2^-8, for each element.

    u is of 16 random bits, drawn four to a word of 64 (a third of the cost of `uniform_`, which is much of a step on a
    CPU); the 8 finer bits of f decide where u is at a threshold, one time in 2^16, and are shared by the rows: each row
    has its law to 2^-24, two rows depend on each other where both are at theirs. u + f < t is asked as u < t - f.
    """
    shape = (shape[0] * getattr(rng, "world", 1), *shape[1:])
    n = math.prod(shape)
    words = torch.empty((n + 3) // 4, dtype=torch.int64, device=rng.device).random_(-(2**63), None, generator=rng)
    fine = torch.empty(shape[1:], dtype=dtype, device=rng.device).random_(0, 2**8, generator=rng).mul_(2**-8)
    return _rows(words.view(torch.int16)[:n].view(shape), rng).to(fine.dtype), fine


@torch.no_grad()
def bernoulli(p: Float[Tensor, "B *d"], rng: torch.Generator) -> Float[Tensor, "B *d"]:
    """x ~ Bernoulli(p) in the type of p [B, ...] (float32 or float64), to a resolution of 2^-24.

    Never 0 where p = 1, nor 1 where p = 0.
    """
    u, fine = thresholds(p.shape, rng, p.dtype)
    return torch.lt(u, torch.add(fine.neg_().sub_(2**15), p, alpha=2**16), out=u)


@torch.no_grad()
def one_of(p: Float[Tensor, "B K"], rng: torch.Generator) -> Float[Tensor, "B K"]:
    """One-hot x of Categorical(p), rows of p [B, K] adding up to 1."""
    total = p.cumsum(1)
    u = uniform((len(p), 1), rng, p.dtype) * total[:, -1:]
    # The first place whose cumulative sum exceeds u: never one of probability 0.
    index = (total <= u).sum(1, keepdim=True).clamp_(max=p.shape[1] - 1)
    return torch.zeros_like(p).scatter_(1, index, 1.0)


def coins(shape: Sequence[int], p: float, rng: torch.Generator) -> Bool[Tensor, "..."]:
    """x ~ Bernoulli(p) as booleans, one p for all, to a resolution of 2^-24; the first axis is the batch."""
    u, fine = thresholds(shape, rng)
    return u < fine.neg_().add_(2**16 * p - 2**15)


@torch.no_grad()
def bernoulli_by_content(p: Float[Tensor, "B *d"]) -> Float[Tensor, "B *d"]:
    """x ~ Bernoulli(p) [B, ...] from noise that depends on the row alone, on its values to the nearest 1 / 255.

    Neither the place of a row, nor the other rows, nor a seed changes what is drawn; 0 and 1 stay what they are.
    """
    flat = p.flatten(1)
    place = torch.arange(1, flat.shape[1] + 1, device=p.device) * _GOLDEN
    key = _mix(_mix(flat.mul(255).round().to(torch.int64)) + place).sum(1, keepdim=True)
    u = (_mix(key + place) >> 40) & (2**24 - 1)
    return (u.to(p.dtype) < flat * 2.0**24).to(p.dtype).view_as(p)


_GOLDEN = 0x9E3779B97F4A7C15 - 2**64


def _mix(z: Tensor) -> Tensor:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection of 64 bits that scatters them."""
    z = (z ^ ((z >> 30) & (2**34 - 1))) * (0xBF58476D1CE4E5B9 - 2**64)
    z = (z ^ ((z >> 27) & (2**37 - 1))) * (0x94D049BB133111EB - 2**64)
    return z ^ ((z >> 31) & (2**33 - 1))
