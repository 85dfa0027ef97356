"""Distances to the nearest training image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlearn.maths.rng import make_rng
from genlearn.progress import track

from .arrays import as_rows, same_width
from .result import Result, median, percentiles, resample

ROWS, COLUMNS = 512, 8192
COPY = 1e-6


def nearest(x: Any, reference: Any, k: int = 1) -> tuple[Tensor, Tensor]:
    """The k nearest reference images of every image, nearest first: distances [n, k] float64 and indices [n, k].

    Euclidean, pixels in [0, 1]. The winners are found by float64 products and their distances taken directly: an
    identical image is at exactly 0. Distances that differ by less than about 1e-6 may rank either way.
    Raises ValueError where images differ in size, or there are fewer than k references.
    """
    x, reference = as_rows(x, "x"), as_rows(reference, "reference")
    same_width(x=x, reference=reference)
    if not 1 <= k <= len(reference):
        raise ValueError(f"k is {k}, expected 1 to {len(reference)}, the number of reference images")
    halves = reference.square().sum(1) / -2
    distances, indices = [], []
    for rows in track(x.split(ROWS), "nearest images", -(-len(x) // ROWS)):
        best, index = x.new_empty(len(rows), 0), torch.empty(len(rows), 0, dtype=torch.long, device=x.device)
        for start in range(0, len(reference), COLUMNS):
            block = slice(start, start + COLUMNS)
            # x.r - |r|^2 / 2 is largest for the nearest r.
            closeness = torch.addmm(halves[block], rows, reference[block].T)
            top = closeness.topk(min(k, closeness.shape[1]), 1)
            best, index = torch.cat([best, top.values], 1), torch.cat([index, top.indices + start], 1)
        best, kept = best.topk(k, 1)
        index = index.gather(1, kept)
        distances.append(torch.stack([(rows - reference[j]).norm(dim=1) for j in index.T], 1))
        indices.append(index)
    return torch.cat(distances), torch.cat(indices)


def nearest_train(samples: Any, train: Any, held_out: Any, seed: int = 0) -> Result:
    """Median distance of samples to their nearest training image over that of held-out images to theirs.

        median_i min_t |x_i - t| / median_j min_t |y_j - t|,   samples x, training images t, held-out images y

    Images [n, ...], uint8 or floats in [0, 1]; the interval is the bootstrap's over both, from `seed`.

    About 1: samples are as far from the training images as new real images are. 0: copies. Well above 1: samples are
    far from all data. A sample within 1e-6 of a training image counts as a copy in the details.
    """
    drawn, real = (nearest(x, train)[0][:, 0].cpu() for x in (samples, held_out))
    rng = make_rng(seed)
    ratios = resample(drawn, median, rng=rng) / resample(real, median, rng=rng)
    return Result(
        name="nearest",
        value=float(drawn.median() / real.median()),
        n=len(drawn),
        unit="ratio",
        interval=percentiles(ratios),
        floor={"copies of training images": 0.0},
        ceiling={"held-out images": 1.0},
        details={
            "median_sample": float(drawn.median()),
            "median_held_out": float(real.median()),
            "copies": int((drawn < COPY).sum()),
            "copies_held_out": int((real < COPY).sum()),
            "n_train": len(train),
            "n_held_out": len(real),
        },
    )
