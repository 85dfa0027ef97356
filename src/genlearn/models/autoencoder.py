"""The autoencoder, and the one that starts from a stack of RBMs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from genlearn._types import Batch, Logs
from genlearn.estimator import Shape
from genlearn.losses.contrastive import contrast
from genlearn.maths.rng import Rng, bernoulli
from genlearn.models.autoencoding import Autoencoding, AutoencodingNets
from genlearn.models.stack import StackNets, ascend, copy_down, copy_up, greedy_rbms, stack
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.mlp import MLP
from genlearn.parameters import Range
from genlearn.train import Budget, Player, Schedule, Stage, Stream


class AutoencoderNets(AutoencodingNets, StackNets):
    """With `pretrain` also the RBMs, and the one of the code, where they learn first."""

    code: RestrictedBoltzmann
    encoder: MLP


@dataclass(kw_only=True, eq=False, repr=False)
class Autoencoder(Autoencoding):
    """Autoencoder: a narrow code z = f(x), and g(z), which must make x of it again: the least E loss(x, g(f(x))).

    The code is linear, f and g are as deep as `hidden` says, or convolutional, as they are for images in colour by
    default ("auto"). `transform` gives codes, `inverse_transform` the images of codes. An autoencoder is no density: so
    that it samples, one of codes is fitted when it has learned, and g(z) drawn from it.

    `pretrain`: a stack of RBMs learns first, its top one with Gaussian hidden units of variance 1, the code. Unrolled,
    the stack is the encoder and its transposes the decoder, which back-propagation then moves (apart, unless `tied`);
    epochs, learning_rate and optimizer are of that stage.

    Hinton and Salakhutdinov 2006, figure 1; Baldi and Hornik 1989 (linear ones find the principal components).
    """

    pretrain: Annotated[bool, "learn a stack of RBMs first (sigmoid units)"] = False
    pretrain_epochs: Annotated[float, Range(0, open=True), "epochs of contrastive divergence a layer"] = 10
    pretrain_rate: Annotated[float | Schedule, Range(0, open=True), "step size of contrastive divergence"] = 0.05
    code_rate: Annotated[float | Schedule, Range(0, open=True), "the same of the top RBM, whose code is Gaussian"] = (
        1e-3
    )

    family: ClassVar[str] = "autoencoder"
    paper: ClassVar[str] = "Hinton and Salakhutdinov 2006"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "hinton-2006": {
            "hidden": (1000, 500, 250),
            "n_latent": 30,
            "activation": "sigmoid",
            "pretrain": True,
            "pretrain_epochs": 5,
            "epochs": 80,
            "learning_rate": "linear(1e-3, 0, over=budget)",
        },
        "tiny": {"hidden": (16,), "n_latent": 3, "n_components": 3, "epochs": 2},
    }

    @property
    def _dense(self) -> list[str]:
        return [*super()._dense, *(["pretrain"] if self.pretrain else [])]

    def check_parameters(self) -> None:
        """As everywhere; and that RBMs become layers of sigmoid units, of pixels in [0, 1]."""
        super().check_parameters()
        if self.pretrain and (self.activation, self.loss) != ("sigmoid", "bce"):
            raise ValueError(
                f"pretrain is True with activation {self.activation!r} and loss {self.loss!r}, expected 'sigmoid' and "
                "'bce'; the usual fix is activation='sigmoid'"
            )

    def _build(self, shape: Shape, rng: torch.Generator) -> AutoencodingNets:
        nets = super()._build(shape, rng)
        if self.pretrain:
            sizes = (math.prod(shape), *self.hidden)
            nets["rbms"] = stack(sizes, rng)
            # The code is the visible side of its RBM here: the side that may be Gaussian.
            nets["code"] = RestrictedBoltzmann(self.n_latent, sizes[-1], rng, "gaussian")
        return nets

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        if not self.pretrain:
            return super()._stages(shape)
        momentum = self._optimizer(name="momentum", lr=self.pretrain_rate, momentum=0.9, weight_decay=0.0)
        code = self._optimizer(name="momentum", lr=self.code_rate, momentum=0.9, weight_decay=0.0)
        budget, top = Budget(epochs=self.pretrain_epochs), Player("code", ("code",), self._code, code)
        player = Player("autoencoder", ("encoder", "decoder"), self._loss, self._optimizer())
        return [
            *greedy_rbms(len(self.hidden), budget, lambda _: momentum),
            Stage("code", [top], budget, prepare=self._top),
            Stage("fine-tune", [player], self._budget(), start=self._unroll, finish=self._finish),
        ]

    @staticmethod
    def _top(nets: AutoencoderNets, batch: Batch, rng: Rng) -> Batch:
        return batch._replace(x=ascend(nets.rbms, batch.x))

    @staticmethod
    def _code(nets: AutoencoderNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """CD-1 of the RBM with a Gaussian code u, its data on the binary side h."""
        net, h = nets.code, batch.x
        with torch.no_grad():
            u = net.mean_visible(h)
            p_model = net.p_hidden(net.sample_visible(u, rng))
            h_model = bernoulli(p_model, rng)
            u_model = net.mean_visible(h_model)
        return contrast(net, (u, h), (u_model, h_model)), {}

    @staticmethod
    def _unroll(nets: AutoencoderNets, stream: Stream, rng: Rng) -> None:
        copy_up(nets.rbms, nets.encoder)
        nets.encoder.out.weight.copy_(nets.code.W)
        nets.encoder.out.bias.copy_(nets.code.a)
        copy_down(nets.rbms, nets.decoder, nets.code)
