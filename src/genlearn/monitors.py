"""Observers of a run: sample grids, a validation score, a Parzen curve; each changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from genlearn import draw
from genlearn._types import Nets
from genlearn.data import Data
from genlearn.estimator import GenerativeEstimator, seeds
from genlearn.files import write_atomically
from genlearn.metrics import parzen
from genlearn.train import Monitor
from genlearn.words import unknown

STEPS = 100
GRADIENTS = "gradients"  # the norm of every layer's gradient, which the loop itself writes down


def choose(estimator: GenerativeEstimator, data: Data, folder: Path, names: Sequence[str]) -> list[Monitor]:
    """The monitors that a model can have, once an epoch or 10,000 images.

    Samples (into `folder`), error, and a score that needs no estimate of log Z always; others by name: score, parzen,
    gradients. ValueError for a name that there is not.
    """
    every, seed = max(len(data.train), 10_000), seeds(estimator.random_state).watch % 2**32
    known: dict[str, tuple[bool, Callable[[Nets, int], dict[str, float]]]] = {}
    if hasattr(estimator, "sample"):
        known["samples"] = (True, Samples(estimator, folder, data, seed))
        if len(data.valid):
            known["parzen"] = (False, Parzen(estimator, data, seed))
    if hasattr(estimator, "score_samples") and len(data.valid):
        known["score"] = (True, Score(estimator, data, "score" in names))
    if hasattr(estimator, "predict") and estimator._n_classes and len(data.valid) and data.valid.y is not None:
        known["error"] = (True, Error(estimator, data))
    for name in names:
        if name not in (*known, GRADIENTS):
            raise ValueError(unknown("monitor", name, (*known, GRADIENTS)))
    return [Monitor(name, every, run) for name, (always, run) in known.items() if always or name in names]


@dataclass
class Samples:
    """Writes a grid of 64 samples, the same seeds each time; points in the plane are scattered over data.

    They show how training goes: a chain takes 100 steps at most.
    """

    estimator: GenerativeEstimator
    folder: Path
    data: Data
    seed: int

    def __call__(self, nets: Nets, images: int) -> dict[str, float]:
        path, estimator = self.folder / f"images-{images:012d}.png", copy.copy(self.estimator)
        if hasattr(estimator, "n_gibbs"):
            estimator.n_gibbs = min(estimator.n_gibbs, STEPS)
        if len(self.data.shape) == 1 and self.data.shape[0] == 2:
            points = estimator.sample(1000, random_state=self.seed, nets=nets)
            write_atomically(path, draw.scatter(points, self.data.train.x[:1000].numpy()))
        else:
            sheet = draw.grid(estimator.sample(64, random_state=self.seed, nets=nets), columns=8)
            write_atomically(path, draw.png(sheet))
        return {}


@dataclass
class Score:
    """The mean score of the first 200 validation images; where that takes an estimate of log Z, only if asked for."""

    estimator: GenerativeEstimator
    data: Data
    asked: bool

    def __call__(self, nets: Nets, images: int) -> dict[str, float]:
        kind = self.estimator.score_kind(nets=nets)
        if kind.startswith("estimate") and not self.asked:
            return {}
        return {f"valid/{kind}": float(self.estimator.score_samples(self.data.valid.x[:200], nets=nets).mean())}


@dataclass
class Error:
    """The error of the first 1,000 validation images with a label, in per cent."""

    estimator: GenerativeEstimator
    data: Data

    def __call__(self, nets: Nets, images: int) -> dict[str, float]:
        assert self.data.valid.y is not None
        known = (self.data.valid.y >= 0).nonzero()[:1000, 0]
        if not len(known):
            return {}
        predicted = self.estimator.predict(self.data.valid.x[known], nets=nets)
        return {"valid/error": 100 * float((predicted != self.data.valid.y[known].numpy()).mean())}


@dataclass
class Parzen:
    """The Parzen log-likelihood of 1,000 validation images under 10,000 samples (a picture of progress, no goal)."""

    estimator: GenerativeEstimator
    data: Data
    seed: int

    def __call__(self, nets: Nets, images: int) -> dict[str, float]:
        valid = self.data.valid.x[:1000]
        samples = self.estimator.sample(10_000, random_state=self.seed, nets=nets)
        return {"valid/parzen": parzen(samples, valid, valid).value}
