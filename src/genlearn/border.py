"""The border of every model: the user's arrays and labels on one side, the model's tensors on the other."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, column_or_1d
from torch import Tensor

from genlearn.data import Data, Part
from genlearn.words import unknown

BLOCK = 64  # a grid, and what `sample` is asked for most often
BLOCK_VALUES = 2**18  # beyond so many values a block has fewer images


def pick_device(name: str) -> torch.device:
    """The device of a name; "auto" takes CUDA, then Apple's MPS, then the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("device is 'cuda', but torch sees no CUDA device; the usual fix is device='auto'")
        return torch.device("cuda", torch.cuda.current_device())
    if name == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device is 'mps', but torch sees no Apple GPU; the usual fix is device='auto'")
    return torch.device(name)


@dataclass(frozen=True, eq=False)
class Border:
    """What the images that `fit` was given look like, and the way in and out; saved whole with the model.

    shape, dtype: of one image as given. range: the values that mean 0 and 1 inside. seen: the least and the greatest
    value. classes: the distinct labels, none where there were none; names: what they are called.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    range: tuple[float, float]
    seen: tuple[float, float]
    classes: NDArray[Any]
    names: tuple[str, ...]

    def check_number(self, n: int) -> None:
        """Raises a one-line error where n images are none, or too many to be held at once: now, not after hours."""
        if not isinstance(n, Integral) or n < 0:
            raise ValueError(f"n is {n!r}, expected the number of images, 0 or more")
        try:
            np.empty((n, *self.shape), np.float32)
        except (MemoryError, ValueError):
            raise MemoryError(
                f"n is {n:,}, whose images take more memory than there is; the usual fix is fewer at a time"
            ) from None

    @classmethod
    def of(
        cls,
        X: NDArray[Any],
        given: np.dtype[Any],
        pixels: bool,
        y: NDArray[Any] | None,
        names: Sequence[str] = (),
    ) -> Border:
        """The border of images X [n, ...], which came as type `given`; pixels: they must lie in [0, 1] inside.

        names[k] is what label k of y is called, where there are names.
        """
        seen = (float(X.min()), float(X.max()))
        if all(map(_plain, X)):  # ends at the first that is not
            warnings.warn(
                f"the training images ({len(X):,}) are plain, each of one colour, values {seen[0]:g} to {seen[1]:g}: "
                "there is nothing to learn; the usual fix is a look at the files",
                stacklevel=5,
            )
        ends = (0.0, 255.0) if X.dtype == np.uint8 else (0.0, 1.0)
        if pixels and X.dtype != np.uint8 and (seen[0] < 0 or seen[1] > 1):
            ends = seen if seen[0] < seen[1] else (seen[0], seen[0] + 1)
            warnings.warn(
                f"pixels lie in [{seen[0]:g}, {seen[1]:g}], expected [0, 1]; they are mapped there, samples mapped "
                "back",
                stacklevel=5,
            )
        classes = np.empty(0, np.int64) if y is None else np.unique(y[known(y)])
        called = tuple(names[k] if names else str(k) for k in classes.tolist())
        return cls(tuple(X.shape[1:]), given if given.kind == "f" else X.dtype, ends, seen, classes, called)

    @property
    def inner_shape(self) -> tuple[int, ...]:
        """The shape of one image inside: a grey image gets its channel."""
        return (1, *self.shape) if len(self.shape) == 2 else self.shape

    @property
    def block(self) -> int:
        """Images computed at once: a whole block always, so that none depends on how many there are."""
        return max(1, min(BLOCK, BLOCK_VALUES // int(np.prod(self.shape))))

    def check(self, X: NDArray[Any]) -> None:
        """Raise a one-line ValueError for images of another shape; warn of another scale."""
        if X.shape[1:] != self.shape:
            same = np.prod(X.shape[1:]) == np.prod(self.shape)
            fix = f"X.reshape(-1, {', '.join(map(str, self.shape))})" if same else "images of that size"
            raise ValueError(
                f"X has images of shape {X.shape[1:]}, expected {self.shape} as in fit; the usual fix is {fix}"
            )
        if not X.size or (X.dtype == np.uint8 and self.range in ((0.0, 255.0), (0.0, 1.0))):
            return
        low, high = float(X.min()), float(X.max())
        slack = (self.seen[1] - self.seen[0]) / 2
        bytes_of_floats = X.dtype == np.uint8  # which would be taken for x / 255
        if (
            bytes_of_floats
            or low < self.seen[0] - slack
            or high > self.seen[1] + slack
            or (self.seen[1] > 100 and high <= 1)
        ):
            warnings.warn(
                f"X lies in [{low:g}, {high:g}], but fit saw images in [{self.seen[0]:g}, {self.seen[1]:g}]; "
                "the usual fix is the scale that fit was given",
                stacklevel=4,
            )

    def inward(self, X: NDArray[Any]) -> Tensor:
        """Images as a tensor in the model's shape and range; bytes stay bytes, which mean x / 255."""
        x = torch.from_numpy(np.ascontiguousarray(X))
        if x.dtype != torch.uint8 and self.range != (0.0, 1.0):
            low, high = self.range
            x = (x - low) / (high - low)
        return x.unsqueeze(1) if x.ndim == 3 else x

    def outward(self, x: Tensor) -> NDArray[Any]:
        """Images of the model in the shape, type and range that `fit` was given."""
        low, high = self.range
        x = x.detach().cpu().reshape(-1, *self.shape)
        if self.dtype == np.uint8:
            return x.mul(255).round_().clamp_(0, 255).to(torch.uint8).numpy()
        return (x * (high - low) + low).numpy().astype(self.dtype)

    def answer(self, values: Tensor) -> NDArray[Any]:
        """Numbers about images, in the type of the images where that is a floating one."""
        numbers: NDArray[Any] = values.cpu().numpy()
        return numbers.astype(self.dtype) if self.dtype.kind == "f" else numbers

    def index(self, y: NDArray[Any]) -> Tensor:
        """Labels [n] as indices into `classes`, -1 where unknown; a one-line ValueError for a label never seen."""
        told = known(y)
        index = np.searchsorted(self.classes, y).clip(max=max(len(self.classes) - 1, 0))
        strange = told & (self.classes[index] != y) if len(self.classes) else told
        if strange.any():
            raise ValueError(
                f"y has the label {y[strange][0].item()!r}, expected one of {self.classes.tolist()} as in fit"
            )
        return torch.from_numpy(np.where(told, index, -1).astype(np.int64))

    def labels(self, y: NDArray[Any]) -> NDArray[Any]:
        """The labels that y [...] names; those that are no names stay. A one-line ValueError for a name never seen."""
        if y.dtype.kind not in "UO" or self.classes.dtype.kind in "UO":
            return y
        for name in y.flat:
            if name not in self.names:
                raise ValueError(unknown("class", str(name), self.names))
        return np.asarray([self.classes[self.names.index(name)] for name in y.flat]).reshape(y.shape)

    def to_json(self) -> dict[str, Any]:
        """Plain objects that JSON can hold."""
        ends = {"range": list(self.range), "seen": list(self.seen)}
        classes = {"classes": self.classes.tolist(), "names": list(self.names)}
        return {"shape": list(self.shape), "dtype": self.dtype.name, **ends, **classes}

    @classmethod
    def from_json(cls, about: Mapping[str, Any]) -> Border:
        """What `to_json` wrote."""
        classes = np.asarray(about["classes"]) if about["classes"] else np.empty(0, np.int64)
        (a, b), (low, high) = about["range"], about["seen"]
        return cls(tuple(about["shape"]), np.dtype(about["dtype"]), (a, b), (low, high), classes, tuple(about["names"]))


def _plain(x: NDArray[Any]) -> bool:
    """Whether an image [d], [H, W] or [C, H, W] is the same everywhere, in each channel."""
    channels = x.reshape(len(x) if x.ndim == 3 else 1, -1)
    return channels.shape[1] > 1 and bool((channels == channels[:, :1]).all())


def known(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of the labels [n] are known: -1 is none."""
    return y != -1 if y.dtype.kind in "if" else np.ones(len(y), bool)


def images(X: Any, dtype: torch.dtype) -> tuple[NDArray[Any], np.dtype[Any]]:
    """Images as an array (n, d), (n, H, W) or (n, C, H, W), uint8 or of the model's precision, and their own type.

    X: an array, a tensor, a data frame or a `Part`. Raises a one-line ValueError for anything else, for another number
    of axes, and for values that are not finite.
    """
    if isinstance(X, Part):
        X = X.x
    if isinstance(X, (Data, str, Path)):
        what = f"the data set {X.name!r}, which has three parts" if isinstance(X, Data) else f"the text {str(X)!r}"
        raise ValueError(
            f"X is {what}, expected images, or one part of a data set; "
            "the usual fix is data.test, with data = genlearn.data.load(...)"
        )
    if isinstance(X, Tensor):
        X = X.detach().cpu().numpy()
    X = check_array(X, allow_nd=True, ensure_all_finite=False)
    if X.ndim > 4 or (X.ndim == 4 and X.shape[1] not in (1, 2, 3, 4) and X.shape[3] in (1, 3, 4)):
        raise ValueError(
            f"X has shape {X.shape}, expected (n, d), (n, H, W) or (n, C, H, W); "
            "the usual fix is numpy.moveaxis(X, -1, 1)"
        )
    given = X.dtype
    if given != np.uint8:
        X = X.astype(np.float64 if dtype == torch.float64 else np.float32, copy=False)
        if not np.isfinite(X.sum(dtype=np.float64)):
            bad = ~np.isfinite(X)
            raise ValueError(
                f"X has {bad.sum()} NaN or inf values, the first in row {np.argwhere(bad)[0][0]}; "
                "expected finite numbers, the usual fix is to leave these rows out"
            )
    return X, given


def labels(y: Any, n: int) -> NDArray[Any]:
    """Labels as an array; a one-line ValueError where there are not n of them."""
    given: NDArray[Any] = np.asarray(y)
    if given.shape[:1] != (n,):
        raise ValueError(f"y has {len(given) if given.ndim else 'no'} labels, expected {n}, one for each image")
    return given


def classes(y: NDArray[Any]) -> NDArray[Any]:
    """Labels [n] that name classes; a ValueError for anything else."""
    y = column_or_1d(y, warn=True)
    check_classification_targets(y)
    return y
