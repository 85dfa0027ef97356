"""What a reconstruction costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from torch import Tensor

from genlearn.losses.elbo import log_bernoulli
from genlearn.shapes import Float

ReconstructionName: TypeAlias = Literal["bce", "mse", "rmse"]


def cross_entropy(x: Float[Tensor, "B *d"], out: Float[Tensor, "B *d"]) -> Float[Tensor, "B"]:
    """-sum x log p + (1 - x) log(1 - p), p = sigmoid(out), in nats: x [B, ...] in [0, 1] -> [B]."""
    return -log_bernoulli(x, out)


def squared_error(x: Float[Tensor, "B *d"], out: Float[Tensor, "B *d"]) -> Float[Tensor, "B"]:
    """||x - out||^2 over all pixels: [B, ...] -> [B]."""
    return (x - out).flatten(1).square().sum(1)


def distance(x: Float[Tensor, "B *d"], out: Float[Tensor, "B *d"]) -> Float[Tensor, "B"]:
    """||x - out||, with a slope (0) where they are equal: [B, ...] -> [B]."""
    return (squared_error(x, out) + 1e-12).sqrt()


RECONSTRUCTIONS: dict[ReconstructionName, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": cross_entropy,
    "mse": squared_error,
    "rmse": distance,
}
"""By name; the means over pixels that mse and rmse stand for are these over d, and over its root."""
