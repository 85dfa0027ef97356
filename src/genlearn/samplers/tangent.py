"""A walk along the manifold that a contractive autoencoder has learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from genlearn.maths.jacobian import along_leading
from genlearn.maths.rng import normal
from genlearn.shapes import Float


@torch.no_grad()
def tangent_chain(
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    x: Float[Tensor, "B d"],
    step: float,
    rank: int,
    rng: torch.Generator,
) -> Iterator[Float[Tensor, "B d"]]:
    """Images x <- g(f(x) + J J' eps), eps ~ N(0, step^2 I), J = df/dx, from x [B, d], endlessly.

    J J' eps moves the code as a step J' eps in the image would: mostly along the few directions that f has not
    contracted, the tangents of the manifold; rank > 0 keeps the leading singular vectors of J alone. Rifai et al. 2012,
    algorithm 1.
    """
    while True:
        h = encode(x)
        h, move = along_leading(encode, x, step * normal(h.shape, rng, h.dtype), rank, rng)
        x = decode(h + move)
        yield x
