"""Shapes checked at run time: every function of maths, nets, losses and samplers whose annotations state shapes.

The import hook of jaxtyping would do, but it wraps within decorators, and a wrapped generator is none to
`torch.no_grad`, which then lets gradients in. So modules are wrapped after they are loaded, from without.
"""

from __future__ import annotations

import inspect
import sys
from functools import partial, wraps
from importlib.machinery import PathFinder, SourceFileLoader
from types import FunctionType
from typing import Any, get_type_hints
from weakref import WeakKeyDictionary

import jaxtyping
import torch
from beartype import BeartypeConf, beartype
from torch import nn

PACKAGES = tuple(f"genlearn.{name}." for name in ("maths", "nets", "losses", "samplers"))
KINDS = {"Float": jaxtyping.Float, "Int": jaxtyping.Int, "Bool": jaxtyping.Bool}
# An int will do where a float is expected.
check = jaxtyping.jaxtyped(typechecker=partial(beartype, conf=BeartypeConf(is_pep484_tower=True)))


def checked(value: Any) -> Any:
    """A function, or the getter of a property, that checks the shapes it states; anything else as it is."""
    if isinstance(value, property):
        getter = checked(value.fget)
        return value if getter is value.fget else property(getter)
    if not isinstance(value, FunctionType) or not any("[Tensor" in str(t) for t in value.__annotations__.values()):
        return value
    inner = inspect.unwrap(value)  # where the signature is read, also from without `torch.no_grad`
    inner.__annotations__ = get_type_hints(inner, localns=KINDS)
    return once(value, check(value))


KINDS_OF_NETS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()


def key(x: Any) -> Any:
    """What the shapes of a result depend on: of a net its options and the shapes of its parameters."""
    if isinstance(x, torch.Tensor):
        return x.shape, x.dtype
    if isinstance(x, list | tuple):
        return tuple(map(key, x))
    if isinstance(x, nn.Module):
        if x not in KINDS_OF_NETS:
            options = tuple((k, v) for k, v in vars(x).items() if isinstance(v, int | float | str))
            KINDS_OF_NETS[x] = type(x), options, tuple(p.shape for p in x.parameters())
        return KINDS_OF_NETS[x]
    return x if isinstance(x, int | str | None) else getattr(x, "__qualname__", type(x))


def once(function: Any, checking: Any) -> Any:
    """Check one call of each kind: chains make the same one thousands of times."""
    seen = set()

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        kind = key(args), key(tuple(kwargs.items()))
        if kind in seen:
            return function(*args, **kwargs)
        result = checking(*args, **kwargs)
        seen.add(kind)
        return result

    return call


def wrap(owner: Any, module: str) -> None:
    """Put what is checked in the place of the functions and methods that a module defines."""
    for name, value in [*vars(owner).items()]:
        if getattr(value, "__module__", module) != module:
            continue  # it was imported
        if isinstance(value, type):
            wrap(value, module)
        elif (wrapped := checked(value)) is not value:
            setattr(owner, name, wrapped)


class Loader(SourceFileLoader):
    """Loads a module and wraps what it defines."""

    def exec_module(self, module: Any) -> None:
        super().exec_module(module)
        wrap(module, module.__name__)


class Finder(PathFinder):
    """Finds the modules of PACKAGES for `Loader`."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        spec = super().find_spec(fullname, path, target) if fullname.startswith(PACKAGES) else None
        if spec is not None:
            spec.loader = Loader(spec.name, spec.origin)
        return spec


def install() -> None:
    """From now on; genlearn must not have been imported."""
    assert not any(name.startswith(PACKAGES) for name in sys.modules)
    sys.meta_path.insert(0, Finder)
