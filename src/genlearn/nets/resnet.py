"""Residual nets of adversarial models: blocks that double or halve a picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from genlearn.nets.conv import BatchNorm
from genlearn.nets.dcgan import doublings
from genlearn.shapes import Float


class ResidualBlock(nn.Module):
    """y = s(x) + f(x), f two convolutions of kernel 3 after (batch normalisation and) ReLU, s one of kernel 1.

    "up" doubles the sides before the first convolution of each branch (nearest pixels), "down" halves them after the
    last (means of 2 x 2 pixels); [B, n, H, W] -> [B, m, 2 H, 2 W] or [B, m, H / 2, W / 2]. A `first` block is given
    images, which no ReLU may cut. He et al. 2016; Gulrajani et al. 2017, appendix F.
    """

    def __init__(self, n: int, m: int, scale: str, normalise: bool, first: bool = False) -> None:
        super().__init__()
        self.scale = scale
        self.inner = nn.Identity() if first else nn.Sequential(BatchNorm(n) if normalise else nn.Identity(), nn.ReLU())
        self.one = nn.Conv2d(n, m, 3, 1, 1, bias=not normalise)
        self.middle = nn.Sequential(BatchNorm(m) if normalise else nn.Identity(), nn.ReLU())
        self.two = nn.Conv2d(m, m, 3, 1, 1)
        self.short = nn.Conv2d(n, m, 1)

    def forward(self, x: Float[Tensor, "B n H W"]) -> Float[Tensor, "B m H2 W2"]:
        """y."""
        h = self.inner(x)
        if self.scale == "up":
            # A kernel of 1 commutes with doubling and with means: at the smaller size it is four times cheaper.
            h = self.two(self.middle(self.one(interpolate(h, scale_factor=2))))
            y: Tensor = interpolate(self.short(x), scale_factor=2) + h
        else:
            y = self.short(avg_pool2d(x, 2)) + avg_pool2d(self.two(self.middle(self.one(h))), 2)
        return y


class ResNetGenerator(nn.Module):
    """z [B, n] -> images [B, C, H, W] in [0, 1]: a linear layer to the smallest size, a residual block a doubling.

    `width` channels in the last block, twice as many in all before. Gulrajani et al. 2017, appendix F, where all
    blocks have 128.
    """

    def __init__(self, n_latent: int, shape: Sequence[int], width: int) -> None:
        super().__init__()
        sizes = doublings(shape)
        channels = [2 * width] * (len(sizes) - 1) + [width]
        self.first = (channels[0], *sizes[0])
        self.inp = nn.Linear(n_latent, channels[0] * sizes[0][0] * sizes[0][1])
        self.blocks = nn.Sequential(*(ResidualBlock(n, m, "up", True) for n, m in pairwise(channels)))
        self.out = nn.Sequential(BatchNorm(width), nn.ReLU(), nn.Conv2d(width, shape[0], 3, 1, 1))

    def forward(self, z: Float[Tensor, "B n"], rng: torch.Generator | None = None) -> Float[Tensor, "B C H W"]:
        """Images; there is no noise inside for `rng` to draw."""
        x: Tensor = self.out(self.blocks(self.inp(z).unflatten(1, self.first)))
        return x.to(z.dtype).sigmoid()


class ResNetTrunk(nn.Module):
    """[B, C, H, W] -> [B, n], n = `n_out`: a residual block a halving, ReLU, the mean over the picture.

    `width` channels after the first, twice as many after all others. Gulrajani et al. 2017, appendix F.
    """

    def __init__(self, shape: Sequence[int], width: int, normalise: bool, n_in: int) -> None:
        super().__init__()
        channels = [n_in, width] + [2 * width] * (len(doublings(shape)) - 2)
        self.blocks = nn.Sequential(
            *(ResidualBlock(n, m, "down", normalise, first=not i) for i, (n, m) in enumerate(pairwise(channels)))
        )
        self.n_out = channels[-1]

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B n"]:
        """The last layer's means."""
        y: Tensor = self.blocks(x).relu().mean((2, 3))
        return y
