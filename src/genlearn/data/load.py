"""One door for all data: a name of the catalogue, a folder or zip of images, an array, or a Data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genlearn.words import did_you_mean, shortened

from .arrays import from_arrays
from .cache import Options, load_folder
from .idx import PARZEN, load_idx
from .part import Data
from .sources import CIFAR10, IDX, cifar10_file, digits, names
from .stacked import STACKED, stacked
from .toys import DENSITIES, toy

SPLITS = ("hash", PARZEN)


def load(
    source: Any,
    y: NDArray[Any] | Tensor | list[Any] | None = None,
    *,
    size: int | None = None,
    grey: bool | None = None,
    split: str = "hash",
    alpha: Literal["white", "keep"] = "white",
    n: int | None = None,
    seed: int = 0,
) -> Data:
    """Train, validation and test parts of a data set, with hashes, classes, licence and a report.

    source: a name of the catalogue (downloaded if it is nowhere on this machine), a folder or .zip of images (class
    sub-folders become labels), an array or DataFrame, or a Data, which comes back as it is. A catalogue
    name wins over a folder of the same name: write ./name for the folder.
    y: labels [n] of an array, -1 = unknown.
    size (pixels), grey, alpha: how a folder is prepared; by default the median shorter side, at most 64; grey if every
    image is grey; alpha composited on white ("keep" gives RGBA).
    split: "hash" keeps official sides and cuts the others by content; "parzen-2014" (mnist only) is
    train[0:50000], validation train[50000:60000].
    n, seed: number of training rows and seed of a toy density (100,000 and 0), or of stacked MNIST (128,000 and 0).
    Raises ValueError, TypeError or OSError in one line: what was got, what was expected, the usual fix.
    """
    if isinstance(source, Data):
        return source
    if hasattr(source, "to_numpy"):  # a DataFrame
        source = source.to_numpy()
    path = _folder(source)
    _check(source, path, y, size, grey, split, alpha, n)
    if isinstance(source, (np.ndarray, Tensor)):
        return from_arrays(source, y)
    if path is not None:
        cifar = source == CIFAR10.name
        origin = (CIFAR10.name, CIFAR10.licence, CIFAR10.what) if cifar else (path.stem, "unknown", str(path))
        return load_folder(path, Options(size, grey, alpha), *origin)
    name = str(source)
    if name in IDX:
        return load_idx(IDX[name], split)
    if name == STACKED:
        return stacked(load_idx(IDX["mnist"], "hash"), 128_000 if n is None else n, seed)
    return digits() if name == "digits" else toy(name, 100_000 if n is None else n, seed)


def _check(
    source: object, path: Path | None, y: object, size: object, grey: object, split: str, alpha: str, n: int | None
) -> None:
    """Refuse an option that would be ignored."""
    brief = _brief(source)
    if split not in SPLITS or (split == PARZEN and not (isinstance(source, str) and source == "mnist")):
        raise ValueError(f"split {split!r} of {brief}: expected 'hash', or {PARZEN!r} with 'mnist'")
    if alpha not in ("white", "keep"):
        raise ValueError(f"alpha={alpha!r}: expected 'white' or 'keep'")
    for option, value in {"size": size, "grey": grey, "alpha": None if alpha == "white" else alpha}.items():
        if path is None and value is not None:
            raise ValueError(f"{option}={value!r} prepares folders of images: {brief} is taken as it is; leave it out")
    if n is not None and not (isinstance(source, str) and source in (*DENSITIES, STACKED)):
        raise ValueError(f"n={n} is the number of rows to draw from a toy density: {brief} is none; leave it out")
    if y is not None and not isinstance(source, (np.ndarray, Tensor)):
        raise ValueError(f"y goes with an array: the labels of {brief} come with it; leave it out")


def _folder(source: object) -> Path | None:
    """The folder or archive that `source` names; None for an array or any other name of the catalogue."""
    if isinstance(source, (np.ndarray, Tensor)):
        return None
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            f"data of type {type(source).__name__}: expected a name, a folder, a numpy array or a torch tensor; "
            "wrap other arrays in numpy.asarray"
        )
    if source == CIFAR10.name:
        return cifar10_file()
    if source in names():
        return None
    path = Path(source).expanduser()
    if path.exists():
        return path
    hint = did_you_mean(source, names())
    known = f"{hint} Known" if hint else "known"
    raise ValueError(f"no data set, folder or zip archive {shortened(str(source))}; {known}: {', '.join(names())}")


def _brief(source: object) -> str:
    return repr(str(source)) if isinstance(source, (str, os.PathLike)) else "an array"
