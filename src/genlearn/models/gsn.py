"""The generative stochastic network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from genlearn._types import Batch, Logs, Nets
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.reconstruction import cross_entropy
from genlearn.maths.rng import Rng, bernoulli
from genlearn.nets.stochastic import StochasticLayers
from genlearn.parameters import Range
from genlearn.samplers import after, gsn_chain
from genlearn.train import Player, Stage, Stream


class GSNNets(Nets):
    """The layers."""

    gsn: StochasticLayers


@dataclass(kw_only=True, eq=False, repr=False)
class GSN(GenerativeEstimator):
    """Generative stochastic network: a chain whose stationary law, not a density, is learned.

    A step corrupts x, turns noisy hidden layers (`StochasticLayers`) and draws x anew from p(x | h_1). Trained by
    walkback: the chain takes `walkback` steps from an image, away from the data too, and each step's p(x | h_1) must
    give the image itself: the mean of -log p(x | h_1) over steps, in nats an image. Where p is the law of clean x given
    what was seen of it, the stationary law of the chain is that of the data (theorem 1).

    With one hidden layer it is a denoising autoencoder run as a chain. A sample is the mean image after `n_gibbs` steps
    from independent pixels; `complete` runs the chain with the known pixels put back after each step.

    Bengio, Thibodeau-Laufer, Alain and Yosinski 2014; Bengio et al. 2013 (walkback).
    """

    hidden: Annotated[tuple[int, ...], Range(1), "units of the hidden layers, bottom up"] = (500,)
    walkback: Annotated[int, Range(1), "steps of the chain from each image, at least as many as hidden layers"] = 4
    level: Annotated[float, Range(0, 1), "share of pixels that salt and pepper hits at each step"] = 0.4
    hidden_noise: Annotated[float, Range(0), "standard deviation before and after tanh, above the first layer"] = 2.0
    n_gibbs: Annotated[int, Range(1), "steps of the chain of `sample` and `complete`"] = 100

    family: ClassVar[str] = "autoencoder"
    paper: ClassVar[str] = "Bengio et al. 2014"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The published net, and its rates .25 x .995 an epoch in our units: their cost is a mean over 784 pixels, and a
        # sum over 4 steps.
        "mnist-1500-1500": {
            "hidden": (1500, 1500), "optimizer": "momentum", "momentum": 0.5, "epochs": 1000,
            "learning_rate": "exponential(0.00128, half_life=6.9e6)",
        },
        "tiny": {"hidden": (12, 8), "n_gibbs": 4, "epochs": 2},
    }  # fmt: skip

    def check_parameters(self) -> None:
        """As everywhere; and that there is a hidden layer, and that what an image says reaches the highest."""
        super().check_parameters()
        if not 0 < len(self.hidden) <= self.walkback:
            raise ValueError(
                f"hidden is {self.hidden} with walkback {self.walkback}, expected at least one hidden layer, and as "
                f"many steps; the usual fix is walkback={max(4, len(self.hidden))}"
            )

    def _build(self, shape: Shape, rng: torch.Generator) -> GSNNets:
        return GSNNets(gsn=StochasticLayers((math.prod(shape), *self.hidden), rng))

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        player = Player("gsn", ("gsn",), self._loss, self._optimizer())
        return [Stage("learn", [player], self._budget(), start=self._start)]

    @staticmethod
    def _start(nets: GSNNets, stream: Stream, rng: Rng) -> None:
        nets.gsn.fit_mean(stream.mean())

    def _states(
        self, nets: GSNNets, x: Tensor, rng: torch.Generator, known: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        return gsn_chain(nets.gsn, x, self.level, self.hidden_noise, rng, known)

    def _loss(self, nets: GSNNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        x = batch.x.flatten(1)
        steps = islice(self._states(nets, x, rng), self.walkback)
        costs = torch.stack([cross_entropy(x, logits).mean() for _, logits in steps])
        return costs.mean(), {"first step": costs[0]}

    @property
    def _n_steps(self) -> int:
        return self.n_gibbs

    def _chain(self, nets: GSNNets, n: int, rng: torch.Generator, x: Tensor | None = None) -> Iterator[Tensor]:
        """The means of p(x | h_1)."""
        start = bernoulli(nets.gsn.mean.expand(n, -1), rng) if x is None else x.flatten(1)
        return (logits.sigmoid() for _, logits in self._states(nets, start, rng))

    def _complete(self, nets: GSNNets, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        v, known = x.flatten(1), known.flatten(1)
        start = torch.where(known, v, bernoulli(nets.gsn.mean.expand_as(v), rng))
        _, logits = after(self.n_gibbs, self._states(nets, start, rng, known))
        return torch.where(known, v, logits.sigmoid())
