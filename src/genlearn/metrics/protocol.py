"""The evaluation of one model: every metric that is possible for it, on the same images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from genlearn._types import Likelihood
from genlearn.maths.rng import spawn
from genlearn.progress import track
from genlearn.words import unknown

from .classification import error_rate
from .likelihood import from_likelihoods, parzen
from .neighbours import nearest_train
from .reconstruct import reconstruction
from .result import Result

Sample: TypeAlias = Callable[[int, int], Any]
"""sample(n, seed): n images [n, ...]."""

Likelihoods: TypeAlias = Callable[[Any, int], dict[str, Likelihood]]
"""likelihoods(x, seed): log-likelihoods of images x [n, ...] by name."""

Bottleneck: TypeAlias = Callable[[Any], tuple[Any, Any]]
"""bottleneck(x): the codes [n, k] of images x [n, ...], and the images made of them again."""


class Seeds(NamedTuple):
    """Of samples, of likelihoods (binarisation, AIS), and of the metrics (bootstrap, choice of real images)."""

    samples: int
    likelihoods: int
    metrics: int


@dataclass(frozen=True, eq=False)
class Subject:
    """What metrics see of a model: three parts of a data set, and what it can do (None: it cannot).

    What is random has a seed of its own, all from `seed`: samples, likelihoods, and the metrics' own choices.
    """

    train: Any
    valid: Any
    test: Any
    sample: Sample | None
    likelihoods: Likelihoods | None
    predict: Callable[[Any], Any] | None
    labels: tuple[Any, Any] | None  # of train and test
    bottleneck: Bottleneck | None
    n_samples: int
    seed: int

    @cached_property
    def samples(self) -> Any:
        """The images that every metric of samples shares."""
        assert self.sample is not None
        return self.sample(self.n_samples, self.seeds.samples)

    @cached_property
    def seeds(self) -> Seeds:
        """Seeds of independent generators, one for each use; below 2^32, as scikit-learn takes them."""
        return Seeds(*(seed % 2**32 for seed in spawn(self.seed, 3)))

    def lacks(self, needs: Sequence[str]) -> list[str]:
        """Which of the needs are not there: no capability, or no images."""
        return [need for need in needs if getattr(self, need) is None or _empty(getattr(self, need))]


def _empty(need: Any) -> bool:
    return not callable(need) and len(need) == 0


class Metric(NamedTuple):
    """A line of the registry: what must be there, and the function that scores."""

    needs: tuple[str, ...]
    score: Callable[[Subject], list[Result]]


def _likelihood(s: Subject) -> list[Result]:
    assert s.likelihoods is not None
    return from_likelihoods(s.likelihoods(s.test, s.seeds.likelihoods), s.train, s.test, s.seeds.metrics)


def _error(s: Subject) -> list[Result]:
    assert s.predict is not None
    assert s.labels is not None
    return [error_rate(s.predict(s.test), s.labels[1], s.labels[0])]


def _reconstruction(s: Subject) -> list[Result]:
    assert s.bottleneck is not None
    codes, rebuilt = s.bottleneck(s.test)
    words = bool((codes == codes.round()).all())
    return [reconstruction(rebuilt, codes.shape[1], s.train, s.test, s.seeds.metrics, words)]


METRICS: dict[str, Metric] = {
    "error": Metric(("predict", "labels", "test"), _error),
    "likelihood": Metric(("likelihoods", "train", "test"), _likelihood),
    "reconstruction": Metric(("bottleneck", "train", "test"), _reconstruction),
    "parzen": Metric(
        ("sample", "train", "valid", "test"),
        lambda s: [parzen(s.samples, s.valid, s.test, train=s.train, seed=s.seeds.metrics)],
    ),
    "nearest": Metric(
        ("sample", "train", "test"), lambda s: [nearest_train(s.samples, s.train, s.test, s.seeds.metrics)]
    ),
}  # fmt: skip


def evaluate(
    *,
    train: Any,
    valid: Any,
    test: Any,
    sample: Sample | None,
    likelihoods: Likelihoods | None,
    predict: Callable[[Any], Any] | None = None,
    labels: tuple[Any, Any] | None = None,
    bottleneck: Bottleneck | None = None,
    metrics: Sequence[str] | None = None,
    n_samples: int = 10_000,
    seed: int = 0,
    keep: Callable[[list[Result]], None] = lambda results: None,
) -> list[Result]:
    """Score a model on test images, one result or more a metric, in the order asked.

    train, valid, test: images [n, ...], uint8 or floats in [0, 1]. sample(n, seed) gives n images of the same kind,
    drawn once; likelihoods(test, seed) log-likelihoods by name; predict(test) labels, to be held against `labels`,
    those of train and of test; bottleneck(test) codes narrower than images, and the images of those. metrics: by
    default, all that are possible for this model. seed: of all that is random; samples, likelihoods and the metrics'
    own choices get independent ones, spawned from it. keep(results of a metric) is called as soon as they are there.
    Raises ValueError for an unknown metric, one that was asked for and is not possible, or where none is.
    """
    subject = Subject(train, valid, test, sample, likelihoods, predict, labels, bottleneck, n_samples, seed)
    for name in metrics or ():
        if name not in METRICS:
            raise ValueError(unknown("metric", name, METRICS))
        if missing := subject.lacks(METRICS[name].needs):
            raise ValueError(f"metric {name!r} is not possible here: there is no {' and no '.join(missing)}")
    names = [n for n in METRICS if not subject.lacks(METRICS[n].needs)] if metrics is None else metrics
    if not (names or all(map(len, (train, valid, test)))):
        sizes = f"{len(train):,} training, {len(valid):,} validation and {len(test):,} test images"
        raise ValueError(
            f"no score is possible: there are {sizes}, expected some of each; the usual fix is more images"
        )
    results: list[Result] = []
    for name in track(names, "scores", len(names), even=False):
        scored = METRICS[name].score(subject)
        keep(scored)
        results += scored
    return results
