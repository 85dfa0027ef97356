"""Gibbs chains."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from genlearn.maths.rng import bernoulli
from genlearn.nets.boltzmann import RestrictedBoltzmann


def rbm_chain(
    net: RestrictedBoltzmann, v: Tensor, rng: torch.Generator, known: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """States (v, E[v | h]) of block Gibbs sampling from v [B, D], endlessly; v stays where `known` [B, D] is true."""
    clamped = v
    while True:
        mean = net.mean_visible(bernoulli(net.p_hidden(v), rng))
        v = net.sample_visible(mean, rng)
        if known is not None:
            v = torch.where(known, clamped, v)
        yield v, mean
