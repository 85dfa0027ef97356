"""A model that is in no registry: everything that the contract offers, by its public names alone.

A conditional GAN that is given few labels, with a frozen feature net, an encoder learned after play, and a density of
the codes fitted at the end.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genlearn.capabilities import Encoder
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses import discriminator_loss, generator_loss
from genlearn.maths.rng import Rng
from genlearn.nets import MLP, GaussianDensity, Prior
from genlearn.parallel import all_sum
from genlearn.parameters import Range
from genlearn.train import Batch, Budget, Logs, Nets, Player, Stage, Stream


class ProofNets(Nets):
    G: MLP
    D: MLP
    E: MLP
    features: nn.Module
    prior: GaussianDensity


@dataclass(kw_only=True, eq=False, repr=False)
class Proof(Encoder, GenerativeEstimator):
    """A conditional GAN with feature matching that warms up, whose codes come from an encoder learned afterwards."""

    n_latent: Annotated[int, Range(1), "dimensions of z"] = 8
    hidden: Annotated[tuple[int, ...], Range(1), "hidden layers of every net"] = (32,)
    features: Annotated[nn.Module | None, "frozen feature net (none: a random one)"] = None
    matching: Annotated[float, Range(0), "weight of feature matching, after the warm-up"] = 0.1
    warm_up: Annotated[int, Range(1), "images until that weight is reached"] = 500
    labelled: Annotated[float, Range(0, 1), "share of a batch that shows its label"] = 0.2
    clip: Annotated[float, Range(0, open=True), "largest norm of a gradient"] = 1.0

    family: ClassVar[str] = "adversarial"
    paper: ClassVar[str] = "none"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"tiny": {"n_latent": 4, "hidden": (16,)}}
    _uses_labels: ClassVar[bool] = True

    @property
    def _n_features_out(self) -> int:
        return self.n_latent

    def _prior(self) -> Prior:
        return GaussianDensity(self.n_latent)

    def _build(self, shape: Shape, rng: torch.Generator) -> ProofNets:
        d, k = math.prod(shape), self._n_classes
        features = copy.deepcopy(self.features) or nn.Sequential(nn.Linear(d, 6), nn.BatchNorm1d(6), nn.Tanh())
        return ProofNets(
            G=MLP((self.n_latent + k, *self.hidden, d)),
            D=MLP((d + k, *self.hidden, 1), "leaky_relu", dropout=0.1),
            E=MLP((d, *self.hidden, self.n_latent)),
            features=features,
        )

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        adam = self._optimizer()
        play = [Player(n, (n,), f, adam, clip=self.clip) for n, f in {"D": self._loss_d, "G": self._loss_g}.items()]
        labelled = self.labelled if self._n_classes else 0.0
        return [
            Stage("play", play, self._budget(), start=self._start, labelled=labelled),
            Stage("codes", [Player("E", ("E",), self._loss_e, adam)], Budget(epochs=1), share=0.5, finish=self._finish),
        ]

    @staticmethod
    def _start(nets: ProofNets, stream: Stream, rng: Rng) -> None:
        nets.G.out.bias.copy_(stream.mean().flatten().clamp(0.01, 0.99).logit())

    def _told(self, y: Tensor | None, n: int, like: Tensor) -> Tensor:
        """One-hot labels [n, K]; unknown ones are zeros."""
        if y is None or not self._n_classes:
            return like.new_zeros(n, self._n_classes)
        return one_hot(y.clamp_min(0), self._n_classes).to(like.dtype) * (y >= 0)[:, None]

    def _fake(self, nets: ProofNets, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        label = self._told(batch.y, len(batch.x), batch.x)
        z = nets.prior.draw(len(batch.x), rng)
        return nets.G(torch.cat([z, label], 1)).sigmoid(), label

    def _loss_d(self, nets: ProofNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        fake, label = self._fake(nets, batch, rng)
        pairs = torch.stack([torch.cat([x, label], 1) for x in (batch.x.flatten(1), fake)], 1).flatten(0, 1)
        real, false = nets.D(pairs, rng).view(-1, 2).unbind(1)
        return discriminator_loss(real, false), {}

    def _loss_g(self, nets: ProofNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        fake, label = self._fake(nets, batch, rng)
        # The means of the batch of all processes: its square is not the mean of theirs.
        means = [all_sum(nets.features(x).mean(0)) / rng.world for x in (batch.x.flatten(1), fake)]
        matching = (means[0] - means[1]).square().sum()
        weight = self.matching * min(1.0, batch.seen / self.warm_up)
        loss = generator_loss(nets.D(torch.cat([fake, label], 1), rng), "non-saturating")
        return loss + weight * matching, {"matching": matching, "weight": loss.new_tensor(weight)}

    def _loss_e(self, nets: ProofNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        label = self._told(batch.y, len(batch.x), batch.x)
        z = nets.prior.draw(len(batch.x), rng)
        with torch.no_grad():
            x = nets.G(torch.cat([z, label], 1)).sigmoid()
        return (nets.E(x) - z).square().sum(1).mean(), {}

    @staticmethod
    def _finish(nets: ProofNets, stream: Stream, rng: Rng) -> None:
        nets.prior.fit(torch.cat([nets.E(stream.serve(rows)) for rows in stream.x.split(1000)]))

    def _decode(self, nets: ProofNets, z: Tensor) -> Tensor:
        return nets.G(torch.cat([z, self._told(None, len(z), z)], 1)).sigmoid()

    def _sample_class(self, nets: ProofNets, y: Tensor, rng: torch.Generator) -> Tensor:
        z = nets.prior.draw(len(y), rng)
        return nets.G(torch.cat([z, self._told(y, len(y), z)], 1)).sigmoid()

    def _encode(self, nets: ProofNets, x: Tensor) -> Tensor:
        return nets.E(x)
