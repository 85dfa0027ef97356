"""The parameter table: ranges, units and help of a model's hyper-parameters, read from its `__init__` annotations.

A hyper-parameter is annotated once,

    n_hidden: Annotated[int, Range(1), "number of hidden units"] = 500

and validation, command line, forms and documentation read it from there.
"""

from __future__ import annotations

import inspect
import math
import types
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from genlearn.train.schedules import Schedule
from genlearn.words import did_you_mean


@dataclass(frozen=True)
class Range:
    """A closed interval [low, high]; `open` excludes its ends."""

    low: float = -math.inf
    high: float = math.inf
    open: bool = False

    def __contains__(self, value: float) -> bool:
        return self.low < value < self.high if self.open else self.low <= value <= self.high

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"{'above' if self.open else 'at least'} {self.low:g}"
        return f"{'strictly ' if self.open else ''}between {self.low:g} and {self.high:g}"


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
    def expected(self) -> str:
        """What is accepted, in words."""
        words = []
        for kind in self.kinds:
            if kind is type(None):
                words.append("none")
            elif kind is Schedule:
                words.append("a schedule such as linear(0.1, 0, over=1e6)")
            elif get_origin(kind) is tuple:
                words.append(f"numbers such as {','.join(map(str, self.default or (200, 200)))}")
            elif kind is not str:
                name = {int: "an integer", float: "a number", bool: "true or false"}[kind]
                words.append(f"{name} {self.range}" if self.range and kind is not bool else name)
        words += [", ".join(self.choices)] if self.choices else ["text"] if str in self.kinds else []
        return " or ".join(words)

    def check(self, value: Any) -> None:
        """Raise a one-line ValueError if `value` is not accepted."""
        if not any(self._fits(kind, value) for kind in self.kinds) and value not in self.choices:
            hint = did_you_mean(value, self.choices)
            raise ValueError(f"{self.name} is {value!r}, expected {self.expected}{hint and f'; {hint}'}")

    def _fits(self, kind: Any, value: Any) -> bool:
        if kind is type(None):
            return value is None
        if get_origin(kind) is tuple:
            element = get_args(kind)[0]
            return isinstance(value, (tuple, list)) and all(self._fits(element, v) for v in value)
        if kind is Schedule:
            if not isinstance(value, str):
                return False
            try:
                schedule = Schedule.parse(value)
            except ValueError as error:
                raise ValueError(f"{self.name}: {error}") from None
            # A rate may fall to the end of its range (0), but starts inside it.
            r = self.range
            return r is None or (schedule.start in r and r.low <= schedule.end <= r.high)
        if kind is bool or kind is str:
            return isinstance(value, kind) and (kind is bool or not self.choices)
        number = isinstance(value, (int, float)) or hasattr(value, "__index__") or hasattr(value, "__float__")
        if not number or isinstance(value, (bool, str)) or (kind is int and not hasattr(value, "__index__")):
            return False
        return self.range is None or float(value) in self.range

    def parse(self, text: str) -> Any:
        """The value that `text` from a command line or a form means; a one-line ValueError if none."""
        for kind in self.kinds:
            value = _read(kind, text.strip())
            if value is not None and self._fits(kind, value[0]):
                return value[0]
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
