"""Data against the model's own states: a surrogate whose gradient is their difference, and the origin of the states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genlearn.maths.rng import Rng, bernoulli, uniform
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.parallel import average, gather_rows


def contrast(
    net: RestrictedBoltzmann,
    v: Tensor,
    p: Tensor,
    weights: Tensor,
    *,
    centre: tuple[Tensor, Tensor] | None = None,
    push: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """sum_i w_i F(v_i), as far as its gradient goes, given p = p(h | v): v [n, D], p [n, H], w [n] of sum 0.

    With w = 1/B for data and -1/M for the model's states the gradient is that of contrastive divergence,

        d/dW = <v p>_model - <v p>_data,  d/da = <v>_model - <v>_data,  d/db = <p>_model - <p>_data

    (u for v where units are Gaussian): one matrix product for both terms. The value is the linear form <parameters,
    gradient>, which costs no further product, and is no score.

    centre (mu [D], lambda [H]): the gradient of the centred parametrisation, (v - mu) W (h - lambda), taken back to
    this one; it does not change when 0 and 1 change places (Montavon and Mueller 2012; Melchior, Fischer and Wiskott
    2016). push (x [D], g [H]): adds the gradient of g.(b + x W) (sparsity).
    """
    # Under autocast the statistics stay in full precision: they are small differences of means.
    with torch.no_grad(), torch.autocast(v.device.type, enabled=False):
        x, wp = net.scaled(v), p * -weights[:, None]
        dW, da, db = x.T @ wp, -weights @ x, wp.sum(0)
        if centre is not None:
            mu, lam = centre
            dW.addr_(mu, db, alpha=-1).addr_(da, lam, alpha=-1)
            da, db = da - dW @ lam, db - mu @ dW
        if push is not None:
            dW.addr_(*push)
            db += push[1]
    return _Linear.apply(net.W, net.a, net.b, dW, da, db)  # type: ignore[no-untyped-call,no-any-return]


def weigh(n_data: int, n_model: int, like: Tensor) -> Tensor:
    """The weights 1 / n_data of the data's rows, then -1 / n_model of the model's [n_data + n_model]."""
    return torch.cat([like.new_full((n_data,), 1 / n_data), like.new_full((n_model,), -1 / n_model)])


class _Linear(torch.autograd.Function):
    """<W, dW> + a.da + b.db, whose gradient is handed over in place, without another [D, H] matrix a step."""

    @staticmethod
    def forward(ctx: Any, W: Tensor, a: Tensor, b: Tensor, dW: Tensor, da: Tensor, db: Tensor) -> Tensor:
        ctx.gradients = dW, da, db
        return torch.dot(W.view(-1), dW.view(-1)) + a @ da + b @ db

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # once: they are scaled where they lie
        return (*(g.mul_(grads[0]) for g in gradients), None, None, None)


# --- states of the model: (v, p(h | v)), without gradient


def from_hidden(net: RestrictedBoltzmann, h: Tensor, k: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """k steps of block Gibbs sampling from h [M, H]; at the data's h, contrastive divergence (Hinton 2002)."""
    for _ in range(k - 1):
        h = bernoulli(net.p_hidden(net.gibbs(h, rng)), rng)
    v = net.gibbs(h, rng)
    return v, net.p_hidden(v)


def from_chains(net: RestrictedBoltzmann, k: int, rng: Rng) -> tuple[Tensor, Tensor]:
    """k steps of the persistent chains, which move on (Tieleman 2008)."""
    v, p = from_hidden(net, net.chain.chunk(rng.world)[rng.rank], k, rng)
    net.chain.copy_(gather_rows(bernoulli(p, rng)))
    return v, p


def from_tempered_chains(net: RestrictedBoltzmann, betas: Sequence[float], k: int, rng: Rng) -> tuple[Tensor, Tensor]:
    """k steps of parallel tempering: chains at inverse temperatures 1 = beta_1 > ... > beta_T, which exchange states.

    The law at beta is exp((1 - beta) a_base.v - beta E(v, h)); neighbours are exchanged with probability
    min(1, exp((beta_s - beta_t) (G_t - G_s))), G = (a - a_base).v + b.h + v W h. Rows i T .. i T + T - 1 of `net.chain`
    are the temperatures of chain i. Returned are the states at beta = 1.
    Desjardins et al. 2010; Cho, Raiko and Ilin 2010.
    """
    T = len(betas)
    h = net.chain.chunk(rng.world)[rng.rank]
    beta = h.new_tensor(betas)
    rows = beta.repeat(len(h) // T)[:, None]
    for _ in range(k):
        v = bernoulli(torch.sigmoid(net.a_base + rows * (torch.addmm(net.a - net.a_base, h, net.W.T))), rng)
        inputs = net.hidden_input(v)
        h = bernoulli(torch.sigmoid(rows * inputs), rng)
        G = ((inputs * h).sum(1) + v @ (net.a - net.a_base)).view(-1, T)
        v, h = v.view(-1, T, v.shape[1]), h.view(-1, T, h.shape[1])
        for first in (0, 1):
            order = torch.arange(T, device=h.device).expand_as(G).clone()
            s, t = order[:, first : T - 1 : 2], order[:, first + 1 : T : 2]
            gain = (beta[first : T - 1 : 2] - beta[first + 1 : T : 2]) * (
                G[:, first + 1 : T : 2] - G[:, first : T - 1 : 2]
            )
            swap = uniform(gain.shape, rng, gain.dtype).log() < gain
            low, high = torch.where(swap, t, s), torch.where(swap, s, t)
            order[:, first : T - 1 : 2], order[:, first + 1 : T : 2] = low, high
            G = G.gather(1, order)
            v, h = (x.gather(1, order[..., None].expand_as(x)) for x in (v, h))
        v, h = v.flatten(0, 1), h.flatten(0, 1)
    net.chain.copy_(gather_rows(h))
    v = v[::T].contiguous()
    return v, net.p_hidden(v)


def remember(net: RestrictedBoltzmann, p: Tensor, decay: float = 0.95) -> Tensor:
    """Move the running mean of p(h | data) [H] towards that of the batch p [B, H], and return it."""
    (mean,) = average([p.mean(0)])
    net.active.lerp_(mean.to(net.active.dtype), 1 - decay)
    return net.active
