"""A run is a folder: create, record, train, resume, open.

run.json · model/ · checkpoints/ · journal.jsonl · tensorboard/ · samples/*.png · evaluation.json · report.html
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from genlearn import __version__, registry
from genlearn.border import pick_device
from genlearn.data import Data, load
from genlearn.estimator import GenerativeEstimator
from genlearn.files import held, made, read_json, sweep, write_atomically
from genlearn.hooks import bottleneck, seeded
from genlearn.metrics import Result, evaluate
from genlearn.monitors import GRADIENTS, choose
from genlearn.parallel import world
from genlearn.parameters import revived, table
from genlearn.progress import work
from genlearn.record import SIDES, code, cost, flaw, hardware, placed
from genlearn.train import Journal, Keeper
from genlearn.train.stop import signalled

FORMAT = 3


@dataclass
class Run:
    """A run folder and its record, the content of run.json."""

    path: Path
    record: dict[str, Any]
    signal: int = 0  # the one that stopped training

    # --- create, open

    @classmethod
    def create(
        cls, path: str | Path, model: str, source: str, parameters: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Run:
        """A new folder for `model` with these hyper-parameters on the data set `source`, loaded with `options`.

        Raises ValueError for an unknown model or a parameter out of range, FileExistsError if a run is there already.
        """
        path = Path(path)
        estimator = registry.model(model)(**parameters)
        estimator.check_parameters()
        # A run that failed before its first checkpoint holds nothing to lose: the corrected command may take its place.
        if (path / "run.json").exists() and not cls.open(path)._holds_nothing():
            raise FileExistsError(_taken(path))
        if estimator.random_state is None:
            estimator.random_state = int(np.random.SeedSequence().generate_state(1)[0] % 2**31)
        record = {
            "format": FORMAT,
            "version": __version__,
            "id": uuid.uuid4().hex,
            "model": model,
            "parameters": estimator.get_params(deep=False),
            "data": {"source": str(source), "options": dict(options)},
            "status": "created",
        }
        return cls(path, record)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run in a folder; a one-line ValueError if there is none, or one of another format."""
        path, fix = Path(path), "the usual fix is a new run in another folder"
        try:
            record = read_json(path / "run.json")
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(f"there is no {path}/run.json, expected the folder of a run") from None
        except (ValueError, OSError) as error:
            raise ValueError(f"{path}/run.json cannot be read ({error}); {fix}") from None
        if not isinstance(record, dict):
            raise ValueError(f"{path}/run.json cannot be read (it holds no record); {fix}")
        if record.get("format") != FORMAT:
            raise ValueError(
                f"{path} is a run of format {record.get('format')} (genlearn {record.get('version')}), "
                f"this is {__version__} with format {FORMAT}; the usual fix is to use the version that wrote it"
            )
        if found := flaw(record):
            raise ValueError(f"{path}/run.json was changed: {found}; the usual fix is to set it back")
        return cls(path, record)

    def _holds_nothing(self) -> bool:
        return self.record["status"] == "failed" and not Keeper(self.path / "checkpoints").paths()

    def write(self) -> None:
        """Write run.json, atomically; in the first process only."""
        if world()[0] == 0:
            text = json.dumps(self.record, indent=2, default=lambda n: n.item()) + "\n"
            write_atomically(self.path / "run.json", text.encode())

    # --- what is in it

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def estimator(self) -> GenerativeEstimator:
        """A fresh model with the run's hyper-parameters; a one-line ValueError where they are none."""
        with placed(self.path, self.record, "model"):
            model = registry.model(self.record["model"])
        with placed(self.path, self.record, "parameters"):
            kept, rows = self.record["parameters"], table(model)
            if missing := [name for name in rows if name not in kept]:
                raise ValueError(f"{missing[0]} is missing, expected {rows[missing[0]].expected}")
            fresh = model(**revived(rows, kept, {}))
            fresh.check_parameters()
        return fresh

    def model(self) -> GenerativeEstimator:
        """The trained model."""
        if not (self.path / "model" / "model.json").exists():
            raise ValueError(
                f"{self.path} holds no trained model (the run is {self.record['status']}); "
                f"the usual fix is genlearn train --resume {self.path}"
            )
        return registry.load(self.path / "model")

    def data(self, to_train: bool = False) -> Data:
        """The data set, loaded as when the run was made; a warning if it has changed since, to train a ValueError."""
        about = self.record["data"]
        with placed(self.path, self.record, "data"):
            data = load(about["source"], **about["options"])
        hashes = {side: getattr(data, side).hash for side in SIDES}
        if about.get("hash", hashes) != hashes:
            sizes = {s: (about["n"][s], len(getattr(data, s))) for s in SIDES if about["hash"][s] != hashes[s]}
            what = ", ".join(f"{side} {n:,} -> {now:,} images" if n != now else f"{side} other images"
                             for side, (n, now) in sizes.items())  # fmt: skip
            changed = f"the data set {about['source']} has changed since {self.path} was made ({what})"
            if to_train:
                raise ValueError(f"{changed}; the usual fix is to restore it, or to start a new run")
            warnings.warn(f"{changed}; what follows is of the images as they are now", stacklevel=2)
            return data
        about |= {"hash": hashes, "name": data.name, "split": data.split, "shape": list(data.shape)}
        about |= {"n": {side: len(getattr(data, side)) for side in hashes}, "licence": data.licence}
        if data.classes:
            about["classes"] = list(data.classes)
        if data.report.read:
            about["files"] = data.report.to_json()
        return data

    def journal(self) -> Journal:
        """The curves."""
        journal = Journal(self.path)
        journal.read()
        return journal

    def results(self) -> list[Result]:
        """The scores of evaluation.json, empty where there is none; a one-line ValueError where it is damaged."""
        path = self.path / "evaluation.json"
        try:
            return [Result.from_json(row) for row in read_json(path)] if path.exists() else []
        except (ValueError, TypeError, OSError) as error:
            raise ValueError(f"{path} is damaged ({error}); the usual fix is to delete it and evaluate again") from None

    # --- train

    def met(self, budget: Mapping[str, Any] | None = None) -> tuple[Data, GenerativeEstimator, Tensor, Tensor | None]:
        """The data, a fresh model and what it sees; what can be wrong with the input is found before any is written."""
        data, estimator = self.data(to_train=True), self.estimator.set_params(**budget or {})
        estimator.check_parameters()
        pick_device(estimator.device)
        self.record["parameters"] |= budget or {}
        x, y = estimator._meet(data, None)
        estimator._fresh_nets(tuple(x.shape[1:]), 0)
        return data, estimator, x, y

    def train(
        self,
        resume: bool = False,
        monitors: Sequence[str] = (),
        keep_every: float = 30.0,
        budget: Mapping[str, Any] | None = None,
    ) -> GenerativeEstimator:
        """Train, or continue; the folder always holds what is needed to resume to the same bits.

        `budget` (epochs, images, minutes) replaces the recorded one; monitors: see `monitors.choose`; a resumed run
        keeps its own, and these come to them. SIGINT and SIGTERM checkpoint first and leave the run `stopped`; a second
        SIGINT interrupts at once.
        """
        began = time.perf_counter()
        first = world()[0] == 0
        data, estimator, x, y = self.met(budget)
        if resume:
            monitors = [*dict.fromkeys([*self.record.get("monitors", []), *monitors])]
        watch = choose(estimator, data, self.path / "samples", monitors)
        with self._held():
            here = hardware(self.record.get("hardware") if resume else None)
            self.record |= {"status": "running", "hardware": here, "code": code(), "started": _now()}
            self.record["monitors"] = list(monitors)
            self.write()
            journal, keeper = Journal(self.path if first else None), Keeper(self.path / "checkpoints")
            files = (self.record.get("spent", {}).get("files", 0.0) if resume else 0.0) + time.perf_counter() - began
            with signalled() as stop:
                try:
                    training = estimator._learn(
                        x, y, resume,
                        journal=journal,
                        keeper=keeper,
                        keep_every=keep_every,
                        monitors=watch if first else (),
                        layers=GRADIENTS in monitors,
                        stop=stop,
                        library=here["products"],
                        about=data.brief,
                        title=f"{self.record['model']} on {self.record['data']['source']}",
                    )  # fmt: skip
                    if first:
                        ended = time.perf_counter()
                        estimator.save(self.path / "model")
                        p = training.progress
                        self.record |= {"status": "finished" if p.finished else "stopped", "ended": _now()}
                        self.record |= {"images": p.images, "precision": p.precision, "players": p.players}
                        self.record |= cost(p.spent | {"files": files + time.perf_counter() - ended})
                except BaseException:
                    self.record["status"] = "failed"
                    with contextlib.suppress(OSError):  # the disk may be full: the first error is the one to report
                        self.write()
                    raise
                finally:
                    journal.close()
            self.signal = stop.reason
            self.write()
            return estimator

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Nobody else may train in this folder meanwhile, nor may a run begin where another one has."""
        if world()[0] > 0:
            yield
            return
        made(self.path / "samples")
        with held(self.path, f"process {os.getpid()} on {platform.node()} since {_now()}"):
            if self.record["status"] == "created" and (self.path / "run.json").exists():
                other = Run.open(self.path)
                if other.record.get("id") != self.record["id"] and not other._holds_nothing():
                    raise FileExistsError(_taken(self.path))
            for part in ("", "model", "checkpoints", "samples"):
                sweep(self.path / part)
            yield

    # --- evaluate

    def evaluate(
        self, metrics: Sequence[str] | None = None, n_samples: int = 10_000, seed: int = 0, record: bool = True
    ) -> list[Result]:
        """Score the model on test images; each score is kept in evaluation.json as soon as it is there."""
        data, model = self.data(), self.model()
        model.border_.check_number(n_samples)  # before the scores that draw none, which may take minutes

        def keep(results: list[Result]) -> None:
            kept = {r.name: r for r in self.results()} | {r.name: r for r in results}
            content = json.dumps([r.to_json() for r in kept.values()], indent=2) + "\n"
            write_atomically(self.path / "evaluation.json", content.encode())

        with work(self.name, even=False):
            return evaluate(
                train=data.train.x,
                valid=data.valid.x,
                test=data.test.x,
                sample=seeded(model, "sample"),
                likelihoods=seeded(model, "log_likelihoods"),
                predict=getattr(model, "predict", None),
                labels=None if data.train.y is None or data.test.y is None else (data.train.y, data.test.y),
                bottleneck=bottleneck(model),
                metrics=metrics,
                n_samples=n_samples,
                seed=seed,
                keep=keep if record else lambda results: None,
            )


def _taken(path: Path) -> str:
    return f"{path} already holds a run; the usual fix is another --out, or --resume to continue it"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
