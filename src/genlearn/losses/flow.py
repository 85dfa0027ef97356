"""Flow matching: a velocity field learned along paths from noise to data."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from torch import Tensor

from genlearn.shapes import Float

PathName: TypeAlias = Literal["linear", "vp"]
"""linear: x_t = t x + (1 - t) z (conditional optimal transport); vp: x_t = sin(pi t / 2) x + cos(pi t / 2) z."""


def path(t: Float[Tensor, "*d"], name: PathName) -> tuple[Float[Tensor, "*d"], Float[Tensor, "*d"]]:
    """a(t), s(t) of x_t = a x + s z, noise z at t = 0 and data x at t = 1: [...] -> [...], [...].

    Lipman et al. 2023, example II (linear; Liu et al. 2023, equation 1); Albergo and Vanden-Eijnden 2023 (vp, which
    keeps the variance where the data have variance 1).
    """
    if name == "linear":
        return t, 1 - t
    return (math.pi / 2 * t).sin(), (math.pi / 2 * t).cos()


def on_path(
    x: Float[Tensor, "B *d"], z: Float[Tensor, "B *d"], t: Float[Tensor, "B"], name: PathName
) -> tuple[Float[Tensor, "B *d"], Float[Tensor, "B *d"]]:
    """x_t = a x + s z and its velocity a' x + s' z (linear: x - z) at t [B] in [0, 1]: [B, ...] twice."""
    t = t.view(-1, *[1] * (x.ndim - 1))
    a, s = path(t, name)
    if name == "linear":
        return a * x + s * z, x - z
    return a * x + s * z, math.pi / 2 * (s * x - a * z)


def flow_matching(v: Float[Tensor, "B *d"], velocity: Float[Tensor, "B *d"]) -> Float[Tensor, "B"]:
    """The mean over values of (v(x_t, t) - velocity)^2 of every row: [B, ...] -> [B].

    At the optimum v(x, t) = E[velocity | x_t = x], whose flow carries the law of z to that of x.
    Lipman et al. 2023, equation 9 (CFM), with the field of equation 23.
    """
    return (v - velocity).flatten(1).square().mean(1)


def noised(
    x: Float[Tensor, "B *d"], t: float, u: float, eps: Float[Tensor, "B *d"], name: PathName
) -> Float[Tensor, "B *d"]:
    """x_t drawn given x_u = x, t < u: (a / a_u) x + sqrt(s^2 - (a s_u / a_u)^2) eps, eps ~ N(0, I).

    If x has the law of x_u, this has that of x_t: the way back of Lugmayr et al. 2022 (RePaint), on this path.
    """
    a, s = path(x.new_tensor([t, u]), name)
    ratio = a[0] / a[1]
    return ratio * x + (s[0].square() - (ratio * s[1]).square()).clamp_min(0).sqrt() * eps
