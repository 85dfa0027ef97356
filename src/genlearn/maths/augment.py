"""Differentiable augmentation: what D sees of data and of samples, changed at random in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genlearn.maths.rng import uniform
from genlearn.shapes import Float


def _per_image(x: Tensor, rng: torch.Generator, low: float, high: float) -> Tensor:
    return uniform((len(x), 1, 1, 1), rng, x.dtype, low, high)


def color(x: Float[Tensor, "B C H W"], rng: torch.Generator) -> Float[Tensor, "B C H W"]:
    """Pixels in [0, 1]: brightness + U(-.25, .25), saturation times U(0, 2), contrast times U(.5, 1.5), of an image.

    Opacity (the last of 2 or 4 channels) stays. Zhao et al. 2020, appendix.
    """
    n = x.shape[1] - (x.shape[1] + 1) % 2
    colors, opacity = x[:, :n], x[:, n:]
    colors = colors + _per_image(x, rng, -0.25, 0.25)
    if n == 3:
        grey = colors.mean(1, keepdim=True)
        colors = torch.lerp(grey, colors, _per_image(x, rng, 0, 2))
    middle = colors.mean((1, 2, 3), keepdim=True)
    colors = torch.lerp(middle, colors, _per_image(x, rng, 0.5, 1.5))
    return torch.cat([colors, opacity], 1) if opacity.shape[1] else colors


def translation(x: Float[Tensor, "B C H W"], rng: torch.Generator) -> Float[Tensor, "B C H W"]:
    """Images shifted by up to an eighth of their sides, each way; zeros come in. Zhao et al. 2020, appendix."""
    x = x.contiguous()
    for axis in (2, 3):
        side = x.shape[axis]
        most = (side + 4) // 8
        shift = _per_image(x, rng, -most, most + 1).floor().long().clamp_(max=most)
        ends = (0, 0, most, most) if axis == 2 else (most, most)
        places = torch.arange(most, side + most, device=x.device).view(-1, *[1] * (3 - axis)) + shift
        x = torch.nn.functional.pad(x, ends).gather(axis, places.expand(x.shape))
    return x


def cutout(x: Float[Tensor, "B C H W"], rng: torch.Generator) -> Float[Tensor, "B C H W"]:
    """A rectangle of half the sides set to 0, its middle anywhere in the image. Zhao et al. 2020, appendix."""
    inside = None
    for axis in (2, 3):
        side = x.shape[axis]
        middle = _per_image(x, rng, 0, side)
        places = torch.arange(side, device=x.device, dtype=x.dtype).view(-1, *[1] * (3 - axis)) + 0.5
        near = (places - middle).abs() <= side / 4
        inside = near if inside is None else inside & near
    return x * ~inside  # type: ignore[operator]  # there are two axes


@dataclass(frozen=True)
class Augmentation:
    """Kinds of augmentation, applied in turn; as text: color,translation or color,translation,cutout."""

    kinds: tuple[str, ...]

    KINDS: ClassVar[dict[str, Callable[[Tensor, torch.Generator], Tensor]]] = {
        "color": color,
        "translation": translation,
        "cutout": cutout,
    }
    expected: ClassVar[str] = "augmentations among color, translation, cutout, such as color,translation"

    @classmethod
    def parse(cls, text: str) -> Augmentation:
        """Kinds from text; a one-line ValueError if it is none."""
        kinds = tuple(kind.strip() for kind in text.split(","))
        if not all(kind in cls.KINDS for kind in kinds) or len(set(kinds)) < len(kinds):
            raise ValueError(f"{text!r} is no augmentation, expected {cls.expected}")
        return cls(kinds)

    def __call__(self, x: Float[Tensor, "B C H W"], rng: torch.Generator) -> Float[Tensor, "B C H W"]:
        """T(x), an independent change of every image; differentiable in x."""
        for kind in self.kinds:
            x = self.KINDS[kind](x, rng)
        return x
