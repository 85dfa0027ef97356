"""What run.json must hold: it may be edited, and is checked like parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from genlearn.words import shortened

SIDES = ("train", "valid", "test")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 2**63 and math.isfinite(value)


def _each(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _sides(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and value.keys() == {*SIDES} and all(map(check, value.values()))


NEEDED: dict[str, Callable[[Any], bool]] = {
    "id": _text, "model": _text, "status": _text,
    "parameters": lambda value: isinstance(value, dict),
    "data": lambda value: isinstance(value, dict),
    "data/source": _text,
    "data/options": lambda value: isinstance(value, dict),
}  # fmt: skip
KNOWN: dict[str, Callable[[Any], bool]] = {
    "data/hash": _sides(_text), "data/n": _sides(_count), "images": _count, "seconds": _number, "spent": _each(_number),
    "players": _each(_count), "hardware": lambda value: isinstance(value, dict), "hardware/machine": _text,
    "hardware/threads": _count, "hardware/gpu": lambda value: value is None or _text(value),
}  # fmt: skip
TOGETHER = (("images", "seconds"), ("data/hash", "data/n"), ("hardware", "hardware/gpu"),
            ("hardware", "hardware/machine"), ("hardware", "hardware/threads"))  # fmt: skip


def flaw(record: Mapping[str, Any]) -> str:
    """What is wrong with a record, in a few words; empty where nothing is."""
    values = {name: value for name, value in record.items() if isinstance(name, str)}
    for part in ("data", "hardware"):
        if isinstance(record.get(part), dict):
            values |= {f"{part}/{name}": value for name, value in record[part].items()}
    for name, check in (NEEDED | KNOWN).items():
        if name in values and not check(values[name]):
            return f"{name} is {shortened(values[name])}, expected another kind of value"
        if name not in values and name in NEEDED:
            return f"{name} is missing"
    for one, other in TOGETHER:
        if one in values and other not in values:
            return f"{other} is missing"
    return ""
