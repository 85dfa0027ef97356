"""The classifier that starts from a stack of RBMs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from genlearn._types import Batch, Logs
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.maths.rng import Rng
from genlearn.models.stack import StackNets, copy_up, greedy_rbms, init_glorot, label_loss, stack
from genlearn.nets.mlp import MLP
from genlearn.parameters import Range
from genlearn.train import Budget, Player, Schedule, Stage, Stream


class StackedRBMNets(StackNets):
    """The RBMs, where they learn first, and the network."""

    mlp: MLP


@dataclass(kw_only=True, eq=False, repr=False)
class StackedRBMClassifier(GenerativeEstimator):
    """Multi-layer perceptron of sigmoid units, its weights first learned from images alone, by a stack of RBMs.

    Each RBM learns the means of the one below by CD; their weights start a network with a softmax on top, which
    back-propagation of -log p(y | x) fine-tunes (epochs, learning_rate, optimizer are of this stage). Images whose
    label is -1 serve the RBMs only: they help where labels are few. `pretrain` = False starts from random weights.

    Hinton, Osindero and Teh 2006; Bengio et al. 2007; Srivastava et al. 2014 (dropout after pretraining, section B.2).
    """

    hidden: Annotated[tuple[int, ...], Range(1), "units of the hidden layers, bottom up"] = (500, 500)
    pretrain: Annotated[bool, "learn the RBMs first"] = True
    pretrain_epochs: Annotated[float, Range(0, open=True), "epochs of contrastive divergence a layer"] = 10
    pretrain_rate: Annotated[float | Schedule, Range(0, open=True), "step size of contrastive divergence"] = 0.05
    k: Annotated[int, Range(1), "Gibbs steps of contrastive divergence"] = 1
    dropout: Annotated[float, Range(0, 0.95), "probability to drop a hidden unit in back-propagation"] = 0.0
    input_dropout: Annotated[float, Range(0, 0.95), "probability to drop a pixel in back-propagation"] = 0.0

    family: ClassVar[str] = "energy"
    paper: ClassVar[str] = "Hinton, Osindero and Teh 2006"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mnist-800-800": {
            "hidden": (800, 800), "pretrain_epochs": 6, "epochs": 60, "learning_rate": "linear(1e-3, 0, over=3.15e6)",
            "dropout": 0.5, "input_dropout": 0.2,
        },
        "tiny": {"hidden": (16,), "pretrain_epochs": 2, "epochs": 60, "learning_rate": 0.01},
    }  # fmt: skip
    _uses_labels: ClassVar[bool] = True
    _needs_labels: ClassVar[bool] = True

    def _build(self, shape: Shape, rng: torch.Generator) -> StackedRBMNets:
        sizes = (math.prod(shape), *self.hidden)
        outputs = (*sizes, self._n_classes)
        mlp = MLP(outputs, "sigmoid", input_dropout=self.input_dropout, dropout=self.dropout)
        init_glorot(mlp, rng)
        nn.init.zeros_(mlp.out.weight)
        return StackedRBMNets(rbms=stack(sizes, rng) if self.pretrain else None, mlp=mlp)

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        stages = []
        if self.pretrain:
            momentum = self._optimizer(name="momentum", lr=self.pretrain_rate, momentum=0.9, weight_decay=0.0)
            stages = greedy_rbms(len(self.hidden), Budget(epochs=self.pretrain_epochs), momentum, self.k)
        mlp = Player("mlp", ("mlp",), self._loss, self._optimizer())
        return [*stages, Stage("fine-tune", [mlp], self._budget(), start=self._start, labelled=1.0)]

    @staticmethod
    def _start(nets: StackedRBMNets, stream: Stream, rng: Rng) -> None:
        if "rbms" in nets:
            copy_up(nets.rbms, nets.mlp)

    @staticmethod
    def _loss(nets: StackedRBMNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        assert batch.y is not None
        return label_loss(nets.mlp(batch.x, rng), batch.y, rng), {}

    def _classify(self, nets: StackedRBMNets, x: Tensor) -> Tensor:
        return log_softmax(nets.mlp(x), 1)
