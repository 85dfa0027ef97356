"""Mode collapse on the ring and the grid: the plain GAN and every remedy, over several seeds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genlearn.data import load, modes
from genlearn.estimator import GenerativeEstimator
from genlearn.files import held, read_json, sweep, write_atomically
from genlearn.metrics import mode_coverage
from genlearn.models.gan import GAN
from genlearn.progress import track
from genlearn.train import Diverged, Keeper, Monitor, Stop
from genlearn.train.stop import signalled

PLAIN = "GAN"
METHODS: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {},
    "packing by 2": {"pack": 2},
    "packing by 3": {"pack": 3},
    "packing by 4": {"pack": 4},
    "WGAN-GP": {"loss": "wasserstein", "penalty": "gp(0.1)", "order": "alternating", "k": 5, "betas": (0.0, 0.9)},
    "relativistic, R1 and R2": {"loss": "relativistic", "penalty": "r1(1)+r2(1)"},
    "feature matching": {"feature_matching": 1.0},
    "minibatch discrimination": {"minibatch": "discrimination"},
    "historical averaging": {"history": 0.01},
}
# Lin et al. 2018 (PacGAN), section 4.1 and their code, but that their G has batch normalisation.
NETS: Mapping[str, Any] = {
    "n_latent": 2,
    "hidden": (400, 400, 400, 400),
    "hidden_d": (200, 200, 200),
    "network": "maxout",
    "pieces": (5,),
    "output": "linear",
    "init": "normal(0.02)",
    "init_d": "normal(0.02)",
    "penalty": None,
    "order": "simultaneous",
    "learning_rate": 1e-4,
    "betas": (0.8, 0.999),
}
N, ROWS, LOOKS, POINTS = 2500, 100, 20, 500  # samples, rows of D in a batch, looks over training, points of a picture
KEEP_EVERY = 30.0


@dataclass(frozen=True)
class Protocol:
    """What is trained: by default that of Lin et al. 2018 (PacGAN), over 5 seeds for their 10; n training points."""

    sets: tuple[str, ...] = ("ring", "grid")
    seeds: int = 5
    epochs: float = 400.0
    n: int = 100_000
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def quick(cls) -> Protocol:
        """One that ends in minutes: the ring, small nets, a higher rate."""
        small = {"hidden": (128, 128), "hidden_d": (128,), "learning_rate": 1e-3}
        return cls(("ring",), 2, 1.0, settings=small)

    @property
    def shortened(self) -> str:
        """How it is less than the published one, in words; empty where it is not."""
        whole = Protocol()
        parts = [f"{self.epochs:g} epochs for {whole.epochs:g}"] if self.epochs < whole.epochs else []
        parts += [f"{self.n:,} training points for {whole.n:,}"] if self.n < whole.n else []
        parts += [f"{name}={value} for {NETS.get(name)}" for name, value in self.settings.items()]
        parts += [f"{self.seeds} seeds for {whole.seeds}"] if self.seeds < whole.seeds else []
        return ", ".join(parts)

    def model(self, method: str, seed: int) -> GAN:
        """The model of a method: all give D as many rows (packs) at a time, and G as many updates."""
        changes = METHODS[method]
        pack, k = changes.get("pack", 1), changes.get("k", 1)
        own = {"batch_size": ROWS * pack, "epochs": self.epochs * pack * k, "random_state": seed, "device": "cpu"}
        if taken := [name for name in self.settings if name in own or name in ("images", "minutes", "pack")]:
            raise ValueError(f"--set {taken[0]}: it is the protocol's own; the usual fix is --epochs or --seeds")
        return GAN(**{**NETS, **self.settings, **changes, **own})

    def runs(self) -> Iterator[tuple[int, str, str]]:
        """(seed, set, method), seeds outermost: whenever one stops, all methods have had about as many."""
        for seed in range(self.seeds):
            for name in self.sets:
                for method in METHODS:
                    yield seed, name, method


def train(protocol: Protocol, out: Path) -> int:
    """Train what is missing in `out`, one small file a run; the signal that stopped it, or 0.

    Started again with the same protocol it goes on where it was. Raises ValueError in one line for another protocol
    than that of the folder, or settings that no model takes.
    """
    for name in protocol.sets:
        modes(name)
    for method in METHODS:
        protocol.model(method, 0).check_parameters()
    out.mkdir(parents=True, exist_ok=True)
    with held(out, f"process {os.getpid()}"), signalled() as stop:
        _same(protocol, out / "protocol.json")
        todo = list(protocol.runs())
        for seed, name, method in track(todo, "mode collapse", len(todo)):
            path = place(out, name, method, seed)
            if not path.exists() and not _run(protocol, seed, name, method, path, stop):
                break
    return stop.reason


def place(out: Path, name: str, method: str, seed: int) -> Path:
    """The file of a run."""
    return out / name / method.lower().replace(",", "").replace(" ", "-") / f"{seed}.json"


def results(protocol: Protocol, out: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The runs that are there: set -> method -> one record a seed."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {name: {m: [] for m in METHODS} for name in protocol.sets}
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


def recorded(out: Path) -> Protocol:
    """The protocol of a folder; a one-line ValueError where there is none."""
    try:
        kept = read_json(out / "protocol.json")
        kept["settings"] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept["settings"].items()}
        return Protocol(tuple(kept["sets"]), *(kept[name] for name in ("seeds", "epochs", "n", "settings")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{out} holds no results ({error}); the usual fix is to start without --table") from None


def _same(protocol: Protocol, path: Path) -> None:
    """The protocol of a folder is that of its first start, but for the number of seeds."""
    now = json.loads(json.dumps({**asdict(protocol), "nets": NETS, "methods": METHODS}))
    was = read_json(path) if path.exists() else now
    for name in now:
        if name != "seeds" and was.get(name) != now[name]:
            raise ValueError(
                f"{path.parent} was made with {name}={was.get(name)}, not {now[name]}; the usual fix is another --out"
            )
    write_atomically(path, (json.dumps(now, indent=2) + "\n").encode())


def _run(protocol: Protocol, seed: int, name: str, method: str, path: Path, stop: Stop) -> bool:
    """Train and measure one model, or go on with it; False if stopped before its end."""
    model, half = protocol.model(method, seed), path.with_suffix("")
    data = load(name, n=protocol.n, seed=seed)
    half.mkdir(parents=True, exist_ok=True)
    sweep(half)
    x, _ = model._meet(data, None)
    looks, keeper = Looks(model, name, seed, half / "looks.json"), Keeper(half)
    every = max(1, round((model.epochs or 0) * len(x) / LOOKS))
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
    """Measures 2,500 samples of the same codes at every look; of the first seed it keeps some points for pictures."""

    model: GenerativeEstimator
    name: str
    seed: int
    path: Path

    def read(self) -> list[dict[str, Any]]:
        """What was seen, in the order of time."""
        return read_json(self.path) if self.path.exists() else []

    def __call__(self, nets: Any, images: int) -> dict[str, float]:
        samples = self.model.sample(N, random_state=self.seed, nets=nets)
        coverage = mode_coverage(samples, *modes(self.name))
        look = {"images": images, **coverage._asdict(), "counts": coverage.counts.tolist()}
        if not self.seed:
            look["points"] = samples[:POINTS].round(3).tolist()
        # After a resume the looks since its checkpoint come again.
        before = [past for past in self.read() if past["images"] < images]
        write_atomically(self.path, json.dumps([*before, look]).encode())
        return {"modes": coverage.hit, "high quality": coverage.high_quality, "reverse KL": coverage.reverse_kl}
