"""The conditional GAN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genlearn._types import Batch
from genlearn.estimator import Shape
from genlearn.maths.rng import Rng
from genlearn.models.gan import GAN
from genlearn.nets.priors import LabelledPrior, Prior
from genlearn.parameters import Range
from genlearn.train import Stage, Stream


@dataclass(kw_only=True, eq=False, repr=False)
class ConditionalGAN(GAN):
    """Conditional GAN: a class y, one-hot beside z and beside x, is told to both players, G(z, y) against D(x, y).

    D sees images with their own labels, and samples drawn for the same labels; images whose label is -1 are left out.
    `sample(y=...)` draws a class; without y, classes come as often as in the data. Codes of `inverse_transform` are z
    and the class, one-hot.

    Mirza and Osindero 2014, equation 2; the preset "mirza-2014" is their recipe for MNIST (section 4.1).
    """

    branches: Annotated[tuple[int, ...], Range(1), "units of G's first layers, of z and of the class (none: one)"] = ()
    branches_d: Annotated[tuple[int, ...], Range(1), "units of D's first layers, of x and the class (none: one)"] = ()

    paper: ClassVar[str] = "Mirza and Osindero 2014"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The rate falls by 1.00004 an update of 100 images; their prior is of the unit cube, ours has unit variance.
        "mirza-2014": {
            "prior": "uniform",
            "branches": (200, 1000),
            "hidden": (1200,),
            "branches_d": (240, 50),
            "hidden_d": (240,),
            "network": "maxout",
            "pieces": (5, 4),
            "dropout": 0.5,
            "dropout_d": 0.5,
            "penalty": None,
            "order": "simultaneous",
            "optimizer": "momentum",
            "learning_rate": f"exponential(0.1, half_life={100 * math.log(2) / math.log(1.00004):.0f}, floor=1e-6)",
            "momentum": "linear(0.5, 0.7, over=12500000)",
            "batch_size": 100,
        },
        "tiny": {"hidden": (16,), "hidden_d": (16,), "n_latent": 4, "epochs": 2},
    }
    _uses_labels: ClassVar[bool] = True
    _needs_labels: ClassVar[bool] = True

    def check_parameters(self) -> None:
        """As everywhere; packs have no class, and branches are two."""
        for name in ("branches", "branches_d"):
            if len(getattr(self, name)) not in (0, 2):
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected none or two, such as 200,1000")
        super().check_parameters()
        if self.pack > 1:
            raise ValueError(f"pack is {self.pack}, expected 1: images of different classes make no pack of one")

    @property
    def _n_features_out(self) -> int:
        return self.n_latent + self._n_classes

    def _prior(self) -> Prior:
        return LabelledPrior(super()._prior(), self._n_classes)

    @property
    def _layers_d(self) -> int:
        return super()._layers_d + bool(self.branches_d)

    def _generator(self, shape: Shape) -> nn.Module:
        parts = (self.n_latent, self._n_classes)
        return self._dense_generator(sum(parts), math.prod(shape), _branches(parts, self.branches))

    def _discriminator(self, shape: Shape) -> nn.Module:
        parts = (math.prod(shape), self._n_classes)
        return self._dense_discriminator(sum(parts), _branches(parts, self.branches_d))

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        return [replace(stage, labelled=1.0) for stage in super()._stages(shape)]

    def _start(self, nets: Any, stream: Stream, rng: Rng) -> None:
        super()._start(nets, stream, rng)
        assert stream.y is not None
        nets.prior.count(stream.y)

    def _fake(self, nets: Any, batch: Batch, rng: Rng) -> Tensor:
        assert batch.y is not None
        fake: Tensor = nets.G(nets.prior.draw_classes(batch.y, rng), rng)
        return fake

    def _shown(self, x: Tensor, batch: Batch) -> Tensor:
        assert batch.y is not None
        x = x.flatten(1)
        return torch.cat([x, one_hot(batch.y, self._n_classes).to(x.dtype)], 1)

    def _sample_class(self, nets: Any, y: Tensor, rng: torch.Generator) -> Tensor:
        return self._decode(nets, nets.prior.draw_classes(y, rng))


def _branches(parts: tuple[int, int], units: tuple[int, ...]) -> list[tuple[int, int]]:
    return list(zip(parts, units, strict=True)) if units else []
