"""What a game is made of, as types: losses, and what a stage does beside play."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from genlearn._types import Batch, Logs
from genlearn.maths.rng import Rng
from genlearn.train.stream import Stream


class Loss(Protocol):
    """(nets, batch, rng) -> (scalar, logs): pure in the parameters; never a backward pass, never a step."""

    def __call__(self, nets: Any, batch: Batch, rng: Rng, /) -> tuple[Tensor, Logs]: ...


class JointLoss(Protocol):
    """Every player's scalar, by name, from one shared forward pass."""

    def __call__(self, nets: Any, batch: Batch, rng: Rng, /) -> tuple[dict[str, Tensor], Logs]: ...


class Setup(Protocol):
    """What a stage does once, at its start or its end; without gradient."""

    def __call__(self, nets: Any, stream: Stream, rng: Rng, /) -> None: ...


class Prepare(Protocol):
    """Maps each batch; without gradient."""

    def __call__(self, nets: Any, batch: Batch, rng: Rng, /) -> Batch: ...


def checked(player: str, given: Any) -> tuple[Tensor, Logs]:
    """What a loss gave; a one-line ValueError unless it is a scalar with a gradient, and logs of scalars."""
    loss, logs = given if isinstance(given, tuple) and len(given) == 2 else (given, {})
    if not isinstance(given, tuple) or not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
        shape = f" of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else ""
        detached = " without gradient" if isinstance(loss, Tensor) and not loss.requires_grad else ""
        raise ValueError(
            f"the loss of player {player!r} gave a {type(loss).__name__}{shape}{detached}"
            f"{'' if isinstance(given, tuple) else ' alone'}, expected (scalar tensor, logs)"
        )
    for name, value in logs.items():
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError(f"log {name!r} of player {player!r} is {value!r:.40}, expected a scalar tensor")
    return loss, logs
