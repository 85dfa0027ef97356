"""Values that change while training, as functions of the images seen, so that they do not depend on the batch size."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

_NAMES = ("constant", "exponential", "inverse", "linear")
_SYNTAX = (
    "constant(0.1), exponential(0.1, half_life=1e6, floor=1e-6), inverse(0.1, half_life=1e6), "
    "linear(0.5, 0.7, over=1e6) or over=budget"
)


@dataclass(frozen=True)
class Schedule:
    """f(t) of the images seen t, or with over=budget of the share of the stage's budget that is spent.

    constant     f = start
    exponential  f = max(start 2^(-t / scale), end)
    inverse      f = start / (1 + t / scale), the 1/t rate of stochastic approximation
    linear       f = start + (end - start) min(t / scale, 1)

    `scale` is in images; as text: constant(0.1), exponential(0.1, half_life=1e6, floor=1e-6),
    inverse(0.1, half_life=1e6), linear(0.5, 0.7, over=1e6).
    """

    name: Literal["constant", "exponential", "inverse", "linear"]
    start: float
    end: float = 0.0
    scale: float = math.inf
    of_budget: bool = False

    expected: ClassVar[str] = "a schedule such as linear(0.1, 0, over=1e6)"

    def __call__(self, images: float, spent: float = 0.0) -> float:
        if self.name == "exponential":
            return max(self.start * math.exp2(-images / self.scale), self.end)
        if self.name == "inverse":
            return self.start / (1 + images / self.scale)
        if self.name == "linear":
            share = spent if self.of_budget else images / self.scale
            return self.start + (self.end - self.start) * min(share, 1.0)
        return self.start

    @classmethod
    @cache
    def parse(cls, value: float | str) -> Schedule:
        """A schedule from a number or from text; a one-line ValueError if the text is not one."""
        if not isinstance(value, str):
            return cls("constant", float(value))
        match = re.fullmatch(r"\s*([a-z]+)\s*\((.*)\)\s*", value)
        if match is None or match[1] not in _NAMES:
            raise ValueError(f"{value!r} is no schedule, expected a number or one of {_SYNTAX}")
        name, numbers, named, of_budget = match[1], [], {}, False
        try:
            for argument in match[2].split(","):
                key, _, number = argument.rpartition("=")
                if key:
                    if (name, key.strip(), number.strip()) == ("linear", "over", "budget"):
                        of_budget, number = True, "inf"
                    named[key.strip()] = float(number)
                else:
                    numbers.append(float(number))
            end = named.pop("floor", 0.0) if name == "exponential" else numbers.pop() if name == "linear" else 0.0
            scale = math.inf if name == "constant" else named.pop("over" if name == "linear" else "half_life")
            (start,) = numbers
        except (ValueError, KeyError, IndexError):
            raise ValueError(f"{value!r} is no schedule, expected the form of one of {_SYNTAX}") from None
        if named or not scale > 0:
            raise ValueError(f"{value!r} is no schedule, expected the form of one of {_SYNTAX}, with a positive scale")
        return cls(name, start, end, scale, of_budget)  # type: ignore[arg-type]
