"""Score matching and ratio matching: objectives for an energy E whose normaliser is out of reach."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genlearn.maths.flips import Energy, flip_differences
from genlearn.maths.rng import coins, normal, uniform
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.shapes import Float, Int

Flipped: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(v [B, ...], indices [B, n]) -> E(v with that bit flipped) - E(v) [B, n]; bits count along the flat v."""


def _gradient(energy: Energy, x: Tensor) -> tuple[Tensor, Tensor]:
    """x as a leaf, and grad E there, differentiable in x and in the parameters."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
        return x, g + 0 * x  # so that a linear E has second derivatives, zero, rather than none


def _half_square(g: Tensor) -> Tensor:
    return g.flatten(1).square().sum(1) / 2


def score_matching(energy: Energy, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B"]:
    """1/2 |psi|^2 + tr grad psi with psi = -grad E, that is 1/2 |grad E|^2 - tr Hess E: [B, ...] -> [B].

    Its mean over data is 1/2 E|psi - grad log p_data|^2 up to a constant. The trace is exact: d backward passes at
    once, in memory for d copies of the batch; for d beyond some tens see `sliced_score_matching`. E needs a second
    derivative: with relu units the trace is zero, and the objective wrong.

    Hyvarinen 2005, theorem 1.
    """
    x, g = _gradient(energy, x)
    d = math.prod(x.shape[1:])
    basis = torch.eye(d, dtype=x.dtype, device=x.device).view(d, 1, *x.shape[1:]).expand(d, *x.shape)
    (hessian,) = torch.autograd.grad(g, x, basis, create_graph=True, is_grads_batched=True)
    return _half_square(g) - torch.einsum("ibi->b", hessian.flatten(2))


def sliced_score_matching(energy: Energy, x: Float[Tensor, "B ..."], rng: torch.Generator) -> Float[Tensor, "B"]:
    """1/2 |grad E|^2 - v' Hess E v, v uniform on {-1, 1}^d, one for each row: [B, ...] -> [B].

    An unbiased estimate of `score_matching` from one backward pass more than a gradient. Only the trace is projected
    (the form of reduced variance): E v v' = I makes the first term known.

    Song, Garg, Shi and Ermon 2019, section 3.
    """
    x, g = _gradient(energy, x)
    v = 2 * coins(x.shape, 0.5, rng).to(x.dtype) - 1
    (Hv,) = torch.autograd.grad(g, x, v, create_graph=True)
    return _half_square(g) - (v * Hv).flatten(1).sum(1)


def denoising_score_matching(
    energy: Energy, x: Float[Tensor, "B ..."], sigma: float, rng: torch.Generator
) -> Float[Tensor, "B"]:
    """1/2 |psi(y) - (x - y) / sigma^2|^2 at y = x + sigma eps, with psi = -grad E: [B, ...] -> [B].

    sigma > 0 is in the units of x. No second derivative in x; what it learns is the score of the data blurred by
    N(0, sigma^2), not of the data. Its value is of order d / (2 sigma^2).

    Vincent 2011, section 4.2.
    """
    eps = normal(x.shape, rng, x.dtype)
    _, g = _gradient(energy, x + sigma * eps)
    return _half_square(g - eps / sigma)


def ratio_matching(
    energy: Energy, v: Float[Tensor, "B ..."], rng: torch.Generator | None = None, n_flips: int | None = None
) -> Float[Tensor, "B"]:
    """sum_i sigmoid(E(v) - E(v with bit i flipped))^2 for v in {0, 1}: [B, ...] -> [B].

    The square is g(p(v) / p(v flipped))^2 with g(u) = 1 / (1 + u): the normaliser cancels. With `n_flips` it is
    estimated without bias over so many random bits of each row, times d / n_flips; E is evaluated on 1 + n copies of
    the batch, n = d or n_flips.

    Hyvarinen 2007 (binary variables); Dauphin and Bengio 2013 (few random bits; here all are equally likely).
    """
    return flipped_ratio_matching(partial(flip_differences, energy), v, rng, n_flips)


def flipped_ratio_matching(
    flipped: Flipped, v: Float[Tensor, "B ..."], rng: torch.Generator | None = None, n_flips: int | None = None
) -> Float[Tensor, "B"]:
    """`ratio_matching` where a model has a shorter way to its energy differences (an RBM: `rbm_flip_differences`).

    Raises ValueError where `n_flips` is given without `rng`, or is not between 1 and d.
    """
    d = math.prod(v.shape[1:])
    if n_flips is None:
        indices = torch.arange(d, device=v.device).expand(len(v), d)
    elif rng is None:
        raise ValueError("n_flips is given without rng, expected the generator that picks the bits")
    elif not 1 <= n_flips <= d:
        raise ValueError(f"n_flips is {n_flips}, expected an integer between 1 and {d}, the bits of a row")
    else:
        # The places of the largest of d random numbers: a uniform subset, anew for each row.
        indices = uniform((len(v), d), rng).topk(n_flips, sorted=False).indices
    return d / indices.shape[1] * flipped(v, indices).neg().sigmoid().square().sum(1)


def rbm_flip_differences(
    net: RestrictedBoltzmann, v: Float[Tensor, "B ..."], indices: Int[Tensor, "B n"]
) -> Float[Tensor, "B n"]:
    """F(v with bit i flipped) - F(v) of a binary RBM, for i in indices [B, n], from the hidden inputs of v [B, D].

    With s = 1 - 2 v_i: -s a_i - sum_j softplus(b_j + (v W)_j + s W_ij) - softplus(b_j + (v W)_j).
    """
    v = v.flatten(1)
    inputs, s = net.hidden_input(v)[:, None], 1 - 2 * v.gather(1, indices)
    return -s * net.a[indices] - (softplus(inputs + s[..., None] * net.W[indices]) - softplus(inputs)).sum(2)
