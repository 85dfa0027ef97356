"""Damage to files, by a random generator: each way tells what it did."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from pathlib import Path
from typing import Any


def flip(rng: random.Random, content: bytes) -> bytes:
    """A few bits, most often near the head, where formats keep their sizes."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 12)):
        if changed:
            place = rng.randrange(min(len(changed), 64) if rng.random() < 0.5 else len(changed))
            changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def splice(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """A piece of another file in the middle."""
    a, b = rng.randrange(len(content) + 1), rng.randrange(len(other) + 1)
    return content[:a] + other[b : b + rng.randint(1, 200)] + content[a + rng.randint(0, 50) :]


def noise(rng: random.Random, n: int | None = None) -> bytes:
    return rng.randbytes(rng.randint(1, 3000) if n is None else n)


class Payload:
    """A pickle that makes a file where it is read as one."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def payload(marker: Path) -> bytes:
    return pickle.dumps(Payload(marker))


VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 7, 10**9, 10**30, -(10**400), 0.5, 1e308, float("nan"), float("inf"), -float("inf"),
    "", "x", "y" * 5000, "line\nline", "\ud800", "\x00", "0.1", "../../x", "linear(nan, 0, over=1)", "nan", "auto",
    "cuda:99", [], {}, [[]], [None], [1, 2, 3], [10**9], {"a": 1}, [{}], {"object": "x"}, [1e30], ["a", "b"], "DEEP",
]  # fmt: skip


def places(tree: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value in a JSON document, however deep."""
    found: list[tuple[Any, Any]] = []
    if isinstance(tree, (dict, list)):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            found += [(tree, key), *places(tree[key])]
    return found


def edit(rng: random.Random, text: str) -> tuple[str, str]:
    """One value, somewhere in a JSON document, replaced, dropped or renamed; what was done."""
    try:
        tree = json.loads(text)
    except ValueError:  # damaged before
        return text[::-1], "reversed"
    found = places(tree)
    if not found:
        return "[]", "[]"
    node, key = rng.choice(found)
    way = rng.choice(["replace"] * 6 + ["drop", "add"])
    if way == "drop":
        del node[key]
        what = f"drop {key!r}"
    elif way == "add" and isinstance(node, dict):
        node["unknown"] = rng.choice(VALUES)
        what = f"add unknown={node['unknown']!r:.40} beside {key!r}"
    else:
        node[key] = rng.choice(VALUES)
        what = f"{key!r} = {node[key]!r:.40}"
    deep = rng.choice([500, 5000, 100_000])
    return json.dumps(tree).replace('"DEEP"', "[" * deep + "]" * deep), what


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def file(rng: random.Random, path: Path, other: Path, marker: Path) -> str:
    """Damage one file of a run in one of many ways; `other`: the same file of another run."""
    content, name = path.read_bytes(), path.name
    ways = ["flip", "cut", "empty", "delete", "swap", "folder", "noise", "pickle", "splice", "link", "nul", "longer"]
    if name.endswith((".json", ".jsonl")):
        ways += ["edit"] * 12
    if os.geteuid() != 0:
        ways.append("permissions")
    way, what = rng.choice(ways), ""
    if way in ("delete", "folder", "link"):
        path.unlink()
        if way == "folder":
            path.mkdir()
        elif way == "link":
            path.symlink_to(path.name)
    elif way == "swap" and other.is_file():
        shutil.copyfile(other, path)
    elif way == "permissions":
        path.chmod(0)
    elif way == "edit":
        lines = _text(content).splitlines() if name.endswith(".jsonl") else [_text(content)]
        lines, k = lines or [""], rng.randrange(len(lines) or 1)
        lines[k], what = edit(rng, lines[k])
        path.write_bytes("\n".join(lines).encode(errors="surrogatepass"))
    else:
        changed = {
            "flip": flip, "cut": cut, "noise": lambda r, c: noise(r), "empty": lambda r, c: b"",
            "nul": lambda r, c: bytes(len(c)), "pickle": lambda r, c: payload(marker), "swap": lambda r, c: b"",
            "splice": lambda r, c: splice(r, c, c), "longer": lambda r, c: c + noise(r),
        }[way](rng, content)  # fmt: skip
        path.write_bytes(changed)
    return f"{way} {what}".strip()
