"""Contrastive divergence and its persistent form, as a surrogate whose gradient is the statistic."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlearn.nets.boltzmann import RestrictedBoltzmann


def contrast(net: RestrictedBoltzmann, v: Tensor, p: Tensor, weights: Tensor) -> Tensor:
    """sum_i w_i F(v_i), as far as its gradient goes, given p = p(h | v): v [n, D], p [n, H], w [n] of sum 0.

    With w = 1/B for data and -1/M for the model's states the gradient is that of contrastive divergence,

        d/dW = <v p>_model - <v p>_data,  d/da = <v>_model - <v>_data,  d/db = <p>_model - <p>_data

    (u for v where units are Gaussian): one matrix product for both terms. The value is the linear form <parameters,
    gradient>, which costs no further product, and is no score.
    """
    # Under autocast the statistics stay in full precision: they are small differences of means.
    with torch.no_grad(), torch.autocast(v.device.type, enabled=False):
        x, wp = net.scaled(v), p * -weights[:, None]
        dW, da, db = x.T @ wp, -weights @ x, wp.sum(0)
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
