"""The parameter table: ranges, units and help of a model's hyper-parameters, read from its `__init__` annotations.

A hyper-parameter is annotated once,

    n_hidden: Annotated[int, Range(1), "number of hidden units"] = 500

and validation, command line, forms and documentation read it from there.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import nn

from genlearn.train.schedules import Schedule
from genlearn.words import did_you_mean, shortened, unknown


@dataclass(frozen=True)
class Range:
    """A closed interval [low, high] of finite numbers; `open` excludes its ends."""

    low: float = -math.inf
    high: float = math.inf
    open: bool = False

    def __contains__(self, value: float) -> bool:
        inside = self.low < value < self.high if self.open else self.low <= value <= self.high
        return inside and math.isfinite(value)

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"{'above' if self.open else 'at least'} {self.low:g}"
        return f"{'strictly ' if self.open else ''}between {self.low:g} and {self.high:.10g}"


@dataclass(frozen=True)
class Parameter:
    """One row of the table. `kinds` are the accepted types; `choices` the accepted words."""

    name: str
    default: Any
    kinds: tuple[Any, ...]
    choices: tuple[str, ...]
    range: Range | None
    help: str

    @property
    def is_object(self) -> bool:
        """Whether it is a module or a callable, which neither text nor a file can give."""
        return any(kind is nn.Module or get_origin(kind) is Callable for kind in self.kinds)

    @property
    def expected(self) -> str:
        """What is accepted, in words."""
        words = []
        for kind in self.kinds:
            if kind is type(None):
                words.append("none")
            elif hasattr(kind, "parse"):
                words.append(kind.expected)
            elif kind is nn.Module:
                words.append("a torch.nn.Module")
            elif get_origin(kind) is Callable:
                words.append("a callable")
            elif get_origin(kind) is tuple:
                each = f", each {self.range}" if self.range else ""
                words.append(f"numbers such as {','.join(map(str, self.default or (200, 200)))}{each}")
            elif kind is not str:
                name = {int: "an integer", float: "a number", bool: "true or false"}[kind]
                words.append(f"{name} {self.range}" if self.range and kind is not bool else name)
        words += [", ".join(self.choices)] if self.choices else ["text"] if str in self.kinds else []
        return " or ".join(words)

    def check(self, value: Any) -> None:
        """Raise a one-line ValueError if `value` is not accepted."""
        if not any(self._fits(kind, value) for kind in self.kinds) and value not in self.choices:
            hint = did_you_mean(value, self.choices)
            shown = f"of type {type(value).__name__}" if self.is_object else shortened(value)
            raise ValueError(f"{self.name} is {shown}, expected {self.expected}{hint and f'; {hint}'}")

    def _fits(self, kind: Any, value: Any) -> bool:
        if kind is type(None):
            return value is None
        if kind is nn.Module:
            return isinstance(value, nn.Module)
        if get_origin(kind) is Callable:
            return callable(value)
        if get_origin(kind) is tuple:
            element = get_args(kind)[0]
            return isinstance(value, (tuple, list)) and all(self._fits(element, v) for v in value)
        if hasattr(kind, "parse"):
            if not isinstance(value, str):
                return False
            try:
                parsed = kind.parse(value)
            except ValueError as error:
                raise ValueError(f"{self.name}: {error}") from None
            # A rate may fall to the end of its range (0), but starts inside it.
            r = self.range if kind is Schedule else None
            return r is None or (parsed.start in r and r.low <= parsed.end <= r.high and math.isfinite(parsed.end))
        if kind is bool or kind is str:
            return isinstance(value, kind) and (kind is bool or not self.choices)
        number = isinstance(value, (int, float)) or hasattr(value, "__index__") or hasattr(value, "__float__")
        if not number or isinstance(value, (bool, str)) or (kind is int and not hasattr(value, "__index__")):
            return False
        try:
            return self.range is None or float(value) in self.range
        except OverflowError:
            return False

    def parse(self, text: str) -> Any:
        """The value that `text` from a command line or a form means; a one-line ValueError if none."""
        if self.is_object:
            raise ValueError(f"{self.name} is {self.expected}, which text cannot give; the usual fix is Python")
        # "none" first: what is read from text says at once what is wrong with it.
        for kind in sorted(self.kinds, key=lambda kind: kind is not type(None)):
            value = _read(kind, text.strip())
            if value is not None and self._fits(kind, value[0]):
                return value[0]
            if value is not None and kind in (int, float):
                self.check(value[0])  # a number out of range is no misspelt word
        self.check(text)
        return text


def _read(kind: Any, text: str) -> tuple[Any] | None:
    """`text` as a `kind`, in a one-tuple because the value may itself be None; None if it is not one."""
    if kind is type(None):
        return (None,) if text.lower() in ("none", "") else None
    if kind is bool:
        return {"true": (True,), "false": (False,)}.get(text.lower())
    if get_origin(kind) is tuple:
        items = [_read(get_args(kind)[0], part) for part in text.strip("()[]").split(",") if part.strip()]
        return None if None in items else (tuple(item[0] for item in items if item),)
    if kind in (int, float):
        try:
            number = float(text)
        except ValueError:
            return None
        if kind is int:
            return (int(number),) if number.is_integer() else None
        return (number,)
    return (text,)


def table(model: type) -> dict[str, Parameter]:
    """The parameters of a model class, in the order of its signature."""
    # The annotations of a dataclass are those of its fields, wherever in the hierarchy they were written.
    hints = get_type_hints(model if is_dataclass(model) else model.__init__, include_extras=True)  # type: ignore[misc]
    rows = {}
    for name, argument in inspect.signature(model).parameters.items():
        hint, marks = hints[name], list[Any]()
        if get_origin(hint) is Annotated:
            hint, *marks = get_args(hint)
        kinds: list[Any] = []
        choices: list[str] = []
        for part in get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,):
            if get_origin(part) is Literal:
                choices += get_args(part)
            else:
                kinds.append(part)
        rows[name] = Parameter(
            name,
            argument.default,
            tuple(kinds),
            tuple(choices),
            next((m for m in marks if isinstance(m, Range)), None),
            next((m for m in marks if isinstance(m, str)), ""),
        )
    return rows


def revived(rows: Mapping[str, Parameter], kept: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Hyper-parameters as they were before they went into JSON; the objects among them are `given`.

    Raises a one-line ValueError for an object that is missing, and for one that is given but is no such parameter.
    """
    for name in given:
        if name not in rows or not rows[name].is_object:
            raise ValueError(f"{name} is given, but it is no parameter that is an object; the usual fix is set_params")
    for name in kept:
        if name not in rows:
            raise ValueError(unknown("parameter", name, rows))
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()}
    values |= given
    for name, value in values.items():
        if name in rows and rows[name].is_object and name not in given and value is not None:
            raise ValueError(
                f"{name} was a {value['object']}, and files hold no code; the usual fix is load(folder, {name}=...)"
            )
    return values
