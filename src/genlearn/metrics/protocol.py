"""The evaluation of one model: every metric that is possible for it, on the same images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from genlearn._types import Likelihood
from genlearn.words import unknown

from .classification import error_rate
from .likelihood import from_likelihoods, parzen
from .neighbours import nearest_train
from .result import Result


@dataclass(frozen=True, eq=False)
class Subject:
    """What metrics see of a model: three parts of a data set, and what it can do (None: it cannot)."""

    train: Any
    valid: Any
    test: Any
    sample: Callable[[int], Any] | None
    likelihoods: Callable[[Any], dict[str, Likelihood]] | None
    predict: Callable[[Any], Any] | None
    labels: tuple[Any, Any] | None  # of train and test
    n_samples: int
    seed: int

    @cached_property
    def samples(self) -> Any:
        """The images that every metric of samples shares."""
        assert self.sample is not None
        return self.sample(self.n_samples)

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
    return from_likelihoods(s.likelihoods(s.test), s.train, s.test, s.seed)


def _error(s: Subject) -> list[Result]:
    assert s.predict is not None
    assert s.labels is not None
    return [error_rate(s.predict(s.test), s.labels[1], s.labels[0])]


METRICS: dict[str, Metric] = {
    "error": Metric(("predict", "labels", "test"), _error),
    "likelihood": Metric(("likelihoods", "train", "test"), _likelihood),
    "parzen": Metric(
        ("sample", "train", "valid", "test"),
        lambda s: [parzen(s.samples, s.valid, s.test, train=s.train, seed=s.seed)],
    ),
    "nearest": Metric(
        ("sample", "train", "test"), lambda s: [nearest_train(s.samples, s.train, s.test, s.seed)]
    ),
}  # fmt: skip


def evaluate(
    *,
    train: Any,
    valid: Any,
    test: Any,
    sample: Callable[[int], Any] | None,
    likelihoods: Callable[[Any], dict[str, Likelihood]] | None,
    predict: Callable[[Any], Any] | None = None,
    labels: tuple[Any, Any] | None = None,
    metrics: Sequence[str] | None = None,
    n_samples: int = 10_000,
    seed: int = 0,
) -> list[Result]:
    """Score a model on test images, one result or more a metric, in the order asked.

    train, valid, test: images [n, ...], uint8 or floats in [0, 1]. sample(n) gives n images of the same kind, drawn
    once; likelihoods(test) log-likelihoods by name; predict(test) labels, to be held against `labels`, those of train
    and of test. metrics: by default, all that are possible for this model.
    Raises ValueError for an unknown metric, or one that was asked for and is not possible.
    """
    subject = Subject(train, valid, test, sample, likelihoods, predict, labels, n_samples, seed)
    for name in metrics or ():
        if name not in METRICS:
            raise ValueError(unknown("metric", name, METRICS))
        if missing := subject.lacks(METRICS[name].needs):
            raise ValueError(f"metric {name!r} is not possible here: there is no {' and no '.join(missing)}")
    names = [n for n in METRICS if not subject.lacks(METRICS[n].needs)] if metrics is None else metrics
    return [result for name in names for result in METRICS[name].score(subject)]
