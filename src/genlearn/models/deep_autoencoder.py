"""The deep autoencoder that starts from a stack of RBMs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import Tensor, nn

from genlearn._types import Batch, Logs, Nets
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.contrastive import contrast, weigh
from genlearn.losses.elbo import log_bernoulli
from genlearn.maths.rng import Rng, bernoulli
from genlearn.models.stack import ascend, copy_down, copy_up, greedy, init_glorot, layers
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.mlp import MLP
from genlearn.parameters import Range
from genlearn.train import Budget, Player, Schedule, Stage, Stream


@dataclass(kw_only=True, eq=False, repr=False)
class DeepAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, GenerativeEstimator):  # type: ignore[misc]
    """Autoencoder of sigmoid layers around a linear code: a stack of RBMs unrolled, then tuned on -log p(x | code).

    The top RBM has Gaussian hidden units of variance 1, the code. Unrolled, the stack is the encoder and its transposes
    the decoder; back-propagation of the cross-entropy of the pixels (epochs, learning_rate and optimizer are of this
    stage) then moves them apart. `pretrain` = False starts from random weights instead.

    Hinton and Salakhutdinov 2006, figure 1.
    """

    hidden: Annotated[tuple[int, ...], Range(1), "units of the encoder's layers; the decoder mirrors them"] = (
        1000, 500, 250,
    )  # fmt: skip
    n_latent: Annotated[int, Range(1), "dimensions of the code"] = 30
    pretrain: Annotated[bool, "learn the RBMs first"] = True
    pretrain_epochs: Annotated[float, Range(0, open=True), "epochs of contrastive divergence a layer"] = 10
    pretrain_rate: Annotated[float | Schedule, Range(0, open=True), "step size of contrastive divergence"] = 0.05
    code_rate: Annotated[float | Schedule, Range(0, open=True), "the same of the top RBM, whose code is Gaussian"] = (
        1e-3
    )

    family: ClassVar[str] = "autoencoder"
    paper: ClassVar[str] = "Hinton and Salakhutdinov 2006"

    @property
    def _n_features_out(self) -> int:
        return self.n_latent

    def _build(self, shape: Shape, rng: torch.Generator) -> Nets:
        sizes = (math.prod(shape), *self.hidden, self.n_latent)
        encoder, decoder = MLP(sizes, "sigmoid"), MLP(sizes[::-1], "sigmoid")
        for mlp in (encoder, decoder):
            init_glorot(mlp, rng)
        stack: dict[str, nn.Module] = {}
        if self.pretrain:
            # The code is the visible side of its RBM here: the side that may be Gaussian.
            code = RestrictedBoltzmann(self.n_latent, sizes[-2], rng, "gaussian")
            stack = {**layers(sizes[:-1], rng), "code": code}
        return nn.ModuleDict({**stack, "encoder": encoder, "decoder": decoder})

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        stages = []
        if self.pretrain:
            momentum = self._optimizer(name="momentum", lr=self.pretrain_rate, momentum=0.9, weight_decay=0.0)
            code = self._optimizer(name="momentum", lr=self.code_rate, momentum=0.9, weight_decay=0.0)
            player = Player("code", ("code",), self._code, code)
            stages = greedy(len(self.hidden), self.pretrain_epochs, momentum)
            stages.append(Stage("code", [player], Budget(epochs=self.pretrain_epochs), prepare=self._top))
        player = Player("autoencoder", ("encoder", "decoder"), self._loss, self._optimizer())
        return [*stages, Stage("fine-tune", [player], self._budget(), start=self._start)]

    def _top(self, nets: Nets, batch: Batch, rng: Rng) -> Batch:
        return Batch(ascend(nets, batch.x, len(self.hidden)))

    @staticmethod
    def _code(nets: Nets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """CD-1 of the RBM with a Gaussian code u, its data on the binary side h."""
        net: RestrictedBoltzmann = nets["code"]  # type: ignore[assignment]
        with torch.no_grad():
            h = batch.x
            u = net.mean_visible(h)
            p_model = net.p_hidden(net.sample_visible(u, rng))
            h_model = bernoulli(p_model, rng)
            u_model = net.mean_visible(h_model)
        return contrast(net, torch.cat([u, u_model]), torch.cat([h, h_model]), weigh(len(h), len(h), h)), {}

    def _start(self, nets: Nets, stream: Stream, rng: Rng) -> None:
        if not self.pretrain:
            return
        code: RestrictedBoltzmann = nets["code"]  # type: ignore[assignment]
        encoder: MLP = nets["encoder"]  # type: ignore[assignment]
        decoder: MLP = nets["decoder"]  # type: ignore[assignment]
        copy_up(nets, encoder)
        encoder.out.weight.copy_(code.W)
        encoder.out.bias.copy_(code.a)
        copy_down(nets, decoder, code)

    @staticmethod
    def _loss(nets: Nets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """Cross-entropy of the pixels, in nats an image."""
        x = batch.x.flatten(1)
        return -log_bernoulli(x, nets["decoder"](nets["encoder"](x))).mean(), {}

    def _encode(self, nets: Nets, x: Tensor) -> Tensor:
        return nets["encoder"](x)  # type: ignore[no-any-return]

    def _decode(self, nets: Nets, z: Tensor) -> Tensor:
        return nets["decoder"](z).sigmoid()  # type: ignore[no-any-return]
