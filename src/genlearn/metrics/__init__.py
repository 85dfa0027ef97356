"""Scores with their N, interval, floor and ceiling; they see arrays and callables, never a model."""

from __future__ import annotations

from .classification import error_rate
from .likelihood import from_likelihoods, independent_pixels, likelihood_result, parzen, parzen_log_prob, pixel_moments
from .modes import Coverage, class_coverage, histogram_kl, mode_coverage
from .neighbours import nearest, nearest_train
from .protocol import METRICS, Bottleneck, Likelihoods, Metric, Sample, Seeds, Subject, evaluate
from .reconstruct import principal_images, reconstruction
from .result import Result, bootstrap, mean, median, percentiles, resample
from .seeds import Mean, over_seeds

__all__ = [
    "METRICS",
    "Bottleneck",
    "Coverage",
    "Likelihoods",
    "Mean",
    "Metric",
    "Result",
    "Sample",
    "Seeds",
    "Subject",
    "bootstrap",
    "class_coverage",
    "error_rate",
    "evaluate",
    "from_likelihoods",
    "histogram_kl",
    "independent_pixels",
    "likelihood_result",
    "mean",
    "median",
    "mode_coverage",
    "nearest",
    "nearest_train",
    "over_seeds",
    "parzen",
    "parzen_log_prob",
    "percentiles",
    "pixel_moments",
    "principal_images",
    "reconstruction",
    "resample",
]
