"""Greedy training of a stack of RBMs, shared by models that begin with one: each learns what the one below makes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlearn._types import Batch, Logs, Nets
from genlearn.losses.contrastive import contrast, from_hidden, weigh
from genlearn.maths.rng import Rng, bernoulli
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.mlp import MLP
from genlearn.parallel import all_sum
from genlearn.train import Budget, Optimizer, Player, Stage, Stream


def layers(sizes: Sequence[int], rng: torch.Generator) -> dict[str, nn.Module]:
    """Binary RBMs "rbm0", "rbm1", ... between neighbouring sizes."""
    return {f"rbm{i}": RestrictedBoltzmann(m, n, rng) for i, (m, n) in enumerate(pairwise(sizes))}


def ascend(nets: Nets, x: Tensor, n: int) -> Tensor:
    """p(h_n | .. p(h_1 | x)), the means of the n-th layer [B, H_n]."""
    x = x.flatten(1)
    for i in range(n):
        x = nets[f"rbm{i}"].p_hidden(x)  # type: ignore[operator]
    return x


def greedy(n_layers: int, epochs: float, optimizer: Optimizer, k: int = 1) -> list[Stage]:
    """One stage of contrastive divergence for each RBM, on the means that the ones below give (Hinton et al. 2006)."""
    return [
        Stage(
            f"layer {i + 1}",
            [Player(f"rbm{i}", (f"rbm{i}",), partial(_divergence, i, k), optimizer)],
            Budget(epochs=epochs),
            start=partial(_start, i),
            prepare=partial(_prepare, i),
        )
        for i in range(n_layers)
    ]


def _start(i: int, nets: Nets, stream: Stream, rng: Rng) -> None:
    net: RestrictedBoltzmann = nets[f"rbm{i}"]  # type: ignore[assignment]
    net.fit_biases(stream.mean(lambda x: ascend(nets, x, i)))


def _prepare(i: int, nets: Nets, batch: Batch, rng: Rng) -> Batch:
    return Batch(ascend(nets, batch.x, i), batch.y)


def _divergence(i: int, k: int, nets: Nets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
    net: RestrictedBoltzmann = nets[f"rbm{i}"]  # type: ignore[assignment]
    with torch.no_grad():
        v = batch.x
        p = net.p_hidden(v)
        v_model, p_model = from_hidden(net, bernoulli(p, rng), k, rng)
    return contrast(net, torch.cat([v, v_model]), torch.cat([p, p_model]), weigh(len(v), len(v), v)), {}


@torch.no_grad()
def copy_up(nets: Nets, mlp: MLP) -> None:
    """Weights and hidden biases of the RBMs become the layers of a network, bottom up."""
    for i, linear in enumerate(_linears(mlp)):
        if f"rbm{i}" in nets:
            net: RestrictedBoltzmann = nets[f"rbm{i}"]  # type: ignore[assignment]
            linear.weight.copy_(net.W.T)
            linear.bias.copy_(net.b)


@torch.no_grad()
def copy_down(nets: Nets, mlp: MLP, code: RestrictedBoltzmann) -> None:
    """The transposes and visible biases of the RBMs become the layers of a network, top down from the code."""
    first, *rest = _linears(mlp)
    first.weight.copy_(code.W.T)
    first.bias.copy_(code.b)
    for i, linear in enumerate(reversed(rest)):
        net: RestrictedBoltzmann = nets[f"rbm{i}"]  # type: ignore[assignment]
        linear.weight.copy_(net.W)
        linear.bias.copy_(net.a)


def _linears(mlp: MLP) -> list[nn.Linear]:
    return [module for module in mlp.modules() if isinstance(module, nn.Linear)]


@torch.no_grad()
def init_glorot(mlp: MLP, rng: torch.Generator) -> None:
    """Where no RBM gives the weights: U(-l, l), l = 4 sqrt(6 / (m + n)), which suits sigmoid units (Bengio 2012)."""
    for linear in _linears(mlp):
        nn.init.xavier_uniform_(linear.weight, 4.0, generator=rng)
        nn.init.zeros_(linear.bias)


def label_loss(logits: Tensor, y: Tensor, rng: Rng) -> Tensor:
    """-log p(y | x), the mean over the rows whose label is known, those of all processes together."""
    known = all_sum((y >= 0).sum()).clamp_min(1)
    return cross_entropy(logits, y, ignore_index=-1, reduction="sum") * rng.world / known
