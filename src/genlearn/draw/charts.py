"""Points and curves, drawn by matplotlib without its global state."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.rcsetup import cycler
from matplotlib.ticker import EngFormatter

# Okabe and Ito 2008: told apart by colour-blind readers too.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, PALE = "#444444", "#BBBBBB"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "genlearn",
    "axes.prop_cycle": cycler(linestyle=["-", "--"]) * cycler(color=PALETTE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.formatter.useoffset": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
}


@contextmanager
def _axes(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(STYLE):
        figure = Figure((width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, figure.add_subplot()


def scatter(points: Any, reference: Any, size: float = 4) -> bytes:
    """Generated points [n, 2] over points of the data [m, 2], as a square PNG.

    The axes span the data and a margin: points beyond it are counted below the picture.
    """
    points, reference = np.asarray(points), np.asarray(reference)
    low, high = reference.min(0), reference.max(0)
    margin = 0.15 * float((high - low).max()) or 1.0
    low, high = low - margin, high + margin
    outside = int((~((points >= low) & (points <= high)).all(1)).sum())
    with _axes(size, size) as (figure, axes):
        data, drawn = f"{len(reference):,} of the data", f"{len(points):,} generated"
        axes.scatter(reference[:, 0], reference[:, 1], s=40, color=PALE, linewidths=0, label=data)
        axes.scatter(points[:, 0], points[:, 1], s=4, color=PALETTE[1], alpha=0.7, linewidths=0, label=drawn)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axes.tick_params(color=PALE)
        figure.legend(loc="outside upper center", ncols=2, handletextpad=0.2)
        if outside:
            axes.set_xlabel(f"{outside:,} generated points lie outside")
        return _png(figure)


def scatters(cells: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Any], size: float = 1.3) -> bytes:
    """Points [n, 2] by row and column, over the centres [k, 2] of their row, as one PNG; what is missing stays empty.

    size: of a square in inches. Squares span the centres and a margin; the share of the points beyond it stands
    below the square, from 1 % up.
    """
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    with matplotlib.rc_context(STYLE):
        figure = Figure((size * len(columns) + 1.2, size * len(cells) + 0.6), layout="constrained")
        FigureCanvasAgg(figure)
        squares = figure.subplots(len(cells), len(columns), squeeze=False)
        for (name, row), line in zip(cells.items(), squares, strict=True):
            centres = np.asarray(reference[name])
            low, high = centres.min() - 0.15 * np.ptp(centres), centres.max() + 0.15 * np.ptp(centres)
            line[0].set_ylabel(name, rotation=0, ha="right", va="center")
            for column, axes in zip(columns, line, strict=True):
                axes.scatter(centres[:, 0], centres[:, 1], s=30, color=PALE, linewidths=0)
                if column in row:
                    points = np.asarray(row[column])
                    axes.scatter(*points.T, s=2, color=PALETTE[1], alpha=0.6, linewidths=0)
                    outside = (~((points >= low) & (points <= high)).all(1)).mean()
                    if outside >= 0.01:
                        axes.set_xlabel(f"{outside:.0%} outside", fontsize=7, labelpad=2)
                axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xticks=[], yticks=[])
                axes.spines[:].set(visible=True, color=PALE)
        for column, axes in zip(columns, squares[0], strict=True):
            axes.set_title(column, fontsize=9, color=INK)
        return _png(figure)


def clouds(panels: Mapping[str, Any], y: Any, names: Sequence[Any] = (), size: float = 2.8) -> bytes:
    """Points [n, 2] of each panel side by side, a colour for each class y [n], as one PNG.

    Class k stands at the median of its points, where colours alone would not tell ten classes apart; its name, if it
    has one, in the legend. Each panel has axes of its own; size: of a panel in inches.
    """
    y = np.asarray(y)
    with matplotlib.rc_context(STYLE):
        figure = Figure((size * len(panels), size + 0.3), layout="constrained")
        FigureCanvasAgg(figure)
        squares, classes, colour = figure.subplots(1, len(panels), squeeze=False)[0], np.unique(y), colormaps["tab10"]
        for (title, points), axes in zip(panels.items(), squares, strict=True):
            points = np.asarray(points)
            for k in classes:
                axes.scatter(*points[y == k].T, s=3, color=colour(k % 10), alpha=0.7, linewidths=0)
            for k in classes:
                text = axes.text(*np.median(points[y == k], 0), str(k), ha="center", va="center", weight="bold")
                text.set(color=colour(k % 10), path_effects=[withStroke(linewidth=2, foreground="white")])
            axes.set(xticks=[], yticks=[])
            axes.set_title(title, fontsize=9, color=INK)
            axes.spines[:].set(visible=True, color=PALE)
        if len(names):
            dots = [Line2D([], [], marker="o", linestyle="", color=colour(k % 10)) for k in classes]
            labels = [f"{k} {names[k]}" for k in classes]
            _legend(figure, min(len(labels), 2 * len(panels)), handles=dots, labels=labels, loc="outside lower center")
        return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def bars(
    groups: Mapping[str, Any], names: Sequence[str], ylabel: str, xlabel: str = "", size: tuple[float, float] = (5.5, 3)
) -> bytes:
    """Groups of bars by name, heights [n] each, side by side over n names, as a PNG. One group needs no legend."""
    with _axes(*size) as (figure, axes):
        x, width = np.arange(len(names)), 0.8 / len(groups)
        for i, (group, heights) in enumerate(groups.items()):
            axes.bar(x + (i - (len(groups) - 1) / 2) * width, np.asarray(heights), width, label=group)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_xticks(x, names)
        _finish(figure, axes, len(groups))
        return _png(figure)


def curves(
    lines: Mapping[str, tuple[Any, Any]], ylabel: str, xlabel: str = "images seen", size: tuple[float, float] = (5.5, 3)
) -> str:
    """Lines by name, (x [n], y [n]) each, as an SVG element that can stand inside a page; the same for the same input.

    Numbers that are not finite leave gaps. One line needs no legend.
    """
    with _curves(lines, ylabel, xlabel, size) as figure:
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def curves_png(
    lines: Mapping[str, tuple[Any, Any]], ylabel: str, xlabel: str = "images seen", size: tuple[float, float] = (5.5, 3)
) -> bytes:
    """The chart of `curves` as a PNG."""
    with _curves(lines, ylabel, xlabel, size) as figure:
        return _png(figure)


def heat(rows: Mapping[str, tuple[Any, Any]], label: str, xlabel: str = "images seen", width: float = 5.5) -> bytes:
    """Positive numbers by name and time, (x [n], y [n]) each, as rows of colours on a logarithmic scale, as a PNG.

    The rows share the times of the first; what is not positive stays blank.
    """
    times = np.asarray(next(iter(rows.values()))[0], float)
    values = np.array([np.interp(times, np.asarray(x, float), np.asarray(y, float)) for x, y in rows.values()])
    values[~(values > 0)] = np.nan
    with _axes(width, 1.2 + 0.22 * len(rows)) as (figure, axes):
        middles = (times[1:] + times[:-1]) / 2
        ends = np.concatenate([[0.0], middles, [max(2 * times[-1] - (middles[-1] if len(middles) else 0), 1)]])
        mesh = axes.pcolormesh(ends, np.arange(len(rows) + 1), values, norm=LogNorm(), cmap="cividis", rasterized=True)
        axes.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
        axes.invert_yaxis()
        axes.set(xlabel=xlabel)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.tick_params(color=PALE, left=False)
        figure.colorbar(mesh, ax=axes, label=label, pad=0.02)
        return _png(figure)


@contextmanager
def _curves(
    lines: Mapping[str, tuple[Any, Any]], ylabel: str, xlabel: str, size: tuple[float, float]
) -> Iterator[Figure]:
    with _axes(*size) as (figure, axes):
        for name, (x, y) in lines.items():
            axes.plot(np.asarray(x), np.asarray(y), label=name, marker="o" if len(x) < 3 else None, markersize=3)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        _finish(figure, axes, len(lines))
        yield figure


def _finish(figure: Figure, axes: Axes, n: int) -> None:
    """What charts share: pale lines behind, and a legend where there are n > 1 names."""
    axes.grid(axis="y", color="#EEEEEE")
    axes.set_axisbelow(True)
    axes.tick_params(color=PALE)
    if n > 1:
        _legend(figure, min(4, n), loc="outside upper left", handlelength=1.5)


def _legend(figure: Figure, ncols: int, **how: Any) -> None:
    """A legend of ncols columns, or of fewer where names are too long for the figure."""
    legend = figure.legend(ncols=ncols, **how)
    while ncols > 1 and legend.get_window_extent().width > figure.bbox.width:
        legend.remove()
        ncols -= 1
        legend = figure.legend(ncols=ncols, **how)
