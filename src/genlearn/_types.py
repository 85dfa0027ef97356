"""Names shared by every package; no code."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor, nn

Nets: TypeAlias = nn.ModuleDict
"""The networks of a model by name; everything that must survive a checkpoint is a parameter or a buffer in here."""

Logs: TypeAlias = dict[str, Tensor]
"""Detached scalars by name; they stay tensors until a tick reads them."""

ScoreKind: TypeAlias = Literal["exact", "lower bound", "estimate", "pseudo"]
"""What a log-likelihood is worth."""

Visible: TypeAlias = Literal["binary", "gaussian"]
"""The law of the visible units of an energy-based model."""


class Batch(NamedTuple):
    """Images `x` [B, C, H, W] (or rows [B, d]) and labels `y` [B] (-1 = unknown), or what a `prepare` puts there."""

    x: Tensor
    y: Tensor | None = None


class Likelihood(NamedTuple):
    """Log-likelihoods `values` [n] in nats, what they are worth, the interval that all rows share (of log Z), the law
    of the pixels (probabilities of binary ones, or densities), and what a reader should know, in plain words."""

    values: Tensor
    kind: ScoreKind
    shift: tuple[float, float] = (0.0, 0.0)
    law: Visible = "binary"
    notes: tuple[str, ...] = ()
