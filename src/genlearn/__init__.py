"""Deep generative models of images: Boltzmann machines, autoencoders and adversarial nets under one contract."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from genlearn.models import _MODELS

__version__ = "0.2.0.dev0"

if TYPE_CHECKING:
    from genlearn.models import *  # noqa: F403
    from genlearn.registry import load as load_model

__all__ = [  # noqa: F405
    *sorted(path.partition(":")[2] for path in _MODELS.values()),
    "EnergyModel",
    "load_model",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    # Models are imported when they are asked for: `import genlearn` stays fast.
    if name == "load_model":
        return import_module("genlearn.registry").load
    if name == "EnergyModel":  # of a network that the user gives: it has no name in the registry
        return import_module("genlearn.models.energy").EnergyModel
    if name[0].isupper():
        for entry in import_module("genlearn.registry").models():
            if entry.class_name == name:
                return entry.load()
    raise AttributeError(f"module 'genlearn' has no attribute {name!r}")
