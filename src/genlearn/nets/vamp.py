"""A prior made of an encoder's own posteriors."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genlearn.maths.rng import normal, one_of
from genlearn.nets.priors import Prior, spread
from genlearn.shapes import Float


class VampPrior(Prior):
    """1/K sum_k q(z | u_k), the mean of an encoder's posteriors N(mean, exp(log_var)) at K learned pseudo-inputs u_k.

    encoder: [B, n_in] -> [B, 2 d], means beside log-variances. It is a net of its own, which this one asks and does not
    hold: its weights move the prior, in training too, but are neither counted nor saved here. Batch statistics are
    those of images: for pseudo-inputs it is in evaluation mode. u_k [n_in] are pixels sigmoid(`inputs`) in [0, 1], or
    `inputs` themselves. Tomczak and Welling 2018, equation 9 ("variational mixture of posteriors").
    """

    def __init__(self, encoder: nn.Module, n_in: int, d: int, k: int, pixels: bool) -> None:
        super().__init__(d)
        self._encoder = (encoder,)  # in a tuple: no part of this module
        self.inputs = nn.Parameter(torch.zeros(k, n_in))
        self.pixels = pixels

    @torch.no_grad()
    def start(self, x: Float[Tensor, "n ..."]) -> None:
        """Begin at as many of the images x [n, ...] as there are pseudo-inputs, evenly spread, again from the first."""
        rows = spread(x.flatten(1), len(self.inputs))
        rows = rows[torch.arange(len(self.inputs), device=x.device) % len(rows)]
        self.inputs.copy_(rows.clamp(0.01, 0.99).logit() if self.pixels else rows)

    def pseudo_inputs(self) -> Float[Tensor, "K n_in"]:
        """u_k."""
        return self.inputs.sigmoid() if self.pixels else self.inputs

    def components(self) -> tuple[Float[Tensor, "K d"], Float[Tensor, "K d"]]:
        """Means and log-variances of q(z | u_k), as the encoder is now."""
        (encoder,), u = self._encoder, self.pseudo_inputs()
        training = encoder.training
        try:
            out: Tensor = encoder.eval()(u)
        finally:
            encoder.train(training)
        mean, log_var = out.to(self.mean.dtype).chunk(2, 1)
        return mean, log_var

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "{n} d"]:
        """n independent codes [n, d]."""
        mean, log_var = self.components()
        k = one_of(self.mean.new_full((n, len(mean)), 1 / len(mean)), rng).argmax(1)
        return mean[k] + (0.5 * log_var[k]).exp() * normal((n, len(self.mean)), rng, self.mean.dtype)

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """log p(z) in nats: [n, d] -> [n]."""
        mean, log_var = self.components()
        squares = (z[:, None] - mean).square() * (-log_var).exp()
        log_p = -0.5 * (squares + log_var + math.log(2 * math.pi)).sum(2)
        return log_p.logsumexp(1) - math.log(len(mean))
