"""A number that is learned."""

from __future__ import annotations

import torch
from torch import nn


class Constant(nn.Module):
    """One parameter, `value` [], such as the log Z of noise-contrastive estimation."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
