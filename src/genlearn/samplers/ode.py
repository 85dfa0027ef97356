"""Ordinary differential equations dx/dt = f(x, t): Runge-Kutta methods of fixed and of adaptive steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from genlearn.maths.divergence import divergence
from genlearn.progress import track, work
from genlearn.shapes import Float

Field: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(x [B, ...], t [B]) -> dx/dt [B, ...], every row by itself."""

Solver: TypeAlias = Literal["euler", "heun", "rk4", "adaptive"]


class Tableau(NamedTuple):
    """Butcher's: nodes c, rows of the matrix a, weights b, and b minus the weights of the lower order, if embedded."""

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    e: tuple[float, ...] = ()


EULER = Tableau((0,), ((),), (1,))
HEUN = Tableau((0, 1), ((), (1,)), (1 / 2, 1 / 2))
RK4 = Tableau((0, 1 / 2, 1 / 2, 1), ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))
# Dormand and Prince 1980, order 5 with an error of order 4; its last slope is the first one of the next step.
DORMAND_PRINCE = Tableau(
    (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1),
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0),
    (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)
TABLEAUS = {"euler": EULER, "heun": HEUN, "rk4": RK4}
MOST = 1000  # adaptive steps: a field that needs more is no smooth one


def solve(
    f: Field,
    x: Float[Tensor, "B ..."],
    t0: float,
    t1: float,
    solver: Solver = "heun",
    n_steps: int = 40,
    tolerance: float = 1e-3,
) -> Float[Tensor, "B ..."]:
    """x(t1) of dx/dt = f(x, t), x(t0) = x, forwards or backwards: [B, ...] -> [B, ...].

    euler, heun, rk4: n_steps equal steps of 1, 2 and 4 evaluations, whose error is O(h), O(h^2), O(h^4). adaptive: see
    `adaptive`; n_steps is not used. The state at the end depends on x alone: no noise. Hairer, Norsett and Wanner 1993,
    II.1.
    """
    if solver == "adaptive":
        return adaptive(f, x, t0, t1, tolerance)
    times = [t0 + (t1 - t0) * i / n_steps for i in range(n_steps + 1)]
    one = x.new_ones(len(x))
    for t, after in pairwise(times) if n_steps == 1 else track(pairwise(times), "steps", n_steps):
        slopes = _slopes(f, x, t * one, (after - t) * one, TABLEAUS[solver])
        x = x + (after - t) * _sum(TABLEAUS[solver].b, slopes)
    return x


def adaptive(
    f: Field, x: Float[Tensor, "B ..."], t0: float, t1: float, tolerance: float = 1e-3
) -> Float[Tensor, "B ..."]:
    """As `solve`, each row by steps of its own, of order 5: the root mean square of a step's error, estimated by order
    4, stays below tolerance (1 + |x|).

    So no row depends on the others. Dormand and Prince 1980; the step control of Hairer, Norsett and Wanner 1993, II.4.
    Raises ValueError where a row takes more than 1,000 steps.
    """
    t, h = x.new_full((len(x),), t0), x.new_full((len(x),), (t1 - t0) / 20)
    first = f(x, t)
    with work("steps", even=False) as step:
        for _ in range(MOST):
            left = t1 - t
            last = h.abs() >= left.abs()
            h = torch.where(last, left, h)
            slopes = _slopes(f, x, t, h, DORMAND_PRINCE, first)
            y = x + _rows(h, x) * _sum(DORMAND_PRINCE.b, slopes)
            scale = tolerance * (1 + torch.maximum(x.abs(), y.abs()))
            error = (_rows(h, x) * _sum(DORMAND_PRINCE.e, slopes) / scale).flatten(1).square().mean(1).sqrt()
            accepted = error <= 1  # never where it is NaN
            rows = _rows(accepted, x)
            x, first = torch.where(rows, y, x), torch.where(rows, slopes[-1], first)
            t = torch.where(accepted, torch.where(last, t1, t + h), t)
            if bool((t == t1).all()):
                return x
            step(float((t - t0).abs().min()) / abs(t1 - t0), "")
            h = h * (0.9 * error.clamp_min(1e-10) ** -0.2).clamp(0.2, 5.0).nan_to_num(0.2)
    raise ValueError(
        f"the field takes more than {MOST} steps for tolerance {tolerance:g}, expected a smoother one; "
        "the usual fix is a larger tolerance, or solver='heun'"
    )


def transport(
    f: Field,
    x: Float[Tensor, "B *d"],
    t0: float,
    t1: float,
    solver: Solver = "heun",
    n_steps: int = 40,
    tolerance: float = 1e-3,
    probes: Float[Tensor, "K _ *d"] | None = None,
) -> tuple[Float[Tensor, "B *d"], Float[Tensor, "B"]]:
    """x(t1) as of `solve`, and log |det dx(t1) / dx| = int div f(x(t), t) dt from t0 to t1: [B, ...] -> [B, ...], [B].

    log p of x at t0 is log p of x(t1) at t1 plus that: the instantaneous change of variables (Chen et al. 2018, theorem
    1). With probes the divergence is estimated, see `maths.divergence` (Grathwohl et al. 2019, equation 8).
    """

    def both(state: Tensor, t: Tensor) -> Tensor:
        slope, trace = divergence(lambda x: f(x, t), state[:, :-1].view_as(x), probes)
        return torch.cat([slope.flatten(1), trace[:, None]], 1)

    start = torch.cat([x.flatten(1), x.new_zeros(len(x), 1)], 1)
    end = solve(both, start, t0, t1, solver, n_steps, tolerance)
    return end[:, :-1].view_as(x), end[:, -1]


def _slopes(f: Field, x: Tensor, t: Tensor, h: Tensor, method: Tableau, first: Tensor | None = None) -> list[Tensor]:
    """f at the nodes of a step of h [B] from x at t [B]; `first` is f(x, t), where it is known."""
    slopes = [f(x, t) if first is None else first]
    for c, row in zip(method.c[1:], method.a[1:], strict=True):
        slopes.append(f(x + _rows(h, x) * _sum(row, slopes), t + c * h))
    return slopes


def _sum(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    total, *rest = (w * k for w, k in zip(weights, slopes, strict=True) if w)
    for term in rest:
        total = total + term
    return total


def _rows(values: Tensor, x: Tensor) -> Tensor:
    """Values [B] to multiply x [B, ...] with."""
    return values.view(-1, *[1] * (x.ndim - 1))
