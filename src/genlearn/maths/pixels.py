"""Pixels as numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from genlearn.shapes import Float


def unit(x: Tensor, dtype: torch.dtype) -> Float[Tensor, "..."]:
    """Images as floats: uint8 as x / 255, to the bit the same everywhere; floats as they are."""
    return x.to(dtype).div_(255) if x.dtype == torch.uint8 else x.to(dtype)
