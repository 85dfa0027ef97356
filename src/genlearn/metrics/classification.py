"""How often a model that tells classes is wrong."""

from __future__ import annotations

import math
from typing import Any

import torch

from .result import Result


def error_rate(predicted: Any, y: Any, y_train: Any) -> Result:
    """The share of test images whose predicted label is wrong, in per cent: predicted, y [n], labels of train [m].

    Images without a known label (-1) are left out. The interval is Wilson's at 95 %, se the binomial's; the floor
    is the error of always naming the most frequent label of train.
    Raises ValueError where no label is known.
    """
    predicted, y, y_train = (torch.as_tensor(labels) for labels in (predicted, y, y_train))
    known = y >= 0
    n = int(known.sum())
    if n == 0:
        raise ValueError("no test image has a known label, expected some; the usual fix is to leave the metric out")
    wrong = int((predicted[known] != y[known]).sum())
    p, z = wrong / n, 1.96
    centre, spread = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    interval = tuple(100 * (centre + sign * spread) / (1 + z**2 / n) for sign in (-1, 1))
    common = y_train[y_train >= 0].mode().values
    return Result(
        name="error",
        value=100 * p,
        n=n,
        unit="%",
        se=100 * math.sqrt(p * (1 - p) / n),
        interval=(interval[0], interval[1]),
        floor={"most frequent label": 100 * float((y[known] != common).float().mean())},
        details={"wrong": wrong},
    )
