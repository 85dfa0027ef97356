"""Stacks of autoencoders of one layer, each of which learns on what the ones below make of the images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor

from genlearn._types import Batch, Logs, Nets
from genlearn.losses.reconstruction import RECONSTRUCTIONS, ReconstructionName
from genlearn.maths.rng import Rng
from genlearn.models.stack import greedy
from genlearn.nets.layers import Layers
from genlearn.nets.tied import TiedLayer
from genlearn.train import Budget, Optimizer, Stage, Stream

Cost: TypeAlias = Callable[[Tensor, Tensor], Tensor]
LayerLoss: TypeAlias = Callable[[TiedLayer, Tensor, Cost, Rng], tuple[Tensor, Logs]]
"""(layer, x [B, D], cost (x, outputs) -> [B], rng) -> (scalar, logs)."""


class LayerNets(Nets):
    """The nets of a model that begins with such a stack."""

    layers: Layers[TiedLayer]


def layers(sizes: Sequence[int], activation: str, rng: torch.Generator) -> Layers[TiedLayer]:
    """One between any two neighbouring sizes."""
    return Layers(TiedLayer(m, n, activation, rng) for m, n in pairwise(sizes))


def climb(stack: Iterable[TiedLayer], x: Tensor) -> Tensor:
    """The last hidden layer [B, H_n] of images x [B, ...]."""
    x = x.flatten(1)
    for layer in stack:
        x = layer.encode(x)
    return x


def greedy_layers(
    n_layers: int,
    budget: Budget,
    optimizer: Optimizer,
    loss: LayerLoss,
    costs: tuple[ReconstructionName, ReconstructionName] = ("bce", "bce"),
) -> list[Stage]:
    """The stages, one a layer; costs: of the images, and of the units of lower layers. A begins at the data's mean."""

    def below(i: int, nets: LayerNets, x: Tensor) -> Tensor:
        return climb(list(nets.layers)[:i], x)

    def start(i: int, nets: LayerNets, stream: Stream, rng: Rng) -> None:
        mean = stream.mean(partial(below, i, nets)).flatten()
        nets.layers[i].a.copy_(mean.clamp(0.01, 0.99).logit() if costs[i > 0] == "bce" else mean)

    def prepare(i: int, nets: LayerNets, batch: Batch, rng: Rng) -> Batch:
        return batch._replace(x=below(i, nets, batch.x))

    def learn(i: int, nets: LayerNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        return loss(nets.layers[i], batch.x, RECONSTRUCTIONS[costs[i > 0]], rng)

    name, owns = "layer{}".format, lambda i: (f"layers.{i}",)
    return greedy(n_layers, budget, lambda _: optimizer, name=name, owns=owns, loss=learn, start=start, prepare=prepare)


def denoising(
    layer: TiedLayer, x: Tensor, cost: Cost, rng: Rng, corrupt: Callable[[Tensor, Rng], Tensor]
) -> tuple[Tensor, Logs]:
    """x from what the layer sees of corrupted x (Vincent et al. 2010)."""
    return cost(x, layer.outputs(layer.encode(corrupt(x, rng)))).mean(), {}


def contractive(layer: TiedLayer, x: Tensor, cost: Cost, rng: Rng, weight: float) -> tuple[Tensor, Logs]:
    """x from its own hidden layer, plus weight ||dh/dx||_F^2, which is in closed form (Rifai et al. 2011)."""
    h = layer.encode(x)
    error, norm = cost(x, layer.outputs(h)).mean(), layer.squared_jacobian_norm(x).mean()
    return error + weight * norm, {"reconstruction": error, "jacobian": norm}
