"""Fully connected networks, whose dropout draws from an explicit generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from genlearn.maths.rng import coins
from genlearn.nets.conv import BatchNorm
from genlearn.nets.minibatch import MINIBATCH
from genlearn.shapes import Float
from genlearn.words import unknown

Activation: TypeAlias = Literal["relu", "tanh", "leaky_relu", "softplus", "sigmoid", "elu", "silu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "silu": nn.SiLU,
}


def activation(name: str) -> nn.Module:
    """The module of an activation by name; leaky ReLU has slope 0.2 (Radford et al. 2016). ValueError if unknown."""
    if name not in ACTIVATIONS:
        raise ValueError(unknown("activation", name, ACTIVATIONS))
    return nn.LeakyReLU(0.2) if name == "leaky_relu" else ACTIVATIONS[name]()


def dropout(x: Float[Tensor, "*d"], p: float, rng: torch.Generator | None) -> Float[Tensor, "*d"]:
    """x m / (1 - p) with m ~ Bernoulli(1 - p) for every element; x itself if `rng` is None or p = 0.

    Hinton et al. 2012 (dropout), with the factor in training.
    """
    if rng is None or p == 0:
        return x
    return x * (coins(x.shape, 1 - p, rng) * x.new_tensor(1 / (1 - p)))


class Maxout(nn.Module):
    """h_i = max_j (x W_ij + b_ij), j = 1 .. pieces: [B, n_in] -> [B, units] (Goodfellow et al. 2013, section 2)."""

    def __init__(self, n_in: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(n_in, units * pieces)

    def forward(self, x: Float[Tensor, "B n_in"]) -> Float[Tensor, "B units"]:
        """h: [B, n_in] -> [B, units]."""
        y: Tensor = _Max.apply(self.linear(x).unflatten(1, (self.pieces, -1)))  # type: ignore[no-untyped-call]
        return y


class _Max(torch.autograd.Function):
    """The maximum over axis 1, equal pieces sharing the gradient, as `amax`, with a cheaper backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.amax(1)
        share = (x == y.unsqueeze(1)).to(x.dtype)
        ctx.save_for_backward(share.div_(share.sum(1, keepdim=True)))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (share,) = ctx.saved_tensors
        gradient: Tensor = grads[0].unsqueeze(1) * share
        return gradient


class Branches(nn.Module):
    """A first layer that is several, one for each part of the input: [B, sum of n] -> [B, sum of m], pairs (n, m)."""

    def __init__(self, parts: Sequence[tuple[int, int]], make: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.sizes = [n for n, _ in parts]
        self.layers = nn.ModuleList(make(n, m) for n, m in parts)

    def forward(self, x: Float[Tensor, "B n"]) -> Float[Tensor, "B m"]:
        """The layers' outputs, one behind the other."""
        return torch.cat([layer(part) for layer, part in zip(self.layers, x.split(self.sizes, 1), strict=True)], 1)


class MLP(nn.Module):
    """Layers of `sizes` with an activation (or maxout) between them, linear at the end: [B, ...] -> [B, sizes[-1]].

    `pieces` of each hidden layer (one number: of all) make it maxout; 0 does not. `input_dropout` and `dropout` are the
    probabilities with which an input and a hidden unit are dropped, where the caller gives `rng`. branches: the first
    layer is several, see `Branches`. minibatch: the last layer is shown how the rows differ too (discrimination,
    deviation). normalise: batch normalisation before each activation (not of maxout).
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation_name: str = "relu",
        *,
        pieces: int | Sequence[int] = 0,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        branches: Sequence[tuple[int, int]] = (),
        minibatch: str = "none",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        if branches:
            sizes = (sizes[0], sum(m for _, m in branches), *sizes[1:])
        *hidden, (n, m) = pairwise(sizes)
        many = [pieces] * len(hidden) if isinstance(pieces, int) else pieces

        def layer(k: int) -> Callable[[int, int], nn.Module]:
            if k:
                return lambda n, m: Maxout(n, m, k)
            if normalise:
                return lambda n, m: nn.Sequential(nn.Linear(n, m), BatchNorm(m), activation(activation_name))
            return lambda n, m: nn.Sequential(nn.Linear(n, m), activation(activation_name))

        self.hidden = nn.ModuleList(
            Branches(branches, layer(k)) if branches and not i else layer(k)(*pair)
            for i, (k, pair) in enumerate(zip(many, hidden, strict=True))
        )
        self.minibatch = None if minibatch == "none" else MINIBATCH[minibatch](n)
        self.out = nn.Linear(n if self.minibatch is None else n + self.minibatch.n_extra, m)
        self.input_dropout, self.dropout = input_dropout, dropout

    def features(self, x: Float[Tensor, "B ..."], rng: torch.Generator | None = None) -> Float[Tensor, "B _"]:
        """The last hidden layer: [B, ...] -> [B, sizes[-2]]."""
        x = x.flatten(1)
        for i, layer in enumerate(self.hidden):
            x = layer(dropout(x, self.dropout if i else self.input_dropout, rng))
        return x

    def forward(self, x: Float[Tensor, "B ..."], rng: torch.Generator | None = None) -> Float[Tensor, "B _"]:
        """The outputs: [B, ...] -> [B, sizes[-1]]; dropout where `rng` is given."""
        last = self.dropout if len(self.hidden) else self.input_dropout
        features = dropout(self.features(x, rng), last, rng)
        y: Tensor = self.out(features if self.minibatch is None else self.minibatch(features))
        return y.to(x.dtype)
