"""A judge of digits of our own: a small convolutional network, good enough to count modes by."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genlearn._types import Batch, Logs, Nets
from genlearn.data import Data
from genlearn.files import write_atomically
from genlearn.maths.rng import Rng, make_rng
from genlearn.train import Budget, Optimizer, Player, Stage, Stream, Training

ENOUGH = 0.99  # of the test digits: of Lin et al. 2018's judge, and of ours
EPOCHS = 5


class Judge(nn.Module):
    """p(digit | image): two convolutions and two layers, grey images of 28 pixels in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, 10] of images [B, 1, 28, 28]."""
        logits: Tensor = self.layers(x)
        return logits

    @torch.no_grad()
    def read(self, x: Tensor) -> Tensor:
        """p(digit | image) [n, 10] of images [n, 1, 28, 28] of bytes."""
        return torch.cat([self(rows.float() / 255).softmax(1) for rows in x.split(1000)])


def judge(mnist: Data, path: Path) -> Judge:
    """The judge at `path`, or a fresh one, trained on the training digits and kept there.

    Raises ValueError where it reads fewer than 99 % of the test digits.
    """
    net = Judge()
    if path.exists():
        net.load_state_dict(load_file(path))
        return net.eval()
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        nets = Nets(judge=Judge())

    def loss(nets: Nets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        assert batch.y is not None
        return cross_entropy(nets["judge"](batch.x), batch.y), {}

    player = Player("judge", ("judge",), loss, Optimizer("adam", lr="linear(1e-3, 0, over=budget)"))
    stream = Stream(mnist.train.x, mnist.train.y, 100, 0)
    Training(nets, [Stage("learn", [player], Budget(epochs=EPOCHS))], stream, make_rng(0)).run()
    net.load_state_dict(nets["judge"].state_dict())
    right = accuracy(net.eval(), mnist)
    if right < ENOUGH:
        raise ValueError(f"the judge reads {right:.2%} of {mnist.name}'s test digits, expected {ENOUGH:.0%} at least")
    write_atomically(path, save(net.state_dict(), {"accuracy": f"{right:.4f}"}))
    return net


def accuracy(net: Judge, mnist: Data) -> float:
    """The share of the test digits that are read rightly."""
    assert mnist.test.y is not None
    return float((net.read(mnist.test.x).argmax(1) == mnist.test.y).double().mean())
