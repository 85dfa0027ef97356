"""The border of every model: the user's arrays and labels on one side, the model's tensors on the other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Tensor

from genlearn._types import Nets
from genlearn.data import Data, load

BLOCK = 100


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


class Border(BaseEstimator):  # type: ignore[misc]
    """Maps images and labels in and out, in the shape, type and range that `fit` was given."""

    precision: str
    device: str
    nets_: Nets
    averaged_nets_: Nets | None
    _pixels: ClassVar[bool] = True
    _uses_labels: ClassVar[bool] = False
    _needs_labels: ClassVar[bool] = False

    @property
    def _dtype(self) -> torch.dtype:
        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def _nets(self) -> Nets:
        check_is_fitted(self, "nets_")
        return self.nets_ if self.averaged_nets_ is None else self.averaged_nets_

    def _validate(self, X: Any, y: Any = None, reset: bool = False) -> tuple[Tensor, Tensor | None]:
        """The images as a tensor in the model's units and inner shape, and the labels."""
        if isinstance(X, (str, Path)):
            X = load(X)
        if isinstance(X, Data):
            X, y = X.train.x, X.train.y if y is None else y
        if isinstance(X, Tensor):
            X = X.detach().cpu().numpy()
        X = validate_data(self, X, reset=reset, allow_nd=True, ensure_all_finite=False)
        if X.ndim > 4 or (X.ndim == 4 and X.shape[1] not in (1, 2, 3, 4) and X.shape[3] in (1, 3, 4)):
            raise ValueError(
                f"X has shape {X.shape}, expected (n, d), (n, H, W) or (n, C, H, W); "
                "the usual fix is numpy.moveaxis(X, -1, 1)"
            )
        given = X.dtype
        if given != np.uint8:
            X = X.astype(np.float32 if self._dtype == torch.float32 else np.float64, copy=False)
            if not np.isfinite(X.sum(dtype=np.float64)):
                bad = ~np.isfinite(X)
                raise ValueError(
                    f"X has {bad.sum()} NaN or inf values, the first in row {np.argwhere(bad)[0][0]}; "
                    "expected finite numbers, the usual fix is to leave these rows out"
                )
        if reset:
            self._describe(X, given)
        elif X.shape[1:] != self.shape_:
            raise ValueError(f"X has images of shape {X.shape[1:]}, expected {self.shape_} as in fit")
        elif X.dtype != np.uint8 and self.range_ == (0.0, 255.0) and X.size and X.max() <= 1:
            warnings.warn("X lies in [0, 1], but fit saw images in [0, 255]; the usual fix is 255 * X", stacklevel=3)
        if y is not None:
            y = np.asarray(y)
            if y.shape[:1] != X.shape[:1]:
                raise ValueError(f"y has {len(y) if y.ndim else 'no'} labels, expected {len(X)}, one for each image")
        labels = self._labels(y, reset) if self._uses_labels else None
        return self._inward(X), labels

    def _labels(self, y: NDArray[Any] | None, reset: bool) -> Tensor | None:
        """Labels as indices into `classes_`, -1 where unknown."""
        if y is None:
            if reset and self._needs_labels:
                raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
            if reset:
                self.classes_ = np.empty(0, np.int64)
            return None
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        unknown_label = y == -1 if y.dtype.kind in "if" else np.zeros(len(y), bool)
        if reset:
            self.classes_ = np.unique(y[~unknown_label])
        index = np.searchsorted(self.classes_, y).clip(max=max(len(self.classes_) - 1, 0))
        strange = ~unknown_label & (self.classes_[index] != y) if len(self.classes_) else ~unknown_label
        if strange.any():
            raise ValueError(
                f"y has the label {y[strange][0].item()!r}, expected one of {self.classes_.tolist()} as in fit"
            )
        return torch.from_numpy(np.where(unknown_label, -1, index).astype(np.int64))

    @property
    def _n_classes(self) -> int:
        return len(getattr(self, "classes_", ()))

    def _describe(self, X: NDArray[Any], given: np.dtype[Any]) -> None:
        self.shape_, self.dtype_ = tuple(X.shape[1:]), given if given.kind == "f" else X.dtype
        self.range_ = (0.0, 255.0) if X.dtype == np.uint8 else (0.0, 1.0)
        if self._pixels and X.dtype != np.uint8 and (X.min() < 0 or X.max() > 1):
            low, high = float(X.min()), float(X.max())
            self.range_ = (low, high if high > low else low + 1)
            warnings.warn(
                f"pixels lie in [{low:g}, {high:g}], expected [0, 1]; they are mapped there, samples mapped back",
                stacklevel=4,
            )

    def _inward(self, X: NDArray[Any]) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(X))
        if x.dtype != torch.uint8 and self.range_ != (0.0, 1.0):
            low, high = self.range_
            x = (x - low) / (high - low)
        return x.unsqueeze(1) if x.ndim == 3 else x

    def _outward(self, x: Tensor) -> NDArray[Any]:
        """Images of the model in the shape, type and range that `fit` was given."""
        low, high = self.range_
        x = x.detach().cpu().reshape(-1, *self.shape_)
        if self.dtype_ == np.uint8:
            return x.mul(255).round_().clamp_(0, 255).to(torch.uint8).numpy()
        return (x * (high - low) + low).numpy().astype(self.dtype_)

    def _blocks(self, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """f over blocks of rows of one fixed size, so that no row depends on how many there are."""
        device = next(self._nets.parameters()).device if hasattr(self, "nets_") else pick_device(self.device)
        out = []
        with torch.no_grad():
            for rows in x.split(BLOCK):
                n = len(rows)
                rows = rows.to(device, self._dtype) / (255 if rows.dtype == torch.uint8 else 1)
                if n < BLOCK:
                    rows = torch.cat([rows, rows[-1:].expand(BLOCK - n, *rows.shape[1:])])
                out.append(f(rows)[:n])
        return torch.cat(out)

    def _answer(self, values: Tensor) -> NDArray[Any]:
        answer = values.cpu().numpy()
        return answer.astype(self.dtype_) if self.dtype_.kind == "f" else answer
