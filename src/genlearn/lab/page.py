"""The page: every state of every topic, computed beforehand, in one HTML file that needs nothing from outside."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from genlearn import __version__
from genlearn.files import write_atomically
from genlearn.lab.mathml import mathml
from genlearn.lab.topic import Topic, limits
from genlearn.lab.topics import TOPICS
from genlearn.progress import track

DIGITS = 4  # of the arrays that are drawn
FIGURES = 9  # of the numbers that are shown


def write_lab(out: Path, topics: Sequence[Topic] = (*TOPICS.values(),)) -> Path:
    """Write the page of some topics, by default of all, to `out`: inline data and script, nothing from outside.

    Takes a minute or two, most of it for the games. Raises OSError if `out` cannot be written.
    """
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["mathml"] = lambda tex: Markup(mathml(tex))
    html = environment.get_template("page.html.j2").render(
        topics=topics, data=Markup(as_json(lab_data(topics))), version=__version__
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, html.encode())
    return out


def as_json(data: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def lab_data(topics: Sequence[Topic]) -> dict[str, Any]:
    """What the script of the page reads: {"topics": [..], "pool": [arrays]}.

    A topic holds for each key a column over all its settings (the last control running fastest): numbers, or places in
    the pool, where equal arrays stand once. A number that is not finite is text: "nan", "inf" or "-inf".
    """
    pool: dict[str, int] = {}
    shown = [_topic(t, pool) for t in track(topics, "topics of the lab", len(topics), even=False)]
    return {"topics": shown, "pool": [json.loads(text) for text in pool]}


def _topic(topic: Topic, pool: dict[str, int]) -> dict[str, Any]:
    settings = [*topic.settings()]
    states = [topic.state(**setting) for setting in settings]
    logs = {getattr(m, axis) for panel in topic.panels for axis in panel.log for m in panel.marks}
    panels = [
        asdict(panel) | {"xlim": x, "ylim": y}
        for panel, (x, y) in zip(topic.panels, limits(topic, states), strict=True)
    ]
    return {
        "name": topic.name,
        "controls": [
            {"key": c.key, "label": c.label, "texts": [repr(v) for v in c.values], "slider": c.slider}
            | {"start": c.values.index(c.start)}
            for c in topic.controls
        ],
        "numbers": [asdict(number) for number in topic.numbers],
        "panels": panels,
        "columns": {key: _column([state[key] for state in states], key in logs, pool) for key in _keys(topic)},
        "code": topic.code,
        "play": topic.play,
    }


def _keys(topic: Topic) -> list[str]:
    drawn = [k for panel in topic.panels for m in panel.marks for k in (m.x, m.y, m.u, m.v, m.until) if k]
    return [*dict.fromkeys([number.key for number in topic.numbers] + drawn)]


def _column(values: list[Any], log: bool, pool: dict[str, int]) -> dict[str, list[Any]]:
    if not np.ndim(values[0]):
        return {"numbers": [figure(float(v)) for v in values]}
    seen: dict[int, int] = {}
    for v in values:  # most are the same object many times
        if id(v) not in seen:
            seen[id(v)] = pool.setdefault(_array(v, log), len(pool))
    return {"arrays": [seen[id(v)] for v in values]}


def _array(values: Any, log: bool) -> str:
    """An array as JSON: four digits of each value, or of the largest where no axis is logarithmic; gaps are null."""
    numbers = np.asarray(values, float)
    top = float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0))
    if top and not log:
        numbers = numbers.round(DIGITS - 1 - math.floor(math.log10(top)))
    texts = (f"{v:.{DIGITS}g}" if math.isfinite(v) else "null" for v in (numbers + 0.0).tolist())
    return f"[{','.join(texts)}]"


def figure(value: float) -> float | str:
    """A number of nine figures, or the word for one that is not finite."""
    return float(f"{value:.{FIGURES}g}") if math.isfinite(value) else str(value)
