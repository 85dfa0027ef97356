"""The border for arrays: whatever shape they come in, [n, C, H, W] or [n, d], uint8 or float32, finite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .part import Data, PrepareReport
from .split import describe, digests, parts, sides

CHANNELS = (1, 3, 4)


def as_rows(x: NDArray[Any] | Tensor) -> NDArray[Any]:
    """[n, d], [n, H, W], [n, C, H, W] or (uint8) [n, H, W, C] to [n, d] or [n, C, H, W], uint8 or float32.

    uint8 stays; every other real type becomes float32 with its values kept. Channels last is recognised in uint8 when
    the last axis is 1, 3 or 4 long and axis 1 is not.
    Raises ValueError for another number of axes, no rows, values that are not numbers, NaN or inf.
    """
    a = x.detach().cpu().numpy() if isinstance(x, Tensor) else x
    if a.dtype.kind not in "buif":
        raise ValueError(f"X has dtype {a.dtype}: expected uint8 or float; convert it by X.astype(float)")
    if a.ndim not in (2, 3, 4) or a.size == 0:
        raise ValueError(f"X has shape {a.shape}: expected (n, d), (n, H, W) or (n, C, H, W) with n >= 1; reshape it")
    if a.ndim == 3:
        a = a[:, None]
    elif a.ndim == 4 and a.dtype == np.uint8 and a.shape[3] in CHANNELS and a.shape[1] not in CHANNELS:
        a = a.transpose(0, 3, 1, 2)
    if a.dtype == np.uint8:
        return np.ascontiguousarray(a)
    with np.errstate(over="ignore"):  # what does not fit float32 becomes inf, and is named below
        a = np.ascontiguousarray(a, np.float32)
    finite = np.isfinite(a)
    if not finite.all():
        first = tuple(int(i) for i in np.unravel_index(int(finite.argmin()), a.shape))
        raise ValueError(
            f"X has {int((~finite).sum()):,} NaN or infinite values in float32, the first at index {first}: expected "
            "finite numbers; drop those rows or fill them in"
        )
    return a


def as_labels(y: NDArray[Any] | Tensor | list[Any], n: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels [n] as int64 0..K-1 (-1 = unknown) and the names of the classes.

    Integers that are 0..K-1 already are kept; any other values are numbered in sorted order.
    Raises ValueError for a wrong length, more than one axis, or NaN.
    """
    a = y.detach().cpu().numpy() if isinstance(y, Tensor) else np.asarray(y)
    if a.shape != (n,):
        raise ValueError(f"y has shape {a.shape}: expected ({n},), one label for each row of X (-1 = unknown)")
    if a.dtype.kind == "f" and not np.isfinite(a).all():
        raise ValueError("y has NaN or infinite labels: expected integers or strings; mark unknown labels by -1")
    known = a != -1 if a.dtype.kind in "if" else np.ones(n, bool)
    values, which = np.unique(a[known], return_inverse=True)
    labels = np.full(n, -1, np.int64)
    labels[known] = which
    return labels, tuple(str(v) for v in values.tolist())


def from_arrays(x: NDArray[Any] | Tensor, y: NDArray[Any] | Tensor | list[Any] | None = None) -> Data:
    """A data set from arrays, split 80/10/10 by content hash."""
    rows = as_rows(x)
    labels, classes = (None, ()) if y is None else as_labels(y, len(rows))
    keys = digests(rows)
    train, valid, test = parts(rows, labels, keys, sides(keys))
    return Data("array", train, valid, test, classes, describe(None), "unknown", "given as an array", PrepareReport())
