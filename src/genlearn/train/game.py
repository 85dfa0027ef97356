"""Training as a game: players who each descend their own loss over the parameters that they own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genlearn._types import Batch, Logs, Nets
from genlearn.maths.rng import Rng
from genlearn.parallel import average
from genlearn.train.contract import JointLoss, Loss, Prepare, Setup, checked
from genlearn.train.optim import Optimizer
from genlearn.train.stream import Stream


@dataclass(frozen=True)
class Budget:
    """How long to play, whichever comes first: images seen (by a stage's first player), epochs, minutes.

    A first player of three steps sees three batches a round: the budget, averages, ticks and the journal count all.
    Without any limit play goes on until it is stopped.
    """

    images: float | None = None
    epochs: float | None = None
    minutes: float | None = None

    def limit(self, n: int) -> float:
        """The number of images, for a set of n."""
        limits = [float("inf") if self.images is None else self.images]
        limits += [float("inf") if self.epochs is None else self.epochs * n]
        return min(limits)

    @property
    def seconds(self) -> float:
        """The time; infinite where there is no limit."""
        return float("inf") if self.minutes is None else 60 * self.minutes


@dataclass(frozen=True)
class Player:
    """Descends `loss` over what it `owns`, and changes nothing else.

    owns: names of nets ("G") or prefixes of parameter names ("rbm.W"). steps: per round, a number, or f of the
    images that a player of one step has seen before it. after: a projection of its parameters after each step (weight
    clipping, max-norm). clip: the largest norm of its gradient; a longer one is scaled down. A loss may move buffers
    (chains, running statistics) of the nets that it runs: purity is of parameters. Schedules and `batch.seen` count
    the images that this player has seen.
    Raises ValueError for text in the place of `owns`, and a clip that is not positive.
    """

    name: str
    owns: tuple[str, ...]
    loss: Loss
    optimizer: Optimizer
    steps: int | Callable[[int], int] = 1
    after: Callable[[Any], None] | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.owns, str):
            raise ValueError(f"player {self.name!r} owns {self.owns!r}, expected names, as in owns=({self.owns!r},)")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip of player {self.name!r} is {self.clip}, expected a number above 0, or None")

    def parameters(self, nets: Nets) -> list[tuple[str, nn.Parameter]]:
        """The named parameters that it owns; ValueError where there are none."""
        owned = [(name, p) for name, p in nets.named_parameters() if any(_below(name, own) for own in self.owns)]
        if not owned:
            known = ", ".join(nets)
            raise ValueError(
                f"player {self.name!r} owns {', '.join(self.owns)}, which names no parameter of the nets {known}"
            )
        return owned


def _below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


@dataclass(frozen=True)
class Stage:
    """Players, a budget and the order of play.

    budget: the stage's own, most often epochs; share: its part of what the budget of the whole training leaves, in
    proportion to the shares of the stages still to come. start(nets, stream, rng): once, before the first round
    (biases from the data, chains, untying); finish: once, after the last, on the nets and on the average (a density of
    the codes). prepare(nets, batch, rng): maps each batch without gradient. Play alternates, each step on a fresh
    batch; if `simultaneous`, all gradients are taken at the same point, on the same batch and noise, then all step; a
    `joint` loss is its fast path: all scalars from one forward pass. labelled: the share of each batch that shows
    a known label (`Stream.select`). Raises ValueError for no players, or two of one name.
    """

    name: str
    players: Sequence[Player]
    budget: Budget = field(default_factory=Budget)
    share: float = 1.0
    start: Setup | None = None
    prepare: Prepare | None = None
    finish: Setup | None = None
    simultaneous: bool = False
    joint: JointLoss | None = None
    labelled: float = 0.0

    def __post_init__(self) -> None:
        names = [player.name for player in self.players]
        if not names or len(set(names)) < len(names):  # journal and checkpoints go by them
            raise ValueError(f"stage {self.name!r} has the players {names}, expected one at least, of different names")


class Move(NamedTuple):
    """What a player's loss gave at one point: the gradient of what it owns, the loss and its logs."""

    gradients: Sequence[Tensor]
    loss: Tensor
    logs: Logs


class Playing:
    """A player in play: its parameters, its optimiser and the images that it has seen."""

    def __init__(self, player: Player, nets: Nets) -> None:
        self.player = player
        named = player.parameters(nets)
        self.names = [name for name, _ in named]
        self.owned = [p for _, p in named]
        self.optimizer = player.optimizer.build(named)
        self.seen = 0

    def step(
        self, move: Move, nets: Nets, images: int, norms: bool = False, layers: bool = False, spent: float = 0.0
    ) -> Logs:
        """One step along the gradients averaged over processes, then the projection; the logs of the move.

        norms: with the norm of the gradient, before it is clipped; layers: with that of every layer. spent: the share
        of the stage's budget.
        """
        self.player.optimizer.schedule(self.optimizer, self.seen, spent)
        gradients, name = average(list(move.gradients)), self.player.name
        logs = {f"{name}/loss": move.loss.detach()} | {f"{name}/{k}": v.detach() for k, v in move.logs.items()}
        if norms or self.player.clip is not None:
            lengths = torch.stack(torch._foreach_norm(gradients))
            length = lengths.norm()
            if norms:
                logs[f"{name}/gradient"] = length
                logs |= self._by_layer(lengths) if layers else {}
            if self.player.clip is not None:
                # Not in place: the gradient of a sum is one number, expanded.
                scale = (self.player.clip / length.clamp_min(1e-12)).clamp_max(1.0)
                gradients = list(torch._foreach_mul(gradients, scale))
        for p, g in zip(self.owned, gradients, strict=True):
            # Fused optimisers go through memory: a gradient of another layout would move the wrong weights.
            p.grad = g if g.stride() == p.stride() else torch.empty_like(p).copy_(g)
        self.player.optimizer.step(self.optimizer)
        for p in self.owned:
            p.grad = None
        if self.player.after is not None:
            with torch.no_grad():
                self.player.after(nets)
        self.seen += images
        return logs

    def _by_layer(self, lengths: Tensor) -> Logs:
        layers: dict[str, list[int]] = {}
        for i, name in enumerate(self.names):
            layers.setdefault(name.rpartition(".")[0], []).append(i)
        return {f"{self.player.name}/gradient of {name}": lengths[i].norm() for name, i in layers.items()}


class Game:
    """The players of one stage in play; `round` plays one round and returns its logs. Owned sets must be disjoint.

    Modules of which no player owns anything are put in evaluation mode, the others in training mode. Raises ValueError
    where two players own the same, where a joint loss or more than one step meets the wrong order of play.
    """

    def __init__(self, stage: Stage, nets: Nets, precision: str = "float32", layers: bool = False) -> None:
        self.stage, self.nets, self.autocast, self.layers = stage, nets, precision == "bf16", layers
        self.players = [Playing(player, nets) for player in stage.players]
        owner: dict[str, str] = {}
        for playing in self.players:
            for name in playing.names:
                if owner.setdefault(name, playing.player.name) != playing.player.name:
                    raise ValueError(
                        f"{name} is owned by {owner[name]!r} and {playing.player.name!r}, expected one owner; "
                        "the usual fix is to list the net in one player only"
                    )
        if stage.joint is not None and not stage.simultaneous:
            raise ValueError(f"stage {stage.name!r} has a joint loss, expected simultaneous=True beside it")
        if stage.simultaneous and any(player.steps != 1 for player in stage.players):
            raise ValueError(
                f"stage {stage.name!r} is simultaneous: every player plays one step a round, expected steps=1"
            )
        nets.requires_grad_(False).eval()
        for net in nets.values():
            _train({id(p) for p in self.owned}, net)

    @property
    def owned(self) -> list[nn.Parameter]:
        """What all players own together."""
        return [p for playing in self.players for p in playing.owned]

    def name(self, playing: Playing) -> str:
        """Stage and player, by which records know it."""
        return f"{self.stage.name}/{playing.player.name}"

    def round(self, stream: Stream, rng: Rng, number: int, norms: bool = False, spent: float = 0.0) -> Logs:
        """One round: every player plays its steps, in order or at once; with the norms of the gradients, if asked.

        spent: the share of the stage's budget, for schedules.
        """
        logs: Logs = {}
        if self.stage.simultaneous:
            moves = self._at_once(self._batch(stream, rng, self.players[0].seen, spent), rng)
            for playing, move in zip(self.players, moves, strict=True):
                logs |= playing.step(move, self.nets, stream.batch_size, norms, self.layers, spent)
            return logs
        for playing in self.players:
            steps = playing.player.steps
            steps = steps if isinstance(steps, int) else steps(number * stream.batch_size)
            if steps < 1 and playing is self.players[0]:
                raise ValueError(
                    f"player {playing.player.name!r} plays {steps} steps in round {number}, expected 1 at least of the "
                    "first player: the budget counts its images"
                )
            for _ in range(steps):
                move = self.move(playing, self._batch(stream, rng, playing.seen, spent), rng)
                logs |= playing.step(move, self.nets, stream.batch_size, norms, self.layers, spent)
        return logs

    def _batch(self, stream: Stream, rng: Rng, seen: int, spent: float = 0.0) -> Batch:
        batch = next(stream)._replace(seen=seen, spent=spent)
        if self.stage.prepare is None:
            return batch
        with torch.no_grad():
            return self.stage.prepare(self.nets, batch, rng)._replace(seen=seen, spent=spent)

    def move(self, playing: Playing, batch: Batch, rng: Rng) -> Move:
        """The loss of a player and its gradient; no parameter changes."""
        for p in playing.owned:
            p.requires_grad_(True)
        with self._cast(batch):
            loss, logs = checked(playing.player.name, playing.player.loss(self.nets, batch, rng))
        gradients = torch.autograd.grad(loss, playing.owned, allow_unused=True)
        for p in playing.owned:
            p.requires_grad_(False)
        if any(g is None for g in gradients):
            unused = playing.names[[g is None for g in gradients].index(True)]
            raise ValueError(f"player {playing.player.name!r} owns {unused}, which its loss does not use; own less")
        return Move(gradients, loss, logs)

    def _at_once(self, batch: Batch, rng: Rng) -> list[Move]:
        if self.stage.joint is not None:
            return self._joint(self.stage.joint, batch, rng)
        noise, moves = rng.get_state(), []
        for playing in self.players:
            rng.set_state(noise)
            moves.append(self.move(playing, batch, rng))
        return moves

    def _joint(self, joint: JointLoss, batch: Batch, rng: Rng) -> list[Move]:
        for p in self.owned:
            p.requires_grad_(True)
        with self._cast(batch):
            losses, logs = joint(self.nets, batch, rng)
        moves: list[Move] = []
        for i, playing in enumerate(self.players):
            loss = losses[playing.player.name]
            # Only what leads from this loss to these parameters is computed; the last one frees the graph.
            gradients = torch.autograd.grad(loss, playing.owned, retain_graph=i + 1 < len(self.players))
            moves.append(Move(gradients, loss, logs if i == 0 else {}))
        for p in self.owned:
            p.requires_grad_(False)
        return moves

    def _cast(self, batch: Batch) -> AbstractContextManager[Any]:
        return torch.autocast(batch.x.device.type, torch.bfloat16) if self.autocast else nullcontext()


def _train(owned: set[int], module: nn.Module) -> None:
    """Training mode for a module that holds something owned, and for its parts that hold no parameter of their own."""
    parameters = {id(p) for p in module.parameters()}
    if parameters & owned:
        module.training = True
        for part in module.children():
            _train(owned, part) if next(part.parameters(), None) is not None else part.train()
