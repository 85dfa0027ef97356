"""Optimisers of torch by name, with schedules; fused where torch has a fused form."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import nn

from genlearn.train.schedules import Schedule
from genlearn.words import call, unknown

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

# Torch imports its compiler, which takes a second, when the first optimiser is made, only to say of these methods that
# it is to leave them alone. Marked as left alone already, they are called as they are.
for _method in ("add_param_group", "state_dict", "load_state_dict"):
    if _plain := getattr(getattr(torch.optim.Optimizer, _method), "__wrapped__", None):
        _plain.__dict__.setdefault("__dynamo_disable", _plain)


@dataclass(frozen=True)
class Optimizer:
    """How a player descends.

    `lr` and `momentum` are numbers or schedules of the images that the player has seen. `momentum` and `nesterov` use
    the momentum (v <- m v + g, p <- p - lr v), the Adam family uses `betas`. Weight decay falls on matrices and
    kernels, not on biases. Rates live in tensors, which a step reads and `schedule` fills.
    Raises ValueError for an unknown name, a number out of its range, and text that is no schedule.
    """

    name: OptimizerName = "adam"
    lr: float | str = 1e-3
    momentum: float | str = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0

    expected: ClassVar[str] = "an optimiser such as sgd, or adam(2e-4, betas=0.5,0.999)"

    def __post_init__(self) -> None:
        if self.name not in _CLASSES:
            raise ValueError(unknown("optimiser", self.name, tuple(_CLASSES)))
        if not Schedule.parse(self.lr).start > 0:
            raise ValueError(f"lr is {self.lr!r}, expected a rate above 0")
        if not 0 <= Schedule.parse(self.momentum).start <= 1:
            raise ValueError(f"momentum is {self.momentum!r}, expected a number between 0 and 1")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas is {self.betas!r}, expected two numbers from 0 to below 1, such as 0.9,0.999")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay is {self.weight_decay!r}, expected 0 or more")

    @classmethod
    def parse(cls, text: str, default: Optimizer | None = None) -> Optimizer:
        """An optimiser from text, NAME or NAME(rate, option=value ..); what it leaves out is as in `default`.

        The options are momentum, betas and weight_decay; rates and momentum may be schedules. A one-line ValueError if
        the text is none.
        """
        changes: dict[str, Any] = {}
        try:
            name, arguments, named = call(text)
            if arguments:
                (changes["lr"],) = (_number(argument) for argument in arguments)
            for key, value in named.items():
                if key == "betas":
                    changes[key] = tuple(float(beta) for beta in value.split(","))
                elif key in ("lr", "momentum", "weight_decay") and key not in changes:
                    changes[key] = float(value) if key == "weight_decay" else _number(value)
                else:
                    raise ValueError(key)
        except ValueError:
            raise ValueError(f"{text!r} is no optimiser, expected {cls.expected}") from None
        return replace(default or cls(), **changes, name=name)  # type: ignore[arg-type]

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

    @staticmethod
    def step(optimizer: torch.optim.Optimizer) -> None:
        """`optimizer.step()` without its wrappers, which import the compiler and cost more than a small step."""
        with torch.no_grad():
            inspect.unwrap(type(optimizer).step)(optimizer)


def _number(text: str) -> float | str:
    """A number, or the text of a schedule; ValueError for any other."""
    try:
        return float(text)
    except ValueError:
        Schedule.parse(text)
        return text
