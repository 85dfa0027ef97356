"""Log-likelihoods of test images: a model's own, and the Parzen window estimate of 2014."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlearn._types import Likelihood, PixelLaw, ScoreKind
from genlearn.maths.rng import make_rng, spawn
from genlearn.progress import track

from .arrays import as_rows, same_width
from .result import Result, bootstrap, standard_error

N_CENTRES = 10_000
N_VALID = 1000
ROWS = 256

WARNING = (
    "A Parzen score is for comparison with published tables, not a goal: on MNIST real training images score "
    "242 to 244, while blurred copies of them and k-means centroids score 295 to 340, as we measure them (why: "
    "Theis, van den Oord, Bethge 2016)."
)

ESTIMATED: dict[ScoreKind, ScoreKind] = {"exact": "estimate", "lower bound": "estimate of a bound"}


def parzen_log_prob(x: Tensor, centres: Tensor, sigmas: Tensor) -> Tensor:
    """log p(x) in nats under Gaussian windows of every width: x [n, d], centres [m, d], sigmas [s] -> [s, n] float64.

    log p(x) = log mean_j exp(-|x - mu_j|^2 / (2 sigma^2)) - d log(sigma sqrt(2 pi))

    The distances are computed once, for all widths, as |x|^2 + |mu|^2 - 2 x.mu. Raises ValueError where x and centres
    differ in d. Breuleux, Bengio, Vincent 2011.
    """
    x, centres = x.double(), centres.double()
    same_width(x=x, centres=centres)
    widths = sigmas.tolist()
    out = x.new_empty(len(widths), len(x))
    halves = centres.square().sum(1) / -2
    products, scaled = x.new_empty(2, min(ROWS, len(x)), len(centres))
    for start in track(range(0, len(x), ROWS), "Parzen windows", -(-len(x) // ROWS)):
        rows = x[start : start + ROWS]
        logits = torch.addmm(halves, rows, centres.T, out=products[: len(rows)])  # (|x|^2 - |x - mu|^2) / 2
        nearest = logits.amax(1)
        # The nearest centre gives the largest term whatever the width: one shift serves every logsumexp.
        logits.sub_(nearest[:, None])
        peak = nearest - rows.square().sum(1) / 2
        for k, sigma in enumerate(widths):
            # exp(-700) adds nothing to a sum that is at least 1; below -708, exp takes forty times as long.
            terms = torch.mul(logits, sigma**-2, out=scaled[: len(rows)]).clamp_(min=-700).exp_()
            out[k, start : start + ROWS] = terms.sum(1).log_().add_(peak, alpha=sigma**-2)
    norms = [x.shape[1] * math.log(sigma * math.sqrt(2 * math.pi)) + math.log(len(centres)) for sigma in widths]
    return out.sub_(x.new_tensor(norms)[:, None])


def parzen(
    samples: Any, valid: Any, test: Any, sigmas: Tensor | None = None, *, train: Any = None, seed: int = 0
) -> Result:
    """Mean log-likelihood of test images in nats under Gaussian windows on samples: the protocol of the 2014 GAN paper.

    sigma maximises the mean over the first 1,000 validation images, among 10 widths from .1 to 1, evenly spaced in
    the logarithm; se = standard deviation over the test images / sqrt(n). Images: [n, ...], uint8 or floats in [0, 1].
    With `train`: the floor is its mean image as the only centre, the ceiling 10,000 of its images (all, if fewer;
    chosen by `seed`) in place of the samples, sigma chosen anew for each. The bootstrap has another seed of `seed`.
    Goodfellow et al. 2014; Breuleux, Bengio, Vincent 2011. Not an estimate of a model's own likelihood.
    Raises ValueError for no images, NaN, inf, pixels up to 255 in floats, or images of different sizes.
    """
    centres, chosen, rows = as_rows(samples, "samples"), as_rows(valid[:N_VALID], "valid"), as_rows(test, "test")
    same_width(samples=centres, valid=chosen, test=rows)
    sigmas = torch.logspace(-1, 0, 10, dtype=torch.float64) if sigmas is None else sigmas
    values, details = _score(centres, chosen, rows, sigmas)
    choice, resampling = spawn(seed, 2)
    se = standard_error(values)
    floor, ceiling, notes = {}, {}, [WARNING]
    if train is not None:
        picked = np.random.default_rng(choice).choice(len(train), min(N_CENTRES, len(train)), replace=False)
        average = pixel_moments(train)[0][None]
        floor["mean image"] = float(_score(average, chosen, rows, sigmas)[0].mean())
        real = float(_score(as_rows(train[picked], "train"), chosen, rows, sigmas)[0].mean())
        ceiling["real training images"] = real
        if values.mean() > real + 2 * (se or 0):
            excess = f"{values.mean():.1f} against {real:.1f}"
            notes.append(f"The samples score above real training images ({excess}): blur and prototypes are rewarded.")
    return Result(
        name="parzen",
        value=float(values.mean()),
        n=len(rows),
        unit="nats",
        se=se,
        interval=bootstrap(values, rng=make_rng(resampling)) if len(values) > 1 else None,
        kind="estimate",
        floor=floor,
        ceiling=ceiling,
        details={"n_samples": len(centres), "n_valid": len(chosen), "sigmas": sigmas.tolist(), **details},
        notes=tuple(notes),
    )


def _score(centres: Tensor, valid: Tensor, test: Tensor, sigmas: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """The log-likelihood of every test row at the width that suits the validation rows best, and that choice."""
    search = parzen_log_prob(valid, centres, sigmas).mean(1)
    best = int(search.argmax())
    values = parzen_log_prob(test, centres, sigmas[best : best + 1])[0]
    return values, {"sigma": float(sigmas[best]), "valid": search.tolist()}


def likelihood_result(
    name: str,
    values: Tensor,
    kind: ScoreKind,
    shift: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
    floor: Mapping[str, float] | None = None,
    notes: tuple[str, ...] = (),
) -> Result:
    """The mean log-likelihood in nats of test images, given that of each [n].

    The interval is the bootstrap's over images, widened by `shift`, the interval of an error that all rows share (of
    log Z, low <= 0 <= high). With such an error nothing is exact and no bound is sure: kind then says 'estimate' or
    'estimate of a bound', and a note how far its noise reaches.
    Raises ValueError for NaN and inf among the values.
    """
    values = values.double().cpu()
    if not torch.isfinite(values).all():
        raise ValueError(f"{name} has {int((~torch.isfinite(values)).sum())} log-likelihoods that are NaN or inf")
    if shift != (0, 0):
        kind = ESTIMATED.get(kind, kind)
        width = f"[{-shift[1]:+.2f}, {0 - shift[0]:+.2f}]"
        # Three standard errors of one direction: a bracket of both, in the notes, may be far wider.
        notes = (f"The interval includes {width} nats for the noise of log Z (three standard errors).", *notes)
    low, high = bootstrap(values, rng=make_rng(seed))
    return Result(
        name=name,
        value=float(values.mean()),
        n=len(values),
        unit="nats",
        se=standard_error(values),
        interval=(low + shift[0], high + shift[1]) if len(values) > 1 else None,
        kind=kind,
        floor=floor or {},
        details={"shift": list(shift)},
        notes=notes,
    )


def pixel_moments(train: Any, chunk: int = 10_000) -> tuple[Tensor, Tensor]:
    """Mean and variance of every pixel of images [n, ...]: [d] each, float64; a chunk of images at a time."""
    total, square = torch.zeros(()), torch.zeros(())
    for start in range(0, len(train), chunk):
        rows = as_rows(train[start : start + chunk], "train")
        total, square = total + rows.sum(0), square + rows.square().sum(0)
    mean = total / len(train)
    return mean, (square / len(train) - mean.square()).clamp_min(0)


def independent_pixels(train: Any, test: Any, law: PixelLaw) -> dict[str, float]:
    """The floor of a log-likelihood, in nats per test image: pixels drawn one by one with the moments of train.

    binary: sum x log m + (1 - x) log(1 - m), its mean over binarisations of grey x, m kept off 0 and 1 by a
    thousandth; gaussian: sum log N(x; m, s^2), s at least a hundredth of the largest; levels: the shares of the nearest
    of 256 levels in train, each counted once more. Images [n, ...]; where pixels of train leave [0, 1], all are
    measured as models see them, mapped so that those of train fill it. There is no gaussian floor where no
    pixel of train varies.
    """
    (low, high), x = _ends(train), as_rows(test, "test")
    if law == "levels":
        return {"independent pixels": _levels_apart(as_rows(train, "train"), x, low, high)}
    mean, variance = pixel_moments(train)
    mean, variance, x = (mean - low) / (high - low), variance / (high - low) ** 2, (x - low) / (high - low)
    if law == "binary":
        mean, x = mean.clamp(1e-3, 1 - 1e-3), x.clamp(0, 1)
        return {"independent pixels": float((x * mean.log() + (1 - x) * (1 - mean).log()).sum(1).mean())}
    sigma = variance.sqrt()
    if not sigma.any():  # training images that are all the same
        return {}
    sigma = sigma.clamp_min(0.01 * float(sigma.max()))
    z = (x - mean) / sigma
    return {"independent pixels": float((-0.5 * z.square() - (sigma * math.sqrt(2 * math.pi)).log()).sum(1).mean())}


def _levels_apart(train: Tensor, test: Tensor, low: float, high: float) -> float:
    """The mean log-likelihood of test rows [n, d], levels of train rows drawn pixel by pixel."""
    k, k_test = (((x - low) / (high - low) * 255).round().clamp(0, 255).long() for x in (train, test))
    place = 256 * torch.arange(k.shape[1])
    counts = (place + k).flatten().bincount(minlength=256 * k.shape[1]) + 1.0
    return float((counts.log()[place + k_test] - math.log(len(k) + 256)).sum(1).mean())


def _ends(train: Any) -> tuple[float, float]:
    """The values that mean 0 and 1."""
    x = torch.as_tensor(train)
    low, high = float(x.min()), float(x.max())
    return (0.0, 1.0) if x.dtype == torch.uint8 or (low >= 0 and high <= 1) else (low, high)


def from_likelihoods(likelihoods: Mapping[str, Likelihood], train: Any, test: Any, seed: int = 0) -> list[Result]:
    """One result for every log-likelihood that a model gives of test images, over the floor of independent pixels.

    train, test: images [n, ...]. The likelihoods are those of test, by name; see `likelihood_result`.
    """
    results = []
    for name, (values, kind, shift, law, notes) in likelihoods.items():
        floor = independent_pixels(train, test, law)
        results.append(likelihood_result(f"log-likelihood ({name})", values, kind, shift, seed, floor, notes))
    return results
