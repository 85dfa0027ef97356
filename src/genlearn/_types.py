"""Names shared by every package."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor, nn


class Nets(nn.ModuleDict):
    """The networks of a model by name; everything that must survive a checkpoint is a parameter or a buffer in here.

    A model annotates its own, class GANNets(Nets): G: MLP; D: MLP, makes them by GANNets(G=..., D=...), and reads them
    as nets.G. What is None is left out.
    """

    def __init__(self, **items: nn.Module | None) -> None:
        super().__init__({name: item for name, item in items.items() if item is not None})


Logs: TypeAlias = dict[str, Tensor]
"""Detached scalars by name; they stay tensors until a tick reads them."""

ScoreKind: TypeAlias = Literal["exact", "lower bound", "estimate", "estimate of a bound", "pseudo"]
"""What a log-likelihood is worth; a bound less an estimate of log Z is no bound, but the estimate of one."""

Visible: TypeAlias = Literal["binary", "gaussian"]
"""The law of the visible units of an energy-based model."""

PixelLaw: TypeAlias = Literal["binary", "gaussian", "levels"]
"""What log-likelihoods of images are of: probabilities of binary pixels or of 256 levels, or densities."""


class Batch(NamedTuple):
    """Images `x` [B, C, H, W] (or rows [B, d]) and labels `y` [B] (-1 = unknown), or what a `prepare` puts there.

    seen: the images that the player has seen in this stage, before this batch (for a warm-up, or noise that decays);
    spent: the share of the stage's budget that is used up.
    """

    x: Tensor
    y: Tensor | None = None
    seen: int = 0
    spent: float = 0.0


class Likelihood(NamedTuple):
    """Log-likelihoods `values` [n] in nats, what they are worth, the interval that all rows share (of log Z), the law
    of the pixels, and what a reader should know, in plain words."""

    values: Tensor
    kind: ScoreKind
    shift: tuple[float, float] = (0.0, 0.0)
    law: PixelLaw = "binary"
    notes: tuple[str, ...] = ()
