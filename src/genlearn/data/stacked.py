"""Stacked MNIST: three digits in red, green and blue, so that an image is of one of 1,000 known kinds."""

from __future__ import annotations

import numpy as np

from .part import Data, PrepareReport
from .split import digests, parts

STACKED = "stacked-mnist"
ABOUT = "three handwritten digits, one in each colour: 1,000 modes"


def stacked(mnist: Data, n: int = 128_000, seed: int = 0) -> Data:
    """x = [digit a, digit b, digit c] of three images of `mnist`, drawn with replacement; y = 100 a + 10 b + c.

    `n` images to train and n / 10 each to validate and test, of the digits of those parts.
    Metz et al. 2017, section 3.3.1; Srivastava et al. 2017 (VEEGAN), section 4.2; Lin et al. 2018 (PacGAN), section
    4.2.
    """
    if n < 1:
        raise ValueError(f"n = {n}: expected at least 1 image of {STACKED}")
    held_out = max(n // 10, 1)
    side = np.repeat(np.arange(3, dtype=np.int8), [n, held_out, held_out])
    draws = []
    rngs = np.random.default_rng(seed).spawn(3)
    for rng, part, count in zip(rngs, (mnist.train, mnist.valid, mnist.test), (n, held_out, held_out), strict=True):
        rows = rng.integers(len(part.x), size=(count, 3))
        assert part.y is not None
        draws.append((part.x.numpy()[rows, 0], part.y.numpy()[rows] @ np.array([100, 10, 1])))
    x, y = (np.concatenate(columns) for columns in zip(*draws, strict=True))
    train, valid, test = parts(x, y, digests(x), side)
    source = f"drawn from {mnist.name}, seed {seed}: {mnist.source}"
    names = tuple(f"{mode:03d}" for mode in range(1000))
    return Data(STACKED, train, valid, test, names, "independent draws", mnist.licence, source, PrepareReport())
