"""Critics that learn W1 between N(0, 1) and N(m, 1), where the answer is |m|."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from genlearn.lab.divergences import Array, normal, quadrature
from genlearn.lab.games import play
from genlearn.losses import squared_gradient_norm
from genlearn.maths import Rng, spawn, uniform
from genlearn.nets import MLP
from genlearn.train import Batch, Logs, Nets
from genlearn.words import unknown

Constraint: TypeAlias = Literal["penalty", "clipping"]
CONSTRAINTS = ("penalty", "clipping")
LAMBDA, CLIP, N = 10.0, 0.1, 5000


class CriticNets(Nets):
    """The critic."""

    D: MLP


class Critic(NamedTuple):
    """What a critic found, in the unit of x but for the slope; x [n], f [n]: its curve over both laws."""

    w1: float
    estimate: float
    slope: float
    bound: float
    x: Array
    f: Array


def gradient_penalty(nets: CriticNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
    """E_g f - E_data f + lambda E (|f'(x^)| - 1)^2, x^ evenly between a row of each; a row is (data, fake)."""
    x, y = batch.x.split(1, 1)
    between = torch.lerp(x, y, uniform(x.shape, rng, x.dtype))
    penalty = ((squared_gradient_norm(nets.D, between) + 1e-12).sqrt() - 1).square().mean()
    return nets.D(y).mean() - nets.D(x).mean() + LAMBDA * penalty, {}


def plain(nets: CriticNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
    """E_g f - E_data f; a row of the batch is (data, fake)."""
    x, y = batch.x.split(1, 1)
    return nets.D(y).mean() - nets.D(x).mean(), {}
