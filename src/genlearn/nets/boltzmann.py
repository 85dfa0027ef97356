"""Energies of Boltzmann machines."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlearn._types import Visible
from genlearn.maths.rng import bernoulli, normal


class RestrictedBoltzmann(nn.Module):
    """The energy of an RBM (Smolensky 1986; Hinton 2012, equations 1 and 17).

    binary     E(v, h) = -a.v - b.h - v W h
    gaussian   E(v, h) = |u - a|^2 / 2 - b.h - u W h, with u = (v - mean) / sigma

    v [B, D] (images are flattened), h [B, H] binary, W [D, H], a [D], b [H]. Buffers: mean, sigma [D], not learned (0
    and 1 for binary units); a_base [D], the biases of the best model without hidden units, where AIS begins; chain
    [n, H], persistent hidden states.
    """

    mean: Tensor
    sigma: Tensor
    a_base: Tensor
    chain: Tensor

    def __init__(self, n_visible: int, n_hidden: int, rng: torch.Generator, visible: Visible = "binary", n: int = 0):
        super().__init__()
        self.W = nn.Parameter(0.01 * torch.randn(n_visible, n_hidden, generator=rng))
        self.a = nn.Parameter(torch.zeros(n_visible))
        self.b = nn.Parameter(torch.zeros(n_hidden))
        self.visible = visible
        self.register_buffer("mean", torch.zeros(n_visible))
        self.register_buffer("sigma", torch.ones(n_visible))
        self.register_buffer("a_base", torch.zeros(n_visible))
        self.register_buffer("chain", torch.zeros(n, n_hidden))

    @torch.no_grad()
    def fit_biases(self, mean: Tensor, variance: Tensor | None = None) -> None:
        """Start from the best model without hidden units, given the mean (and, gaussian, the variance) of pixels [D].

        Binary: a = logit of the mean (Hinton 2012, section 8.1), kept off 0 and 1 by a hundredth; gaussian: a = 0 and
        the moments of the data, sigma at least a hundredth of the largest.
        """
        if variance is None:
            self.a.copy_(mean.flatten().clamp(0.01, 0.99).logit())
            self.a_base.copy_(self.a)
        else:
            sigma = variance.flatten().sqrt()
            self.sigma.copy_(sigma.clamp_min(0.01 * float(sigma.max())).clamp_min(1e-6))
            self.mean.copy_(mean.flatten())

    def scaled(self, v: Tensor) -> Tensor:
        """v for binary units, u = (v - mean) / sigma for Gaussian ones."""
        v = v.flatten(1)
        return v if self.visible == "binary" else (v - self.mean) / self.sigma

    def hidden_input(self, v: Tensor) -> Tensor:
        """b + v W, or b + u W [B, H]."""
        return torch.addmm(self.b, self.scaled(v), self.W).to(self.W.dtype)

    def visible_term(self, v: Tensor) -> Tensor:
        """The part of the energy that does not depend on h [B]."""
        if self.visible == "binary":
            return -(v.flatten(1) @ self.a)
        return (self.scaled(v) - self.a).square().sum(1) / 2

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h) [B]."""
        return self.visible_term(v) - (self.hidden_input(v) * h).sum(1)

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log sum_h exp(-E(v, h)) [B]."""
        return self.visible_term(v) - softplus(self.hidden_input(v)).sum(1)

    def p_hidden(self, v: Tensor) -> Tensor:
        """p(h_j = 1 | v) = sigmoid(b_j + (v W)_j), or with u for v [B, H]."""
        return self.hidden_input(v).sigmoid_()

    def mean_visible(self, h: Tensor) -> Tensor:
        """E[v | h]: sigmoid(a + W h) for binary units, mean + sigma (a + W h) for Gaussian ones [B, D]."""
        inputs = torch.addmm(self.a, h, self.W.T).to(self.W.dtype)
        if self.visible == "binary":
            return inputs.sigmoid_()
        return self.mean + self.sigma * inputs

    def sample_visible(self, mean: Tensor, rng: torch.Generator) -> Tensor:
        """v ~ p(v | h) from its mean [B, D]."""
        if self.visible == "binary":
            return bernoulli(mean, rng)
        return mean + self.sigma * normal(mean.shape, rng, mean.dtype)

    def gibbs(self, h: Tensor, rng: torch.Generator) -> Tensor:
        """v ~ p(v | h) [B, D], half a step of block Gibbs sampling."""
        return self.sample_visible(self.mean_visible(h), rng)
