"""An exponential moving average of what the players of a stage own."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genlearn._types import Nets


class Average:
    """theta_bar <- theta_bar + (1 - decay) (theta - theta_bar) after every round.

    `nets` is a copy of the networks in which only the parameters that are averaged stand apart; all the rest (frozen
    nets, buffers, what earlier stages learned) is the same memory, so it is neither copied nor saved twice.

    The half-life is in images seen, so that it does not depend on the batch size: decay = 2^(-B / half_life). Early on
    the half-life is at most a tenth of the images seen so far (the ramp of Karras et al. 2020).
    """

    def __init__(self, nets: Nets, averaged: Sequence[nn.Parameter], half_life: float) -> None:
        apart = {id(p) for p in averaged}
        tensors: list[Tensor] = [*nets.parameters(), *nets.buffers()]
        self.nets = copy.deepcopy(nets, {id(t): t for t in tensors if id(t) not in apart})
        mine = dict(self.nets.named_parameters())
        names = [name for name, p in nets.named_parameters() if id(p) in apart]
        self.state = {name: mine[name].requires_grad_(False) for name in names}
        self._theirs: list[Tensor] = [p for p in nets.parameters() if id(p) in apart]
        self.half_life = half_life

    @torch.no_grad()
    def update(self, images: int, batch_size: int) -> None:
        """Follow the networks, which have seen `images` images in this stage."""
        decay = 2.0 ** (-batch_size / max(min(self.half_life, images / 10), 1e-8))
        torch._foreach_lerp_(list(self.state.values()), self._theirs, 1 - decay)

    @torch.no_grad()
    def hand_over(self) -> None:
        """The networks take the averaged values: the next stage is built on what `sample` uses."""
        for mine, theirs in zip(self.state.values(), self._theirs, strict=True):
            theirs.copy_(mine)

    def own_buffers(self) -> None:
        """Give the copy buffers of its own, for what is fitted to each at the end."""
        for module in self.nets.modules():
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, buffer.clone())
