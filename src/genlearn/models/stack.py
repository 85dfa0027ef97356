"""Greedy training, layer by layer, and the stack of RBMs that some models begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlearn._types import Batch, Logs, Nets
from genlearn.losses.contrastive import contrast
from genlearn.maths.rng import Rng, bernoulli
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.layers import Layers
from genlearn.nets.mlp import MLP
from genlearn.nets.tied import TiedDecoder, linears
from genlearn.parallel import all_sum
from genlearn.samplers import from_hidden
from genlearn.train import Budget, Optimizer, Player, Schedule, Stage, Stream


def greedy(
    n_layers: int,
    budget: Budget,
    optimizer: Callable[[int], Optimizer],
    *,
    name: Callable[[int], str],
    owns: Callable[[int], tuple[str, ...]],
    loss: Callable[[int, Any, Batch, Rng], tuple[Tensor, Logs]],
    start: Callable[[int, Any, Stream, Rng], None],
    prepare: Callable[[int, Any, Batch, Rng], Batch],
) -> list[Stage]:
    """One stage of one player for each layer, bottom up: each learns on what the ones below make of the images.

    The callables are those of `Player` and `Stage`, with the layer (0 is the lowest) before their other arguments. Of
    a budget of the whole fit, all layers together may use as much as a stage that follows.
    Hinton, Osindero and Teh 2006; Bengio et al. 2007.
    """
    return [
        Stage(
            f"layer {i + 1}",
            [Player(name(i), owns(i), partial(loss, i), optimizer(i))],
            budget,
            share=1 / n_layers,
            start=partial(start, i),
            prepare=partial(prepare, i),
        )
        for i in range(n_layers)
    ]


def layer_rate(rate: float | Schedule | None, n_hidden: int) -> float | Schedule:
    """The step size of an RBM's contrastive divergence: the given one, else min(0.1, 50 / n_hidden).

    While hidden units are fair coins, the curvature p (1 - p) E[h h'] in the weights of a visible unit goes up to
    n_hidden / 16; steps far beyond its inverse turn the hidden units off for good. The constant is from experiments.
    """
    return min(0.1, 50 / n_hidden) if rate is None else rate


# --- a stack of binary RBMs, each of which learns the means that the ones below give


class StackNets(Nets):
    """The nets of a model that begins with a stack."""

    rbms: Layers[RestrictedBoltzmann]


def stack(sizes: Sequence[int], rng: torch.Generator) -> Layers[RestrictedBoltzmann]:
    """Binary RBMs between neighbouring sizes."""
    return Layers(RestrictedBoltzmann(m, n, rng) for m, n in pairwise(sizes))


def ascend(rbms: Iterable[RestrictedBoltzmann], x: Tensor) -> Tensor:
    """p(h_n | .. p(h_1 | x)), the means of the last layer [B, H_n]."""
    x = x.flatten(1)
    for rbm in rbms:
        x = rbm.p_hidden(x)
    return x


def greedy_rbms(
    n_layers: int, budget: Budget, optimizer: Callable[[int], Optimizer], k: int = 1, centred: bool = False
) -> list[Stage]:
    """The stages of CD-k, one for each RBM of a stack; centred: with the gradient of centred visible units."""

    def below(i: int, nets: StackNets, x: Tensor) -> Tensor:
        return ascend(list(nets.rbms)[:i], x)

    def start(i: int, nets: StackNets, stream: Stream, rng: Rng) -> None:
        nets.rbms[i].fit_biases(stream.mean(partial(below, i, nets)))

    def prepare(i: int, nets: StackNets, batch: Batch, rng: Rng) -> Batch:
        return batch._replace(x=below(i, nets, batch.x))

    def loss(i: int, nets: StackNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        net, v = nets.rbms[i], batch.x
        with torch.no_grad():
            p = net.p_hidden(v)
            model = from_hidden(net, bernoulli(p, rng), k, rng)
        return contrast(net, (v, p), model, centre=(net.base_mean(), None) if centred else None), {}

    name, owns = "rbm{}".format, lambda i: (f"rbms.{i}",)
    return greedy(n_layers, budget, optimizer, name=name, owns=owns, loss=loss, start=start, prepare=prepare)


@torch.no_grad()
def copy_up(rbms: Iterable[RestrictedBoltzmann], mlp: MLP) -> None:
    """Weights and hidden biases of the RBMs become the layers of a network, bottom up."""
    for rbm, linear in zip(rbms, linears(mlp), strict=False):
        linear.weight.copy_(rbm.W.T)
        linear.bias.copy_(rbm.b)


@torch.no_grad()
def copy_down(rbms: Iterable[RestrictedBoltzmann], decoder: nn.Module, code: RestrictedBoltzmann) -> None:
    """The transposes and visible biases of the RBMs become the layers of a decoder, top down from the code.

    One whose weights are tied has biases alone.
    """
    down = [(code.W.T, code.b), *((rbm.W, rbm.a) for rbm in reversed(list(rbms)))]
    layers = linears(decoder)
    biases = decoder.biases if isinstance(decoder, TiedDecoder) else [layer.bias for layer in layers]
    for bias, (_, b) in zip(biases, down, strict=True):
        bias.copy_(b)
    for layer, (weight, _) in zip(layers, down, strict=False):
        layer.weight.copy_(weight)


@torch.no_grad()
def init_glorot(net: nn.Module, rng: torch.Generator) -> None:
    """Where no RBM gives the weights: U(-l, l), l = 4 sqrt(6 / (m + n)), which suits sigmoid units (Bengio 2012)."""
    for linear in linears(net):
        nn.init.xavier_uniform_(linear.weight, 4.0, generator=rng)
        nn.init.zeros_(linear.bias)


def label_loss(logits: Tensor, y: Tensor, rng: Rng) -> Tensor:
    """-log p(y | x), the mean over the rows whose label is known, those of all processes together."""
    known = all_sum((y >= 0).sum()).clamp_min(1)
    return cross_entropy(logits, y, ignore_index=-1, reduction="sum") * rng.world / known
