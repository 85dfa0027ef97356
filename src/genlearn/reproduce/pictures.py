"""Pictures of mode collapse, from the runs of the first seed."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from PIL import Image

from genlearn.data import modes
from genlearn.draw import curves_png, png, scatters, titled
from genlearn.files import write_atomically

TIMES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # of training
Results = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]


def draw_all(results: Results, out: Path) -> list[Path]:
    """Write what can be drawn into `out`: samples at the end and over training, mean modes over training."""
    pictures: dict[str, bytes] = {}
    ends: dict[str, dict[str, Any]] = {}
    for name, methods in results.items():
        first = {method: runs[0] for method, runs in methods.items() if runs and not runs[0]["seed"]}
        looks = {method: run["looks"] for method, run in first.items() if run["looks"]}
        if not looks:
            continue
        if "grid" in next(iter(looks.values()))[-1]:
            pictures[f"{name}-end"] = png(_sheet({method: seen[-1]["grid"] for method, seen in looks.items()}))
        else:
            ends[name] = {fill(method, 15): seen[-1]["points"] for method, seen in looks.items()}
            cells = {fill(m, 15): {f"{t:.0%}": _at(seen, t)["points"] for t in TIMES} for m, seen in looks.items()}
            pictures[f"{name}-training"] = scatters(cells, dict.fromkeys(cells, modes(name)[0]))
        lines = {method: _curve(methods[method]) for method in looks}
        pictures[f"{name}-modes"] = curves_png(lines, "modes, mean over seeds", "% of training", (7, 3.5))
    if ends:
        pictures = {"end": scatters(ends, {name: modes(name)[0] for name in ends})} | pictures
    for name, content in pictures.items():
        write_atomically(out / f"{name}.png", content)
    return [out / f"{name}.png" for name in pictures]


def _sheet(grids: Mapping[str, str]) -> Image.Image:
    """Sheets of samples one above another, with their names."""
    sheets = [Image.open(io.BytesIO(base64.b64decode(text))) for text in grids.values()]
    whole = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), "white")
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    return titled(whole, rows=grids)


def _curve(runs: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    shares = np.linspace(5, 100, 20)
    return shares, np.mean(
        [[_at(run["looks"], share / 100)["hit"] for share in shares] for run in runs if run["looks"]], 0
    )


def _at(looks: Sequence[Mapping[str, Any]], share: float) -> Mapping[str, Any]:
    """The look nearest to a share of training."""
    return min(looks, key=lambda look: abs(look["images"] / looks[-1]["images"] - share))
