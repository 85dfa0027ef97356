"""Networks of an image and a time in [0, 1]: fully connected, and a small U-Net for images of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, scaled_dot_product_attention, silu

from genlearn.nets.conv import halvings
from genlearn.nets.mlp import MLP, Activation
from genlearn.shapes import Float, Int

LOW = 8  # dimensions up to which a net sees waves of each value


def waves(t: Float[Tensor, "*B"], n: int, highest: float = 100.0) -> Float[Tensor, "*B {n}"]:
    """cos and sin of w t, n / 2 frequencies w from 1 to `highest` in geometric progression: [...] -> [..., n], n even.

    The encoding of Vaswani et al. 2017, section 3.5, for a time in [0, 1].
    """
    w = torch.logspace(0, math.log10(highest), n // 2, dtype=t.dtype, device=t.device)
    return torch.cat([(t[..., None] * w).cos(), (t[..., None] * w).sin()], -1)


class Labels(nn.Embedding):
    """A vector for each of K classes, and one for an unknown class, -1: [B] -> [B, n]."""

    def __init__(self, n_classes: int, n: int) -> None:
        super().__init__(n_classes + 1, n)

    def forward(self, y: Int[Tensor, "B"]) -> Float[Tensor, "B n"]:
        """Vectors of classes y [B] in -1 .. K - 1."""
        return super().forward(y.where(y >= 0, self.num_embeddings - 1))


class TimedMLP(nn.Module):
    """A fully connected net of x, t and, with classes, y: x [B, d], t [B], y [B] -> [B, d].

    Of up to 8 dimensions the net sees waves of each value too, down to a wavelength of .6: without them it hardly
    learns a density of narrow modes (Tancik et al. 2020).
    """

    def __init__(
        self, d: int, hidden: Sequence[int], activation_name: Activation = "silu", n_classes: int = 0, n_waves: int = 32
    ) -> None:
        super().__init__()
        self.n_waves = n_waves
        self.labels = Labels(n_classes, n_waves) if n_classes else None
        self.lifts = d <= LOW
        self.layers = MLP((d + n_waves + self.lifts * d * n_waves, *hidden, d), activation_name)

    def forward(
        self, x: Float[Tensor, "B d"], t: Float[Tensor, "B"], y: Int[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B d"]:
        """The value at x [B, d], t [B], y [B] (-1 or None: unknown)."""
        told = waves(t, self.n_waves)
        if self.labels is not None:
            told = told + self.labels(_classes(y, t))
        lifted = [waves(x, self.n_waves, 10.0).flatten(1)] if self.lifts else []
        out: Tensor = self.layers(torch.cat([x, told, *lifted], 1))
        return out


class UNet(nn.Module):
    """A U-Net of x, t and, with classes, y: x [B, C, H, W], t [B], y [B] -> [B, C, H, W].

    Halved (rounding up, so any size will do) until the shorter side is at most 4; `width` channels at the full size
    (None: 32, beyond 48 pixels a side 16), twice that at half of it, four times below. At each size one residual block
    on the way down and one on the way up, which sees what left the way down; two at the bottom, with self-attention
    over its pixels between them by choice.
    The output starts at zero. Ronneberger et al. 2015; Ho et al. 2020, appendix B (time, residual blocks).
    """

    def __init__(self, shape: Sequence[int], width: int | None, n_classes: int = 0, attention: bool = False) -> None:
        super().__init__()
        width = width or (32 if max(shape[1:]) <= 48 else 16)
        n_levels = len(halvings(shape))
        widths = [width * min(2**i, 4) for i in range(n_levels)]
        self.width, n = width, 4 * width
        self.time = nn.Sequential(nn.Linear(2 * width, n), nn.SiLU(), nn.Linear(n, n))
        self.labels = Labels(n_classes, n) if n_classes else None
        self.first = nn.Conv2d(shape[0], width, 3, padding=1)
        self.down = nn.ModuleList(Residual(a, b, n) for a, b in zip([width, *widths[:-1]], widths, strict=True))
        self.middle = nn.ModuleList([Residual(widths[-1], widths[-1], n) for _ in range(2)])
        self.attention = Attention(widths[-1]) if attention else None
        # Channels are halved before a map is enlarged: a third less work.
        above = [width, *widths[:-1]]
        self.up = nn.ModuleList(Residual(2 * a, b, n) for a, b in reversed(list(zip(widths, above, strict=True))))
        self.norm = GroupNorm(width)
        self.last = _zero(nn.Conv2d(width, shape[0], 3, padding=1))

    def forward(
        self, x: Float[Tensor, "B C H W"], t: Float[Tensor, "B"], y: Int[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B C H W"]:
        """The value at images x, t [B], y [B] (-1 or None: unknown)."""
        told = self.time(waves(t, 2 * self.width))
        if self.labels is not None:
            told = told + self.labels(_classes(y, t))
        told = silu(told)
        h = self.first(x.contiguous(memory_format=torch.channels_last))
        left = []
        for i, block in enumerate(self.down):
            h = block(avg_pool2d(h, 2, ceil_mode=True, count_include_pad=False) if i else h, told)
            left.append(h)
        h = self.middle[0](h, told)
        if self.attention is not None:
            h = self.attention(h)
        h = self.middle[1](h, told)
        for block in self.up:
            beside = left.pop()
            if h.shape[2:] != beside.shape[2:]:
                h = _enlarged(h, beside)
            h = block(torch.cat([h, beside], 1), told)
        out: Tensor = self.last(silu(self.norm(h)))
        return out.to(x.dtype)


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu and He 2018) in 8 groups (fewer, if 8 do not divide the channels), in float32."""

    def __init__(self, channels: int) -> None:
        super().__init__(math.gcd(8, channels), channels)

    def forward(self, x: Float[Tensor, "B n *hw"]) -> Float[Tensor, "B n *hw"]:
        """[B, n, ...] -> [B, n, ...], in float32 to learn: the backward pass of bf16 takes twice as long on a CPU."""
        if torch.is_grad_enabled() or x.dtype != torch.bfloat16:
            return super().forward(x.float() if x.dtype == torch.bfloat16 else x)
        with torch.autocast(x.device.type, enabled=False):
            return torch.nn.functional.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype))


class Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))) + W told))), the last convolution from zero: [B, n, H, W] -> [B, m, H, W].

    x goes through a 1x1 convolution where n and m differ.
    """

    def __init__(self, n: int, m: int, n_told: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = GroupNorm(n), nn.Conv2d(n, m, 3, padding=1)
        self.told = nn.Linear(n_told, m)
        self.norm2, self.conv2 = GroupNorm(m), _zero(nn.Conv2d(m, m, 3, padding=1))
        self.skip = nn.Conv2d(n, m, 1) if n != m else nn.Identity()

    def forward(self, x: Float[Tensor, "B n H W"], told: Float[Tensor, "B k"]) -> Float[Tensor, "B m H W"]:
        """[B, n, H, W] -> [B, m, H, W], told [B, k] of time and class."""
        h = self.conv1(silu(self.norm1(x))) + self.told(told)[:, :, None, None]
        out: Tensor = self.skip(x) + self.conv2(silu(self.norm2(h)))
        return out


class Attention(nn.Module):
    """x + self-attention of one head over the pixels, from zero (Vaswani et al. 2017): [B, n, H, W] -> the same."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = GroupNorm(n), nn.Conv2d(n, 3 * n, 1), _zero(nn.Conv2d(n, n, 1))

    def forward(self, x: Float[Tensor, "B n H W"]) -> Float[Tensor, "B n H W"]:
        """[B, n, H, W] -> [B, n, H, W]."""
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, 2)
        mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2)
        out: Tensor = x + self.out(mixed.reshape(x.shape))
        return out


def _classes(y: Tensor | None, t: Tensor) -> Tensor:
    return torch.full(t.shape, -1, dtype=torch.int64, device=t.device) if y is None else y


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Each pixel twice along both axes, cut to the size of `like`."""
    return interpolate(x, scale_factor=2)[:, :, : like.shape[2], : like.shape[3]]


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer
