"""Any unnormalised density: a user's module as the energy."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from sklearn.utils.metaestimators import available_if
from torch import Tensor, nn

from genlearn._types import Batch, Logs, Nets, ScoreKind, Visible
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses import matching
from genlearn.losses.elbo import log_bernoulli, log_normal
from genlearn.losses.noise_contrastive import nce
from genlearn.maths.rng import Rng, bernoulli, make_rng, normal
from genlearn.nets.constant import Constant
from genlearn.parameters import Range
from genlearn.samplers import bit_chain, langevin_chain
from genlearn.train import Player, Stage, Stream

FULL_COVARIANCE = 1000


class EnergyNets(Nets):
    """The energy, the law of the noise, and log Z of nce."""

    energy: nn.Module
    noise: BernoulliNoise | GaussianNoise
    log_z: Constant


@dataclass(kw_only=True, eq=False, repr=False)
class EnergyModel(GenerativeEstimator):
    """p(x) = exp(-E(x)) / Z for any energy that is an nn.Module: x [B, ...] -> E [B], every row by itself.

    `fit` trains a copy of the module, from the weights that it has; parameters that are frozen stay so.

    nce             learns log Z beside E, against noise of a known law: Gaussian with the data's mean and covariance
                    (variances alone above 1,000 values), or independent bits with the data's means
    score-matching  exact; d double backward passes, for few dimensions. E must be smooth: no relu
    sliced          an unbiased estimate of it, for many dimensions
    denoising       the density of the data blurred by N(0, sigma^2)
    ratio-matching  for binary data

    Only `nce` knows Z: it alone has `score_samples`, -E(x) - log Z, an estimate. Real data are taken as they are;
    binary ones are drawn from grey pixels in [0, 1] afresh for each batch. `sample` runs chains from the noise law:
    Metropolis-adjusted Langevin steps, or Gibbs sweeps over the bits (d energies a sweep: for few bits). Training stays
    in full precision, with `bf16` too.

    A file holds the weights, not the code: `EnergyModel.load(folder, energy=...)` wants a module like the one that was
    trained.

    Gutmann and Hyvarinen 2012; Hyvarinen 2005, 2007; Song et al. 2019; Vincent 2011; Roberts and Tweedie 1996 (MALA).
    """

    energy: Annotated[nn.Module, "the energy: [B, ...] -> [B]"]
    algorithm: Annotated[
        Literal["nce", "score-matching", "sliced", "denoising", "ratio-matching"], "what is minimised"
    ] = "nce"
    visible: Annotated[Visible, "law of the noise: gaussian for real data, or binary"] = "gaussian"
    nu: Annotated[int, Range(1), "noise points for each datum (nce)"] = 10
    sigma: Annotated[float, Range(0, open=True), "standard deviation of the blur, in units of x (denoising)"] = 0.1
    n_flips: Annotated[int | None, Range(1), "random bits flipped in each row (ratio-matching; none: all)"] = None
    n_steps: Annotated[int, Range(1), "Langevin steps, or sweeps over the bits, of `sample`"] = 200
    step_size: Annotated[float, Range(0, open=True), "Langevin step: variances of the data, times d^(-1/3)"] = 1.0

    family: ClassVar[str] = "energy"
    paper: ClassVar[str] = "Gutmann and Hyvarinen 2012; Hyvarinen 2005"

    def check_parameters(self) -> None:
        """Raise a one-line ValueError if the energy is no module, a hyper-parameter is out of range, or two clash."""
        super().check_parameters()
        if not any(p.requires_grad for p in self.energy.parameters()):
            raise ValueError("energy has no parameter to be learned, expected one that requires a gradient")
        fitting = {"nce": self.visible, "ratio-matching": "binary"}.get(self.algorithm, "gaussian")
        if self.visible != fitting:
            raise ValueError(
                f"visible is {self.visible!r} with algorithm {self.algorithm!r}, expected {fitting!r}; nce takes both"
            )

    def _build(self, shape: Shape, rng: torch.Generator) -> EnergyNets:
        return EnergyNets(
            energy=copy.deepcopy(self.energy),
            noise=BernoulliNoise(shape) if self.visible == "binary" else GaussianNoise(shape),
            log_z=Constant() if self.algorithm == "nce" else None,
        )

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        owns = [f"energy.{name}" for name, p in self.energy.named_parameters() if p.requires_grad]
        owns += ["log_z"] if self.algorithm == "nce" else []
        player = Player("energy", tuple(owns), self._loss, self._optimizer())
        return [Stage("learn", [player], self._budget(), start=self._start)]

    @staticmethod
    def _start(nets: EnergyNets, stream: Stream, rng: Rng) -> None:
        shape = tuple((x := stream.serve(stream.x[:2])).shape)
        try:
            got = tuple(nets.energy(x).shape)
        except RuntimeError as error:
            raise ValueError(f"energy fails on x of shape {shape}: {' '.join(str(error).split())}") from error
        if got != shape[:1]:
            fix = "the usual fix is nn.Flatten(0) as its last layer"
            raise ValueError(f"energy maps x of shape {shape} to {got}, expected {shape[:1]}; {fix}")
        nets.noise.fit(stream)
        if "log_z" in nets:
            # Z by importance sampling from the noise; the same points in every process.
            y = nets.noise.draw(1000, make_rng(0, stream.device))
            log_w = -nets.energy(y) - nets.noise.log_prob(y)
            nets.log_z.value.copy_(torch.logsumexp(log_w, 0) - math.log(len(y)))

    def _loss(self, nets: EnergyNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        # Slopes and differences of energies are small beside the energies.
        with torch.autocast(batch.x.device.type, enabled=False):
            x = bernoulli(batch.x, rng) if self.visible == "binary" else batch.x
            if self.algorithm == "nce":
                y = nets.noise.draw(self.nu * len(x), rng)
                p, n = self._scorer(nets), nets.noise.log_prob
                return nce(p(x), n(x), p(y), n(y), self.nu), {}
            objectives: dict[str, Callable[..., Tensor]] = {
                "score-matching": matching.score_matching,
                "sliced": partial(matching.sliced_score_matching, rng=rng),
                "denoising": partial(matching.denoising_score_matching, sigma=self.sigma, rng=rng),
                "ratio-matching": partial(matching.ratio_matching, rng=rng, n_flips=self.n_flips),
            }
            rows = objectives[self.algorithm](nets.energy, x)
            # A bias that is added to the energy is not in its score: the gradient is then zero, not missing.
            return rows.mean() + 0 * torch.stack([p.sum() for p in nets.energy.parameters()]).sum(), {}

    @property
    def _law(self) -> Visible:
        return self.visible

    @available_if(lambda self: self.algorithm == "nce")
    def _scorer(self, nets: EnergyNets) -> Callable[[Tensor], Tensor]:
        return lambda x: -nets.energy(x) - nets.log_z.value

    @available_if(lambda self: self.algorithm == "nce")
    def _score_kind(self, nets: EnergyNets) -> ScoreKind:
        return "estimate"

    @property
    def _n_steps(self) -> int:
        return self.n_steps

    def _chain(self, nets: EnergyNets, n: int, rng: torch.Generator, x: Tensor | None = None) -> Iterator[Tensor]:
        """The states of the chain, from the noise."""
        noise = nets.noise
        if isinstance(noise, BernoulliNoise):
            v = noise.draw(n, rng) if x is None else bernoulli(x, rng)
            return bit_chain(nets.energy, v, rng)
        # In the coordinates u where the data have unit covariance, one step size fits all directions.
        d = len(noise.mean)
        u = normal((n, d), rng, noise.mean.dtype) if x is None else noise.whiten(x)

        def energy(u: Tensor) -> Tensor:
            e: Tensor = nets.energy(noise.colour(u))
            return e

        return map(noise.colour, langevin_chain(energy, u, self.step_size * d ** (-1 / 3), rng))


class BernoulliNoise(nn.Module):
    """Independent bits with the means of the data, kept off 0 and 1 by a hundredth."""

    mean: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("mean", torch.full((math.prod(shape),), 0.5))

    @torch.no_grad()
    def fit(self, stream: Stream) -> None:
        """Take the moments of the whole set."""
        self.mean.copy_(stream.mean().flatten().clamp(0.01, 0.99))

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """n draws [n, *shape]."""
        return bernoulli(self.mean.expand(n, -1), rng).view(n, *self.shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """log n(x) in nats: [n, *shape] -> [n]."""
        x = x.flatten(1)
        return log_bernoulli(x, self.mean.logit().expand_as(x))


class GaussianNoise(nn.Module):
    """N(mean, C) with C = L L' the covariance of the data, its diagonal raised by a thousandth so that it is regular.

    `scale` is L [d, d], or beyond 1,000 values the standard deviations [d].
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, d = shape, math.prod(shape)
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("scale", torch.eye(d) if d <= FULL_COVARIANCE else torch.ones(d))

    @torch.no_grad()
    def fit(self, stream: Stream) -> None:
        """Take the moments of the whole set."""
        self.mean.copy_(stream.mean().flatten())
        variance = stream.variance().flatten().cpu().double()
        # Values that hardly vary get a hundredth of the largest deviation.
        variance.clamp_min_(1e-4 * float(variance.max())).clamp_min_(1e-12)
        if self.scale.ndim == 1:
            self.scale.copy_((1.001 * variance).sqrt())
            return
        centred = (stream.serve(rows).flatten(1) - self.mean for rows in stream.x.split(1000))
        covariance = torch.stack([c.T @ c for c in centred]).sum(0).cpu().double() / stream.n
        covariance.diagonal().copy_(1.001 * variance)
        self.scale.copy_(torch.linalg.cholesky(covariance))

    def colour(self, u: Tensor) -> Tensor:
        """mean + L u [n, *shape], for u [n, d]."""
        with torch.autocast(u.device.type, enabled=False):
            spread = u * self.scale if self.scale.ndim == 1 else u @ self.scale.T
            return (self.mean + spread).view(-1, *self.shape)

    def whiten(self, x: Tensor) -> Tensor:
        """u [n, d] of x [n, *shape], the inverse of `colour`."""
        x = x.flatten(1) - self.mean
        return x / self.scale if self.scale.ndim == 1 else torch.linalg.solve_triangular(self.scale, x.T, upper=False).T

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """n draws [n, *shape]."""
        return self.colour(normal((n, len(self.mean)), rng, self.mean.dtype))

    def log_prob(self, x: Tensor) -> Tensor:
        """log n(x) in nats: [n, *shape] -> [n]."""
        u, deviations = self.whiten(x), self.scale if self.scale.ndim == 1 else self.scale.diagonal()
        zero = torch.zeros_like(u)
        return log_normal(u, zero, zero) - deviations.log().sum()
