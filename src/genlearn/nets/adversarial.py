"""Generators and discriminators of images by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from genlearn.nets.conv import ConvDecoder, ConvTrunk, Pooling
from genlearn.nets.dcgan import DCGANGenerator, DCGANTrunk
from genlearn.nets.minibatch import MINIBATCH
from genlearn.nets.mlp import MLP
from genlearn.nets.resnet import ResNetGenerator, ResNetTrunk
from genlearn.shapes import Float

ImageNetwork: TypeAlias = Literal["dcgan", "conv", "resnet"]


class Squashed(nn.Module):
    """sigmoid(net(z)) in [0, 1]; dropout within where `rng` is given."""

    def __init__(self, net: MLP | ConvDecoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Float[Tensor, "B n"], rng: torch.Generator | None = None) -> Float[Tensor, "B ..."]:
        """Images or rows."""
        x: Tensor = self.net(z, rng)
        return x.sigmoid()


GENERATORS: dict[str, Callable[[int, Sequence[int], int], nn.Module]] = {
    "dcgan": DCGANGenerator,
    "conv": lambda n_latent, shape, width: Squashed(ConvDecoder(shape, width, n_latent)),
    "resnet": ResNetGenerator,
}


class ImageDiscriminator(nn.Module):
    """Images in [0, 1], [B, C, H, W] or rows of as many numbers, -> numbers [B], logits or a critic's values.

    A trunk of convolutions, which sees pixels in [-1, 1], and one linear layer over its last one and what a minibatch
    layer adds. With `pack` images of `shape` come one behind the other, as channels.
    """

    def __init__(
        self,
        network: ImageNetwork,
        shape: Sequence[int],
        width: int,
        *,
        normalise: bool = False,
        pooling: Pooling = "none",
        minibatch: str = "none",
        pack: int = 1,
    ) -> None:
        super().__init__()
        self.shape = (pack * shape[0], *shape[1:])
        self.trunk: DCGANTrunk | ConvTrunk | ResNetTrunk
        if network == "conv":
            self.trunk = ConvTrunk(self.shape, width, normalise, pooling)
        else:
            self.trunk = (DCGANTrunk if network == "dcgan" else ResNetTrunk)(shape, width, normalise, self.shape[0])
        n = self.trunk.n_out
        self.minibatch = None if minibatch == "none" else MINIBATCH[minibatch](n)
        self.out = nn.Linear(n if self.minibatch is None else n + self.minibatch.n_extra, 1)

    def features(self, x: Float[Tensor, "B ..."], rng: torch.Generator | None = None) -> Float[Tensor, "B n"]:
        """The last layer of the trunk."""
        y: Tensor = self.trunk(2 * x.view(-1, *self.shape) - 1)
        return y

    def forward(self, x: Float[Tensor, "B ..."], rng: torch.Generator | None = None) -> Float[Tensor, "B"]:
        """Logits, or a critic's values; there is no noise inside for `rng` to draw."""
        features = self.features(x, rng)
        y: Tensor = self.out(features if self.minibatch is None else self.minibatch(features))
        return y.flatten().to(x.dtype)
