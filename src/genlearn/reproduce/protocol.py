"""What a published experiment is here: many short runs, each kept by itself, so that it may stop at any time."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from numpy.typing import NDArray

from genlearn.data import Data
from genlearn.files import held, read_json, sweep, write_atomically
from genlearn.metrics import Coverage
from genlearn.models.adversarial import Adversarial
from genlearn.progress import track
from genlearn.train import Diverged, Keeper, Monitor, Stop
from genlearn.train.stop import signalled
from genlearn.words import unknown

Self = TypeVar("Self", bound="Protocol")
KEEP_EVERY = 30.0


@dataclass(frozen=True)
class Protocol:
    """What is trained: on which sets, over how many seeds, how long, on how many training points, with what changed.

    A subclass gives the published values, the model, its nets and the methods, of which the first is the plain one that
    the others are compared with; the data, and how samples cover the modes.
    """

    sets: tuple[str, ...]
    seeds: int
    epochs: float
    n: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    MODEL: ClassVar[type[Adversarial]]
    METHODS: ClassVar[Mapping[str, Mapping[str, Any]]]
    NETS: ClassVar[Mapping[str, Any]]
    ROWS: ClassVar[int]  # of D in a batch
    SAMPLES: ClassVar[int]  # of a look
    LOOKS: ClassVar[int]  # over training
    PUBLISHED: ClassVar[Mapping[str, Mapping[str, str]]]  # set -> method -> modes; high quality, %; reverse KL
    SOURCES: ClassVar[str]

    @classmethod
    def whole(cls: type[Self]) -> Self:
        """The published one."""
        raise NotImplementedError

    @classmethod
    def quick(cls: type[Self]) -> Self:
        """One that ends in minutes."""
        raise NotImplementedError

    def data(self, name: str, seed: int) -> Data:
        """A set; ValueError for an unknown one."""
        raise NotImplementedError

    def ready(self, out: Path) -> None:
        """Make what the looks need."""

    def n_modes(self, name: str) -> int:
        """How many modes a set has; ValueError for an unknown one."""
        raise NotImplementedError

    def coverage(self, name: str, samples: NDArray[Any], out: Path) -> Coverage:
        """How samples cover the modes of a set."""
        raise NotImplementedError

    def shown(self, samples: NDArray[Any]) -> dict[str, Any]:
        """What pictures need of samples."""
        raise NotImplementedError

    @property
    def plain(self) -> str:
        """The method without a remedy."""
        return next(iter(self.METHODS))

    @property
    def shortened(self) -> str:
        """How it is less than the published one, in words; empty where it is not."""
        whole = self.whole()
        parts = [f"{self.epochs:g} epochs for {whole.epochs:g}"] if self.epochs < whole.epochs else []
        parts += [f"{self.n:,} training points for {whole.n:,}"] if self.n < whole.n else []
        parts += [f"{name}={value} for {self.NETS.get(name)}" for name, value in self.settings.items()]
        parts += [f"{self.seeds} seeds for {whole.seeds}"] if self.seeds < whole.seeds else []
        return ", ".join(parts)

    def model(self, method: str, seed: int) -> Adversarial:
        """The model of a method: all give D as many rows (packs) at a time, and G as many updates."""
        changes = self.METHODS[method]
        pack, k = changes.get("pack", 1), changes.get("k", 1)
        budget = {"epochs": self.epochs * pack * k, "images": None, "minutes": None}
        own = {"batch_size": self.ROWS * pack, **budget, "random_state": seed, "device": "cpu"}
        if taken := [name for name in self.settings if name in own or name == "pack"]:
            taken.sort(key=lambda name: self.settings[name] is None)  # lifted by the one asked for
            raise ValueError(f"--set {taken[0]}: it is the protocol's own; the usual fix is --epochs or --seeds")
        return self.MODEL(**{**self.NETS, **self.settings, **changes, **own})

    def runs(self) -> Iterator[tuple[int, str, str]]:
        """(seed, set, method), seeds outermost: whenever one stops, all methods have had about as many."""
        for seed in range(self.seeds):
            for name in self.sets:
                for method in self.METHODS:
                    yield seed, name, method


def train(protocol: Protocol, out: Path, methods: Collection[str] = ()) -> int:
    """Train what is missing in `out`, of all methods or some, one small file a run; the signal that stopped it, or 0.

    Started again with the same protocol it goes on where it was. Raises ValueError in one line for another protocol
    than that of the folder, or settings that no model takes.
    """
    for method in methods:
        if method not in protocol.METHODS:
            raise ValueError(unknown("method", method, tuple(protocol.METHODS)))
    for name in protocol.sets:
        protocol.n_modes(name)
    for method in protocol.METHODS:
        protocol.model(method, 0).check_parameters()
    out.mkdir(parents=True, exist_ok=True)
    with held(out, f"process {os.getpid()}"), signalled() as stop:
        _same(protocol, out / "protocol.json")
        protocol.ready(out)
        todo = [run for run in protocol.runs() if run[2] in (methods or protocol.METHODS)]
        for seed, name, method in track(todo, "runs", len(todo), even=False):
            if not place(out, name, method, seed).exists() and not _run(protocol, seed, name, method, out, stop):
                break
    return stop.reason


def place(out: Path, name: str, method: str, seed: int) -> Path:
    """The file of a run."""
    return out / name / method.lower().replace(",", "").replace(" ", "-") / f"{seed}.json"


def results(protocol: Protocol, out: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The runs that are there: set -> method -> one record a seed."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {
        name: {m: [] for m in protocol.METHODS} for name in protocol.sets
    }
    for seed, name, method in protocol.runs():
        path = place(out, name, method, seed)
        if path.exists():
            try:
                found[name][method].append(read_json(path))
            except ValueError as error:
                raise ValueError(
                    f"{path} is damaged ({error}); the usual fix is to delete it and start again"
                ) from None
    return found


def recorded(kind: type[Self], out: Path) -> Self:
    """The protocol of a folder; a one-line ValueError where there is none."""
    try:
        kept = read_json(out / "protocol.json")
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in kept["settings"].items()}
        chosen = {name: kept[name] for name in ("seeds", "epochs", "n")}
        return replace(kind.whole(), **chosen, sets=tuple(kept["sets"]), settings=settings)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = "" if isinstance(error, FileNotFoundError) else f" ({error})"
        raise ValueError(f"{out} holds no results{why}; the usual fix is to start without --table") from None


def _same(protocol: Protocol, path: Path) -> None:
    """The protocol of a folder is that of its first start, but for the number of seeds."""
    now = json.loads(json.dumps({**asdict(protocol), "nets": protocol.NETS, "methods": protocol.METHODS}))
    was = read_json(path) if path.exists() else now
    for name in now:
        if name != "seeds" and was.get(name) != now[name]:
            raise ValueError(
                f"{path.parent} was made with {name}={was.get(name)}, not {now[name]}; the usual fix is another --out"
            )
    write_atomically(path, (json.dumps(now, indent=2) + "\n").encode())


def _run(protocol: Protocol, seed: int, name: str, method: str, out: Path, stop: Stop) -> bool:
    """Train and measure one model, or go on with it; False if stopped before its end."""
    model, path = protocol.model(method, seed), place(out, name, method, seed)
    half, data = path.with_suffix(""), protocol.data(name, seed)
    half.mkdir(parents=True, exist_ok=True)
    sweep(half)
    x, _ = model._meet(data, None)
    looks, keeper = Looks(protocol, model, name, seed, out, half / "looks.json"), Keeper(half)
    every = max(1, round((model.epochs or 0) * len(x) / protocol.LOOKS))
    record: dict[str, Any] = {"seed": seed, "diverged": ""}
    try:
        training = model._learn(
            x, None, bool(keeper.paths()),
            keeper=keeper,
            keep_every=KEEP_EVERY,
            monitors=[Monitor("modes", every, looks)],
            stop=stop,
            title=f"{name}, {method}, seed {seed}",
        )  # fmt: skip
        if not training.progress.finished:
            return False
        record["seconds"] = round(training.progress.seconds, 1)
    except Diverged as error:
        record["diverged"] = str(error)
    record["looks"] = looks.read()
    write_atomically(path, (json.dumps(record) + "\n").encode())
    shutil.rmtree(half)
    return True


@dataclass
class Looks:
    """Measures samples of the same codes at every look; of the first seed it keeps some for pictures."""

    protocol: Protocol
    model: Adversarial
    name: str
    seed: int
    out: Path
    path: Path

    def read(self) -> list[dict[str, Any]]:
        """What was seen, in the order of time."""
        return read_json(self.path) if self.path.exists() else []

    def __call__(self, nets: Any, images: int) -> dict[str, float]:
        samples = self.model.sample(self.protocol.SAMPLES, random_state=self.seed, nets=nets)
        coverage = self.protocol.coverage(self.name, samples, self.out)
        look = {"images": images, **coverage._asdict(), "counts": coverage.counts.tolist()}
        if not self.seed:
            look |= self.protocol.shown(samples)
        # After a resume the looks since its checkpoint come again.
        before = [past for past in self.read() if past["images"] < images]
        write_atomically(self.path, json.dumps([*before, look]).encode())
        return {"modes": coverage.hit, "high quality": coverage.high_quality, "reverse KL": coverage.reverse_kl}
