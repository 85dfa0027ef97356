"""A little TeX -> MathML, which browsers draw by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

SIGNS = {
    "gamma": 0x3B3,
    "lambda": 0x3BB,
    "mu": 0x3BC,
    "sigma": 0x3C3,
    "phi": 0x3C6,
    "psi": 0x3C8,
    "theta": 0x3B8,
    "partial": 0x2202,
    "int": 0x222B,
    "sum": 0x2211,
    "prod": 0x220F,
    "pm": 0xB1,
    "le": 0x2264,
    "to": 0x2192,
    "infty": 0x221E,
    "langle": 0x27E8,
    "rangle": 0x27E9,
    "lVert": 0x2016,
    "rVert": 0x2016,
}
NAMES = ("log", "max", "min", "exp", "sgn", "KL", "JSD", "tanh")
TOKEN = re.compile(r"\\([A-Za-z]+)|([A-Za-z]+)|(\d+(?:\.\d+)?)|(\s+)|(.)")
THIN = '<mspace width="0.17em"/>'  # between log and what it is of, unless that is in brackets


def mathml(tex: str) -> str:
    r"""A formula as a block of MathML: letters, words, numbers, operators, _ and ^, {groups}, \frac, \sqrt and names.

    Raises ValueError for a command that is not known.
    """
    tokens = [m.group(0) for m in TOKEN.finditer(tex) if not m.group(4)]
    row = _row(iter(tokens)).replace(f"{THIN}<mo>(</mo>", "<mo>(</mo>")
    return f'<math display="block">{row}</math>'


def _row(tokens: Iterator[str]) -> str:
    """What stands up to the end, or to the brace that closes."""
    done: list[str] = []
    for token in tokens:
        if token == "}":
            break
        if token in "_^":
            base, script = done.pop().removesuffix(THIN), _atom(next(tokens), tokens)
            tag = "msub" if token == "_" else "msup"
            if base.startswith("<msub>") and tag == "msup":
                done.append(f"<msubsup>{base[6:-7]}{script}</msubsup>")
            else:
                done.append(f"<{tag}>{base}{script}</{tag}>")
        else:
            done.append(_atom(token, tokens))
    return f"<mrow>{''.join(done)}</mrow>"


def _atom(token: str, tokens: Iterator[str]) -> str:
    if token == "{":
        return _row(tokens)
    if token == r"\frac":
        return f"<mfrac>{_atom(next(tokens), tokens)}{_atom(next(tokens), tokens)}</mfrac>"
    if token == r"\sqrt":
        return f"<msqrt>{_atom(next(tokens), tokens)}</msqrt>"
    if token[0] == "\\":
        word = token[1:]
        if word in NAMES:
            return f"<mi>{word}</mi>{THIN}"
        if word not in SIGNS:
            raise ValueError(f"unknown command {token}, expected one of {', '.join([*SIGNS, *NAMES])}")
        sign = chr(SIGNS[word])
        return f"<mi>{sign}</mi>" if sign.islower() else f"<mo>{sign}</mo>"
    if token[0].isdigit():
        return f"<mn>{token}</mn>"
    if token == "'":
        return '<mo lspace="0" rspace="0">\u2032</mo>'
    return f"<mi>{token}</mi>" if token.isalpha() else f"<mo>{escape(token.replace('-', chr(0x2212)))}</mo>"
