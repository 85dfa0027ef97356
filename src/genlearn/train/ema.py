"""An exponential moving average of the networks."""

from __future__ import annotations

import copy

import torch

from genlearn._types import Nets


class Average:
    """theta_bar <- theta_bar + (1 - decay) (theta - theta_bar) after every round; buffers are copied.

    The half-life is in images seen, so that it does not depend on the batch size: decay = 2^(-B / half_life). Early on
    the half-life is at most a tenth of the images seen so far (the ramp of Karras et al. 2020).
    """

    def __init__(self, nets: Nets, half_life: float) -> None:
        self.nets, self.half_life = copy.deepcopy(nets).requires_grad_(False), half_life

    @torch.no_grad()
    def update(self, nets: Nets, images: int, batch_size: int) -> None:
        """Follow `nets`, which have seen `images` images."""
        decay = 2.0 ** (-batch_size / max(min(self.half_life, images / 10), 1e-8))
        torch._foreach_lerp_(list(self.nets.parameters()), list(nets.parameters()), 1 - decay)
        for mine, theirs in zip(self.nets.buffers(), nets.buffers(), strict=True):
            mine.copy_(theirs)
