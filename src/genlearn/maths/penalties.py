"""Penalties on gradients: terms that are added to a loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genlearn.shapes import Float


def squared_gradient_norm(f: Callable[[Tensor], Tensor], x: Float[Tensor, "B ..."]) -> Float[Tensor, "B"]:
    """||grad_x f(x)||^2 for every row: [B, ...] -> [B], differentiable in the parameters of f.

    `f` maps each row to a number independently of the others. Half its mean over data, times gamma, is the R1 penalty
    (Mescheder, Geiger, Nowozin 2018, equation 9). For the norm itself take (result + 1e-12).sqrt(): at 0 the root
    alone has no gradient.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)
