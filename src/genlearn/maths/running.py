"""Running means over the batches of all processes."""

from __future__ import annotations

import torch
from torch import Tensor

from genlearn.parallel import average
from genlearn.shapes import Float


@torch.no_grad()
def update_mean(running: Float[Tensor, "*d"], mean: Float[Tensor, "*d"], rate: float) -> Float[Tensor, "*d"]:
    """running += rate (mean - running), in place, with `mean` [...] averaged over the processes; returns it."""
    (mean,) = average([mean])
    return running.lerp_(mean.to(running.dtype), rate)
