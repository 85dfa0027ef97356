"""What a topic of the lab is: a function of a few controls, numbers and pictures of what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from genlearn.words import unknown

Value: TypeAlias = "float | int | bool | str"
Style: TypeAlias = Literal["line", "dash", "area", "dots", "arrows"]
State: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Control:
    """Something to set: numbers make a slider, names a choice. `start` is one of its values."""

    key: str
    label: str
    values: tuple[Value, ...]
    start: Value

    @property
    def slider(self) -> bool:
        """Whether the values are numbers in order."""
        return not isinstance(self.start, bool | str)

    def read(self, text: str) -> Value:
        """The value that is written `text`; ValueError in one line if it is none."""
        for value in self.values:
            if text == str(value) or (self.slider and _number(text) == value):
                return value
        raise ValueError(unknown(f"value of {self.key}", text, map(str, self.values)))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class Number:
    """A number that is shown: its key in the state, what it is, its unit, and how it is known."""

    key: str
    label: str
    unit: str = ""
    how: str = ""


@dataclass(frozen=True)
class Mark:
    """A curve, or points: keys of the state for x and y (and, for arrows, u and v); a number makes one point.

    until: the key of a control whose value is the number of the last point that is drawn. colour: of the palette.
    """

    style: Style
    x: str
    y: str
    label: str = ""
    colour: int = 0
    u: str = ""
    v: str = ""
    until: str = ""


@dataclass(frozen=True)
class Panel:
    """A picture. xlim, ylim: the axes; where not given they hold all states. log: axes that are logarithmic, "x", "y"
    or both. square: both axes have one scale."""

    title: str
    xlabel: str
    ylabel: str
    marks: tuple[Mark, ...]
    xlim: tuple[float, float] | None = None
    ylim: tuple[float, float] | None = None
    log: str = ""
    square: bool = False


@dataclass(frozen=True)
class Topic:
    """A page of the lab. state(**controls) gives the numbers and arrays by key; code, with {controls}, prints the
    numbers as `result`; play: the control that moves by itself."""

    name: str
    title: str
    about: str
    formulas: tuple[str, ...]
    controls: tuple[Control, ...]
    state: Callable[..., State]
    numbers: tuple[Number, ...]
    panels: tuple[Panel, ...]
    code: str
    source: str
    play: str = ""

    def settings(self) -> Iterator[dict[str, Value]]:
        """Every combination of the controls' values, the last control running fastest."""
        for values in product(*(control.values for control in self.controls)):
            yield {control.key: value for control, value in zip(self.controls, values, strict=True)}

    def start(self) -> dict[str, Value]:
        """The values at which the page opens."""
        return {control.key: control.start for control in self.controls}

    def set(self, texts: Mapping[str, str]) -> dict[str, Value]:
        """The start with some values changed, as text; ValueError in one line for what is none."""
        controls = {control.key: control for control in self.controls}
        for key in texts:
            if key not in controls:
                raise ValueError(unknown(f"control of {self.name}", key, controls))
        return self.start() | {key: controls[key].read(text) for key, text in texts.items()}

    def python(self, setting: Mapping[str, Value]) -> str:
        """The Python of the picture at these values."""
        text = self.code
        for key, value in setting.items():
            text = text.replace(f"{{{key}}}", repr(value))
        return text


def limits(topic: Topic, states: list[State]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The axes of every panel: as given, or such that all states are within."""
    return [
        (panel.xlim or _span(panel, "x", states), panel.ylim or _span(panel, "y", states)) for panel in topic.panels
    ]


def _span(panel: Panel, axis: Literal["x", "y"], states: list[State]) -> tuple[float, float]:
    keys = {getattr(mark, axis) for mark in panel.marks} - {""}
    seen = {id(state[key]): np.atleast_1d(np.asarray(state[key], float)) for state in states for key in keys}
    values: NDArray[np.float64] = np.concatenate(list(seen.values()))
    log = axis in panel.log
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    low, high = float(values.min()), float(values.max())
    if log:
        return low / 1.3, high * 1.3
    margin = 0.04 * (high - low) or 0.5
    floor = axis == "y" and low >= 0 and any(mark.style == "area" for mark in panel.marks)
    return (0.0 if floor else low - margin), high + margin
