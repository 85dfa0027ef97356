"""The classifier that starts from a stack of denoising autoencoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from genlearn.maths.corruption import CORRUPTIONS, NoiseName, check_level
from genlearn.maths.rng import Rng
from genlearn.models.layers import denoising, greedy_layers, layers
from genlearn.models.stacked import StackedClassifier
from genlearn.parameters import Range
from genlearn.train import Budget, Schedule, Stage


@dataclass(kw_only=True, eq=False, repr=False)
class StackedAutoencoderClassifier(StackedClassifier):
    """Multi-layer perceptron of sigmoid units, its weights first learned from images alone, by denoising autoencoders.

    Each layer is one with tied weights, which learns to undo noise on what the layers below make of clean images; their
    weights start a network with a softmax on top, as in `StackedRBMClassifier`.

    Vincent et al. 2010.
    """

    pretrain_rate: Annotated[float | Schedule, Range(0, open=True), "step size of the layers (adam)"] = 1e-3
    noise: Annotated[NoiseName, "what the layers are shown"] = "masking"
    level: Annotated[float, Range(0), "share of units that the noise hits, or its standard deviation"] = 0.25

    family: ClassVar[str] = "autoencoder"
    paper: ClassVar[str] = "Vincent et al. 2010"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"hidden": (16,), "pretrain_epochs": 2, "epochs": 60, "learning_rate": 0.01}
    }
    _below: ClassVar[str] = "layers"

    def check_parameters(self) -> None:
        """As everywhere; and that a share is one."""
        super().check_parameters()
        check_level(self.noise, self.level)

    def _stack(self, sizes: Sequence[int], rng: torch.Generator) -> nn.Module:
        return layers(sizes, "sigmoid", rng)

    def _greedy(self) -> list[Stage]:
        adam = self._optimizer(name="adam", lr=self.pretrain_rate, weight_decay=0.0)
        loss = partial(denoising, corrupt=self._corrupt)
        return greedy_layers(len(self.hidden), Budget(epochs=self.pretrain_epochs), adam, loss)

    def _corrupt(self, x: Tensor, rng: Rng) -> Tensor:
        return CORRUPTIONS[self.noise](x, self.level, rng)
