"""Running means over the batches of all processes."""

from __future__ import annotations

import torch
from torch import Tensor

from genlearn.parallel import average


@torch.no_grad()
def update_mean(running: Tensor, mean: Tensor, rate: float) -> Tensor:
    """running += rate (mean - running), in place, with `mean` [...] averaged over the processes; returns it."""
    (mean,) = average([mean])
    return running.lerp_(mean.to(running.dtype), rate)
