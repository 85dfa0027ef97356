"""A topic as a still picture: the panels of the page, drawn by matplotlib, with the numbers under them."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from genlearn.draw.charts import INK, PALETTE, STYLE
from genlearn.lab.topic import Mark, Panel, State, Topic, Value, limits
from genlearn.lab.topics import topic as find

COLOURS = (*PALETTE[:6], INK)


def lab_picture(name: str, **setting: Value) -> bytes:
    """The PNG of a topic at its start, or with some controls set: lab_picture("dirac", variant="r1", steps=240).

    Raises ValueError in one line for a topic, a control or a value that is none.
    """
    topic = find(name)
    values = topic.set({key: str(value) for key, value in setting.items()})
    state = topic.state(**values)
    with matplotlib.rc_context(STYLE):
        n = len(topic.panels)
        figure = Figure((max(6.4, 4.8 * n), 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        spans = limits(topic, [state])
        for axes, panel, (xlim, ylim) in zip(figure.subplots(1, n, squeeze=False)[0], topic.panels, spans, strict=True):
            _panel(axes, panel, state, xlim, ylim)
        figure.suptitle(f"{topic.title}\n{_line(values)}", fontsize=10, color=INK)
        figure.supxlabel(_numbers(topic, state, 2 * n), fontsize=8, color=INK)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _line(values: dict[str, Value]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def _numbers(topic: Topic, state: State, per_line: int) -> str:
    texts = [f"{n.label}: {state[n.key]:.6g} {n.unit}".strip() for n in topic.numbers]
    return "\n".join("    ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line))


def _panel(axes: Axes, panel: Panel, state: State, xlim: tuple[float, float], ylim: tuple[float, float]) -> None:
    for mark in panel.marks:
        _mark(axes, mark, state)
    scales: dict[str, Any] = {f"{axis}scale": "log" for axis in panel.log}
    axes.set_title(panel.title, fontsize=9, pad=20)
    axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel, xlim=xlim, ylim=ylim, **scales)
    if panel.square:
        axes.set_aspect("equal")
    if any(mark.label for mark in panel.marks):
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=8, borderaxespad=0.2)


def _mark(axes: Axes, mark: Mark, state: State) -> None:
    x, y = (np.atleast_1d(np.asarray(state[key], float)) for key in (mark.x, mark.y))
    if mark.until:
        x, y = x[: int(state[mark.until]) + 1], y[: int(state[mark.until]) + 1]
    colour, name = COLOURS[mark.colour], mark.label or None
    if mark.style == "arrows":
        u, v = np.asarray(state[mark.u], float), np.asarray(state[mark.v], float)
        root = np.sqrt(np.maximum(np.hypot(u, v), 1e-12))  # lengths as square roots, as on the page
        axes.quiver(x, y, u / root, v / root, color=colour, width=0.003, alpha=0.7)
    elif mark.style == "dots":
        size = 7 if len(x) == 1 else 2 if len(x) > 100 else 4
        axes.plot(x, y, "o", color=colour, markersize=size, label=name)
    else:
        axes.plot(x, y, "--" if mark.style == "dash" else "-", color=colour, label=name)
        if mark.style == "area":
            axes.fill_between(x, y, alpha=0.2, color=colour, linewidth=0)
