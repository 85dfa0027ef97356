"""The conditional variational autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genlearn._types import Batch, Likelihood, Logs
from genlearn.estimator import Shape
from genlearn.maths.rng import Rng, make_rng, normal
from genlearn.models.vae import VAE, VAENets
from genlearn.nets.priors import LabelledPrior, Prior
from genlearn.progress import track
from genlearn.train import Stage, Stream


@dataclass(kw_only=True, eq=False, repr=False)
class ConditionalVAE(VAE):
    """Conditional VAE: encoder and decoder are told a class y, one-hot: p(x | y) = E_{z ~ N(0, I)} p(x | z, y), by

    ELBO(x, y) = E_{q(z | x, y)}[log p(x | z, y)] - beta KL(q(z | x, y) || p(z)).

    `sample(y=...)` draws a class; without y classes come as often as in the data. Images whose label is -1 are left out
    of training. Without its label an image has the bound log sum_y p(y) exp ELBO(x, y) <= log p(x) (`score_samples`,
    16 fixed draws of the noise), and `predict` takes its largest term. Codes are the mean of z under that class, and
    the class, one-hot.

    Sohn, Lee and Yan 2015 (equation 4, with p(z | y) = p(z)); Kingma et al. 2014 (M2).
    """

    paper: ClassVar[str] = "Sohn, Lee and Yan 2015"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"hidden": (16,), "n_latent": 3, "epochs": 40, "learning_rate": 5e-3}
    }
    _uses_labels: ClassVar[bool] = True
    _needs_labels: ClassVar[bool] = True

    def check_parameters(self) -> None:
        """As everywhere; and that z is normal."""
        super().check_parameters()
        if self.prior != "normal":
            raise ValueError(
                f"prior is {self.prior!r}, expected 'normal' of a conditional VAE, whose encoder is told "
                "classes; the usual fix is prior='normal', or VAE"
            )

    @property
    def _n_features_out(self) -> int:
        return self.n_latent + self._n_classes

    def _prior(self) -> Prior:
        return LabelledPrior(super()._prior(), self._n_classes)

    def _log_prior(self, nets: Any, z: Tensor) -> Tensor:
        log_p: Tensor = nets.prior.law.log_prob(z)
        return log_p

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        return [replace(stage, labelled=1.0, start=self._count) for stage in super()._stages(shape)]

    def _count(self, nets: Any, stream: Stream, rng: Rng) -> None:
        self._start(nets, stream, rng)
        assert stream.y is not None
        nets.prior.count(stream.y)

    def _loss(self, nets: VAENets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        assert batch.y is not None
        return super()._loss(nets, batch, rng)

    def _by_class(self, nets: Any, x: Tensor, noise: Tensor) -> Tensor:
        """log p(y) + ELBO(x, y) of every class [B, classes]."""
        classes = x.new_zeros(len(x), dtype=torch.long)
        bounds = [self._elbo(nets, x, noise, classes + y) for y in range(self._n_classes)]
        by_class: Tensor = torch.stack(bounds, 1) + nets.prior.frequencies.log()
        return by_class

    def _noise(self, nets: Any) -> Tensor:
        device = next(nets.parameters()).device
        return normal((16, 1, self.n_latent), make_rng(0, device), self._dtype)

    def _scorer(self, nets: VAENets) -> Callable[[Tensor], Tensor]:
        noise = self._noise(nets)
        return lambda x: self._by_class(nets, x, noise).logsumexp(1)

    def _likelihoods(self, nets: VAENets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        blocks = track(x.split(500), "likelihood", -(-len(x) // 500))
        bounds = torch.cat([self._scorer(nets)(rows) for rows in blocks])
        return {"ELBO": Likelihood(bounds, "lower bound", law=self._law)}

    def _classify(self, nets: VAENets, x: Tensor) -> Tensor:
        return self._by_class(nets, x, self._noise(nets)).log_softmax(1)

    def _encode(self, nets: VAENets, x: Tensor) -> Tensor:
        y = self._classify(nets, x).argmax(1)
        mean = self._posterior(nets, x, y)[0]
        return torch.cat([mean, one_hot(y, self._n_classes).to(mean.dtype)], 1)

    def _sample_class(self, nets: Any, y: Tensor, rng: torch.Generator) -> Tensor:
        return self._decode(nets, nets.prior.draw_classes(y, rng))
