"""Names that somebody mistyped, and values written as calls."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping


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


def took(seconds: float, spent: Mapping[str, float]) -> str:
    """How long a run took, and how much of that its monitors, where it is a tenth or more."""
    looked = spent.get("monitors", 0.0)
    more = f", {looked:,.1f} s of them for samples and scores meanwhile" if 10 * looked >= seconds > 0 else ""
    return f"{seconds:,.1f} s{more}"


def call(text: str) -> tuple[str, list[str], dict[str, str]]:
    """The name, the arguments and the named arguments of text such as "adam(2e-4, betas=0.5,0.999)", a call or a name.

    A comma within brackets divides nothing; what follows a named argument without a name of its own belongs to it.
    Raises ValueError for any other text.
    """
    match = re.fullmatch(r"\s*([a-z][a-z0-9_-]*)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if match is None:
        raise ValueError(f"{text!r} is no name with arguments")
    parts, depth = [""], 0
    for letter in match[2] or "":
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    if depth:
        raise ValueError(f"{text!r} has brackets that do not match")
    arguments: list[str] = []
    named: dict[str, str] = {}
    for part in parts if match[2] else []:
        key = re.match(r"\s*([a-z_]+)\s*=", part)
        if key:
            if key[1] in named:
                raise ValueError(f"{text!r} gives {key[1]} twice")
            named[key[1]] = part[key.end() :].strip()
        elif named:
            named[list(named)[-1]] += f",{part.strip()}"
        else:
            arguments.append(part.strip())
    return match[1], arguments, named
