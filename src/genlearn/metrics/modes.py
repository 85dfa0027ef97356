"""Mode collapse in numbers, where the modes are known: of toy densities, or classes that a judge tells apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .arrays import as_rows, same_width


class Coverage(NamedTuple):
    """hit: modes that a sample of high quality is nearest to; high_quality: the share of such samples; reverse_kl:
    KL(samples || modes) over the nearest modes, in nats; counts [K]: samples by their nearest mode."""

    hit: int
    high_quality: float
    reverse_kl: float
    counts: Tensor


def mode_coverage(samples: Any, centres: Any, sd: float, within: float = 3.0) -> Coverage:
    """How samples [n, d] cover the equal modes of a mixture of round Gaussians, of centres [K, d] and deviation sd.

    A sample is of high quality where it is less than `within` standard deviations from the nearest centre. Samples of
    the mixture itself give a reverse KL of about (K - 1) / (2 n), and exp(-within^2 / 2) of them, in the plane, are not
    of high quality (1.1 % at 3). Srivastava et al. 2017 (VEEGAN), section 4; Lin et al. 2018 (PacGAN), section 4.1.
    Raises ValueError for rows of different lengths and for an sd that is not positive.
    """
    x, c = as_rows(samples, "samples"), as_rows(centres, "centres")
    same_width(samples=x, centres=c)
    if not sd > 0:
        raise ValueError(f"sd is {sd}, expected a standard deviation above 0")
    distances, nearest = torch.cdist(x, c).min(1)
    good = distances < within * sd
    counts = nearest.bincount(minlength=len(c))
    return Coverage(
        hit=int((nearest[good].bincount(minlength=len(c)) > 0).sum()),
        high_quality=float(good.double().mean()),
        reverse_kl=histogram_kl(counts),
        counts=counts,
    )


def class_coverage(classes: Any, n_modes: int, good: Any = None) -> Coverage:
    """How samples cover equal modes that a judge tells apart: classes [n] in 0 .. n_modes - 1, as it reads them.

    good [n]: which samples are of high quality (by default all); a mode is hit where one sample at least is of it,
    whatever its quality. Samples of the law itself give a reverse KL of about (n_modes - 1) / (2 n).
    Srivastava et al. 2017 (VEEGAN), section 4.2; Lin et al. 2018 (PacGAN), section 4.2. Raises ValueError for no
    samples, and for classes outside.
    """
    classes = torch.as_tensor(classes)
    good = torch.ones(len(classes)) if good is None else torch.as_tensor(good)
    if (
        not len(classes)
        or classes.ndim != 1
        or good.shape != classes.shape
        or not 0 <= classes.min() <= classes.max() < n_modes
    ):
        raise ValueError(f"classes have shape {tuple(classes.shape)}, expected [n] in 0 .. {n_modes - 1}, one a sample")
    counts = classes.bincount(minlength=n_modes)
    return Coverage(int((counts > 0).sum()), float(good.double().mean()), histogram_kl(counts), counts)


def histogram_kl(counts: Any, probabilities: Any = None) -> float:
    """KL(q || p) in nats of a histogram, q = counts / n, counts [K], against p [K] (by default equal ones).

    "Reverse" because q, of the samples, comes first: modes that are missed cost little, infinitely much only where
    samples lie at a mode of probability 0. Raises ValueError for no counts, or others than there are probabilities.
    """
    counts = torch.as_tensor(counts).double()
    p = torch.full_like(counts, 1 / len(counts)) if probabilities is None else torch.as_tensor(probabilities).double()
    if counts.ndim != 1 or p.shape != counts.shape or not counts.sum() > 0 or (counts < 0).any():
        raise ValueError(
            f"counts have shape {tuple(counts.shape)} and the sum {float(counts.sum()):g}, probabilities the shape "
            f"{tuple(p.shape)}, expected numbers of samples by mode, one probability for each"
        )
    q = counts / counts.sum()
    return float(torch.special.xlogy(q, q / p)[q > 0].sum())
