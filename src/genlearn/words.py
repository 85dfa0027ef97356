"""Names that somebody mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def shown(name: str) -> str:
    """A file's name as it can be printed and kept: bytes that are no UTF-8 become U+FFFD."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A question with the nearest of the known names; empty where none is near."""
    near = difflib.get_close_matches(str(name), list(known), 1)
    return f"did you mean {near[0]!r}?" if near else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """One line for a name that does not exist, with the nearest that does."""
    known = list(known)
    hint = did_you_mean(name, known) or f"expected one of {', '.join(known)}"
    return f"unknown {kind} {name!r}: {hint}"


def shortened(value: object) -> str:
    """What a value looks like, in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
