"""What run.json holds: where and by what code a run was made; and, as it may be edited, what it must hold."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from genlearn.compute import Library, faster
from genlearn.parallel import world
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
    "players": _each(_count), "precision": _text,
    "monitors": lambda value: isinstance(value, list) and all(map(_text, value)),
    "hardware": lambda value: isinstance(value, dict), "hardware/machine": _text,
    "hardware/threads": _count, "hardware/products": lambda value: value in get_args(Library),
    "hardware/gpu": lambda value: value is None or _text(value),
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


def code() -> dict[str, Any]:
    """The commit that the code is of, and whether files differ from it; None where it is no checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # it may lie in somebody else's checkout
        return {"commit": git("rev-parse", "HEAD").strip(), "dirty": bool(git("status", "--short", "."))}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}


def hardware() -> dict[str, Any]:
    """What the run ran on."""
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "products": faster(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "processes": world()[1],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
