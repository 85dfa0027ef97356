"""The one training loop: the only code that owns gradients, steps, averages, stops and checkpoints."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from genlearn._types import Logs, Nets
from genlearn.maths.rng import Rng
from genlearn.parallel import agree, agreed, world
from genlearn.train.average import Average
from genlearn.train.checkpoint import Keeper, load_optimizer_state, optimizer_state
from genlearn.train.game import Budget, Game, Stage
from genlearn.train.journal import Journal
from genlearn.train.monitor import Monitor
from genlearn.train.progress import Progress
from genlearn.train.stop import Diverged, Stop, Stopped
from genlearn.train.stream import Stream

GRADIENTS = 10  # rounds between two readings of the gradients' norms


@dataclass
class Training:
    """One run of a game: `run` plays the stages; what is not given is off.

    budget: of all stages together, monitors and saving included (epochs are a stage's own). precision: float32, float64
    or bf16 (autocast). ema: half-life of the averaged weights in images; the averaged nets are then `average.nets`.
    keeper, keep_every: checkpoints, at the first tick after so many seconds; to resume, make everything anew as it was
    made, and `run(resume=True)`. tick: images between readings of the logs (by default an epoch, at most 10,000).
    layers: the norm of the gradient of each layer too. stop: asked after every round. on_tick(progress, share of the
    stage that is done): for progress bars.
    """

    nets: Nets
    stages: Sequence[Stage]
    stream: Stream
    rng: Rng
    journal: Journal = field(default_factory=Journal)
    budget: Budget = field(default_factory=Budget)
    precision: str = "float32"
    ema: float = 0.0
    keeper: Keeper | None = None
    keep_every: float = 60.0
    monitors: Sequence[Monitor] = ()
    tick: int | None = None
    layers: bool = False
    stop: Stop = field(default_factory=Stop)
    on_tick: Callable[[Progress, float], None] = lambda progress, done: None
    progress: Progress = field(default_factory=Progress)
    average: Average | None = field(default=None, init=False)
    _ticked: int = field(default=0, init=False)
    _clock: float = field(default=0.0, init=False)

    def run(self, resume: bool = False) -> Progress:
        """Play the stages from the start, or with `resume` from the latest checkpoint of the keeper; where it ended.

        With a keeper, a start forgets older checkpoints and rows of the journal. Raises `Diverged` where a loss or a
        parameter is not finite, ValueError where no checkpoint can be read, or there is no keeper to resume from.
        """
        if resume and self.keeper is None:
            raise ValueError("resume=True without a keeper, expected one; the usual fix is keeper=Keeper(folder)")
        state = self.keeper.latest() if resume and self.keeper else None
        if self.keeper and not resume and world()[0] == 0:
            self.keeper.clear()
        if self.keeper and state is None:
            self.journal.rewind(-1)  # perhaps after a kill before the first checkpoint
        devices = [self.stream.device] if self.stream.device.type == "cuda" else []
        self._clock = time.perf_counter()
        # Nets of third parties (dropout of torch) draw from the global generator: it is seeded from ours.
        with torch.random.fork_rng(devices):
            torch.manual_seed(int(torch.randint(2**31, (), generator=self.rng, device=self.rng.device)))
            if state is not None:
                self.progress = Progress(**state["progress"])
                self.journal.rewind(self.progress.images)
            p, given = self.progress, self.precision
            p.precision = p.precision or given
            if p.precision != given and "float64" in (p.precision, given):
                raise ValueError(f"precision is {given!r}, but training began with {p.precision!r}: set it back")
            try:
                while p.stage < len(self.stages):
                    if not self._stage(self.stages[p.stage], state):
                        return p
                    state, p.stage = None, p.stage + 1
                p.finished = True
                self._watch(self.monitors)
            except Stopped:
                return p
        return p

    def _stage(self, stage: Stage, state: dict[str, Any] | None) -> bool:
        """Play one stage to the end of its budget; False if stopped before."""
        p, last = self.progress, self._last
        game = Game(stage, self.nets, p.precision, self.layers)
        self.stream.select(stage.labelled)
        if state is None:
            if stage.start is not None:
                with torch.no_grad(), self._breakable():
                    stage.start(self.nets, self.stream, self.rng)
            p.stage_images, p.stage_seconds, p.round = 0, 0.0, 0
        self.average = Average(self.nets, game.owned, self.ema) if self.ema else None
        if state is not None:
            self._load(game, state)
        self._lap("start")
        if not self._play(game):
            return False
        if self.average is not None and not last:
            self.average.hand_over()
        if stage.finish is not None:
            with torch.no_grad(), self._breakable():
                self._finish(stage, last)
        self._lap("start")
        return True

    @property
    def _last(self) -> bool:
        return self.progress.stage + 1 == len(self.stages)

    def _finish(self, stage: Stage, last: bool) -> None:
        """On the networks and, where they differ, on the average, with the same noise."""
        assert stage.finish is not None
        noise = self.rng.get_state()
        self.nets.eval()
        stage.finish(self.nets, self.stream, self.rng)
        if self.average is not None and last:
            self.average.own_buffers()
            self.rng.set_state(noise)
            stage.finish(self.average.nets.eval(), self.stream, self.rng)

    def _limits(self, stage: Stage) -> tuple[float, float]:
        """The images and the seconds of a stage: its own budget, and its share of what is left of the whole."""
        p, later = self.progress, self.stages[self.progress.stage :]
        share = stage.share / sum(s.share for s in later)
        images = (Budget(self.budget.images).limit(1) - (p.images - p.stage_images)) * share
        seconds = (self.budget.seconds - (p.seconds - p.stage_seconds)) * share
        return min(stage.budget.limit(self.stream.n), images), min(stage.budget.seconds, seconds)

    def _play(self, game: Game) -> bool:
        """Rounds until the budget of the stage is spent; False if stopped before."""
        p, first = self.progress, game.players[0]
        limit, seconds = self._limits(game.stage)
        tick = self.tick or min(max(self.stream.n, self.stream.batch_size), 10_000)
        pending: list[Logs] = []
        kept, elapsed = time.perf_counter(), self._elapsed(seconds)
        self._ticked = p.images
        if p.round == 0 and limit <= 0:
            warnings.warn(
                f"nothing was left of the budget for stage {game.stage.name!r}, which plays one round; "
                "the usual fix is a larger budget",
                stacklevel=2,
            )
        last = p.round > 0 and (p.stage_images >= limit or p.stage_seconds >= seconds)  # a round at least
        limit = max(limit, 1)
        while not last:
            seen = first.seen
            norms, spent = p.round % GRADIENTS == 0, max(p.stage_images / limit, elapsed)
            pending.append(game.round(self.stream, self.rng, p.round, norms, spent))
            seen = first.seen - seen
            due = (p.stage_images + seen) // tick > p.stage_images // tick
            p.stage_images, p.images = p.stage_images + seen, p.images + seen
            p.round, p.rounds = p.round + 1, p.rounds + 1
            if self.average is not None:
                self.average.update(p.stage_images, seen)
            self._lap("play")
            # With many processes all must leave in the same round, for the same reason: they agree at ticks only.
            stopped = late = False
            if due or world()[1] == 1:
                wishes = (self.stop.asked(), p.stage_seconds >= seconds)
                stopped, late = (agree(wish, self.stream.device) for wish in wishes)
                elapsed = self._elapsed(seconds)
            last = stopped or late or p.stage_images >= limit
            if due or last:
                self._read(pending, game.stage)
                pending = []
                self.on_tick(p, min(1.0, max(p.stage_images / limit, p.stage_seconds / seconds)))
                if not (last and self._last):  # the end of the run has a look of its own
                    self._watch([m for m in self.monitors if m.affordable(p.spent["play"])])
                if last or time.perf_counter() - kept > self.keep_every:
                    self._save(game)
                    kept = time.perf_counter()
            if stopped:
                return False
        return True

    def _elapsed(self, seconds: float) -> float:
        """The share of the seconds of the stage that is spent, the same in all processes: rates may depend on it."""
        share = self.progress.stage_seconds / seconds
        return agreed(round(1e6 * share), self.stream.device) / 1e6 if share > 0 and world()[1] > 1 else share

    def _lap(self, what: str) -> None:
        """Add the seconds since the last call to the clocks."""
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        p = self.progress
        p.seconds, p.stage_seconds = p.seconds + seconds, p.stage_seconds + seconds
        p.spent[what] = p.spent.get(what, 0.0) + seconds

    def _breakable(self) -> AbstractContextManager[None]:
        """For work that a stop may break off; not where other processes wait for the rest of it."""
        return self.stop.breakable() if world()[1] == 1 else nullcontext()

    def _read(self, pending: list[Logs], stage: Stage) -> None:
        """Read the logs since the last tick into the journal; stop on NaN."""
        p = self.progress
        values: dict[str, float] = {}
        for key in dict.fromkeys(key for logs in pending for key in logs):
            series = torch.stack([logs[key].float() for logs in pending if key in logs])
            if key.endswith("/loss") and not torch.isfinite(series).all():
                first = int((~torch.isfinite(series)).nonzero()[0])
                player = stage.players[[f"{q.name}/loss" for q in stage.players].index(key)].name
                raise self._diverged(f"the loss of player {player!r}", p.round - len(series) + first)
            values[key] = series.mean().item()
        self.journal.log(p.images, p.seconds, values)

    def _watch(self, monitors: Sequence[Monitor]) -> None:
        """Let the monitors that are due look at the averaged nets; at the end of the run all are."""
        p, nets = self.progress, self.nets if self.average is None else self.average.nets
        due = [m for m in monitors if p.finished or self._ticked // m.every < p.images // m.every]
        self._ticked = p.images
        if due:
            modes = [(module, module.training) for module in nets.modules()]
            nets.eval()  # to look must change no running statistic
            try:
                with self.stop.breakable():
                    for monitor in due:
                        began = time.perf_counter()
                        if measured := monitor.look(nets, p.images):
                            self.journal.log(p.images, p.seconds, measured)
                        monitor.last = time.perf_counter() - began
                        monitor.total += monitor.last
            except Stopped:
                pass  # granted after this round
            finally:
                for module, mode in modes:
                    module.training = mode
        self._lap("monitors")

    def _bad_parameter(self) -> str | None:
        return next((name for name, t in self.nets.named_parameters() if not torch.isfinite(t).all()), None)

    def _diverged(self, what: str, number: int) -> Diverged:
        bad = self._bad_parameter()
        where = f"parameter {bad!r} is no longer finite" if bad else "all parameters are still finite"
        kept = self.keeper.paths() if self.keeper else []
        last = f"; the last good checkpoint is {kept[-1].name}" if kept else ""
        return Diverged(
            f"{what} became NaN or infinite in round {number}, {where}{last}; the usual fix is a smaller learning rate"
        )

    def _save(self, game: Game) -> None:
        """A checkpoint of everything, unless a parameter is not finite."""
        p = self.progress
        if (bad := self._bad_parameter()) is not None:
            player = next((q.player.name for q in game.players if bad in q.names), "nobody")
            raise self._diverged(f"a parameter of player {player!r}", p.round)
        p.players |= {game.name(q): q.seen for q in game.players}
        if self.keeper is None or world()[0] != 0:
            return
        state: dict[str, Any] = {
            "progress": asdict(p),
            "nets": dict(self.nets.state_dict()),
            "rng": {"player": self.rng.get_state(), "global": torch.get_rng_state()},
            "stream": self.stream.state(),
            "optimizers": {q.player.name: optimizer_state(q.optimizer) for q in game.players},
        }
        if self.stream.device.type == "cuda":
            state["rng"]["cuda"] = torch.cuda.get_rng_state(self.stream.device)
        if self.average is not None:
            state["average"] = dict(self.average.state)
        self.keeper.save(p.images, state)
        self._lap("saving")

    def _load(self, game: Game, state: dict[str, Any]) -> None:
        try:
            self._restore(game, state)
        except (RuntimeError, KeyError, TypeError, ValueError) as error:
            why = " ".join(str(error).split())[:200]
            raise ValueError(f"the checkpoint is of another game ({why}); the usual fix is its own recipe") from None

    def _restore(self, game: Game, state: dict[str, Any]) -> None:
        self.nets.load_state_dict(state["nets"])
        if self.average is not None:
            for name, values in state["average"].items():
                self.average.state[name].copy_(values)
        self.stream.load_state(state["stream"])
        for playing in game.players:
            playing.seen = self.progress.players[game.name(playing)]
            load_optimizer_state(playing.optimizer, state["optimizers"][playing.player.name])
        generators = state["rng"]
        self.rng.set_state(generators["player"])
        torch.set_rng_state(generators["global"])
        if "cuda" in generators:
            torch.cuda.set_rng_state(generators["cuda"], self.stream.device)
