"""From options of the command line to a run: a new one, or one to continue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlearn.cli.console import UsageError

if TYPE_CHECKING:
    from genlearn.estimator import GenerativeEstimator
    from genlearn.run import Run

BUDGET = ("epochs", "images", "minutes")
CHANGEABLE = (*BUDGET, "device")


@dataclass(frozen=True)
class Recipe:
    """What was asked for; None and empty where nothing was."""

    model: str | None = None
    source: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    settings: Sequence[str] = ()
    flags: Mapping[str, Any] = field(default_factory=dict)
    out: Path | None = None
    resume: bool = False

    def run(self) -> tuple[Run, bool]:
        """The run, not yet written, and whether it is continued.

        Raises ValueError in one line for an unknown name, a value out of range, or a run that is not the one described.
        """
        if not self.resume:
            return self._create(), False
        if self.out is None:
            if self.model is None:
                raise UsageError("--resume needs the folder of a run, as in genlearn train --resume runs/rbm")
            return self._continue(Path(self.model), None), True
        if self.model and self.source and not (self.out / "run.json").exists():
            return self._create(), False
        return self._continue(self.out, self.model), True

    def _create(self) -> Run:
        if self.model is None or self.source is None:
            missing = "no model" if self.model is None else "no --data"
            raise UsageError(f"{missing} given, expected both as in genlearn train rbm --data mnist-mini")
        from genlearn import registry
        from genlearn.run import Run

        cls = registry.model(self.model)
        parameters = self._recipe(cls) | self.changes(cls)
        model, source = self.model.lower(), place(self.source)
        folder = self.out or free_folder(model, source)
        if Path(source).is_dir() and Path(source) in (folder.resolve(), *folder.resolve().parents):
            raise ValueError(
                f"--out is {folder}, in the folder of the images, which the run's own pictures would join; expected "
                "another one; the usual fix is a folder beside it, as in --out ../run"
            )
        return Run.create(folder, model, source, parameters, self._given())

    def _continue(self, folder: Path, model: str | None) -> Run:
        from genlearn.run import Run

        run = Run.open(folder)
        record = run.record
        cls = type(run.estimator)
        given = self.changes(cls)
        recipe = {name: value for name, value in self._recipe(cls).items() if name not in CHANGEABLE}
        was = {"model": record["model"], "data": record["data"]["source"]}
        was |= record["data"]["options"] | record["parameters"]
        now = {"model": model.lower() if model else None, "data": place(self.source) if self.source else None}
        now = {name: value for name, value in now.items() if value is not None} | self._given() | recipe | given
        for name, value in json.loads(json.dumps(now)).items():
            if name not in CHANGEABLE and was.get(name) != value:
                raise ValueError(
                    f"{folder} was made with {name}={was.get(name)!r}, not {value!r}; the usual fix is another --out"
                )
        record["parameters"] |= {name: value for name, value in given.items() if name in CHANGEABLE}
        return run

    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in self.options.items() if value is not None}

    def _recipe(self, cls: type[GenerativeEstimator]) -> dict[str, Any]:
        """The hyper-parameters of the preset."""
        from genlearn.words import unknown

        if self.preset is not None and self.preset not in cls.presets:
            known = tuple(cls.presets) or ("none: it has no presets",)
            raise ValueError(unknown(f"preset of {cls.__name__}", self.preset, known))
        return {} if self.preset is None else dict(cls.presets[self.preset])

    def changes(self, cls: type[GenerativeEstimator]) -> dict[str, Any]:
        """The hyper-parameters that were chosen one by one; one budget that is given lifts the others."""
        from genlearn.parameters import table
        from genlearn.words import unknown

        rows, given = table(cls), dict[str, Any]()
        for setting in self.settings:
            name, equals, text = (part.strip() for part in setting.partition("="))
            if not equals or not name:
                raise ValueError(f"--set {setting!r}, expected name=value; the usual fix is --set n_hidden=500")
            if name not in rows:
                raise ValueError(unknown(f"parameter of {cls.__name__}", name, tuple(rows)))
            given[name] = rows[name].parse(text)
        given |= {name: value for name, value in self.flags.items() if value is not None}
        for name, value in given.items():
            rows[name].check(value)
        if any(given.get(name) is not None for name in BUDGET):
            given = dict.fromkeys(BUDGET) | given
        return given


def place(source: str) -> str:
    """A data set by its name in the catalogue, a folder by its full path: a run is read from anywhere."""
    from genlearn.data import catalogue

    path = Path(source).expanduser()
    named = any(entry.name == source for entry in catalogue())
    return str(path.resolve()) if not named and path.exists() else source


def free_folder(model: str, source: str) -> Path:
    """The first of runs/MODEL-DATA, runs/MODEL-DATA-2 ... that holds no run."""
    path = first = Path("runs") / f"{model}-{Path(source).stem}"
    number = 1
    while (path / "run.json").exists():
        number += 1
        path = first.with_name(f"{first.name}-{number}")
    return path
