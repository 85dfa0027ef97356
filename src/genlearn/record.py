"""What run.json holds: where and by what code a run was made; and, as it may be edited, what it must hold."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch

from genlearn.compute import Library, faster
from genlearn.parallel import world
from genlearn.words import shortened

SIDES = ("train", "valid", "test")


class Kind(NamedTuple):
    """What a value may be: whether it is, and in words."""

    holds: Callable[[Any], bool]
    words: str


def _each(kind: Kind, *names: str) -> Kind:
    """A record of values of a kind; with `names`, of these."""
    fits, what = kind.holds, f" for each of {', '.join(names)}" if names else ", each with a name"
    return Kind(
        lambda v: isinstance(v, dict) and (not names or v.keys() == {*names}) and all(map(fits, v.values())),
        f"{kind.words}{what}",
    )


TEXT = Kind(lambda v: isinstance(v, str), "text")
COUNT = Kind(lambda v: isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 2**63, "a whole number")
NUMBER = Kind(lambda v: isinstance(v, int | float) and abs(v) < 2**63 and math.isfinite(v), "a number")
RECORD = Kind(lambda v: isinstance(v, dict), "values by name")
NEEDED = {
    "id": TEXT, "model": TEXT, "status": TEXT, "parameters": RECORD,
    "data": RECORD, "data/source": TEXT, "data/options": RECORD,
}  # fmt: skip
KNOWN = {
    "data/hash": _each(TEXT, *SIDES), "data/n": _each(COUNT, *SIDES), "images": COUNT, "seconds": NUMBER,
    "spent": _each(NUMBER), "players": _each(COUNT), "precision": TEXT,
    "monitors": Kind(lambda v: isinstance(v, list) and all(map(TEXT.holds, v)), "a list of texts"),
    "hardware": RECORD, "hardware/machine": TEXT, "hardware/threads": COUNT,
    "hardware/products": Kind(lambda v: v in get_args(Library), f"one of {', '.join(get_args(Library))}"),
    "hardware/gpu": Kind(lambda v: v is None or TEXT.holds(v), "text or null"),
}  # fmt: skip
TOGETHER = (("images", "seconds"), ("data/hash", "data/n"), ("hardware", "hardware/gpu"),
            ("hardware", "hardware/machine"), ("hardware", "hardware/threads"))  # fmt: skip


def flaw(record: Mapping[str, Any]) -> str:
    """What is wrong with a record, in a few words; empty where nothing is."""
    values = {name: value for name, value in record.items() if isinstance(name, str)}
    for part in ("data", "hardware"):
        if isinstance(record.get(part), dict):
            values |= {f"{part}/{name}": value for name, value in record[part].items()}
    for name, kind in (NEEDED | KNOWN).items():
        if name in values and not kind.holds(values[name]):
            return f"{name} is {shortened(values[name])}, expected {kind.words}"
        if name not in values and name in NEEDED:
            return f"{name} is missing"
    for one, other in TOGETHER:
        if one in values and other not in values:
            return f"{other} is missing"
    return ""


@contextmanager
def placed(path: Path, record: Mapping[str, Any], part: str) -> Iterator[None]:
    """What is wrong with a part of the record in the folder `path` says where that stands, once it has been written."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if record["status"] == "created":
            raise
        raise ValueError(f"{path}/run.json, {part}: {error}") from None


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


def hardware(before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the run ran on; one that goes on keeps the library of its products, since two round differently."""
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "products": faster() if before is None else before.get("products", "torch"),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "processes": world()[1],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def cost(spent: Mapping[str, float]) -> dict[str, Any]:
    """What a training cost by the clock on the wall, on what."""
    seconds = sum(spent.values())
    return {
        "seconds": round(seconds, 3),
        "spent": {what: round(value, 3) for what, value in spent.items()},
        "cost": {"device_hours": round(seconds * world()[1] / 3600, 5), "processes": world()[1]},
    }
