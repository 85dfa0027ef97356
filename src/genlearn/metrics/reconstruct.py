"""What is lost when images pass through a code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from genlearn.maths.rng import make_rng, spawn

from .arrays import as_rows, same_width
from .likelihood import pixel_moments
from .result import Result, bootstrap, standard_error

VALUES = 2**26  # of training images beyond so many numbers in all, as many as that, evenly spread, are analysed


def principal_images(train: Any, test: Any, k: int, seed: int = 0) -> Tensor:
    """Test images made again from k principal components of train: [n, d] float64, not clipped.

        m + V V' (x - m),   m the mean of train, V [d, k] the leading eigenvectors of its covariance

    Images [n, ...]. Large problems are solved by a randomised method that draws from `seed` (Halko et al. 2011).
    Raises ValueError for images of different sizes.
    """
    x, n = as_rows(test, "test"), _analysed(train)
    rows = as_rows(train[np.arange(n) * len(train) // n], "train")
    same_width(train=rows, test=x)
    with np.errstate(invalid="ignore", divide="ignore"):  # shares of the variance, which may be 0
        pca = PCA(min(k, *rows.shape), random_state=seed).fit(rows.cpu().numpy())
    return torch.from_numpy(pca.inverse_transform(pca.transform(x.cpu().numpy())))


def _analysed(train: Any) -> int:
    """How many training images the components are of."""
    n: int = min(len(train), max(1, VALUES // max(1, math.prod(train.shape[1:]))))
    return n


def reconstruction(rebuilt: Any, k: int, train: Any, test: Any, seed: int = 0, words: bool = False) -> Result:
    """Mean squared error of a test image made again from a code of k numbers: the sum over its pixels, in [0, 1].

        1/n sum_i |x_i - y_i|^2,   test images x, `rebuilt` images y

    Images [n, ...], uint8 or floats. The floor is k principal components of train, which no linear code of k numbers
    beats on the images that it is fitted to; their images may leave [0, 1], so that where images are bytes, as answers
    then are, it is given with their images clipped too. words: a code is k whole numbers, of far fewer bits than k real
    ones; the floor is the mean image of train then, and a note tells the principal components. se and the
    bootstrap interval are over test images.
    Hinton and Salakhutdinov 2006 (on MNIST 13.87 with 30 components, 3.00 with a deep autoencoder).
    """
    x, y = as_rows(test, "test"), as_rows(rebuilt, "rebuilt")
    same_width(test=x, rebuilt=y)
    analysis, resampling = spawn(seed, 2)
    errors, linear = (x - y).square().sum(1).cpu(), principal_images(train, test, k, analysis % 2**32)
    there = min(k, _analysed(train), x.shape[1])  # a few training images have fewer components than a code numbers
    floor = {f"{there} principal component{'s' * (there > 1)}": _mean_square(x, linear)}
    if torch.as_tensor(test).dtype == torch.uint8:
        floor["the same, clipped"] = _mean_square(x, linear.clamp(0, 1))
    notes: tuple[str, ...] = ()
    if words:
        real = ", ".join(f"{error:.4g} ({name})" for name, error in floor.items())
        notes = (f"A code is {k} whole numbers; {k} real ones, which hold far more bits, reach {real}.",)
        floor = {"mean image": _mean_square(x, pixel_moments(train)[0])}
    return Result(
        name="reconstruction",
        value=float(errors.mean()),
        n=len(errors),
        unit="squared error",
        se=standard_error(errors),
        interval=bootstrap(errors, rng=make_rng(resampling)) if len(errors) > 1 else None,
        floor=floor,
        details={"numbers": k},
        notes=notes,
    )


def _mean_square(x: Tensor, y: Tensor) -> float:
    return float((x.cpu() - y).square().sum(1).mean())
