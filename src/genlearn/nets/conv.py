"""Convolutional encoders and decoders for images of any size, with batch statistics of the whole batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from genlearn.parallel import all_sum, world
from genlearn.shapes import Float


class BatchNorm(nn.Module):
    """y = g (x - mean) / sqrt(var + eps) + b over batch and space (Ioffe and Szegedy 2015), of all processes together.

    x [B, C, H, W] or [B, C]. In training mode the statistics are those of the batch, summed over processes with a
    differentiable all-reduce; else the running ones.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Float[Tensor, "B C *hw"]) -> Float[Tensor, "B C *hw"]:
        """y, of the shape of x; in training mode the running statistics move."""
        if not self.training or world()[1] == 1:
            return nn.functional.batch_norm(
                x, self.mean, self.var, self.weight, self.bias, self.training, self.momentum, self.eps
            )
        axes, given, x = [0, *range(2, x.ndim)], x.dtype, x.to(self.mean.dtype)
        n = world()[1] * x.numel() / x.shape[1]
        mean = all_sum(x.sum(axes)) / n
        centred = x - mean.view(1, -1, *[1] * (x.ndim - 2))
        var = all_sum(centred.square().sum(axes)) / n
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.var.lerp_(var * (n / (n - 1)), self.momentum)
        scale = (self.weight / (var + self.eps).sqrt()).view(1, -1, *[1] * (x.ndim - 2))
        return (centred * scale + self.bias.view(1, -1, *[1] * (x.ndim - 2))).to(given)


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """(C, H, W) of images of `shape`; rows of d = s * s numbers are grey squares. ValueError if they are not."""
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    side = math.isqrt(shape[0])
    if side * side != shape[0]:
        raise ValueError(
            f"rows of {shape[0]} numbers are no square images, expected (n, C, H, W); "
            "the usual fix is X.reshape(n, H, W)"
        )
    return 1, side, side


def halvings(shape: Sequence[int], smallest: int = 4) -> list[tuple[int, int]]:
    """The sizes (H, W) of an image halved (rounding up) until its shorter side is at most `smallest`."""
    sizes = [(shape[1], shape[2])]
    while min(sizes[-1]) > smallest:
        h, w = sizes[-1]
        sizes.append(((h + 1) // 2, (w + 1) // 2))
    return sizes


Pooling: TypeAlias = Literal["none", "mean", "max"]
POOLINGS: dict[str, type[nn.AvgPool2d] | type[nn.MaxPool2d]] = {"mean": nn.AvgPool2d, "max": nn.MaxPool2d}


class ConvTrunk(nn.Module):
    """[B, C, H, W] -> [B, n], n = `n_out`: at each halving a convolution, batch normalisation (if wanted), LeakyReLU.

    `width` channels after the first halving, doubled at each further one. What halves is a stride of 2, or pooling: the
    mean or the largest of 2 x 2 pixels.
    """

    def __init__(self, shape: Sequence[int], width: int, normalise: bool = True, pooling: Pooling = "none") -> None:
        super().__init__()
        sizes = halvings(shape)
        channels = [shape[0]] + [width << i for i in range(len(sizes) - 1)]
        layers: list[nn.Module] = []
        for (n, m), (h, w) in zip(pairwise(channels), sizes, strict=False):
            if pooling == "none":
                # A kernel that the stride divides sees all pixels as often: gradients without checkerboards.
                layers += [nn.ZeroPad2d((0, w % 2, 0, h % 2))] if h % 2 or w % 2 else []
                layers.append(nn.Conv2d(n, m, 4, 2, 1, bias=not normalise))
            else:
                layers.append(nn.Conv2d(n, m, 3, 1, 1, bias=not normalise))
            layers += [BatchNorm(m)] if normalise else []
            layers.append(nn.LeakyReLU(0.2))
            layers += [] if pooling == "none" else [POOLINGS[pooling](2, ceil_mode=True)]
        self.layers = nn.Sequential(*layers)
        self.n_out = channels[-1] * math.prod(sizes[-1])

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B n"]:
        """The last layer, flattened: [B, C, H, W] -> [B, n]."""
        y: Tensor = self.layers(x).flatten(1)
        return y


class ConvEncoder(nn.Module):
    """`ConvTrunk` and one linear layer: [B, C, H, W], or rows of as many numbers, -> [B, n_out]."""

    def __init__(self, shape: Sequence[int], width: int, n_out: int, pooling: Pooling = "none") -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.trunk = ConvTrunk(shape, width, pooling=pooling)
        self.out = nn.Linear(self.trunk.n_out, n_out)

    def forward(self, x: Float[Tensor, "B ..."], rng: torch.Generator | None = None) -> Float[Tensor, "B n_out"]:
        """Codes; there is no noise inside for `rng` to draw."""
        y: Tensor = self.out(self.trunk(x.reshape(-1, *self.shape)))
        return y.to(x.dtype)


class ConvDecoder(nn.Module):
    """The mirror of `ConvEncoder`: z [B, n_in] -> [B, C, H, W], linear at the end; doublings by nearest pixels.

    `width` channels at half size, doubled at each smaller one, half as many at full size, where one more convolution
    makes the image; kernels of 3, batch normalisation and ReLU between. Transposed convolutions would leave
    checkerboards, above all against a D, which rewards what it cannot see (Odena et al. 2016).
    """

    def __init__(self, shape: Sequence[int], width: int, n_in: int) -> None:
        super().__init__()
        sizes = halvings(shape)[::-1]
        channels = [max(1, width // 2), *(width << i for i in range(len(sizes) - 1))][::-1]
        self.first = (channels[0], *sizes[0])
        self.inp = nn.Linear(n_in, math.prod(self.first))
        layers: list[nn.Module] = []
        for (n, m), size in zip(pairwise(channels), sizes[1:], strict=True):
            layers += [BatchNorm(n), nn.ReLU(), nn.Upsample(size=size), nn.Conv2d(n, m, 3, 1, 1, bias=False)]
        last = channels[-1]
        self.layers = nn.Sequential(*layers, BatchNorm(last), nn.ReLU(), nn.Conv2d(last, shape[0], 3, 1, 1))

    def forward(self, z: Float[Tensor, "B n_in"], rng: torch.Generator | None = None) -> Float[Tensor, "B C H W"]:
        """Images: [B, n_in] -> [B, C, H, W]; there is no noise inside for `rng` to draw."""
        x: Tensor = self.layers(self.inp(z).unflatten(1, self.first))
        return x.to(z.dtype)
