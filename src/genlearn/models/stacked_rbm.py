"""The classifier that starts from a stack of RBMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from torch import nn

from genlearn.models.stack import greedy_rbms, layer_rate, stack
from genlearn.models.stacked import StackedClassifier
from genlearn.parameters import Range
from genlearn.train import Budget, Schedule, Stage


@dataclass(kw_only=True, eq=False, repr=False)
class StackedRBMClassifier(StackedClassifier):
    """Multi-layer perceptron of sigmoid units, its weights first learned from images alone, by a stack of RBMs.

    Each RBM learns the means of the one below by CD; their weights start a network with a softmax on top, which
    back-propagation of -log p(y | x) fine-tunes (epochs, learning_rate, optimizer are of this stage). Images whose
    label is -1 serve the RBMs only: they help where labels are few. `pretrain` = False starts from random weights.

    Hinton, Osindero and Teh 2006; Bengio et al. 2007; Srivastava et al. 2014 (dropout after pretraining, section B.2).
    """

    pretrain_rate: Annotated[
        float | Schedule | None,
        Range(0, open=True),
        "step size of the layers (none: 0.1, of layers of over 500 units 50 / units)",
    ] = None  # type: ignore[assignment]  # where the base has a number
    k: Annotated[int, Range(1), "Gibbs steps of contrastive divergence"] = 1

    family: ClassVar[str] = "energy"
    paper: ClassVar[str] = "Hinton, Osindero and Teh 2006"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mnist-800-800": {
            "hidden": (800, 800), "pretrain_epochs": 6, "pretrain_rate": 0.1, "epochs": 60,
            "learning_rate": "linear(1e-3, 0, over=3.15e6)",
            "dropout": 0.5, "input_dropout": 0.2,
        },
        "tiny": {"hidden": (16,), "pretrain_epochs": 2, "epochs": 60, "learning_rate": 0.01},
    }  # fmt: skip
    _below: ClassVar[str] = "rbms"

    def _stack(self, sizes: Sequence[int], rng: torch.Generator) -> nn.Module:
        return stack(sizes, rng)

    def _greedy(self) -> list[Stage]:
        momentum = partial(self._optimizer, name="momentum", momentum=0.9, weight_decay=0.0)
        return greedy_rbms(
            len(self.hidden),
            Budget(epochs=self.pretrain_epochs),
            lambda i: momentum(lr=layer_rate(self.pretrain_rate, self.hidden[i])),
            self.k,
            centred=True,
        )
