"""Convolutional encoders and decoders for images of any size, with batch statistics of the whole batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
        raise ValueError(f"rows of {shape[0]} numbers are no square images, expected (n, C, H, W) for a convolution")
    return 1, side, side


def halvings(shape: Sequence[int], smallest: int = 4) -> list[tuple[int, int]]:
    """The sizes (H, W) of an image halved (rounding up) until its shorter side is at most `smallest`."""
    sizes = [(shape[1], shape[2])]
    while min(sizes[-1]) > smallest:
        h, w = sizes[-1]
        sizes.append(((h + 1) // 2, (w + 1) // 2))
    return sizes


class ConvEncoder(nn.Module):
    """Strided convolutions, batch normalisation, LeakyReLU, one linear layer: [B, C, H, W] -> [B, n_out].

    `width` channels after the first halving, doubled at each further one.
    """

    def __init__(self, shape: Sequence[int], width: int, n_out: int) -> None:
        super().__init__()
        sizes = halvings(shape)
        channels = [shape[0]] + [width << i for i in range(len(sizes) - 1)]
        layers: list[nn.Module] = []
        for n, m in zip(channels, channels[1:], strict=False):
            layers += [nn.Conv2d(n, m, 3, 2, 1, bias=False), BatchNorm(m), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(channels[-1] * sizes[-1][0] * sizes[-1][1], n_out)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B n_out"]:
        """Codes: [B, C, H, W] -> [B, n_out]."""
        y: Tensor = self.out(self.layers(x).flatten(1))
        return y


class ConvDecoder(nn.Module):
    """The mirror of `ConvEncoder`, transposed convolutions and ReLU: z [B, n_in] -> [B, C, H, W], linear at the end."""

    def __init__(self, shape: Sequence[int], width: int, n_in: int) -> None:
        super().__init__()
        sizes = halvings(shape)[::-1]
        channels = [width << i for i in range(len(sizes) - 1)][::-1] + [shape[0]]
        self.first = (channels[0], *sizes[0])
        self.inp = nn.Linear(n_in, channels[0] * sizes[0][0] * sizes[0][1])
        layers: list[nn.Module] = []
        for n, m, (h, w), (h2, w2) in zip(channels, channels[1:], sizes, sizes[1:], strict=False):
            # 2 h - 1 + padding is the larger size: even and odd images come back exactly.
            padding = (h2 - 2 * h + 1, w2 - 2 * w + 1)
            # A bias before batch normalisation does nothing; some shapes with one are ten times as slow on a CPU.
            bias = (h2, w2) == sizes[-1]
            layers += [BatchNorm(n), nn.ReLU(), nn.ConvTranspose2d(n, m, 3, 2, 1, output_padding=padding, bias=bias)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "B n_in"]) -> Float[Tensor, "B C H W"]:
        """Images: [B, n_in] -> [B, C, H, W]."""
        x: Tensor = self.layers(self.inp(z).unflatten(1, self.first))
        return x
