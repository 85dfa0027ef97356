"""Jacobians of maps of rows, without ever writing them down where they are large."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genlearn.maths.rng import normal
from genlearn.shapes import Float

Map = Callable[[Tensor], Tensor]
ITERATIONS = 4


def squared_jacobian_norm(
    f: Map, x: Float[Tensor, "B *d"], probes: Float[Tensor, "K B H"] | None = None
) -> Float[Tensor, "B"]:
    """||df/dx||_F^2 for every row: [B, ...] -> [B], differentiable in the parameters of f.

    `f` maps each row to [H] independently of the others. Without probes it is exact, by H backward passes at once.
    Probes e of mean 0 and covariance I (signs have the least variance) estimate it by the mean of ||e' df/dx||^2,
    without bias, one backward pass each (Hutchinson 1990).
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        h = f(x)
        if probes is None:
            basis = torch.eye(h.shape[1], dtype=x.dtype, device=x.device)
            rows = basis[:, None].expand(-1, len(x), -1)
            (products,) = torch.autograd.grad(h, x, rows, create_graph=True, is_grads_batched=True)
            return products.square().flatten(2).sum((0, 2))
        norms = [torch.autograd.grad(h, x, e, create_graph=True)[0].square().flatten(1).sum(1) for e in probes]
        return torch.stack(norms).mean(0)


def along_leading(
    f: Map, x: Float[Tensor, "B d"], eps: Float[Tensor, "B H"], rank: int, rng: torch.Generator
) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B H"]]:
    """f(x) and U_k S_k^2 U_k' eps [B, H], of the leading k = rank singular values and vectors U S V' of df/dx.

    That is df/dx times the step V_k S_k U_k' eps in x. The space of U_k is found by a few subspace iterations from a
    random start; with rank 0 all of it counts, df/dx (df/dx)' eps, and nothing need be found. Without gradient.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        h = f(x)
        zero = torch.zeros_like(h).requires_grad_()
        (linear,) = torch.autograd.grad(h, x, zero, create_graph=True)  # in `zero`: its slope is the Jacobian

    def pull(e: Tensor) -> Tensor:
        return torch.autograd.grad(h, x, e, retain_graph=True, is_grads_batched=True)[0]

    def push(v: Tensor) -> Tensor:
        return torch.autograd.grad(linear, zero, v, retain_graph=True, is_grads_batched=True)[0]

    if rank == 0:
        return h.detach(), push(pull(eps[None]))[0]
    k = min(rank, h.shape[1], x.shape[1])
    q = _orthonormal(normal((len(x), k, h.shape[1]), rng, x.dtype).transpose(0, 1))
    for _ in range(ITERATIONS):
        q = _orthonormal(push(pull(q)))
    down = pull(q)
    weights = torch.einsum("kbd,lbd,lbh,bh->kb", down, down, q, eps)
    return h.detach(), torch.einsum("kb,kbh->bh", weights, q)


def _orthonormal(q: Tensor) -> Tensor:
    """k vectors of each row [k, B, H], made orthonormal."""
    columns: Tensor = torch.linalg.qr(q.permute(1, 2, 0)).Q
    return columns.permute(2, 0, 1)
