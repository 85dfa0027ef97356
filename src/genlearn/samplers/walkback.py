"""The chain of a generative stochastic network."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from genlearn.maths.corruption import salt_and_pepper
from genlearn.maths.rng import bernoulli
from genlearn.nets.stochastic import StochasticLayers
from genlearn.shapes import Bool, Float


def gsn_chain(
    net: StochasticLayers,
    x: Float[Tensor, "B d"],
    level: float,
    sigma: float,
    rng: torch.Generator,
    known: Bool[Tensor, "B d"] | None = None,
) -> Iterator[tuple[Float[Tensor, "B d"], Float[Tensor, "B d"]]]:
    """(x, logits of the law that x was drawn from), a step apart from x [B, d], endlessly.

    A step corrupts x (a share `level` of the pixels, salt and pepper), turns the hidden layers with noise sigma, and
    draws x given h_1; x stays where `known` [B, d] is true, and is corrupted all the same: then the chain's law is that
    of the other pixels given these (Bengio et al. 2014, section 3.3). Gradients pass through the hidden layers, not
    through what is drawn: the same chain trains the network (walkback, section 2).
    """
    clamped, h = x, net.start(x)
    while True:
        h[0] = salt_and_pepper(x, level, rng)
        h, logits = net.turn(h, sigma, rng)
        x = bernoulli(logits.detach().sigmoid(), rng)
        if known is not None:
            x = torch.where(known, clamped, x)
        yield x, logits
