"""Fully connected networks, whose dropout draws from an explicit generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from genlearn.maths.rng import coins
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


def init_uniform(module: nn.Module, limit: float, rng: torch.Generator) -> None:
    """Weights ~ U(-limit, limit), biases 0, in every linear or convolutional layer."""
    for name, p in module.named_parameters():
        nn.init.zeros_(p) if name.endswith("bias") else nn.init.uniform_(p, -limit, limit, generator=rng)


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


class MLP(nn.Module):
    """Layers of `sizes` with an activation (or maxout) between them, linear at the end: [B, ...] -> [B, sizes[-1]].

    `pieces` > 0 makes the hidden layers maxout. `input_dropout` and `dropout` are the probabilities with which an input
    and a hidden unit are dropped, where the caller gives `rng`. minibatch: the last layer is shown how the rows differ
    too (discrimination, deviation).
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation_name: str = "relu",
        *,
        pieces: int = 0,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        minibatch: str = "none",
    ) -> None:
        super().__init__()
        pairs = list(zip(sizes, sizes[1:], strict=False))
        self.hidden = nn.ModuleList(
            Maxout(n, m, pieces) if pieces else nn.Sequential(nn.Linear(n, m), activation(activation_name))
            for n, m in pairs[:-1]
        )
        n, m = pairs[-1]
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
        return y
