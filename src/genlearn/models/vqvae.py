"""The autoencoder whose codes are words of a codebook, and the recurrent net that writes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genlearn._types import Batch, Likelihood, Logs, Nets, ScoreKind, Visible
from genlearn.capabilities import Encoder
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.elbo import log_normal
from genlearn.maths.rng import Rng
from genlearn.nets.codebook import Codebook, CodebookRule, CodePrior, GridDecoder, GridEncoder, grid_size
from genlearn.nets.conv import image_shape
from genlearn.nets.recurrent import Cell
from genlearn.nets.scale import Scale
from genlearn.parameters import Range
from genlearn.train import Budget, Player, Schedule, Stage, Stream


class VQVAENets(Nets):
    """Encoder and decoder of a grid of vectors, the codebook between them, the scales of data and errors, the law of
    codes."""

    encoder: GridEncoder
    codebook: Codebook
    decoder: GridDecoder
    scale: Scale
    noise: Scale
    prior: CodePrior


@dataclass(kw_only=True, eq=False, repr=False)
class VQVAE(Encoder, GenerativeEstimator):
    """Autoencoder with a codebook: each place of a grid z(x) is replaced by the nearest of K vectors e_k, trained by

    ||x - x_hat(e)||^2 / (d sd^2) + beta ||z - sg(e)||^2 / D,  the gradient by e going straight through to z,

    sg stops the gradient, sd is that of the pixels. The codebook follows z by exponential averages, or descends
    ||sg(z) - e||^2 / D; codes that die are moved to vectors of the data. Its perplexity, the number of codes in
    use, stands in the journal. `transform` gives the codes k, row by row, `inverse_transform` the images of codes.

    Then, as a second stage (`prior_*`), a recurrent net learns p(k) of the grids in raster order, exactly, as an
    `AutoregressiveRNN` that of pixels; `sample` draws codes from it and decodes them. With labels (-1 where unknown) it
    is told the class of the image: `sample(y=...)` draws one; the codes themselves know nothing of classes. Of a budget
    in images or minutes the codes get half, their net all that is left; in epochs each stage has as many.

    `score_samples` is the evidence lower bound of log p(x), x in [0, 1], whose q(k | x) is the one grid k(x):

    log p(x) = log sum_k P(k) N(x; x_hat(k), s^2 I) >= log P(k(x)) + log N(x; x_hat(k(x)), s^2 I),

    the densities being those to which the squared error belongs; s^2, the mean squared error of the training images, is
    their likeliest variance, taken before the second stage.

    Van den Oord, Vinyals and Kavukcuoglu 2017.
    """

    n_codes: Annotated[int, Range(2), "vectors in the codebook, K"] = 128
    n_latent: Annotated[int, Range(1), "numbers in a vector, D"] = 32
    halvings: Annotated[int, Range(1), "times that the grid is half as wide and high as before, from the image on"] = 2
    width: Annotated[int, Range(1), "channels of the convolutions"] = 64
    codebook: Annotated[CodebookRule, "what moves the codebook"] = "averages"
    decay: Annotated[float, Range(0, 1), "of the averages, a batch"] = 0.99
    revive: Annotated[float, Range(0, 1), "share of the mean use below which a code is moved (0: never)"] = 0.05
    commitment: Annotated[float, Range(0), "weight of the distance of z from its code, beta"] = 0.25
    prior_cell: Annotated[Cell, "recurrent net of the codes"] = "lstm"
    prior_order: Annotated[Literal["codes", "rows"], "what a step of it is: a code, or a row of them"] = "codes"
    prior_hidden: Annotated[int, Range(1), "units of its state"] = 256
    prior_epochs: Annotated[
        float | None, Range(0, open=True), "passes over the data of its stage (none: epochs, or what is left)"
    ] = None
    prior_rate: Annotated[float | Schedule, Range(0, open=True), "its step size, or its schedule in images"] = 2e-3

    family: ClassVar[str] = "autoencoder"
    paper: ClassVar[str] = "van den Oord, Vinyals and Kavukcuoglu 2017"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"n_codes": 16, "n_latent": 4, "halvings": 1, "width": 8, "prior_hidden": 8, "prior_epochs": 1}
    }

    _uses_labels: ClassVar[bool] = True

    @property
    def _law(self) -> Visible:
        return "gaussian"

    @property
    def _pixels(self) -> bool:
        return True

    def _grid(self, shape: Shape) -> tuple[int, int]:
        return grid_size(image_shape(shape), self.halvings)

    @property
    def _n_features_out(self) -> int:
        return math.prod(self._grid(self.border_.inner_shape))

    def _build(self, shape: Shape, rng: torch.Generator) -> VQVAENets:
        images = image_shape(shape)
        if self.halvings > (most := max(2, (max(images[1:]) - 1).bit_length())):
            raise ValueError(
                f"halvings is {self.halvings}, expected at most {most} for images of {images[1]} x {images[2]}, which "
                "are one code then"
            )
        sizes = (images, self.halvings, self.width, self.n_latent)
        codebook = Codebook(self.n_codes, self.n_latent, self.codebook, self.decay, self.revive)
        scales = {"scale": Scale(pixels=True), "noise": Scale(pixels=False)}
        return VQVAENets(encoder=GridEncoder(*sizes), codebook=codebook, decoder=GridDecoder(*sizes), **scales)

    def _prior(self) -> CodePrior:
        values = self._grid(self.border_.inner_shape)[1] if self.prior_order == "rows" else 1
        sizes = (self._n_features_out, self.n_codes, self.prior_cell, self.prior_hidden)
        return CodePrior(*sizes, values, self._n_classes)

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        owns = ("encoder", "decoder", *(["codebook"] if self.codebook == "loss" else []))
        coder = Player("vqvae", owns, self._loss, self._optimizer(), after=lambda nets: nets.codebook.replace_dead())
        writer = Player("prior", ("prior",), self._loss_prior, self._optimizer(lr=self.prior_rate), clip=1.0)
        left = Budget(epochs=self.epochs if self.prior_epochs is None else self.prior_epochs)
        return [
            Stage("codes", [coder], self._budget(), start=self._start),
            Stage("prior", [writer], left, start=self._start_prior, prepare=self._coded),
        ]

    # --- the codes

    def _z(self, nets: VQVAENets, x: Tensor) -> Tensor:
        """The vector of each place: [B, ...] -> [B h w, D]."""
        z: Tensor = nets.encoder(nets.scale.inward(x).view(len(x), *image_shape(x.shape[1:])))
        return z.movedim(1, -1).flatten(0, 2)

    def _picture(self, nets: VQVAENets, e: Tensor) -> Tensor:
        """The mean image of vectors [B h w, D]: [B, C, H, W]."""
        grid = e.view(-1, *self._grid(self.border_.inner_shape), self.n_latent)
        logits: Tensor = nets.decoder(grid.movedim(-1, 1))
        return logits.sigmoid()

    def _start(self, nets: VQVAENets, stream: Stream, rng: Rng) -> None:
        mean, variance = stream.mean(), stream.variance()
        nets.scale.fit(mean, variance)
        nets.noise.fit(torch.zeros_like(mean), variance)
        nets.decoder.bias.copy_(mean.clamp(0.01, 0.99).logit().view_as(nets.decoder.bias))
        nets.codebook.start(self._z(nets, stream.serve(stream.x[:1000])), rng)

    def _loss(self, nets: VQVAENets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        z = self._z(nets, batch.x)
        e, k, commitment = nets.codebook(z)
        x_hat = self._picture(nets, e).view_as(batch.x)
        error = (x_hat - batch.x).square().mean() / nets.scale.sd.square()
        loss = error + self.commitment * commitment
        if self.codebook == "loss":
            loss = loss + nets.codebook.distance(z, k)
        nets.codebook.follow(z, k, rng)
        return loss, {"error": error, "commitment": commitment, "perplexity": nets.codebook.perplexity}

    # --- their law

    def _codes(self, nets: VQVAENets, x: Tensor) -> Tensor:
        """k of every place, row by row: [B, ...] -> [B, h w]."""
        return nets.codebook.nearest(self._z(nets, x)).view(len(x), -1)

    def _coded(self, nets: VQVAENets, batch: Batch, rng: Rng) -> Batch:
        return batch._replace(x=self._encode(nets, batch.x))

    def _start_prior(self, nets: VQVAENets, stream: Stream, rng: Rng) -> None:
        """The errors of what is final now; independent codes first, of the shares in the data."""
        error = stream.mean(lambda x: (self._decode(nets, self._encode(nets, x)) - x.flatten(1)).square())
        nets.noise.fit(torch.zeros_like(error), error)
        shares = stream.mean(lambda x: one_hot(self._codes(nets, x), self.n_codes).to(x.dtype))
        nets.prior.net.start(shares.unflatten(0, (nets.prior.net.n_steps, -1)))
        if nets.prior.shares is not None and stream.y is not None:
            nets.prior.shares.fit(stream.y)

    def _loss_prior(self, nets: VQVAENets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """-log p(k | y) in nats an image."""
        y = batch.y if self._n_classes else None
        return -nets.prior.log_prob_given(batch.x, y).mean(), {}

    # --- capabilities

    def _encode(self, nets: VQVAENets, x: Tensor) -> Tensor:
        return self._codes(nets, x).to(self._dtype)

    def _decode(self, nets: VQVAENets, z: Tensor) -> Tensor:
        k = z.long()
        if (k < 0).any() or (k >= self.n_codes).any() or (k != z).any():
            raise ValueError(
                f"codes go from {z.min():g} to {z.max():g}, expected whole numbers from 0 to {self.n_codes - 1}, as of "
                "transform"
            )
        return self._picture(nets, nets.codebook.vectors[k.flatten()]).flatten(1)

    def _score_kind(self, nets: VQVAENets) -> ScoreKind:
        return "lower bound"

    def _scorer(self, nets: VQVAENets) -> Callable[[Tensor], Tensor]:
        def bound(x: Tensor) -> Tensor:
            k = self._encode(nets, x)
            return nets.prior.log_prob(k) + log_normal(x.flatten(1), self._decode(nets, k), nets.noise.sd.log())

        return bound

    def _likelihoods(self, nets: VQVAENets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        values = self._blocks(self._scorer(nets), x, nets)
        note = f"It is of densities, N(x_hat, s^2) of a pixel in [0, 1] with s = {nets.noise.sd.item():.3f}."
        return {"ELBO": Likelihood(values, "lower bound", law=self._law, notes=(note,))}

    def _sample_class(self, nets: VQVAENets, y: Tensor, rng: torch.Generator) -> Tensor:
        return self._decode(nets, nets.prior.draw_classes(y, rng))

    def perplexity(self, X: Any, *, nets: Nets | None = None) -> float:
        """How many codes images X [n, ...] use: exp of the entropy of their shares, 1 to `n_codes`."""
        p = np.bincount(self.transform(X, nets=nets).astype(int).ravel(), minlength=self.n_codes) / 1.0
        p = p[p > 0] / p.sum()
        return float(np.exp(-(p * np.log(p)).sum()))
