"""Where weights were."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlearn.shapes import Float


class History(nn.Module):
    """The running means of the players' parameters."""

    def __init__(self, **nets: nn.Module) -> None:
        super().__init__()
        for name, net in nets.items():
            self.register_buffer(f"mean_{name}", torch.zeros(sum(p.numel() for p in net.parameters())))
            self.register_buffer(f"steps_{name}", torch.zeros(()))

    def forward(self, name: str, net: nn.Module) -> Float[Tensor, ""]:
        """|theta - mean of theta so far|^2 (Salimans et al. 2016, section 3.3); the mean moves on."""
        theta = torch.cat([p.flatten() for p in net.parameters()])
        mean, steps = self.get_buffer(f"mean_{name}"), self.get_buffer(f"steps_{name}")
        with torch.no_grad():
            mean.lerp_(theta, 1 / steps.add_(1))
        return (theta - mean).square().sum()
