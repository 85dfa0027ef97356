"""The deep autoencoder that starts from a stack of RBMs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from genlearn._types import Batch, Logs
from genlearn.capabilities import Encoder
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.contrastive import contrast
from genlearn.losses.elbo import log_bernoulli
from genlearn.maths.rng import Rng, bernoulli
from genlearn.models.stack import StackNets, ascend, copy_down, copy_up, greedy_rbms, init_glorot, stack
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.mlp import MLP
from genlearn.parameters import Range
from genlearn.train import Budget, Player, Schedule, Stage, Stream


class DeepAutoencoderNets(StackNets):
    """The RBMs and the one of the code, where they learn first; the network."""

    code: RestrictedBoltzmann
    encoder: MLP
    decoder: MLP


@dataclass(kw_only=True, eq=False, repr=False)
class DeepAutoencoder(Encoder, GenerativeEstimator):
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
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"hidden": (16,), "n_latent": 4, "pretrain_epochs": 1, "epochs": 2}
    }

    @property
    def _n_features_out(self) -> int:
        return self.n_latent

    def _build(self, shape: Shape, rng: torch.Generator) -> DeepAutoencoderNets:
        sizes = (math.prod(shape), *self.hidden, self.n_latent)
        encoder, decoder = MLP(sizes, "sigmoid"), MLP(sizes[::-1], "sigmoid")
        for mlp in (encoder, decoder):
            init_glorot(mlp, rng)
        rbms = code = None
        if self.pretrain:
            # The code is the visible side of its RBM here: the side that may be Gaussian.
            code = RestrictedBoltzmann(self.n_latent, sizes[-2], rng, "gaussian")
            rbms = stack(sizes[:-1], rng)
        return DeepAutoencoderNets(rbms=rbms, code=code, encoder=encoder, decoder=decoder)

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        stages = []
        if self.pretrain:
            momentum = self._optimizer(name="momentum", lr=self.pretrain_rate, momentum=0.9, weight_decay=0.0)
            code = self._optimizer(name="momentum", lr=self.code_rate, momentum=0.9, weight_decay=0.0)
            player = Player("code", ("code",), self._code, code)
            budget = Budget(epochs=self.pretrain_epochs)
            stages = greedy_rbms(len(self.hidden), budget, momentum)
            stages.append(Stage("code", [player], budget, prepare=self._top))
        player = Player("autoencoder", ("encoder", "decoder"), self._loss, self._optimizer())
        return [*stages, Stage("fine-tune", [player], self._budget(), start=self._start)]

    @staticmethod
    def _top(nets: DeepAutoencoderNets, batch: Batch, rng: Rng) -> Batch:
        return batch._replace(x=ascend(nets.rbms, batch.x))

    @staticmethod
    def _code(nets: DeepAutoencoderNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """CD-1 of the RBM with a Gaussian code u, its data on the binary side h."""
        net, h = nets.code, batch.x
        with torch.no_grad():
            u = net.mean_visible(h)
            p_model = net.p_hidden(net.sample_visible(u, rng))
            h_model = bernoulli(p_model, rng)
            u_model = net.mean_visible(h_model)
        return contrast(net, (u, h), (u_model, h_model)), {}

    @staticmethod
    def _start(nets: DeepAutoencoderNets, stream: Stream, rng: Rng) -> None:
        if "rbms" in nets:
            copy_up(nets.rbms, nets.encoder)
            nets.encoder.out.weight.copy_(nets.code.W)
            nets.encoder.out.bias.copy_(nets.code.a)
            copy_down(nets.rbms, nets.decoder, nets.code)

    @staticmethod
    def _loss(nets: DeepAutoencoderNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """Cross-entropy of the pixels, in nats an image."""
        x = batch.x.flatten(1)
        return -log_bernoulli(x, nets.decoder(nets.encoder(x))).mean(), {}

    def _encode(self, nets: DeepAutoencoderNets, x: Tensor) -> Tensor:
        codes: Tensor = nets.encoder(x)
        return codes

    def _decode(self, nets: DeepAutoencoderNets, z: Tensor) -> Tensor:
        logits: Tensor = nets.decoder(z)
        return logits.sigmoid()
