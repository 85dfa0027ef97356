"""Pictures of mode collapse, from the runs of the first seed."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genlearn.data import modes
from genlearn.draw import curves_png, scatters
from genlearn.files import write_atomically

TIMES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # of training
Results = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]


def draw_all(results: Results, out: Path) -> list[Path]:
    """Write what can be drawn into `out`: samples at the end and over training, mean modes over training."""
    first = {name: {m: runs[0]["looks"] for m, runs in methods.items() if runs and runs[0]["looks"]}
             for name, methods in results.items()}  # fmt: skip
    first = {name: methods for name, methods in first.items() if methods}
    pictures = {}
    if first:
        ends = {
            name: {_broken(m): looks[-1]["points"] for m, looks in methods.items()} for name, methods in first.items()
        }
        pictures["end"] = scatters(ends, {name: modes(name)[0] for name in ends})
    for name, methods in first.items():
        cells = {_broken(m): {_share(t): _at(looks, t)["points"] for t in TIMES} for m, looks in methods.items()}
        pictures[f"{name}-training"] = scatters(cells, dict.fromkeys(cells, modes(name)[0]))
        lines = {}
        for method, runs in results[name].items():
            hits = [[look["hit"] for look in run["looks"]] for run in runs if not run["diverged"]]
            if hits:
                shares = np.linspace(0, 100, len(hits[0]) + 1)[1:]
                lines[method] = shares, np.mean(hits, 0)
        pictures[f"{name}-modes"] = curves_png(lines, "modes, mean over seeds", "% of training", (7, 3.5))
    paths = []
    for name, content in pictures.items():
        paths.append(out / f"{name}.png")
        write_atomically(paths[-1], content)
    return paths


def _broken(method: str) -> str:
    return "\n".join(textwrap.wrap(method, 15))


def _share(t: float) -> str:
    return f"{t:.0%}"


def _at(looks: Sequence[Mapping[str, Any]], share: float) -> Mapping[str, Any]:
    """The look nearest to a share of training."""
    return min(looks, key=lambda look: abs(look["images"] / looks[-1]["images"] - share))
