"""The divergence of a vector field."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from genlearn.shapes import Float


def divergence(
    f: Callable[[Tensor], Tensor], x: Float[Tensor, "B *d"], probes: Float[Tensor, "K _ *d"] | None = None
) -> tuple[Float[Tensor, "B *d"], Float[Tensor, "B"]]:
    """f(x) and div f(x) = tr df/dx for every row: [B, ...] -> [B, ...], [B]; without gradient.

    `f` maps each row independently of the others. Without probes the trace is exact, by d backward passes at once: for
    few dimensions. Probes e of mean 0 and covariance I (signs have the least variance) estimate it by the mean of
    e' (df/dx) e, without bias: K for every row [K, B, ...], or the same for all [K, 1, ...], one backward pass each
    (Hutchinson 1990).
    """
    d = math.prod(x.shape[1:])
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = f(x)
        if probes is None:
            basis = torch.eye(d, dtype=x.dtype, device=x.device).view(d, 1, *x.shape[1:]).expand(d, *x.shape)
            (jacobian,) = torch.autograd.grad(y, x, basis, is_grads_batched=True)
            return y.detach(), torch.einsum("ibi->b", jacobian.flatten(2))
        traces = []
        for k, e in enumerate(probes):
            (product,) = torch.autograd.grad(y, x, e.expand_as(y), retain_graph=k + 1 < len(probes))
            traces.append((product * e).flatten(1).sum(1))
    return y.detach(), torch.stack(traces).mean(0)
