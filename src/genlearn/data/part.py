"""What a data source hands over: three parts, their hashes, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Part:
    """One side of the split: `x` uint8 or float32, [n, C, H, W] or [n, d]; `y` int64 [n], -1 = unknown.

    `x` may be backed by a memory-mapped file. `hash` is the sha256 over dtype, shape, rows and labels, in order.
    """

    x: Tensor
    y: Tensor | None
    hash: str

    def __len__(self) -> int:
        return len(self.x)


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

    def __str__(self) -> str:
        if not self.read:
            return f"training rows left out as held-out rows equal them: {self.overlap:,}" if self.overlap else ""
        left_out = {"corrupt": self.corrupt, "duplicate": self.duplicates, "too small": self.small}
        kept = self.read - sum(map(len, left_out.values()))
        counts = "".join(f", {len(names):,} {what}" for what, names in left_out.items() if names)
        other = f"; files that are no images: {len(self.other):,}" if self.other else ""
        return f"{kept:,} of {self.read:,} images kept as {self.size}x{self.size} {self.mode}{counts}{other}"


@dataclass(frozen=True, eq=False)
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


class Entry(NamedTuple):
    """A line of the catalogue; `n` counts train, validation and test, `where` says where the data is found now."""

    name: str
    what: str
    shape: tuple[int, ...]
    n: int
    licence: str
    where: str
