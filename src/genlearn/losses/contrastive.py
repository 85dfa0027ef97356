"""Data against the model's own states: surrogates whose gradient is the difference of their statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.shapes import Float


def contrast(
    net: RestrictedBoltzmann,
    data: tuple[Float[Tensor, "B D"], Float[Tensor, "B H"]],
    model: tuple[Float[Tensor, "M D"], Float[Tensor, "M H"]],
    *,
    centre: tuple[Float[Tensor, "D"], Float[Tensor, "H"] | None] | None = None,
    sparsity: tuple[Float[Tensor, "D"], Float[Tensor, "H"]] | None = None,
) -> Float[Tensor, ""]:
    """mean F(data) - mean F(model), as far as its gradient goes, for states (v [B, D], p(h | v) [B, H]) of either.

    The gradient is that of contrastive divergence,

        d/dW = <v p>_model - <v p>_data,  d/da = <v>_model - <v>_data,  d/db = <p>_model - <p>_data

    (u for v where units are Gaussian); for the options, and for what its value is, see `weighted_free_energy`.

    Under autocast the statistics stay in full precision, being small differences of means; but for as many binary
    states of either the products are taken in the low one: their terms are exact, or p rounded the same for data and
    model, and the difference is taken within the sum, which is of float32.
    """
    (v, p), (v_model, p_model) = data, model
    low = _low(v.device) if len(v) == len(v_model) and net.visible == "binary" else None
    with torch.no_grad(), torch.autocast(v.device.type, enabled=False):
        x, y = net.scaled(v), net.scaled(v_model)
        if low is None:
            dW = (y.T @ p_model).addmm_(x.T, p, beta=1 / len(y), alpha=-1 / len(x))
        else:
            dW = (torch.cat([y, -x]).to(low).T @ torch.cat([p_model, p]).to(low)).to(x.dtype).mul_(1 / len(x))
        return _surrogate(net, dW, y.mean(0) - x.mean(0), p_model.mean(0) - p.mean(0), centre, sparsity)


def weighted_free_energy(
    net: RestrictedBoltzmann,
    v: Float[Tensor, "n D"],
    p: Float[Tensor, "n H"],
    weights: Float[Tensor, "n"],
    *,
    centre: tuple[Float[Tensor, "D"], Float[Tensor, "H"] | None] | None = None,
    sparsity: tuple[Float[Tensor, "D"], Float[Tensor, "H"]] | None = None,
) -> Float[Tensor, ""]:
    """sum_i w_i F(v_i), as far as its gradient goes, given p = p(h | v): v [n, D], p [n, H], w [n] of sum 0.

    The value is the part <a, da> + <b, db> of the linear form <parameters, gradient>, and is no score.

    centre (mu [D], lambda [H]): the gradient of the centred parametrisation, (v - mu) W (h - lambda), taken back to
    this one; it does not change when 0 and 1 change places (Montavon and Mueller 2012; Melchior, Fischer and Wiskott
    2016). Without lambda the hidden side stays as it is, and its units get sparser. sparsity (x [D], g [H]): adds the
    gradient of g.(b + x W).
    """
    with torch.no_grad(), torch.autocast(v.device.type, enabled=False):
        x, wp = net.scaled(v), p * -weights[:, None]
        return _surrogate(net, x.T @ wp, -weights @ x, wp.sum(0), centre, sparsity)


def _surrogate(
    net: RestrictedBoltzmann,
    dW: Tensor,
    da: Tensor,
    db: Tensor,
    centre: tuple[Tensor, Tensor | None] | None,
    sparsity: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """A scalar with this gradient, which is overwritten, after the options of `weighted_free_energy`."""
    if centre is not None:
        mu, lam = centre
        dW.addr_(mu, db, alpha=-1)
        if lam is not None:
            dW.addr_(da, lam, alpha=-1)
            da = da - dW @ lam
        db = db - mu @ dW
    if sparsity is not None:
        dW.addr_(*sparsity)
        db += sparsity[1]
    with torch.enable_grad():
        return _linear(net.W, net.a, net.b, dW, da, db)


def _low(device: torch.device) -> torch.dtype | None:
    """The type of large products under autocast, None outside."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


class _Linear(torch.autograd.Function):
    """a.da + b.db, whose gradient is (dW, da, db), handed over in place, without another [D, H] matrix a step."""

    @staticmethod
    def forward(ctx: Any, W: Tensor, a: Tensor, b: Tensor, dW: Tensor, da: Tensor, db: Tensor) -> Tensor:
        ctx.gradients = dW, da, db
        return a @ da + b @ db

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # once: they are scaled where they lie
        scale = grads[0]
        # A loss of nothing else needs no pass over [D, H]; to ask a GPU would take longer than the pass.
        if scale.device.type != "cpu" or scale != 1 or scale.requires_grad:
            gradients = [g.mul_(scale) for g in gradients]
        return (*gradients, None, None, None)


_linear: Callable[..., Tensor] = _Linear.apply


def energy_difference(
    W: Sequence[Float[Tensor, "_ _"]],
    b: Sequence[Float[Tensor, "_"]],
    data: Sequence[Float[Tensor, "B _"]],
    model: Sequence[Float[Tensor, "M _"]],
    centers: Sequence[Float[Tensor, "_"] | None] | None = None,
) -> Float[Tensor, ""]:
    """mean E(data) - mean E(model) of states [x_0 .. x_L], with its gradient in the weights and biases.

    E is linear in them: the difference is their product with the difference of the statistics,

        d/dW_i = <x_{i-1} x_i>_model - <x_{i-1} x_i>_data,  d/db_i = <x_i>_model - <x_i>_data

    which costs one matrix product a layer and side, none for the value. W_i [H_{i-1}, H_i], b_i [H_i], x_i [B, H_i].

    With centers c_i [H_i] the gradient is taken in the machine whose energy is written in x_i - c_i, and mapped back:
    the same model and the same optima, but weights and biases no longer fight over the means (Montavon and Mueller
    2012; Melchior, Fischer and Wiskott 2016, section 4). The value is then no energy. A layer of None stays as it is.

    Under autocast the statistics stay in full precision, being small differences of means; but where there are as many
    rows of either, the products are taken in the low one: data and model are rounded the same, and their difference is
    taken within the sum, which is of float32.
    """
    n, m = len(data[0]), len(model[0])
    cast = _low(b[0].device) if n == m else None
    total = torch.zeros((), dtype=b[0].dtype, device=b[0].device)
    with torch.autocast(b[0].device.type, enabled=False):
        d = [y.mean(0) - x.mean(0) for x, y in zip(data, model, strict=True)]
        db = list(d)
        for i, w in enumerate(W):
            if cast is None:
                dw = (data[i].T @ data[i + 1]).addmm_(model[i].T, model[i + 1], beta=-1 / n, alpha=1 / m)
            else:
                below, above = (torch.cat([model[j].to(cast), s * data[j].to(cast)]) for j, s in ((i, 1), (i + 1, -1)))
                dw = (below.T @ above).to(w.dtype).mul_(1 / n)
            if centers is not None:
                low, high = centers[i : i + 2]
                if low is not None:
                    dw.addr_(low, d[i + 1], alpha=-1)
                if high is not None:
                    dw.addr_(d[i], high, alpha=-1)
                    db[i] = db[i] - dw @ high
                if low is not None:  # after both corrections of dw
                    db[i + 1] = db[i + 1] - low @ dw
            total = total + torch.dot(w.view(-1), dw.view(-1))
        for bias, db_i in zip(b, db, strict=True):
            total = total + bias @ db_i
    return total
