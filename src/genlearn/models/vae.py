"""The variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genlearn._types import Batch, Likelihood, Logs, Nets, ScoreKind, Visible
from genlearn.capabilities import Encoder
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.elbo import importance_bound, kl_by_unit, kl_standard_normal, log_bernoulli, log_normal
from genlearn.maths.rng import Rng, bernoulli, make_rng, normal
from genlearn.nets.conv import ConvDecoder, ConvEncoder, Pooling, image_shape
from genlearn.nets.init import Init
from genlearn.nets.mlp import MLP, Activation
from genlearn.nets.priors import NormalPrior, Prior, spread
from genlearn.nets.vamp import VampPrior
from genlearn.parallel import all_sum
from genlearn.parameters import Range
from genlearn.progress import track
from genlearn.train import Player, Schedule, Stage, Stream

ACTIVE = 0.01  # variance of a unit's mean over images, above which it says something


class VAENets(Nets):
    """Encoder, decoder, the law of the pixels around its output, and of the codes."""

    encoder: nn.Module
    decoder: nn.Module
    pixels: PixelBias
    prior: Prior


@dataclass(kw_only=True, eq=False, repr=False)
class VAE(Encoder, GenerativeEstimator):
    """Variational autoencoder: p(x) = E_{z ~ p(z)} p(x | z), trained by the evidence lower bound (in nats)

    ELBO = E_{q(z | x)}[log p(x | z)] - beta KL(q(z | x) || p(z)),  q(z | x) = N(mean(x), diag exp(log_var(x))).

    Against units that give up: beta may rise from 0 (a warm-up), and free bits lambda make a unit's KL, the mean over
    the batch, cost max(lambda, KL). With k > 1 it descends -log 1/k sum_i p(x, z_i) / q(z_i | x) instead, a tighter
    bound of -log p(x). The journal counts the active units, whose mean varies by more than 0.01 over the batch.

    p(z) is N(0, I), or, with prior="vamp", the mixture 1/K sum_k q(z | u_k) of the encoder's own posteriors at K
    pseudo-inputs, images that are learned with the nets (and begin at images of the data). The KL then is no closed
    form, but log q(z | x) - log p(z) at the draws of z.

    p(x | z) is Bernoulli on [0, 1] pixels or Gaussian with one learned variance, which images in colour get by default
    ("auto"), with convolutions. `transform` gives the mean of
    q(z | x), `inverse_transform` E[x | z]; `score_samples` is the ELBO (beta = 1) with 16 fixed draws of the noise,
    shared by all rows; of binary pixels if Bernoulli, however it was trained (`binarize`).

    Kingma and Welling 2014, algorithm 1 and equation 10; Higgins et al. 2017 (beta); Burda et al. 2016 (k > 1, equation
    8; active units, section 5.2); Bowman et al. 2016 (warm-up); Kingma et al. 2016 (free bits, equation 15); Tomczak
    and Welling 2018 (the mixture prior).
    """

    n_latent: Annotated[int, Range(1), "dimensions of z"] = 20
    prior: Annotated[Literal["normal", "vamp"], "law of z: N(0, I), or a mixture of q(z | pseudo-input)"] = "normal"
    n_components: Annotated[int, Range(1), "pseudo-inputs of the mixture (vamp)"] = 100
    hidden: Annotated[tuple[int, ...], Range(1), "hidden layers of the encoder; the decoder mirrors them"] = (200, 200)
    network: Annotated[
        Literal["auto", "mlp", "conv"], "fully connected or convolutional (auto: conv for images in colour)"
    ] = "auto"
    width: Annotated[int, Range(1), "channels of the first convolution"] = 32
    pooling: Annotated[Pooling, "what halves the images: strides, or the mean or largest of 2x2 (conv)"] = "none"
    activation: Annotated[Activation, "between fully connected layers"] = "relu"
    dropout: Annotated[float, Range(0, 0.95), "probability to drop a hidden unit, while training (mlp)"] = 0.0
    init: Annotated[Init | None, "law of the first weights (none: torch's)"] = None
    likelihood: Annotated[
        Literal["auto", "bernoulli", "gaussian"], "law of the pixels (auto: gaussian for images in colour)"
    ] = "auto"
    beta: Annotated[float | Schedule, Range(0), "weight of the KL term, or its schedule in images"] = 1.0
    free_bits: Annotated[float, Range(0), "nats of each unit's KL that cost nothing"] = 0.0
    k: Annotated[int, Range(1), "draws of z an image: the importance-weighted bound where above 1"] = 1
    binarize: Annotated[bool, "draw binary pixels afresh from grey ones for each batch (bernoulli)"] = True

    family: ClassVar[str] = "autoencoder"
    paper: ClassVar[str] = "Kingma and Welling 2014"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"tiny": {"hidden": (16,), "n_latent": 3, "epochs": 2}}

    def check_parameters(self) -> None:
        """As everywhere; and that the importance-weighted bound is taken as it is."""
        super().check_parameters()
        if self.k > 1 and (self.beta != 1 or self.free_bits):
            raise ValueError(
                f"k is {self.k} with beta {self.beta!r} and free_bits {self.free_bits}, expected 1 and 0: the "
                "importance-weighted bound has no KL term to weigh; the usual fix is k=1"
            )
        if self.prior == "vamp" and self.free_bits:
            raise ValueError(
                f"free_bits is {self.free_bits} with prior 'vamp', expected 0: its KL is no sum over units; the usual "
                "fix is free_bits=0"
            )

    def _choices(self, shape: Shape) -> dict[str, str]:
        colour = len(shape) == 3 and shape[0] > 1
        chosen = {"network": "conv" if colour else "mlp", "likelihood": "gaussian" if colour else "bernoulli"}
        return {name: value for name, value in chosen.items() if getattr(self, name) == "auto"}

    @property
    def _law(self) -> Visible:
        shape = self.border_.inner_shape if hasattr(self, "border_") else ()
        chosen = self._choices(shape).get("likelihood", self.likelihood)
        return "binary" if chosen == "bernoulli" else "gaussian"

    @property
    def _pixels(self) -> bool:
        return self.likelihood != "gaussian"

    @property
    def _n_features_out(self) -> int:
        return self.n_latent

    def _build(self, shape: Shape, rng: torch.Generator) -> VAENets:
        d, k, n_told, chosen = math.prod(shape), self.n_latent, self._n_classes, self._choices(shape)
        encoder: nn.Module
        decoder: nn.Module
        network = chosen.get("network", self.network)
        if (network == "mlp" and self.pooling != "none") or (network == "conv" and self.dropout):
            raise ValueError(
                f"pooling is {self.pooling!r} and dropout {self.dropout} with network {network!r}, expected pooling of "
                "'conv', dropout of 'mlp'; the usual fix is the other network"
            )
        if network == "conv":
            image = image_shape(shape)
            encoder = ConvEncoder((image[0] + n_told, *image[1:]), self.width, 2 * k, self.pooling)
            decoder = ConvDecoder(image, self.width, k + n_told)
        else:
            encoder = MLP((d + n_told, *self.hidden, 2 * k), self.activation, dropout=self.dropout)
            decoder = MLP((k + n_told, *self.hidden[::-1], d), self.activation, dropout=self.dropout)
        if self.init is not None:
            for net in (encoder, decoder):
                Init.parse(str(self.init))(net, rng)
        bernoulli_pixels = chosen.get("likelihood", self.likelihood) == "bernoulli"
        nets = VAENets(encoder=encoder, decoder=decoder, pixels=PixelBias(d, bernoulli_pixels))
        if self.prior == "vamp":
            nets["prior"] = VampPrior(encoder, d, k, self.n_components, bernoulli_pixels)
        return nets

    def _prior(self) -> Prior:
        return NormalPrior(self.n_latent)

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        owns = ("encoder", "decoder", "pixels", *(["prior"] if self.prior == "vamp" else []))
        return [Stage("learn", [Player("vae", owns, self._loss, self._optimizer())], self._budget(), start=self._start)]

    @staticmethod
    def _start(nets: VAENets, stream: Stream, rng: Rng) -> None:
        nets.pixels.fit(stream.mean(), None if nets.pixels.bernoulli else stream.variance())
        if isinstance(nets.prior, VampPrior):
            nets.prior.start(stream.serve(spread(stream.x, len(nets.prior.inputs))))

    def _binary(self, nets: VAENets, x: Tensor, rng: torch.Generator) -> Tensor:
        return bernoulli(x, rng) if self.binarize and nets.pixels.bernoulli else x

    # Classes y [B], here and below, are those of a model that is told them.

    def _posterior(
        self, nets: VAENets, x: Tensor, y: Tensor | None = None, rng: Rng | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x), each [B, L]; `rng` is for dropout."""
        told = x.flatten(1)
        if y is not None:
            label = one_hot(y, self._n_classes).to(x.dtype)
            if isinstance(nets.encoder, ConvEncoder):  # a plane of each class
                label = label.repeat_interleave(math.prod(nets.encoder.shape[1:]), 1)
            told = torch.cat([told, label], 1)
        mean, log_var = nets.encoder(told, rng).chunk(2, 1)
        return mean, log_var

    def _log_p(self, nets: VAENets, x: Tensor, z: Tensor, y: Tensor | None = None, rng: Rng | None = None) -> Tensor:
        """log p(x | z) in nats [B]; `rng` is for dropout."""
        if y is not None:
            z = torch.cat([z, one_hot(y, self._n_classes).to(z.dtype)], 1)
        log_p: Tensor = nets.pixels(x.flatten(1), nets.decoder(z, rng).flatten(1))
        return log_p

    def _log_prior(self, nets: VAENets, z: Tensor) -> Tensor:
        """log p(z) in nats [B]."""
        return nets.prior.log_prob(z)

    def _loss(self, nets: VAENets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """-ELBO, one draw of z = mean + exp(log_var / 2) eps for each image; or the bound of k draws."""
        x = self._binary(nets, batch.x, rng)
        y = batch.y if self._n_classes else None
        mean, log_var = self._posterior(nets, x, y, rng)
        sd, n = (0.5 * log_var).exp(), rng.world
        eps = normal((len(mean), self.k, self.n_latent), rng, mean.dtype).transpose(0, 1)
        logs = {"active units": (_variance(mean, n) > ACTIVE).sum().to(mean.dtype)}
        if self.k > 1:
            log_w = []
            for one in eps:
                z = mean + sd * one
                log_q = log_normal(z, mean, 0.5 * log_var)
                log_w.append(self._log_p(nets, x, z, y, rng) + self._log_prior(nets, z) - log_q)
            return -importance_bound(torch.stack(log_w)).mean(), logs
        z = mean + sd * eps[0]
        reconstruction = -self._log_p(nets, x, z, y, rng).mean()
        if self.prior == "vamp":
            kl = cost = (log_normal(z, mean, 0.5 * log_var) - self._log_prior(nets, z)).mean()
        else:
            units = kl_by_unit(mean, log_var).mean(0)
            kl = cost = units.sum()
            if self.free_bits:
                # Of all processes: the largest of a mean is no mean of largest ones.
                cost = (all_sum(units) / n).clamp_min(self.free_bits).sum()
        beta = Schedule.parse(self.beta)(batch.seen, batch.spent)
        return reconstruction + beta * cost, logs | {"reconstruction": reconstruction, "kl": kl}

    def _log_weights(self, nets: VAENets, x: Tensor, noise: Tensor) -> Tensor:
        """log p(x, z) - log q(z | x) for z = mean + sd * noise: noise [K, 1 or B, L] -> [K, B]."""
        mean, log_var = self._posterior(nets, x)
        log_w = []
        for eps in noise:
            z = mean + (0.5 * log_var).exp() * eps
            log_w.append(self._log_p(nets, x, z) + self._log_prior(nets, z) - log_normal(z, mean, 0.5 * log_var))
        return torch.stack(log_w)

    def _elbo(self, nets: VAENets, x: Tensor, noise: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of log p(x | z) over the noise, minus the KL term, in closed form where z is normal [B]."""
        if self.prior == "vamp":
            return self._log_weights(nets, x, noise).mean(0)
        mean, log_var = self._posterior(nets, x, y)
        sd = (0.5 * log_var).exp()
        fit = torch.stack([self._log_p(nets, x, mean + sd * eps, y) for eps in noise]).mean(0)
        return fit - kl_standard_normal(mean, log_var)

    def _encode(self, nets: VAENets, x: Tensor) -> Tensor:
        return self._posterior(nets, x)[0]

    def _decode(self, nets: VAENets, z: Tensor) -> Tensor:
        return nets.pixels.mean(nets.decoder(z).flatten(1))

    def _score_kind(self, nets: VAENets) -> ScoreKind:
        return "lower bound"

    def _scorer(self, nets: VAENets) -> Callable[[Tensor], Tensor]:
        device = next(nets.parameters()).device
        noise = normal((16, 1, self.n_latent), make_rng(0, device), self._dtype)
        return lambda x: self._elbo(nets, x, noise)

    def _likelihoods(self, nets: VAENets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        elbo, iwae = [], []
        for rows in track(x.split(500), "likelihood", -(-len(x) // 500)):
            noise = normal((50, len(rows), self.n_latent), rng, rows.dtype)
            elbo.append(self._elbo(nets, rows, noise[:8]))
            iwae.append(importance_bound(self._log_weights(nets, rows, noise)))
        return {
            "ELBO": Likelihood(torch.cat(elbo), "lower bound", law=self._law),
            "IWAE-50": Likelihood(torch.cat(iwae), "lower bound", law=self._law),
        }


def _variance(mean: Tensor, n: int) -> Tensor:
    """The variance of each unit over the rows of n processes: [B, L] -> [L]."""
    with torch.no_grad():
        moments = all_sum(torch.stack([mean.mean(0), mean.square().mean(0)])) / n
        return moments[1] - moments[0].square()


class PixelBias(nn.Module):
    """The law of the pixels around the decoder's output, started at the moments of the data.

    bernoulli: p = sigmoid(out + bias); gaussian: N(out + bias, exp(log_sigma)^2), one learned scale.
    """

    def __init__(self, d: int, bernoulli: bool) -> None:
        super().__init__()
        self.bernoulli = bernoulli
        self.bias = nn.Parameter(torch.zeros(d))
        if not self.bernoulli:
            self.log_sigma = nn.Parameter(torch.zeros(()))

    @torch.no_grad()
    def fit(self, mean: Tensor, variance: Tensor | None) -> None:
        """Start from the pixels' means (as logits) and their overall standard deviation."""
        mean = mean.flatten()
        self.bias.copy_(mean.clamp(0.01, 0.99).logit() if self.bernoulli else mean)
        if variance is not None:
            self.log_sigma.copy_(variance.mean().sqrt().clamp_min(1e-6).log())

    def mean(self, out: Tensor) -> Tensor:
        """E[x] [B, d]."""
        return (out + self.bias).sigmoid() if self.bernoulli else out + self.bias

    def forward(self, x: Tensor, out: Tensor) -> Tensor:
        """log p(x) in nats [B]."""
        out = out + self.bias
        return log_bernoulli(x, out) if self.bernoulli else log_normal(x, out, self.log_sigma)
