"""Scores with their N, interval, floor and ceiling; they see arrays and callables, never a model."""

from __future__ import annotations

from .classification import error_rate
from .likelihood import likelihood_result, parzen, parzen_log_prob
from .neighbours import nearest, nearest_train
from .protocol import METRICS, evaluate
from .result import Result, bootstrap

__all__ = [
    "METRICS",
    "Result",
    "bootstrap",
    "error_rate",
    "evaluate",
    "likelihood_result",
    "nearest",
    "nearest_train",
    "parzen",
    "parzen_log_prob",
]
