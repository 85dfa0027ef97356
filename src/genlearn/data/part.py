"""What a data source hands over: three parts, their hashes, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

NAMED = 3  # files of a kind that a line names
RECORDED = 100  # and a record


@dataclass(frozen=True, eq=False, repr=False)
class Part:
    """One side of the split: `x` uint8 or float32, [n, C, H, W] or [n, d]; `y` int64 [n], -1 = unknown.

    `x` may be backed by a memory-mapped file. `hash` is the sha256 over dtype, shape, rows and labels, in order.
    """

    x: Tensor
    y: Tensor | None
    hash: str

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        labels = "no labels" if self.y is None else "labels"
        return f"Part: {self.x.dtype} of shape {tuple(self.x.shape)}, {labels}"


@dataclass(frozen=True)
class PrepareReport:
    """What became of the files of a folder; every tuple holds "name: reason". All zero for other sources.

    `overlap` counts training rows that were left out because a held-out part of an official split has them too.
    """

    read: int = 0
    corrupt: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    small: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    mode: str = ""
    size: int = 0
    overlap: int = 0

    @property
    def used(self) -> int:
        """How many of the files are images of the data set."""
        return self.read - len(self.corrupt) - len(self.duplicates) - len(self.small)

    def __str__(self) -> str:
        if not self.read:
            return f"training rows left out as held-out rows equal them: {self.overlap:,}" if self.overlap else ""
        duplicates = (
            [f"{len(self.duplicates):,} duplicate{'s'[: len(self.duplicates) != 1]}"] if self.duplicates else []
        )
        named = {"corrupt": self.corrupt, "too small": self.small, "not images": self.other}
        left_out = duplicates + [f"{len(lines):,} {what} ({_few(lines)})" for what, lines in named.items() if lines]
        kept = (
            f"{self.read:,} file{'s'[: self.read != 1]} read, {self.used:,} used as {self.size}x{self.size} {self.mode}"
        )
        return f"{kept}{': ' if left_out else ''}{', '.join(left_out)}"

    def to_json(self) -> dict[str, Any]:
        """For the record of a run: the counts, and the first hundred of each kind that were left out."""
        kinds = {name: value for name, value in vars(self).items() if isinstance(value, tuple)}
        counts = {name: len(lines) for name, lines in kinds.items() if lines}
        first = {name: list(lines[:RECORDED]) for name, lines in kinds.items() if lines}
        return {"words": str(self), "read": self.read, "used": self.used, "left_out": counts, "first": first}


def _few(lines: tuple[str, ...]) -> str:
    names = [line.partition(": ")[0] for line in lines[:NAMED]]
    return ", ".join(names) + (" ..." if len(lines) > NAMED else "")


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """A data set with its frozen split, where it came from, and its licence; `classes[k]` names label k."""

    name: str
    train: Part
    valid: Part
    test: Part
    classes: tuple[str, ...]
    split: str
    licence: str
    source: str
    report: PrepareReport

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row: (C, H, W) or (d,)."""
        return tuple(self.train.x.shape[1:])

    @property
    def brief(self) -> str:
        """The sizes of the parts, and what was left out, in one line."""
        sizes = f"{len(self.train):,} training, {len(self.valid):,} validation, {len(self.test):,} test"
        what = "images" if len(self.shape) == 3 else "rows"
        report = str(self.report)
        return f"{self.name}: {sizes} {what} of {'x'.join(map(str, self.shape))}{report and f'; {report}'}"

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return (
            f"Data of {self.train.x.dtype}{classes}, split by {self.split}\n"
            f"  {self.brief}\n"
            f"  from {self.source}, licence {self.licence}"
        )


class Entry(NamedTuple):
    """A line of the catalogue; `n` counts train, validation and test, `where` says where the data is found now."""

    name: str
    what: str
    shape: tuple[int, ...]
    n: int
    licence: str
    where: str
