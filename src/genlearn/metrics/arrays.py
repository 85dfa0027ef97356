"""Images, in whatever form, as rows of numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlearn.maths.pixels import unit


def as_rows(images: Any, name: str) -> Tensor:
    """Images [n, ...] as float64 rows [n, d]; uint8 is divided by 255.

    Raises ValueError for no images, for NaN and inf, and for float pixels that go to 255.
    """
    x = torch.as_tensor(images)
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"{name} has shape {tuple(x.shape)}, expected at least one image, [n, ...]")
    if x.dtype == torch.uint8:
        return unit(x.flatten(1), torch.float64)
    high = x.abs().max()
    if not torch.isfinite(high):
        raise ValueError(f"{name} holds NaN or inf, expected finite pixels")
    if x.ndim > 2 and high > 100:
        raise ValueError(f"{name} has pixels up to {high:g}, expected [0, 1]; the usual fix is to divide by 255")
    return x.flatten(1).double()


def same_width(**rows: Tensor) -> None:
    """Raise ValueError unless all rows have the same number of values."""
    widths = {name: x.shape[1] for name, x in rows.items()}
    if len(set(widths.values())) > 1:
        sizes = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise ValueError(f"images differ in their number of values ({sizes}), expected the same")
