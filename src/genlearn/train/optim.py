"""Optimisers of torch by name, with schedules; fused where torch has a fused form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from genlearn.train.schedules import Schedule
from genlearn.words import unknown

OptimizerName: TypeAlias = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "adamax", "nadam", "radam"
]
_MOMENTUM = ("momentum", "nesterov")
_BETAS = ("adam", "adamw", "adamax", "nadam", "radam")
_FUSED = ("sgd", "momentum", "nesterov", "adam", "adamw")
_CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "nesterov": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
}


@dataclass(frozen=True)
class Optimizer:
    """How a player descends.

    `lr` and `momentum` are numbers or schedules of the images that the player has seen. `momentum` and `nesterov` use
    the momentum (v <- m v + g, p <- p - lr v), the Adam family uses `betas`. Weight decay falls on matrices and
    kernels, not on biases. Rates live in tensors, which a step reads and `schedule` fills.
    Raises ValueError for an unknown name, a rate that is not positive, and text that is no schedule.
    """

    name: OptimizerName = "adam"
    lr: float | str = 1e-3
    momentum: float | str = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in _CLASSES:
            raise ValueError(unknown("optimiser", self.name, tuple(_CLASSES)))
        Schedule.parse(self.momentum)
        if not Schedule.parse(self.lr).start > 0:
            raise ValueError(f"lr is {self.lr!r}, expected a rate above 0")

    def build(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        """The torch optimiser over named parameters, at the first value of its schedules."""
        groups: dict[bool, list[nn.Parameter]] = {}
        for _, p in parameters:
            groups.setdefault(p.ndim > 1 and self.weight_decay > 0, []).append(p)
        device = next(iter(groups.values()))[0].device
        rate = torch.ones((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
        options: dict[str, Any] = {"lr": rate}
        if self.name in _MOMENTUM:
            options |= {"momentum": 0.5, "nesterov": self.name == "nesterov"}
        elif self.name in _BETAS:
            options |= {"betas": self.betas}
        fused = self.name in _FUSED or (self.name == "adagrad" and device.type == "cpu")
        options["fused" if fused else "foreach"] = True
        optimizer = _CLASSES[self.name](
            [{"params": ps, "weight_decay": self.weight_decay * decays} for decays, ps in groups.items()],
            **options,
        )
        self.schedule(optimizer, 0)
        return optimizer

    def schedule(self, optimizer: torch.optim.Optimizer, images: int, spent: float = 0.0) -> None:
        """Set rate and momentum for a player that has seen `images` images, a share `spent` of the stage's budget."""
        lr = Schedule.parse(self.lr)(images, spent)
        for group in optimizer.param_groups:
            group["lr"].fill_(lr)
            if self.name in _MOMENTUM:
                group["momentum"] = Schedule.parse(self.momentum)(images, spent)
