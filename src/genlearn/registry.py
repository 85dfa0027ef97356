"""The models by name; third parties add theirs by an entry point of the group `genlearn.models`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from genlearn.estimator import GenerativeEstimator
from genlearn.models import _MODELS
from genlearn.storage import model_folder, read_about
from genlearn.words import unknown

CAPABILITIES = (
    "sample",
    "chain",
    "transform",
    "inverse_transform",
    "score_samples",
    "log_likelihoods",
    "complete",
    "denoise",
    "predict_proba",
)


@dataclass(frozen=True)
class Entry:
    """A model that can be loaded: its name and where its class is ("package.module:Class")."""

    name: str
    path: str

    @property
    def class_name(self) -> str:
        """The name of the class."""
        return self.path.partition(":")[2]

    def load(self) -> type[GenerativeEstimator]:
        """The class."""
        module, _, name = self.path.partition(":")
        return getattr(import_module(module), name)  # type: ignore[no-any-return]

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The public methods that the model has."""
        model = self.load()()
        return tuple(c for c in CAPABILITIES if hasattr(model, c))


@cache
def models() -> tuple[Entry, ...]:
    """Every model: ours, then those of installed packages."""
    found = {point.name: point.value for point in entry_points(group="genlearn.models")}
    return tuple(Entry(name, path) for name, path in {**_MODELS, **found, **_MODELS}.items())


def model(name: str) -> type[GenerativeEstimator]:
    """The class of a model by name; a one-line ValueError with the nearest name if there is none."""
    for entry in models():
        if entry.name == name.lower():
            return entry.load()
    raise ValueError(unknown("model", name, tuple(entry.name for entry in models())))


def load(folder: str | Path) -> GenerativeEstimator:
    """The model saved in `folder`, or in that of a run, whichever it is."""
    folder = model_folder(folder)
    class_name = read_about(folder)["model"]
    for entry in models():
        if entry.class_name == class_name:
            return entry.load().load(folder)
    raise ValueError(f"{folder} holds a {class_name}, which no installed package provides")
