"""A convolutional network that judges drawn digits: trained on real ones, held apart from every model it judges."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def train_judge(x: Tensor, y: Tensor, epochs: int = 4, batch_size: int = 128) -> nn.Module:
    """A CNN after `epochs` on uint8 digits [n, 1, 28, 28], one-cycle Adam."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
    ).to(memory_format=torch.channels_last)  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    steps = epochs * (len(x) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(batch_size)[: len(x) // batch_size]:
            loss = cross_entropy(net(x[rows].float().div(255)), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


@torch.no_grad()
def judged(net: nn.Module, x: Tensor) -> Tensor:
    """What it takes uint8 digits for [n]."""
    return torch.cat([net(rows.float().div(255)).argmax(1) for rows in x.split(500)])
