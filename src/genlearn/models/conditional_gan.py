"""The conditional GAN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genlearn._types import Batch
from genlearn.estimator import Shape
from genlearn.maths.rng import Rng
from genlearn.models.gan import GAN
from genlearn.nets.priors import LabelledPrior, Prior
from genlearn.train import Stage, Stream


@dataclass(kw_only=True, eq=False, repr=False)
class ConditionalGAN(GAN):
    """Conditional GAN: a class y, one-hot beside z and beside x, is told to both players, G(z, y) against D(x, y).

    D sees images with their own labels, and samples drawn for the same labels; images whose label is -1 are left out.
    `sample(y=...)` draws a class; without y, classes come as often as in the data. Codes of `inverse_transform` are z
    and the class, one-hot.

    Mirza and Osindero 2014, equation 2.
    """

    paper: ClassVar[str] = "Mirza and Osindero 2014"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"hidden": (16,), "hidden_d": (16,), "n_latent": 4, "epochs": 2}
    }
    _uses_labels: ClassVar[bool] = True
    _needs_labels: ClassVar[bool] = True

    def check_parameters(self) -> None:
        """As everywhere; packs have no class."""
        super().check_parameters()
        if self.pack > 1:
            raise ValueError(f"pack is {self.pack}, expected 1: images of different classes make no pack of one")

    @property
    def _n_features_out(self) -> int:
        return self.n_latent + self._n_classes

    def _prior(self) -> Prior:
        return LabelledPrior(super()._prior(), self._n_classes)

    def _generator(self, shape: Shape, rng: torch.Generator) -> nn.Module:
        return self._dense_generator(self._n_features_out, math.prod(shape), rng)

    def _discriminator(self, shape: Shape, rng: torch.Generator) -> nn.Module:
        return self._dense_discriminator(math.prod(shape) + self._n_classes, rng)

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        return [replace(stage, labelled=1.0) for stage in super()._stages(shape)]

    def _start(self, nets: Any, stream: Stream, rng: Rng) -> None:
        super()._start(nets, stream, rng)
        assert stream.y is not None
        nets.prior.count(stream.y)

    def _fake(self, nets: Any, batch: Batch, rng: Rng) -> Tensor:
        assert batch.y is not None
        return self._decode(nets, nets.prior.draw_classes(batch.y, rng))

    def _shown(self, x: Tensor, batch: Batch) -> Tensor:
        assert batch.y is not None
        x = x.flatten(1)
        return torch.cat([x, one_hot(batch.y, self._n_classes).to(x.dtype)], 1)

    def _sample_class(self, nets: Any, y: Tensor, rng: torch.Generator) -> Tensor:
        return self._decode(nets, nets.prior.draw_classes(y, rng))
