"""What a model keeps of its data: the scale of the values, and the shares of the classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlearn.maths.rng import one_of
from genlearn.shapes import Float, Int

LEVELS = 256  # of a pixel: a density is one of y = (255 x + u) / 256, u uniform on [0, 1]


class Scale(nn.Module):
    """(x - mean) / sd, one mean and one standard deviation for all values; pixels as y = (255 x + u) / 256 before."""

    mean: Tensor
    sd: Tensor

    def __init__(self, pixels: bool) -> None:
        super().__init__()
        self.pixels = pixels
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("sd", torch.ones(()))

    @torch.no_grad()
    def fit(self, mean: Float[Tensor, "*d"], variance: Float[Tensor, "*d"]) -> None:
        """Take the moments of each value."""
        self.mean.copy_(mean.mean())
        self.sd.copy_((variance + (mean - self.mean).square()).mean().sqrt().clamp_min(1e-3))

    def inward(self, x: Float[Tensor, "B *d"], u: Float[Tensor, "_ *d"] | None = None) -> Float[Tensor, "B *d"]:
        """To values of mean 0 and variance 1; u in [0, 1] (none: 1/2) is the place within the level of a pixel."""
        y = ((LEVELS - 1) * x + (0.5 if u is None else u)) / LEVELS if self.pixels else x
        return (y - self.mean) / self.sd

    def outward(self, x: Float[Tensor, "B *d"]) -> Float[Tensor, "B *d"]:
        """The inverse, pixels kept in [0, 1]."""
        y = self.mean + self.sd * x
        return ((LEVELS * y - 0.5) / (LEVELS - 1)).clamp(0, 1) if self.pixels else y


class Shares(nn.Module):
    """The shares of K classes in the data, that of unknown ones last."""

    p: Tensor

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("p", torch.full((n_classes + 1,), 1 / (n_classes + 1)))

    @torch.no_grad()
    def fit(self, y: Int[Tensor, "n"]) -> None:
        """Take those of labels y [n] in -1 .. K - 1."""
        counts = torch.bincount(y.where(y >= 0, len(self.p) - 1), minlength=len(self.p))
        self.p.copy_(counts / counts.sum())

    def draw(self, n: int, rng: torch.Generator) -> Int[Tensor, "{n}"]:
        """n classes, -1 where unknown."""
        y = one_of(self.p.expand(n, -1), rng).argmax(1)
        return y.masked_fill(y == len(self.p) - 1, -1)
