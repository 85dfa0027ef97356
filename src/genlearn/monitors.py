"""Observers of a run: sample grids, a validation score, a Parzen curve; each changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genlearn import draw
from genlearn._types import Nets
from genlearn.data import Data
from genlearn.estimator import GenerativeEstimator, seeds
from genlearn.files import write_atomically
from genlearn.metrics import histogram_kl, parzen
from genlearn.metrics.arrays import as_rows
from genlearn.nets import Density
from genlearn.train import Monitor
from genlearn.words import unknown

STEPS = 100
KNOWS_BY_HEART = 0.5  # of the way from training images to samples
HEART = (
    ": it learns them by heart; what helps: more images, penalty='r1(5)', instance_noise, a smaller D, an earlier end"
)
COLLAPSED = 0.7  # of the mean distance between images
REMEDIES = (
    ": G has lost modes, or has only begun; what helps against their loss: pack=4, minibatch='discrimination', "
    "loss='relativistic' with penalty='r1(0.5)+r2(0.5)', or a wgan-gp"
)
ACTIVE = 0.01
COLLAPSED_UNITS = ": {} {} collapsed to the prior: the mean of the code does not vary with the image{}"
GRADIENTS = "gradients"  # the norm of every layer's gradient, which the loop itself writes down


def choose(estimator: GenerativeEstimator, data: Data, folder: Path, names: Sequence[str]) -> list[Monitor]:
    """The monitors that a model can have, once an epoch or 10,000 images.

    Samples or reconstructions (into `folder`), error, a score that needs no estimate of log Z, active units, collapse
    and verdicts of adversarial nets always; others by name: score, parzen, gradients. ValueError for a name that there
    is not.
    """
    every, seed = max(len(data.train), 10_000), seeds(estimator.random_state).watch % 2**32
    known: dict[str, tuple[bool, Callable[[Nets, int], Mapping[str, float | str]]]] = {}
    added = hasattr(estimator, "_prior") and isinstance(estimator._prior(), Density)  # at the end of training
    if added and hasattr(estimator, "transform") and len(data.shape) > 1 and len(data.valid) >= 32:
        known["reconstructions"] = (True, Reconstructions(estimator, folder, data.valid.x[:32].numpy()))
    elif hasattr(estimator, "sample"):
        known["samples"] = (True, Samples(estimator, folder, data, seed))
    if hasattr(estimator, "sample") and len(data.valid):
        known["parzen"] = (False, Parzen(estimator, data, seed))
    if hasattr(estimator, "score_samples") and len(data.valid):
        known["score"] = (True, Score(estimator, data, "score" in names))
    if hasattr(estimator, "_posterior") and len(data.valid):
        known["units"] = (True, Units(estimator, data))
    if hasattr(estimator, "predict") and estimator._n_classes and len(data.valid) and data.valid.y is not None:
        known["error"] = (True, Error(estimator, data))
    if hasattr(estimator, "discriminate"):
        known["collapse"] = (True, Collapse(estimator, data, seed))
        if len(data.valid):
            known["verdicts"] = (True, Verdicts(estimator, data, seed))
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
class Reconstructions:
    """Writes rows of 8 validation images, each row above its reconstructions, where codes get their law at the end."""

    estimator: Any
    folder: Path
    x: NDArray[Any]

    def __call__(self, nets: Nets, images: int) -> dict[str, float]:
        rebuilt = self.estimator.inverse_transform(self.estimator.transform(self.x, nets=nets), nets=nets)
        rows = np.stack([a.reshape(4, 8, *self.x.shape[1:]) for a in (self.x, rebuilt)], 1)
        path = self.folder / f"reconstructions-{images:012d}.png"
        write_atomically(path, draw.png(draw.grid(rows.reshape(64, *self.x.shape[1:]), columns=8)))
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
class Units:
    """How many units of a code say something of 500 validation images: their means vary by more than 0.01.

    Burda et al. 2016, section 5.2.
    """

    estimator: Any
    data: Data

    def __call__(self, nets: Nets, images: int) -> dict[str, float | str]:
        model = self.estimator
        means = model.transform(self.data.valid.x[:500], nets=nets)[:, : model.n_latent]  # a class may come behind
        active, all_of_them = int((means.var(0) > ACTIVE).sum()), means.shape[1]
        dead = all_of_them - active
        fixed, normal = isinstance(model.beta, (int, float)), model.prior == "normal" and not model.free_bits
        remedies = ["a warm-up, beta='linear(0, 1, over=2e5)'"] * fixed + ["free_bits=0.05"] * normal
        more = f"; more are used with {', or '.join(remedies)}" if remedies else ""
        return {
            "valid/active units": float(active),
            "units": f"{active} of {all_of_them} units of the code are active"
            + (COLLAPSED_UNITS.format(dead, "has" if dead == 1 else "have", more) if dead else "."),
        }


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


@dataclass
class Verdicts:
    """What D says of 500 training and validation images and of samples, and how far it knows its training set by heart.

    Overfitting: (E D(train) - E D(valid)) / (E D(train) - E D(samples)), 0 where D takes validation images for training
    ones, 1 where it takes them for samples (Karras et al. 2020 (ADA), equation 1); named where the difference is more
    than two standard errors of what D says of so few images.
    """

    estimator: Any
    data: Data
    seed: int

    def __call__(self, nets: Nets, images: int) -> dict[str, float | str]:
        model, n = self.estimator, min(500, len(self.data.train), len(self.data.valid))
        n -= n % model.pack
        if n < max(2, model.pack):
            return {}
        parts = {"training": self.data.train, "validation": self.data.valid}
        labels: dict[str, NDArray[Any] | None] = dict.fromkeys(parts)
        if model._n_classes:
            if any(part.y is None or not (part.y[:n] >= 0).all() for part in parts.values()):
                return {}  # D cannot judge an image whose label nobody knows
            labels = {name: part.y[:n].numpy() for name, part in parts.items() if part.y is not None}
        says = {name: model.discriminate(part.x[:n], labels[name], nets=nets) for name, part in parts.items()}
        y = labels["training"]
        samples = model.sample(n, y=y, random_state=self.seed, nets=nets)
        outputs = {name: float(values.mean()) for name, values in says.items()}
        outputs["samples"] = float(model.discriminate(samples, y, nets=nets).mean())
        said: dict[str, float | str] = {f"D on {name}": value for name, value in outputs.items()}
        noise = sum(float(values.var()) / len(values) for values in says.values()) ** 0.5
        gap = outputs["training"] - outputs["samples"]
        if gap > 0:
            overfitting = (outputs["training"] - outputs["validation"]) / gap
            said["D overfitting"] = overfitting
            said["verdicts"] = (
                f"to D validation images are {overfitting:.0%} of the way from training images to samples"
                + (HEART if overfitting > KNOWS_BY_HEART and overfitting * gap > 2 * noise else ".")
                if overfitting > 0
                else "to D validation images look no less real than training images."
            )
        return said


@dataclass
class Collapse:
    """How much samples differ, beside images: 200 of the same codes each time; where labels are known, their classes.

    The class of a sample is that of the nearest of 2,000 training images.
    """

    estimator: Any
    data: Data
    seed: int

    def __call__(self, nets: Nets, images: int) -> dict[str, float | str]:
        train = self.data.train
        rows = as_rows(train.x[:2000], "images")
        samples = as_rows(self.estimator.sample(200, random_state=self.seed, nets=nets), "samples")
        variety = float(torch.pdist(samples).mean() / torch.pdist(rows[:200]).mean().clamp_min(1e-12))
        said: dict[str, float | str] = {"variety": variety}
        missing = ""
        if train.y is not None and len(self.data.classes) > 1 and bool((train.y[: len(rows)] >= 0).all()):
            classes = train.y[: len(rows)]
            counts = classes[torch.cdist(samples, rows).argmin(1)].bincount(minlength=len(self.data.classes))
            given = classes.bincount(minlength=len(self.data.classes)).double() / len(classes)
            present = given > 0
            said["classes hit"] = float((counts[present] > 0).sum())
            said["reverse KL of classes"] = histogram_kl(counts[present], given[present])
            # A class that 200 honest samples would miss less than once in 10,000 times.
            lost = [
                self.data.classes[i] for i in ((counts == 0) & ((1 - given) ** 200 < 1e-4)).nonzero()[:, 0].tolist()
            ]
            if lost:
                missing = f", and none is nearest to one of {', '.join(lost[:5])}"
        collapsed = variety < COLLAPSED or missing
        said["collapse"] = (
            f"samples differ {variety:.2f} times as much as images do{missing}{REMEDIES if collapsed else '.'}"
        )
        return said
