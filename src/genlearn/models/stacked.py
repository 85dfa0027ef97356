"""Classifiers that start from a stack of layers which have learned from images alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from genlearn._types import Batch, Logs, Nets
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.maths.rng import Rng
from genlearn.models.stack import copy_up, init_glorot, label_loss
from genlearn.nets.mlp import MLP
from genlearn.parameters import Range
from genlearn.train import Player, Schedule, Stage, Stream


class StackedNets(Nets):
    """The network; with the layers where they learn first, `rbms` or `layers`."""

    mlp: MLP


@dataclass(kw_only=True, eq=False, repr=False)
class StackedClassifier(GenerativeEstimator):
    """Multi-layer perceptron of sigmoid units, its weights first learned layer by layer, from images alone."""

    hidden: Annotated[tuple[int, ...], Range(1), "units of the hidden layers, bottom up"] = (500, 500)
    pretrain: Annotated[bool, "learn the layers first"] = True
    pretrain_epochs: Annotated[float, Range(0, open=True), "epochs of each layer by itself"] = 10
    pretrain_rate: Annotated[float | Schedule, Range(0, open=True), "step size of the layers"] = 0.05
    dropout: Annotated[float, Range(0, 0.95), "probability to drop a hidden unit in back-propagation"] = 0.0
    input_dropout: Annotated[float, Range(0, 0.95), "probability to drop a pixel in back-propagation"] = 0.0

    _uses_labels: ClassVar[bool] = True
    _needs_labels: ClassVar[bool] = True
    _below: ClassVar[str]

    def _stack(self, sizes: Sequence[int], rng: torch.Generator) -> nn.Module:
        """The layers between these sizes, the nets' item `_below`, each with weights W [D, H] and hidden biases b."""
        raise NotImplementedError

    def _greedy(self) -> list[Stage]:
        """The stages in which they learn."""
        raise NotImplementedError

    def _build(self, shape: Shape, rng: torch.Generator) -> StackedNets:
        sizes = (math.prod(shape), *self.hidden)
        outputs = (*sizes, self._n_classes)
        mlp = MLP(outputs, "sigmoid", input_dropout=self.input_dropout, dropout=self.dropout)
        init_glorot(mlp, rng)
        nn.init.zeros_(mlp.out.weight)
        stack = {self._below: self._stack(sizes, rng)} if self.pretrain else {}
        return StackedNets(**stack, mlp=mlp)

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        mlp = Player("mlp", ("mlp",), self._loss, self._optimizer())
        tune = Stage("fine-tune", [mlp], self._budget(), start=self._start, labelled=1.0)
        return [*(self._greedy() if self.pretrain else []), tune]

    def _start(self, nets: Any, stream: Stream, rng: Rng) -> None:
        if self.pretrain:
            copy_up(nets[self._below], nets.mlp)

    @staticmethod
    def _loss(nets: StackedNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        assert batch.y is not None
        return label_loss(nets.mlp(batch.x, rng), batch.y, rng), {}

    def _classify(self, nets: StackedNets, x: Tensor) -> Tensor:
        return log_softmax(nets.mlp(x), 1)
