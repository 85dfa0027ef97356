"""Parallel tempering of a binary RBM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from genlearn.maths.rng import Rng, bernoulli, uniform
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.samplers.gibbs import after
from genlearn.samplers.persistent import Chains
from genlearn.shapes import Float


@torch.no_grad()
def tempered_chain(
    net: RestrictedBoltzmann, h: Float[Tensor, "n T H"], betas: Sequence[float], rng: torch.Generator
) -> Iterator[tuple[Float[Tensor, "n T D"], Float[Tensor, "n T H"]]]:
    """States (v [n, T, D], h [n, T, H]) at inverse temperatures beta_1 > ... > beta_T, which are exchanged.

    The law at beta is exp((1 - beta) a_base.v - beta E(v, h)); after a step of block Gibbs sampling at each, neighbours
    are exchanged with probability min(1, exp((beta_s - beta_t) (G_t - G_s))), G = (a - a_base).v + b.h + v W h.
    Desjardins et al. 2010; Cho, Raiko and Ilin 2010.
    """
    n, T, _ = h.shape
    beta, a = h.new_tensor(betas), net.a - net.a_base
    rows = beta.repeat(n)[:, None]
    h = h.flatten(0, 1)
    while True:
        v = bernoulli(torch.sigmoid(net.a_base + rows * torch.addmm(a, h, net.W.T).to(h.dtype)), rng)
        inputs = net.hidden_input(v)
        h = bernoulli(torch.sigmoid(rows * inputs), rng)
        with torch.autocast(h.device.type, enabled=False):
            G = ((inputs * h).sum(1) + v @ a).view(n, T)
        order = _exchanged(G, beta, rng)[..., None]
        v, h = (x.view(n, T, -1).take_along_dim(order, 1) for x in (v, h))
        yield v, h
        h = h.flatten(0, 1)


def _exchanged(G: Tensor, beta: Tensor, rng: torch.Generator) -> Tensor:
    """Which state each temperature takes over [n, T]: pairs (1, 2), (3, 4) .. have a try, then (2, 3), (4, 5) .."""
    T = len(beta)
    place = torch.arange(T, device=G.device).expand_as(G)
    for first in (0, 1):
        s, t = slice(first, T - 1, 2), slice(first + 1, T, 2)
        here = G.gather(1, place)
        gain = (beta[s] - beta[t]) * (here[:, t] - here[:, s])
        swap = uniform(gain.shape, rng, gain.dtype).log() < gain
        new = place.clone()
        new[:, s], new[:, t] = torch.where(swap, place[:, t], place[:, s]), torch.where(swap, place[:, s], place[:, t])
        place = new
    return place


@torch.no_grad()
def from_tempered_chains(
    net: RestrictedBoltzmann, chains: Chains, betas: Sequence[float], k: int, rng: Rng
) -> tuple[Float[Tensor, "n D"], Float[Tensor, "n H"]]:
    """(v, p(h | v)) at the first temperature after k steps of the persistent chains, whose states are h [n, T, H].

    Desjardins et al. 2010.
    """
    v, h = after(k, tempered_chain(net, chains.mine(rng), betas, rng))
    chains.keep(h)
    v = v[:, 0].contiguous()
    return v, net.p_hidden(v)
