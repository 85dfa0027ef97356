"""Training as a game: players who each descend their own loss over the parameters that they own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from genlearn._types import Batch, Logs, Nets
from genlearn.maths.rng import Rng
from genlearn.parallel import average
from genlearn.train.optim import Optimizer
from genlearn.train.stream import Stream

Loss: TypeAlias = Callable[[Nets, Batch, Rng], tuple[Tensor, Logs]]
"""(nets, batch, rng) -> (scalar, logs): pure in the parameters; never a backward pass, never a step."""

JointLoss: TypeAlias = Callable[[Nets, Batch, Rng], tuple[dict[str, Tensor], Logs]]
"""Every player's scalar, by name, from one shared forward pass."""


@dataclass(frozen=True)
class Budget:
    """How long a stage lasts, whichever comes first: images seen by its first player, epochs, minutes."""

    images: float | None = None
    epochs: float | None = None
    minutes: float | None = None

    def limit(self, n: int) -> float:
        """The number of images, for a set of n."""
        limits = [float("inf") if self.images is None else self.images]
        limits += [float("inf") if self.epochs is None else self.epochs * n]
        return min(limits)


@dataclass(frozen=True)
class Player:
    """Descends `loss` over what it `owns`, and changes nothing else.

    owns: names of nets ("G") or prefixes of parameter names ("rbm.W"). steps: per round, a number or f(round).
    after: a projection of its parameters after each step (weight clipping, max-norm). A loss may move buffers (chains,
    running statistics) of the nets that it runs: purity is of parameters.
    """

    name: str
    owns: tuple[str, ...]
    loss: Loss
    optimizer: Optimizer
    steps: int | Callable[[int], int] = 1
    after: Callable[[Nets], None] | None = None

    def parameters(self, nets: Nets) -> list[tuple[str, nn.Parameter]]:
        """The named parameters that it owns."""
        owned = [
            (name, p)
            for name, p in nets.named_parameters()
            if any(name == own or name.startswith(own + ".") for own in self.owns)
        ]
        if not owned:
            raise ValueError(f"player {self.name!r} owns {', '.join(self.owns)}, which names no parameter")
        return owned


@dataclass(frozen=True)
class Stage:
    """Players, a budget and the order of play.

    start(nets, stream, rng): once, before the first round (biases from the data, chains, untying). prepare(nets, batch,
    rng): maps each batch without gradient. Play alternates, each step on a fresh batch; with `simultaneous` all
    gradients are taken at the same point, on the same batch and noise, then all step. A `joint` loss gives all players
    their scalars from one forward pass: the same simultaneous play without the repeated work. With `labelled` only the
    images with a known label are played, and an epoch is a pass over them.
    """

    name: str
    players: Sequence[Player]
    budget: Budget = field(default_factory=Budget)
    start: Callable[[Nets, Stream, Rng], None] | None = None
    prepare: Callable[[Nets, Batch, Rng], Batch] | None = None
    simultaneous: bool = False
    joint: JointLoss | None = None
    labelled: bool = False


class Seat:
    """A player at the table: its parameters, its optimiser and the images that it has seen."""

    def __init__(self, player: Player, nets: Nets) -> None:
        self.player = player
        named = player.parameters(nets)
        self.names = [name for name, _ in named]
        self.owned = [p for _, p in named]
        self.optimizer = player.optimizer.build(named)
        self.seen = 0

    def step(self, grads: Sequence[Tensor], nets: Nets, images: int) -> None:
        """One step along the gradients averaged over processes, then the projection."""
        self.player.optimizer.schedule(self.optimizer, self.seen)
        for p, g in zip(self.owned, average(list(grads)), strict=True):
            p.grad = g
        self.optimizer.step()
        for p in self.owned:
            p.grad = None
        if self.player.after is not None:
            with torch.no_grad():
                self.player.after(nets)
        self.seen += images


class Table:
    """The seats of one stage; `round` plays one round and returns its logs. Owned sets must be disjoint."""

    def __init__(self, stage: Stage, nets: Nets, precision: str) -> None:
        self.stage, self.nets, self.autocast = stage, nets, precision == "bf16"
        self.seats = [Seat(player, nets) for player in stage.players]
        owner: dict[str, str] = {}
        for seat in self.seats:
            for name in seat.names:
                if owner.setdefault(name, seat.player.name) != seat.player.name:
                    raise ValueError(
                        f"{name} is owned by {owner[name]!r} and {seat.player.name!r}, expected one owner; "
                        "the usual fix is to list the net in one player only"
                    )
        if (stage.simultaneous or stage.joint) and any(player.steps != 1 for player in stage.players):
            raise ValueError(
                f"stage {stage.name!r} is simultaneous: every player plays one step a round, expected steps=1"
            )
        nets.requires_grad_(False)

    def round(self, stream: Stream, rng: Rng, number: int) -> Logs:
        """One round: every player plays its steps, in order or at once."""
        if self.stage.joint is not None or self.stage.simultaneous:
            return self._at_once(stream, rng)
        logs: Logs = {}
        for seat in self.seats:
            steps = seat.player.steps
            for _ in range(steps if isinstance(steps, int) else steps(number)):
                batch = self._batch(stream, rng)
                logs |= self._scalars(seat, *self._gradients(seat, batch, rng), stream.batch_size)
        return logs

    def _batch(self, stream: Stream, rng: Rng) -> Batch:
        batch = next(stream)
        if self.stage.prepare is None:
            return batch
        with torch.no_grad():
            return self.stage.prepare(self.nets, batch, rng)

    def _gradients(self, seat: Seat, batch: Batch, rng: Rng) -> tuple[Sequence[Tensor], Tensor, Logs]:
        for p in seat.owned:
            p.requires_grad_(True)
        with self._cast(batch):
            loss, logs = seat.player.loss(self.nets, batch, rng)
        grads = torch.autograd.grad(loss, seat.owned)
        for p in seat.owned:
            p.requires_grad_(False)
        return grads, loss, logs

    def _scalars(self, seat: Seat, grads: Sequence[Tensor], loss: Tensor, logs: Logs, images: int) -> Logs:
        seat.step(grads, self.nets, images)
        name = seat.player.name
        return {f"{name}/loss": loss.detach()} | {f"{name}/{key}": value.detach() for key, value in logs.items()}

    def _at_once(self, stream: Stream, rng: Rng) -> Logs:
        batch = self._batch(stream, rng)
        if self.stage.joint is not None:
            results = self._joint(batch, rng)
        else:
            noise, results = rng.get_state(), []
            for seat in self.seats:
                rng.set_state(noise)
                results.append(self._gradients(seat, batch, rng))
        logs: Logs = {}
        for seat, result in zip(self.seats, results, strict=True):
            logs |= self._scalars(seat, *result, stream.batch_size)
        return logs

    def _joint(self, batch: Batch, rng: Rng) -> list[tuple[Sequence[Tensor], Tensor, Logs]]:
        assert self.stage.joint is not None
        owned = [p for seat in self.seats for p in seat.owned]
        for p in owned:
            p.requires_grad_(True)
        with self._cast(batch):
            losses, logs = self.stage.joint(self.nets, batch, rng)
        results: list[tuple[Sequence[Tensor], Tensor, Logs]] = []
        for i, seat in enumerate(self.seats):
            loss = losses[seat.player.name]
            # Only what leads from this loss to these parameters is computed; the last one frees the graph.
            grads = torch.autograd.grad(loss, seat.owned, retain_graph=i + 1 < len(self.seats))
            results.append((grads, loss, logs if i == 0 else {}))
        for p in owned:
            p.requires_grad_(False)
        return results

    def _cast(self, batch: Batch) -> AbstractContextManager[Any]:
        return torch.autocast(batch.x.device.type, torch.bfloat16) if self.autocast else nullcontext()
