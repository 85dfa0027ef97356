"""Observers of a run: sample grids, a validation score, a Parzen curve; each changes nothing."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from genlearn._types import Nets
from genlearn.data import Data
from genlearn.draw import grid, scatter
from genlearn.estimator import GenerativeEstimator
from genlearn.files import write_atomically
from genlearn.metrics import parzen
from genlearn.train import Monitor
from genlearn.words import unknown


def choose(estimator: GenerativeEstimator, data: Data, folder: Path, names: Sequence[str]) -> list[Monitor]:
    """The monitors that a model can have, once an epoch or 10,000 images.

    Samples (into `folder`) and score always, others by name; ValueError for a name that there is not.
    """
    every = max(len(data.train), 10_000)
    known: dict[str, tuple[bool, Callable[[Nets, int], dict[str, float]]]] = {}
    if hasattr(estimator, "sample"):
        known["samples"] = (True, Samples(estimator, folder, data))
        if len(data.valid):
            known["parzen"] = (False, Parzen(estimator, data))
    if hasattr(estimator, "score_samples") and len(data.valid):
        known["score"] = (True, Score(estimator, data))
    if hasattr(estimator, "_classify") and estimator._n_classes and len(data.valid) and data.valid.y is not None:
        known["error"] = (True, Error(estimator, data))
    for name in names:
        if name not in known:
            raise ValueError(unknown("monitor", name, tuple(known)))
    return [Monitor(name, every, run) for name, (always, run) in known.items() if always or name in names]


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Samples:
    """Writes a grid of 64 samples, the same seeds each time; points in the plane are scattered over data."""

    estimator: GenerativeEstimator
    folder: Path
    data: Data

    def __call__(self, nets: Nets, images: int) -> dict[str, float]:
        path = self.folder / f"images-{images:012d}.png"
        if len(self.data.shape) == 1 and self.data.shape[0] == 2:
            points = self.estimator.sample(1000, random_state=0, nets=nets)
            write_atomically(path, scatter(points, self.data.train.x[:1000].numpy()))
        else:
            write_atomically(path, _png(grid(self.estimator.sample(64, random_state=0, nets=nets), columns=8)))
        return {}


@dataclass
class Score:
    """The mean score of the first 200 validation images."""

    estimator: GenerativeEstimator
    data: Data

    def __call__(self, nets: Nets, images: int) -> dict[str, float]:
        x = self.estimator._validate(self.data.valid.x[:200].numpy())[0]
        score = self.estimator._blocks(self.estimator._scorer(nets), x)
        return {f"valid/{self.estimator._score_kind(nets)}": score.mean().item()}


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
        x, y = self.estimator._validate(self.data.valid.x[known].numpy(), self.data.valid.y[known].numpy())
        predicted = self.estimator._blocks(partial(self.estimator._classify, nets), x).argmax(1)
        assert y is not None
        return {"valid/error": 100 * predicted.cpu().ne(y).double().mean().item()}


@dataclass
class Parzen:
    """The Parzen log-likelihood of 1,000 validation images under 10,000 samples (a picture of progress, no goal)."""

    estimator: GenerativeEstimator
    data: Data

    def __call__(self, nets: Nets, images: int) -> dict[str, float]:
        valid = self.data.valid.x[:1000]
        samples = self.estimator.sample(10_000, random_state=0, nets=nets)
        return {"valid/parzen": parzen(samples, valid, valid).value}
