"""The frozen split: the content of a row alone decides on which side it falls."""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from .part import Part

TRAIN, VALID, TEST, DROPPED = 0, 1, 2, -1
SMALL = 100  # distinct rows; below, independent tenths leave a side empty too often (0.9^100 = 3e-5)

Sides: TypeAlias = NDArray[np.int8]
Keys: TypeAlias = NDArray[np.uint8]


def digests(x: NDArray[Any]) -> Keys:
    """sha256 of every row of `x` [n, ...]: [n, 32] uint8. Equal rows have equal digests (-0.0 counts as 0.0)."""
    rows = np.ascontiguousarray(x if x.dtype == np.uint8 else x + np.zeros((), x.dtype)).reshape(len(x), -1)
    joined = b"".join([hashlib.sha256(row.data).digest() for row in rows])
    return np.frombuffer(joined, np.uint8).reshape(len(x), 32)


def _tenths(keys: Keys) -> NDArray[np.int64]:
    """0 for the tenth of `keys` [n, 32] that may become validation, 1 for test, 2 for the rest: by content only."""
    distinct, which = np.unique(np.ascontiguousarray(keys).view("V32").ravel(), return_inverse=True)
    m = len(distinct)
    if m >= SMALL:
        number: NDArray[np.uint64] = keys[:, :8].copy().view(">u8").ravel()
        return np.minimum(number % 10, 2).astype(np.int64)
    count = max(m // 10, 1) if m > 2 else 0
    return np.minimum(np.arange(m) // max(count, 1), 2)[which] if count else np.full(len(keys), 2)


def sides(keys: Keys, given: Sides | None = None) -> Sides:
    """The side of every row: 0 train, 1 validation, 2 test, -1 dropped from train as a held-out part has it too.

    keys: digests [n, 32]. given: the official side of every row; a side that nobody has is cut out of train: one tenth,
    where (first 8 bytes of the digest, big-endian) mod 10 is 0 for validation, 1 for test. Below 100 distinct rows the
    rank of the digest decides instead, so that with three or more distinct rows no side is empty.
    Permuting the rows permutes the sides; equal rows never lie on two sides.
    """
    side = np.zeros(len(keys), np.int8) if given is None else given.copy()
    missing = [s for s in (VALID, TEST) if not (side == s).any()]
    free = np.flatnonzero(side == TRAIN)
    tenth = _tenths(keys[free])
    for s in missing:
        side[free[tenth == s - 1]] = s
    if given is None:
        return side
    distinct, which = np.unique(keys.view("V32").ravel(), return_inverse=True)
    last = np.zeros(len(distinct), np.int8)
    np.maximum.at(last, which, side)
    return np.where(side < last[which], np.int8(DROPPED), side)


def describe(given: Sides | None) -> str:
    """The split in words, as it goes into every record."""
    if given is None:
        return "content hash 80/10/10"
    official, cut = [], []
    for s, name in ((VALID, "validation"), (TEST, "test")):
        if s in given:
            official.append(name)
        else:
            cut.append(f"{name} 10 % by content hash")
    return ", ".join([f"official {' and '.join(official)}", *cut])


def part_hash(keys: Keys, y: NDArray[np.int64] | None, shape: tuple[int, ...], dtype: str) -> str:
    """sha256 (hex) over dtype, shape [n, ...], the digests of the rows and the labels, in order."""
    digest = hashlib.sha256(f"{dtype} {tuple(map(int, shape))}".encode())
    digest.update(keys.tobytes())
    if y is not None:
        digest.update(y.astype("<i8").tobytes())
    return digest.hexdigest()


def parts(x: NDArray[Any], y: NDArray[np.int64] | None, keys: Keys, side: Sides) -> tuple[Part, Part, Part]:
    """Train, validation and test parts of the rows `x`, in their order."""

    def part(s: int) -> Part:
        rows = np.flatnonzero(side == s)
        xs, ys = x[rows], None if y is None else y[rows]
        labels = None if ys is None else torch.from_numpy(ys)
        return Part(torch.from_numpy(xs), labels, part_hash(keys[rows], ys, xs.shape, str(xs.dtype)))

    return part(TRAIN), part(VALID), part(TEST)
