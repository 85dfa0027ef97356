"""The deep convolutional GAN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import nn

from genlearn.estimator import Shape
from genlearn.models.adversarial import Adversarial
from genlearn.nets.conv import image_shape
from genlearn.nets.dcgan import DCGANDiscriminator, DCGANGenerator, init_normal
from genlearn.parameters import Range
from genlearn.train import Schedule


@dataclass(kw_only=True, eq=False, repr=False)
class DCGAN(Adversarial):
    """Deep convolutional GAN: strided and transposed convolutions, no hidden layer fully connected, no pooling.

    Sides that are multiples of 4, 8 pixels at least; 1 to 4 channels. With batch normalisation D sees data and samples
    in batches of their own.

    Radford, Metz and Chintala 2016; the preset "radford-2016" is their recipe for 64 pixels.
    """

    width: Annotated[int, Range(1), "channels next to the images, doubled at each halving"] = 64
    normalise_d: Annotated[bool, "batch normalisation in D"] = True
    batch_size: Annotated[int, Range(1), "images per update"] = 64
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = 2e-4
    betas: Annotated[tuple[float, ...], Range(0, 1), "decays of the moments of the Adam family"] = (0.5, 0.999)

    paper: ClassVar[str] = "Radford, Metz and Chintala 2016"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "radford-2016": {"prior": "uniform", "width": 128, "batch_size": 128},
        "tiny": {"width": 4, "n_latent": 4, "learning_rate": 0.02, "epochs": 2},
    }

    @property
    def _rows_apart(self) -> bool:
        return not self.normalise_d

    def _generator(self, shape: Shape, rng: torch.Generator) -> nn.Module:
        G = DCGANGenerator(self.n_latent, image_shape(shape), self.width)
        init_normal(G, rng)
        return G

    def _discriminator(self, shape: Shape, rng: torch.Generator) -> nn.Module:
        c, h, w = image_shape((shape[0] // self.pack, *shape[1:]))
        D = DCGANDiscriminator((self.pack * c, h, w), (c, h, w), self.width, self.normalise_d)
        init_normal(D, rng)
        return D
