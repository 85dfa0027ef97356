"""The all-convolutional nets of DCGAN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from genlearn.nets.conv import BatchNorm
from genlearn.shapes import Float

SMALLEST = 4  # pixels a side of the smallest picture inside


def doublings(shape: Sequence[int]) -> list[tuple[int, int]]:
    """The sizes (H, W) from the smallest to that of images (C, H, W), each twice the one before.

    Raises ValueError for sides that are no multiples of 4, too small, or other than 1 to 4 channels.
    """
    c, h, w = shape
    if h % 4 or w % 4 or min(h, w) < 2 * SMALLEST or not 1 <= c <= 4:
        raise ValueError(
            f"images are {h}x{w} with {c} channel{'' if c == 1 else 's'}, expected sides that are multiples of 4, "
            f"{2 * SMALLEST} at least, and 1 to 4 channels; the usual fix is network='conv', or another size"
        )
    sizes = [(h, w)]
    while not (h % 2 or w % 2) and min(h, w) // 2 >= SMALLEST:
        h, w = h // 2, w // 2
        sizes.append((h, w))
    return sizes[::-1]


class DCGANGenerator(nn.Module):
    """z [B, n] -> images [B, C, H, W] in [0, 1] (tanh, from -1 .. 1).

    A transposed convolution from z to the smallest size, then one of kernel 4 and stride 2 to each larger one (kernels
    that the stride divides overlap evenly), `width` channels before the last; batch normalisation and ReLU between.
    Radford, Metz and Chintala 2016, section 3, figure 1.
    """

    def __init__(self, n_latent: int, shape: Sequence[int], width: int) -> None:
        super().__init__()
        sizes = doublings(shape)
        channels = [width << i for i in range(len(sizes) - 1)][::-1]
        layers: list[nn.Module] = [nn.ConvTranspose2d(n_latent, channels[0], sizes[0], bias=False)]
        for n, m in pairwise(channels):
            layers += [BatchNorm(n), nn.ReLU(), nn.ConvTranspose2d(n, m, 4, 2, 1, bias=False)]
        layers += [BatchNorm(width), nn.ReLU(), nn.ConvTranspose2d(width, shape[0], 4, 2, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "B n"], rng: torch.Generator | None = None) -> Float[Tensor, "B C H W"]:
        """Images; there is no noise inside for `rng` to draw."""
        x: Tensor = self.layers(z[:, :, None, None])
        return (x.to(z.dtype).tanh() + 1) / 2


class DCGANTrunk(nn.Module):
    """[B, C, H, W] -> [B, n], n = `n_out`: strided convolutions of kernel 4 down to the smallest size.

    `width` channels after the first, doubled at each further one, LeakyReLU of slope 0.2 and (from the second on, if
    wanted) batch normalisation; one linear layer over all that is left is then what the paper has. `shape` are the
    images, which may come as packs of more channels (`n_in`). Radford, Metz and Chintala 2016, section 3.
    """

    def __init__(self, shape: Sequence[int], width: int, normalise: bool, n_in: int) -> None:
        super().__init__()
        sizes = doublings(shape)
        channels = [n_in] + [width << i for i in range(len(sizes) - 1)]
        layers: list[nn.Module] = []
        for i, (n, m) in enumerate(pairwise(channels)):
            norm = [BatchNorm(m)] if i and normalise else []
            layers += [nn.Conv2d(n, m, 4, 2, 1, bias=not norm), *norm, nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.n_out = channels[-1] * math.prod(sizes[0])

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B n"]:
        """The last layer, flattened."""
        y: Tensor = self.layers(x).flatten(1)
        return y
