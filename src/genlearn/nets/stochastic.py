"""The layers of a generative stochastic network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from genlearn.maths.rng import normal
from genlearn.shapes import Float


class StochasticLayers(nn.Module):
    """Layers x, h_1 .. h_L joined by weights that serve both ways, with noise in their units (Bengio et al. 2014).

    h_i = eps' + tanh(eps + h_{i-1} W_i + h_{i+1} W_{i+1}' + b_i), eps, eps' ~ N(0, sigma^2 I), and none in h_1;
    p(x | h_1) = Bernoulli(sigmoid(h_1 W_1' + b_0)). `mean` [d] is that of the data, where chains begin.
    """

    mean: Tensor

    def __init__(self, sizes: Sequence[int], rng: torch.Generator) -> None:
        super().__init__()
        self.W = nn.ParameterList(
            nn.init.xavier_uniform_(torch.empty(m, n), 1.0, generator=rng) for m, n in pairwise(sizes)
        )
        self.b = nn.ParameterList(torch.zeros(n) for n in sizes)
        self.register_buffer("mean", torch.full((sizes[0],), 0.5))

    @torch.no_grad()
    def fit_mean(self, mean: Float[Tensor, "*d"]) -> None:
        """Begin at the mean of the data: b_0 is its logit, kept off 0 and 1 by a hundredth."""
        self.mean.copy_(mean.flatten())
        self.b[0].copy_(self.mean.clamp(0.01, 0.99).logit())

    def start(self, x: Float[Tensor, "B d"]) -> list[Float[Tensor, "B _"]]:
        """States [x, h_1 .. h_L] in which nothing is known of the hidden layers: they are 0."""
        return [x, *(x.new_zeros(len(x), len(b)) for b in list(self.b)[1:])]

    def turn(
        self, h: list[Float[Tensor, "B _"]], sigma: float, rng: torch.Generator
    ) -> tuple[list[Float[Tensor, "B _"]], Float[Tensor, "B d"]]:
        """The odd layers anew given the even ones, then the even ones but x; and the logits of x given h_1."""
        h = [*h]
        for first in (1, 2):
            for i in range(first, len(h), 2):
                h[i] = self._layer(i, h, sigma if i > 1 else 0.0, rng)
        return h, linear(h[1], self.W[0], self.b[0]).to(h[1].dtype)

    def _layer(self, i: int, h: list[Tensor], sigma: float, rng: torch.Generator) -> Tensor:
        u = linear(h[i - 1], self.W[i - 1].T, self.b[i])
        if i + 1 < len(h):
            u = u + linear(h[i + 1], self.W[i])
        u = u.to(h[i - 1].dtype)
        if not sigma:
            return u.tanh()
        before, after = (sigma * normal(u.shape, rng, u.dtype) for _ in range(2))
        return after + (u + before).tanh()
