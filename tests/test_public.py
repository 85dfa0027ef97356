"""The public contract: what a researcher imports and composes is listed, and documented."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

PACKAGES = ["genlearn.maths", "genlearn.nets", "genlearn.losses", "genlearn.samplers", "genlearn.train", "genlearn.lab"]
INTERNAL = {
    "genlearn.maths": {
        "AnnealedPath",
        "check_level",
        "checked",
        "estimate",
        "finer",
        "gibbs",
        "sweep",
        "thinned",
        "thresholds",
        "unit",
    },
    "genlearn.nets": {
        "Attention",
        "GroupNorm",
        "Labels",
        "Residual",
        "bits",
        "doublings",
        "Branches",
        "Squashed",
        "halvings",
        "grid_size",
        "image_shape",
        "smoothed",
        "linears",
        "log_gaussians",
        "spread",
        "states",
        "waves",
    },
    "genlearn.samplers": {"Tableau"},
    "genlearn.lab": {
        "Control",
        "CriticNets",
        "GameNets",
        "Mark",
        "Number",
        "Panel",
        "Topic",
        "as_json",
        "bars",
        "binary",
        "checked",
        "clip",
        "data_masses",
        "draws",
        "expectation",
        "fake",
        "figure",
        "gibbs_matrix",
        "gradient_penalty",
        "limits",
        "log",
        "losses",
        "masses",
        "mathml",
        "networks",
        "norms",
        "on_cells",
        "orthogonal",
        "plain",
        "play",
        "pushed_masses",
        "sigmoid",
        "state",
        "statistics",
    },
    "genlearn.train": {
        "checked",
        "signalled",
        "flatten",
        "unflatten",
        "read",
        "write",
        "optimizer_state",
        "load_optimizer_state",
    },
}


def made_by(module) -> set[str]:
    """The classes and functions that a module defines."""
    things = inspect.getmembers(module, lambda value: inspect.isclass(value) or inspect.isfunction(value))
    return {name for name, value in things if value.__module__ == module.__name__ and name[0] != "_"}


@pytest.mark.parametrize("name", PACKAGES)
def test_every_class_and_function_is_listed_or_internal(name):
    package = importlib.import_module(name)
    modules = [importlib.import_module(f"{name}.{info.name}") for info in pkgutil.iter_modules(package.__path__)]
    made = set().union(*map(made_by, modules))
    assert made - INTERNAL.get(name, set()) <= {*package.__all__}
    assert not INTERNAL.get(name, set()) & {*package.__all__}
    assert all(hasattr(package, k) for k in package.__all__)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_and_method_is_documented(name):
    package = importlib.import_module(name)
    for key in package.__all__:
        value = getattr(package, key)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue  # an alias of types
        assert value.__doc__ and not value.__doc__.startswith(f"{key}("), key  # what a dataclass says of itself
        for method, f in vars(value).items() if inspect.isclass(value) else ():
            f = f.__func__ if isinstance(f, classmethod | staticmethod) else f
            if method[0] != "_" and (inspect.isfunction(f) or isinstance(f, property)) and "<lambda>" not in str(f):
                assert f.__doc__, f"{key}.{method}"
