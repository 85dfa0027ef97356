"""What autoencoders share: the networks, what a reconstruction costs, and a density of the codes to sample from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from genlearn._types import Batch, Logs, Nets, Visible
from genlearn.capabilities import Encoder
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.reconstruction import RECONSTRUCTIONS, ReconstructionName
from genlearn.maths.rng import Rng
from genlearn.models.stack import init_glorot
from genlearn.nets.conv import ConvDecoder, ConvEncoder, image_shape
from genlearn.nets.init import Init
from genlearn.nets.mlp import MLP, Activation
from genlearn.nets.priors import CodeJitter, Density, DensityName, GaussianDensity, GaussianMixture
from genlearn.nets.tied import TiedDecoder
from genlearn.parameters import Range
from genlearn.train import Player, Stage, Stream

ROWS = 1000
LAWS = {"gaussian": "a Gaussian", "mixture": "a mixture of {} Gaussians", "jitter": "a jitter of {} stored codes"}


@dataclass(kw_only=True, eq=False, repr=False)
class Coding(Encoder, GenerativeEstimator):
    """Models of codes and reconstructions, that sample by a density of codes which is added after they have learned.

    bce takes pixels in [0, 1], and gives sigmoids; mse and rmse take any numbers, and give linear outputs.
    """

    n_latent: Annotated[int, Range(1), "numbers of a code"] = 30
    loss: Annotated[ReconstructionName, "of a reconstruction: ||x - y||^2, its root, or the cross-entropy"] = "bce"
    density: Annotated[DensityName, "law of the codes, fitted to those of the training images at the end"] = "mixture"
    n_components: Annotated[int, Range(1), "Gaussians of the mixture"] = 20
    n_codes: Annotated[int, Range(1), "codes that the jitter stores"] = 1000

    @property
    def _n_features_out(self) -> int:
        return self.n_latent

    @property
    def _law(self) -> Visible:
        return "binary" if self.loss == "bce" else "gaussian"

    def _prior(self) -> Density:
        if self.density == "gaussian":
            return GaussianDensity(self.n_latent)
        if self.density == "mixture":
            return GaussianMixture(self.n_latent, self.n_components)
        return CodeJitter(self.n_latent, self.n_codes)

    @property
    def _remark(self) -> str:
        parts = self.n_components if self.density == "mixture" else self.n_codes
        law = LAWS[self.density].format(parts)
        return f"drawn from {law} that was fitted to the codes of training images after training: no part of the model"

    def _finish(self, nets: Any, stream: Stream, rng: Rng) -> None:
        """Fit the density to the codes of all training images."""
        nets.prior.fit(torch.cat([self._encode(nets, stream.serve(rows)) for rows in stream.x.split(ROWS)]))

    def _mean(self, out: Tensor) -> Tensor:
        """The images that outputs mean."""
        return out.sigmoid() if self.loss == "bce" else out

    def _bias(self, mean: Tensor) -> Tensor:
        """The output whose image is the mean of the data [d]."""
        return mean.flatten().clamp(0.01, 0.99).logit() if self.loss == "bce" else mean.flatten()


class AutoencodingNets(Nets):
    """Encoder, decoder and the density of the codes."""

    encoder: nn.Module
    decoder: nn.Module
    prior: Density


@dataclass(kw_only=True, eq=False, repr=False)
class Autoencoding(Coding):
    """Encoder f and decoder g, its mirror, around a linear code, trained as one: E loss(x, g(f(x))).

    Images in colour get convolutions by default ("auto"), where nothing asks for fully connected layers (`_dense`).
    hidden = () with mse is linear, and finds the span of the principal components (Baldi and Hornik 1989).
    """

    hidden: Annotated[tuple[int, ...], Range(1), "hidden layers of the encoder; the decoder mirrors them"] = (500, 250)
    network: Annotated[
        Literal["auto", "mlp", "conv"], "fully connected or convolutional (auto: conv for images in colour)"
    ] = "auto"
    width: Annotated[int, Range(1), "channels of the first convolution"] = 32
    activation: Annotated[Activation, "between fully connected layers"] = "relu"
    dropout: Annotated[float, Range(0, 0.95), "probability to drop a hidden unit, while training (mlp)"] = 0.0
    init: Annotated[Init | None, "law of the first weights (none: torch's, of sigmoid units Glorot and Bengio's)"] = (
        None
    )
    tied: Annotated[bool, "the decoder has the weights of the encoder, transposed (mlp)"] = False

    @property
    def _dense(self) -> list[str]:
        """Parameters that are set to what only fully connected layers can do."""
        return [name for name in ("tied", "dropout") if getattr(self, name)]

    def _choices(self, shape: Shape) -> dict[str, str]:
        colour = len(shape) == 3 and shape[0] > 1
        return {"network": "conv" if colour and not self._dense else "mlp"} if self.network == "auto" else {}

    def check_parameters(self) -> None:
        """As everywhere; and what only fully connected layers can do."""
        super().check_parameters()
        if self._dense and self.network == "conv":
            name = self._dense[0]
            raise ValueError(
                f"{name} is {getattr(self, name)!r} with network 'conv', expected 'mlp'; the usual fix is network='mlp'"
            )

    def _build(self, shape: Shape, rng: torch.Generator) -> AutoencodingNets:
        if self._choices(shape).get("network", self.network) == "conv":
            image = image_shape(shape)
            nets = AutoencodingNets(
                encoder=ConvEncoder(image, self.width, self.n_latent),
                decoder=ConvDecoder(image, self.width, self.n_latent),
            )
        else:
            sizes = (math.prod(shape), *self.hidden, self.n_latent)
            decoder = (TiedDecoder if self.tied else MLP)(sizes[::-1], self.activation, dropout=self.dropout)
            nets = AutoencodingNets(encoder=MLP(sizes, self.activation, dropout=self.dropout), decoder=decoder)
            if self.activation == "sigmoid":
                init_glorot(nets, rng)
        if self.init is not None:
            Init.parse(str(self.init))(nets, rng)
        return nets

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        player = Player("autoencoder", ("encoder", "decoder"), self._loss, self._optimizer())
        return [Stage("learn", [player], self._budget(), start=self._start, finish=self._finish)]

    def _start(self, nets: AutoencodingNets, stream: Stream, rng: Rng) -> None:
        """The first images are the mean of the data."""
        if not isinstance(nets.decoder, ConvDecoder):
            *_, last = (p for p in nets.decoder.parameters() if p.ndim == 1)
            last.copy_(self._bias(stream.mean()))

    def _input(self, x: Tensor, rng: Rng) -> Tensor:
        """What the encoder is shown of images x [B, d]."""
        return x

    def _out(self, nets: AutoencodingNets, z: Tensor, rng: Rng | None = None) -> Tensor:
        """The outputs of codes z [B, k] -> [B, d]; `rng` is for dropout."""
        out: Tensor = nets.decoder(z, nets.encoder, rng) if self.tied else nets.decoder(z, rng)
        return out.flatten(1)

    def _loss(self, nets: AutoencodingNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """The mean cost of an image, all of its pixels together."""
        x = batch.x.flatten(1)
        z = nets.encoder(self._input(x, rng), rng)
        return RECONSTRUCTIONS[self.loss](x, self._out(nets, z, rng)).mean(), {}

    def _encode(self, nets: AutoencodingNets, x: Tensor) -> Tensor:
        codes: Tensor = nets.encoder(x.flatten(1))
        return codes

    def _decode(self, nets: AutoencodingNets, z: Tensor) -> Tensor:
        return self._mean(self._out(nets, z))
