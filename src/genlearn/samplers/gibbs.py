"""Gibbs sampling of every machine, and of any energy over bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from genlearn.maths import sweeps
from genlearn.maths.flips import Energy, flip_differences
from genlearn.maths.rng import bernoulli
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.deep_boltzmann import DeepBoltzmann
from genlearn.nets.general_boltzmann import GeneralBoltzmann
from genlearn.shapes import Bool, Float

State = TypeVar("State")


def after(n: int, chain: Iterator[State]) -> State:
    """The state of a chain after n >= 1 steps."""
    return next(islice(chain, n - 1, None))


# --- restricted


@torch.no_grad()
def rbm_chain(
    net: RestrictedBoltzmann, v: Float[Tensor, "B D"], rng: torch.Generator, known: Bool[Tensor, "B D"] | None = None
) -> Iterator[tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]]:
    """States (v, E[v | h]) of block Gibbs sampling from v [B, D]; v stays where `known` [B, D] is true."""
    clamped = v
    while True:
        mean = net.mean_visible(bernoulli(net.p_hidden(v), rng))
        v = net.sample_visible(mean, rng)
        if known is not None:
            v = torch.where(known, clamped, v)
        yield v, mean


@torch.no_grad()
def from_hidden(
    net: RestrictedBoltzmann, h: Float[Tensor, "M H"], k: int, rng: torch.Generator
) -> tuple[Float[Tensor, "M D"], Float[Tensor, "M H"]]:
    """(v, p(h | v)) after k steps of block Gibbs sampling from h [M, H].

    From hidden states of the data, those of contrastive divergence (Hinton 2002).
    """
    v = net.gibbs(h, rng)
    if k > 1:
        v, _ = after(k - 1, rbm_chain(net, v, rng))
    return v, net.p_hidden(v)


# --- deep


@torch.no_grad()
def dbm_chain(
    net: DeepBoltzmann, x: list[Float[Tensor, "B _"]], rng: torch.Generator, known: Bool[Tensor, "B D"] | None = None
) -> Iterator[tuple[list[Float[Tensor, "B _"]], Float[Tensor, "B D"]]]:
    """States ([v, h_1 .. h_L], E[v | h_1]) of Gibbs sampling: the even layers given the odd ones of x, and conversely.

    A step ends with the even layers: the odd ones are those which they were drawn from. v stays where `known` [B, D] is
    true.
    """
    x, clamped = [*x], x[0]
    while True:
        mean = net.mean(0, x)
        v = bernoulli(mean, rng)
        x[0] = v if known is None else torch.where(known, clamped, v)
        _draw(net, x, 2, rng)
        yield [*x], mean
        _draw(net, x, 1, rng)


@torch.no_grad()
def dbm_start(net: DeepBoltzmann, v: Float[Tensor, "B D"], rng: torch.Generator) -> list[Float[Tensor, "B _"]]:
    """A state for `dbm_chain` from images v [B, D]: the odd layers drawn given mean-field means of the even ones."""
    x = net.mean_field(v, 1)
    _draw(net, x, 1, rng)
    return x


def _draw(net: DeepBoltzmann, x: list[Tensor], first: int, rng: torch.Generator) -> None:
    """Draw every other layer from `first` on, in place: they are independent given the others."""
    for i in range(first, net.top + 1, 2):
        x[i] = bernoulli(net.mean(i, x), rng)


# --- general


@torch.no_grad()
def bm_chain(
    net: GeneralBoltzmann, s: Float[Tensor, "B N"], rng: torch.Generator, clamp: Float[Tensor, "B D"] | None = None
) -> Iterator[Float[Tensor, "B N"]]:
    """States s = (v, h) [B, D + H], a sweep of all units apart; clamp [B, D]: 0, 1 hold a pixel, NaN leaves it free."""
    J, c = net.J, net.c
    if clamp is not None:
        # A unit that is held is one of infinite bias.
        held = torch.where(clamp.isnan(), net.a, (2 * clamp - 1) * torch.inf)
        c = torch.cat([held, net.b.expand(len(s), -1)], 1)
    while True:
        s = sweeps.gibbs(J, c, s, rng)
        yield s


@torch.no_grad()
def settle(net: GeneralBoltzmann, v: Float[Tensor, "B D"], rng: torch.Generator, n: int) -> Float[Tensor, "B H"]:
    """h [B, H] after n sweeps over the hidden units with v held, from h drawn without their own weights."""
    x = net.hidden_input(v)
    return sweeps.gibbs(net.t, x, bernoulli(x.sigmoid(), rng), rng, n)


# --- any energy


@torch.no_grad()
def bit_chain(energy: Energy, v: Float[Tensor, "B *d"], rng: torch.Generator) -> Iterator[Float[Tensor, "B *d"]]:
    """States of Gibbs sampling, bit after bit, from v [B, ...] in {0, 1}, a sweep apart; exp(-E) is invariant."""
    while True:
        for i in range(math.prod(v.shape[1:])):
            index = torch.full((len(v), 1), i, device=v.device)
            flips = bernoulli(flip_differences(energy, v, index).neg().sigmoid(), rng)
            flat = v.flatten(1)
            v = flat.scatter(1, index, (flat.gather(1, index) - flips).abs()).view_as(v)
        yield v
