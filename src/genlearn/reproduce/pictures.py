"""Pictures of mode collapse, from the runs of the first seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from genlearn.data import modes
from genlearn.draw import curves_png, scatters
from genlearn.files import write_atomically

TIMES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # of training
Results = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]


def draw_all(results: Results, out: Path) -> list[Path]:
    """Write what can be drawn into `out`: samples at the end and over training, mean modes over training."""
    first = {name: {m: runs[0] for m, runs in methods.items() if runs} for name, methods in results.items()}
    looks = {name: {m: run["looks"] for m, run in runs.items() if run["looks"] and not run["seed"]}
             for name, runs in first.items() if runs}  # fmt: skip
    ends = {name: {fill(m, 15): seen[-1]["points"] for m, seen in methods.items()} for name, methods in looks.items()}
    pictures = {"end": scatters(ends, {name: modes(name)[0] for name in ends})} if ends else {}
    for name, methods in looks.items():
        cells = {fill(m, 15): {f"{t:.0%}": _at(seen, t)["points"] for t in TIMES} for m, seen in methods.items()}
        pictures[f"{name}-training"] = scatters(cells, dict.fromkeys(cells, modes(name)[0]))
        lines = {method: _curve(results[name][method]) for method in methods}
        pictures[f"{name}-modes"] = curves_png(lines, "modes, mean over seeds", "% of training", (7, 3.5))
    for name, content in pictures.items():
        write_atomically(out / f"{name}.png", content)
    return [out / f"{name}.png" for name in pictures]


def _curve(runs: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    shares = np.linspace(5, 100, 20)
    return shares, np.mean(
        [[_at(run["looks"], share / 100)["hit"] for share in shares] for run in runs if run["looks"]], 0
    )


def _at(looks: Sequence[Mapping[str, Any]], share: float) -> Mapping[str, Any]:
    """The look nearest to a share of training."""
    return min(looks, key=lambda look: abs(look["images"] / looks[-1]["images"] - share))
