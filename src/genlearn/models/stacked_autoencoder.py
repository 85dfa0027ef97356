"""The classifier that starts from a stack of denoising or contractive autoencoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from genlearn.maths.corruption import CORRUPTIONS, NoiseName, check_level
from genlearn.maths.rng import Rng
from genlearn.models.layers import LayerLoss, contractive, denoising, greedy_layers, layers
from genlearn.models.stacked import StackedClassifier
from genlearn.parameters import Range
from genlearn.train import Budget, Schedule, Stage


@dataclass(kw_only=True, eq=False, repr=False)
class StackedAutoencoderClassifier(StackedClassifier):
    """Multi-layer perceptron of sigmoid units, its weights first learned from images alone, by a stack of autoencoders.

    Each layer is one with tied weights, which learns on what the layers below make of the images: denoising, to undo
    noise on it; contractive, to reconstruct it from units that move little (||dh/dx||_F^2 is added to the loss). The
    weights start a network with a softmax on top, as in `StackedRBMClassifier`.

    Vincent et al. 2010 (denoising); Rifai et al. 2011 (contractive).
    """

    pretrain_rate: Annotated[float | Schedule, Range(0, open=True), "step size of the layers (adam)"] = 1e-3
    layer: Annotated[Literal["denoising", "contractive"], "what each layer is"] = "denoising"
    noise: Annotated[NoiseName, "what the layers are shown (denoising)"] = "masking"
    level: Annotated[float, Range(0), "share of units that the noise hits, or its standard deviation"] = 0.25
    contraction: Annotated[float, Range(0), "weight of the squared norm of the Jacobian (contractive)"] = 0.1

    family: ClassVar[str] = "autoencoder"
    paper: ClassVar[str] = "Vincent et al. 2010; Rifai et al. 2011"
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
        loss: LayerLoss = partial(denoising, corrupt=self._corrupt)
        if self.layer == "contractive":
            loss = partial(contractive, weight=self.contraction)
        return greedy_layers(len(self.hidden), Budget(epochs=self.pretrain_epochs), adam, loss)

    def _corrupt(self, x: Tensor, rng: Rng) -> Tensor:
        return CORRUPTIONS[self.noise](x, self.level, rng)
