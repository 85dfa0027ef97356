"""The one training loop: the only code that owns gradients, steps, averages, stops and checkpoints."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from genlearn._types import Logs, Nets
from genlearn.maths.rng import Rng
from genlearn.parallel import agree, world
from genlearn.train.checkpoint import Keeper, load_optimizer_state, optimizer_state
from genlearn.train.ema import Average
from genlearn.train.game import Stage, Table
from genlearn.train.journal import Journal
from genlearn.train.stream import Stream


def keep_freed_memory() -> None:
    """Let glibc keep freed buffers: by default it hands large ones back to the system and faults them in at each step.

    Doubling a 784 x 500 matrix took 105 us so, and 35 us with the memory kept. No effect elsewhere.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mmap_threshold, trim_threshold = -3, -1
        mallopt(mmap_threshold, 1 << 28)
        mallopt(trim_threshold, 1 << 29)


class Diverged(FloatingPointError):
    """A loss or a parameter became NaN or infinite; the last good checkpoint is kept."""


@contextmanager
def _watched(nets: Nets) -> Iterator[Nets]:
    """The nets in evaluation mode, each module put back as it was: to look must change no running statistic."""
    modes = [(module, module.training) for module in nets.modules()]
    nets.eval()
    try:
        yield nets
    finally:
        for module, mode in modes:
            module.training = mode


@dataclass(frozen=True)
class Monitor:
    """A named observer, separate from the losses: run(nets, images) -> numbers, every `every` images seen.

    `nets` are the averaged ones where an average is kept. It has its own random numbers, so that watching changes
    nothing.
    """

    name: str
    every: int
    run: Callable[[Nets, int], dict[str, float]]


@dataclass
class Progress:
    """Where training is: images are those seen by the first player of each stage."""

    stage: int = 0
    round: int = 0
    images: int = 0
    seconds: float = 0.0
    stage_images: int = 0
    stage_seconds: float = 0.0
    seen: list[int] = field(default_factory=list)
    rounds: int = 0
    finished: bool = False


@dataclass
class Training:
    """One run of a game: `run` plays the stages; what is not given is off.

    precision: float32, float64 or bf16 (autocast). ema: half-life of the averaged weights in images. keeper,
    keep_every: checkpoints, at the first tick after so many seconds. tick: images between readings of the logs (by
    default an epoch, at most 10,000). stop: asked after every round. on_tick(progress, limit): for progress bars.
    """

    nets: Nets
    stages: Sequence[Stage]
    stream: Stream
    rng: Rng
    journal: Journal
    precision: str = "float32"
    ema: float = 0.0
    keeper: Keeper | None = None
    keep_every: float = 60.0
    monitors: Sequence[Monitor] = ()
    tick: int | None = None
    stop: Callable[[], bool] = lambda: False
    on_tick: Callable[[Progress, float], None] = lambda progress, limit: None
    progress: Progress = field(default_factory=Progress)
    average: Average | None = None
    _ticked: int = 0

    def run(self, resume: bool = False) -> Progress:
        """Play the stages from the start, or from the latest checkpoint."""
        keep_freed_memory()
        state = self.keeper.latest() if resume and self.keeper else None
        if self.keeper and not resume and world()[0] == 0:
            self.keeper.clear()
        devices = [self.stream.device] if self.stream.device.type == "cuda" else []
        # Nets of third parties (dropout of torch) draw from the global generator: it is seeded from ours.
        with torch.random.fork_rng(devices):
            torch.manual_seed(int(torch.randint(2**31, (), generator=self.rng, device=self.rng.device)))
            if state is not None:
                self.progress = Progress(**state["progress"])
                self.journal.rewind(self.progress.images)
            while self.progress.stage < len(self.stages):
                if not self._stage(self.stages[self.progress.stage], state):
                    return self.progress
                state = None
            self.progress.finished = True
        return self.progress

    def _stage(self, stage: Stage, state: dict[str, Any] | None) -> bool:
        """Play one stage to the end of its budget; False if stopped before."""
        table, p = Table(stage, self.nets, self.precision), self.progress
        self.stream.select(stage.labelled)
        if state is None:
            if stage.start is not None:
                with torch.no_grad():
                    stage.start(self.nets, self.stream, self.rng)
            self.average = Average(self.nets, self.ema) if self.ema else None
            p.stage_images, p.stage_seconds, p.round = 0, 0.0, 0
        else:
            self.average = Average(self.nets, self.ema) if self.ema else None
            self._load(table, state)
        limit, seconds = stage.budget.limit(self.stream.n), 60 * (stage.budget.minutes or float("inf"))
        tick = self.tick or min(max(self.stream.n, self.stream.batch_size), 10_000)
        pending: list[Logs] = []
        kept = clock = time.perf_counter()
        self._ticked = p.images

        def due_to_stop() -> tuple[bool, bool]:
            return self.stop(), p.stage_seconds >= seconds

        stopped = late = False
        while p.stage_images < limit and p.stage_seconds < seconds:
            seen = table.seats[0].seen
            pending.append(table.round(self.stream, self.rng, p.round))
            seen = table.seats[0].seen - seen
            due = (p.stage_images + seen) // tick > p.stage_images // tick
            p.stage_images, p.images = p.stage_images + seen, p.images + seen
            p.round, p.rounds = p.round + 1, p.rounds + 1
            if self.average is not None:
                self.average.update(self.nets, p.stage_images, seen)
            now = time.perf_counter()
            p.seconds, p.stage_seconds = p.seconds + now - clock, p.stage_seconds + now - clock
            clock = now
            # With many processes all must leave in the same round, for the same reason: they agree at ticks only.
            if due or world()[1] == 1:
                stopped, late = (agree(flag, self.stream.device) for flag in due_to_stop())
            last = stopped or late or p.stage_images >= limit
            if due or last:
                self._tick(pending, stage, limit, last)
                pending = []
                if last or now - kept > self.keep_every:
                    self._save(table)
                    kept = now
                clock = time.perf_counter()
            if stopped:
                return False
            if late:
                break
        p.stage += 1
        return True

    def _tick(self, pending: list[Logs], stage: Stage, limit: float, last: bool) -> None:
        """Read the logs since the last tick, stop on NaN, write the journal, run the monitors."""
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
        due = [m for m in self.monitors if last or self._ticked // m.every < p.images // m.every]
        with _watched(self.nets if self.average is None else self.average.nets) as nets:
            for monitor in due:
                if measured := monitor.run(nets, p.images):
                    self.journal.log(p.images, p.seconds, measured)
        self._ticked = p.images
        self.on_tick(p, limit)

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

    def _save(self, table: Table) -> None:
        """A checkpoint of everything, unless a parameter is not finite."""
        if (bad := self._bad_parameter()) is not None:
            player = next((s.player.name for s in table.seats if bad in s.names), "nobody")
            raise self._diverged(f"a parameter of player {player!r}", self.progress.round)
        if self.keeper is None or world()[0] != 0:
            return
        self.progress.seen = [seat.seen for seat in table.seats]
        state: dict[str, Any] = {
            "progress": asdict(self.progress),
            "nets": dict(self.nets.state_dict()),
            "rng": {"player": self.rng.get_state(), "global": torch.get_rng_state()},
            "stream": self.stream.state(),
            "optimizers": {s.player.name: optimizer_state(s.optimizer) for s in table.seats},
        }
        if self.stream.device.type == "cuda":
            state["rng"]["cuda"] = torch.cuda.get_rng_state(self.stream.device)
        if self.average is not None:
            state["ema"] = dict(self.average.nets.state_dict())
        self.keeper.save(self.progress.images, state)

    def _load(self, table: Table, state: dict[str, Any]) -> None:
        self.nets.load_state_dict(state["nets"])
        if self.average is not None:
            self.average.nets.load_state_dict(state["ema"])
        self.stream.load_state(state["stream"])
        for seat, seen in zip(table.seats, self.progress.seen, strict=True):
            seat.seen = seen
            load_optimizer_state(seat.optimizer, state["optimizers"][seat.player.name])
        generators: dict[str, Tensor] = state["rng"]
        self.rng.set_state(generators["player"])
        torch.set_rng_state(generators["global"])
        if "cuda" in generators:
            torch.cuda.set_rng_state(generators["cuda"], self.stream.device)
