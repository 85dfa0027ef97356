"""Contrastive divergence and its persistent form, as a surrogate whose gradient is the statistic."""

from __future__ import annotations

import torch
from torch import Tensor

from genlearn.nets.boltzmann import RestrictedBoltzmann


def contrast(net: RestrictedBoltzmann, v: Tensor, p: Tensor, v_model: Tensor, p_model: Tensor) -> Tensor:
    """mean F(v) - mean F(v_model), as far as its gradient goes, given p = p(h | v) of both.

    d/dW = <v p>_model - <v p>_data, d/da = <v>_model - <v>_data, d/db = <p>_model - <p>_data (with u for v where units
    are Gaussian). The value is the linear form <parameters, gradient>: it costs no sixth matrix product, and is no
    score.
    """
    # Under autocast the statistics stay in full precision: they are small differences of means.
    with torch.no_grad(), torch.autocast(v.device.type, enabled=False):
        x, x_model = net.scaled(v), net.scaled(v_model)
        dW = (x.T @ p).addmm_(x_model.T, p_model, beta=-1 / len(v), alpha=1 / len(v_model))
        # Means as products with a constant vector: a reduction over rows is slower on a CPU.
        w, w_model = x.new_full((len(x),), -1 / len(x)), x.new_full((len(x_model),), 1 / len(x_model))
        da = (w @ x).add_(w_model @ x_model)
        db = (w @ p).add_(w_model @ p_model)
    return torch.dot(net.W.view(-1), dW.view(-1)) + net.a @ da + net.b @ db
