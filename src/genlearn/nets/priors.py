"""Laws of codes: what a latent model draws from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genlearn.maths.rng import make_rng, normal, one_of, uniform
from genlearn.shapes import Float, Int

STEPS, LARGE = 100, 2**25  # of expectation-maximisation; covariances of a mixture at most


class Prior(nn.Module):
    """A law of codes z [n, d]: `draw` and `log_prob`."""

    mean: Tensor

    def __init__(self, d: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(d))

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "{n} d"]:
        """n independent codes [n, d]."""
        raise NotImplementedError

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """log p(z) in nats: [n, d] -> [n]."""
        raise NotImplementedError

    @contextmanager
    def truncated(self, threshold: float) -> Iterator[None]:
        """`draw` within gives no coordinate above the threshold: samples nearer to the middle, and to one another.

        Raises ValueError where the law is not normal, or the threshold not positive. Brock et al. 2019, section 3.1.
        """
        raise ValueError(f"truncation is {threshold}, but z is not normal; the usual fix is to leave it out")
        yield


class NormalPrior(Prior):
    """N(0, I)."""

    threshold: float | None = None

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "{n} d"]:
        """n independent codes [n, d]."""
        shape = (n, len(self.mean))
        if self.threshold is None:
            return normal(shape, rng, self.mean.dtype)
        edge = 0.5 * math.erfc(self.threshold / math.sqrt(2))  # the inverse of the distribution, between its edges
        z: Tensor = torch.special.ndtri(uniform(shape, rng, torch.float64, edge, 1 - edge)).to(self.mean.dtype)
        return z.clamp_(-self.threshold, self.threshold)

    @contextmanager
    def truncated(self, threshold: float) -> Iterator[None]:
        """As `Prior.truncated`."""
        if not threshold > 0:
            raise ValueError(f"truncation is {threshold}, expected a number above 0, such as 0.7")
        self.threshold = threshold
        try:
            yield
        finally:
            self.threshold = None

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """log p(z) in nats: [n, d] -> [n]."""
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)


class UniformPrior(Prior):
    """U(-sqrt 3, sqrt 3), which has unit variance, for each coordinate."""

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "{n} d"]:
        """n independent codes [n, d]."""
        return uniform((n, len(self.mean)), rng, self.mean.dtype, -math.sqrt(3), math.sqrt(3))

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """log p(z) in nats: [n, d] -> [n], minus infinity outside."""
        inside = z.abs().amax(1) <= math.sqrt(3)
        return torch.where(inside, -z.shape[1] * math.log(2 * math.sqrt(3)), -math.inf).to(z.dtype)


class Density(Prior):
    """A law that is fitted to codes, after what gives them has learned: until then (`fitted`) it is no law of theirs.

    The shapes of its buffers do not depend on the codes, so that it can be loaded before it is fitted.
    """

    fitted: Tensor

    def __init__(self, d: int) -> None:
        super().__init__(d)
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(self, z: Float[Tensor, "n d"]) -> None:
        """Fit it to codes [n, d], n >= 1; deterministic."""
        self._fit(z)
        self.fitted.fill_(True)

    def _fit(self, z: Tensor) -> None:
        raise NotImplementedError


class GaussianDensity(Density):
    """N(mean, L L'), fitted to codes: their mean, and their covariance, its diagonal raised by a thousandth."""

    scale: Tensor

    def __init__(self, d: int) -> None:
        super().__init__(d)
        self.register_buffer("scale", torch.eye(d))

    def _fit(self, z: Tensor) -> None:
        centred = (z - z.mean(0)).double()
        covariance = centred.T @ centred / len(z)
        covariance.diagonal().mul_(1.001).add_(1e-12)
        self.mean.copy_(z.mean(0))
        self.scale.copy_(torch.linalg.cholesky(covariance))

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "{n} d"]:
        """n independent codes [n, d]."""
        return torch.addmm(self.mean, normal((n, len(self.mean)), rng, self.mean.dtype), self.scale.T)

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """log p(z) in nats: [n, d] -> [n]."""
        return log_gaussians(z, self.mean[None], self.scale[None])[:, 0]


class GaussianMixture(Density):
    """sum_k w_k N(mean_k, L_k L_k'), fitted to codes by expectation-maximisation (Dempster, Laird and Rubin 1977).

    It begins at means as k-means++ draws them (Arthur and Vassilvitskii 2007), each with the covariance of all codes,
    and ends when a step brings less than 1e-3 nats a code, after 100 steps at most. A thousandth of the mean variance
    of all codes is added to the diagonal of each covariance. Of more than 10,000 codes so many are used, evenly spread.
    """

    weights: Tensor
    means: Tensor
    scales: Tensor

    def __init__(self, d: int, k: int) -> None:
        super().__init__(d)
        if k * d * d > LARGE:
            raise ValueError(
                f"a mixture of {k} densities of {d} numbers has {k * d * d:,} covariances, expected {LARGE:,} at most; "
                "the usual fix is density='jitter', or a smaller code"
            )
        self.register_buffer("weights", torch.full((k,), 1 / k))
        self.register_buffer("means", torch.zeros(k, d))
        self.register_buffer("scales", torch.eye(d).repeat(k, 1, 1))

    def _fit(self, z: Tensor) -> None:
        z = spread(z, 10_000).double()
        self.mean.copy_(z.mean(0))
        centred = z - z.mean(0)
        least = 1e-3 * centred.square().mean() * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        least.diagonal().add_(1e-12)
        means = self._begin(z)
        scales = torch.linalg.cholesky(centred.T @ centred / len(z) + least).expand(len(means), -1, -1)
        log_w, before = means.new_full((len(means),), -math.log(len(means))), -math.inf
        for _ in range(STEPS):
            joint = log_w + log_gaussians(z, means, scales)
            evidence = joint.logsumexp(1, keepdim=True)
            if evidence.mean().item() - before < 1e-3:
                break
            before, r = evidence.mean().item(), (joint - evidence).exp()
            n = r.sum(0)
            means = torch.where((n > 0)[:, None], r.T @ z / n.clamp_min(1e-300)[:, None], means)
            spreads = [(d * p[:, None]).T @ d for d, p in ((z - m, p) for m, p in zip(means, r.T, strict=True))]
            scales = torch.linalg.cholesky(torch.stack(spreads) / n.clamp_min(1e-300)[:, None, None] + least)
            log_w = (n / len(z)).log()
        self.weights.copy_(log_w.exp())
        self.means.copy_(means)
        self.scales.copy_(scales)

    def _begin(self, z: Tensor) -> Tensor:
        """k-means++: each mean is a code, drawn in proportion to its squared distance from the nearest before it."""
        rng = make_rng(0, z.device)
        means, nearest = [z[0]], (z - z[0]).square().sum(1)
        for _ in range(len(self.weights) - 1):
            place = torch.multinomial(nearest + 1e-12, 1, generator=rng)[0]
            means.append(z[place])
            nearest = torch.minimum(nearest, (z - z[place]).square().sum(1))
        return torch.stack(means)

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "{n} d"]:
        """n independent codes [n, d]."""
        k = one_of(self.weights.expand(n, -1), rng).argmax(1)
        eps = normal((n, len(self.mean)), rng, self.mean.dtype)
        return self.means[k] + (self.scales[k] @ eps[..., None])[..., 0]

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """log p(z) in nats: [n, d] -> [n]."""
        return (self.weights.log() + log_gaussians(z, self.means, self.scales)).logsumexp(1)


class CodeJitter(Density):
    """1/m sum_i N(z_i, s_i^2 I): one of m stored codes, moved about as far as its k-th nearest neighbour is.

    s_i^2 d is the squared distance from z_i to its k-th nearest among the stored codes: a kernel estimate of the
    density whose width follows the data (Breiman, Meisel and Purcell 1977). Of more than m codes, so many are kept,
    evenly spread; of fewer, places stay empty (weight 0).
    """

    weights: Tensor
    codes: Tensor
    widths: Tensor

    def __init__(self, d: int, m: int, k: int = 5) -> None:
        super().__init__(d)
        self.k = k
        self.register_buffer("weights", torch.full((m,), 1 / m))
        self.register_buffer("codes", torch.zeros(m, d))
        self.register_buffer("widths", torch.ones(m))

    def _fit(self, z: Tensor) -> None:
        z = spread(z, len(self.codes)).double()
        n = len(z)
        nearest = torch.cdist(z, z).topk(min(self.k + 1, n), largest=False).values[:, -1]  # the first is itself
        self.mean.copy_(z.mean(0))
        self.weights.zero_()[:n] = 1 / n
        self.codes.zero_()[:n] = z
        self.widths.fill_(1)[:n] = (nearest / z.shape[1] ** 0.5).clamp_min(1e-6)

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "{n} d"]:
        """n independent codes [n, d]."""
        i = one_of(self.weights.expand(n, -1), rng).argmax(1)
        return self.codes[i] + self.widths[i, None] * normal((n, len(self.mean)), rng, self.mean.dtype)

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """log p(z) in nats: [n, d] -> [n]."""
        u = torch.cdist(z, self.codes) / self.widths
        log_p = -0.5 * u.square() - z.shape[1] * (self.widths.log() + 0.5 * math.log(2 * math.pi))
        return (self.weights.log() + log_p).logsumexp(1)


def log_gaussians(
    z: Float[Tensor, "n d"], means: Float[Tensor, "K d"], scales: Float[Tensor, "K d d"]
) -> Float[Tensor, "n K"]:
    """log N(z; mean_k, L_k L_k') in nats for lower triangular L_k: [n, d] -> [n, K]."""
    u = torch.linalg.solve_triangular(scales, (z - means[:, None]).mT, upper=False)
    squares = u.square().sum(1) + z.shape[1] * math.log(2 * math.pi)
    log_p: Tensor = (-0.5 * squares - scales.diagonal(dim1=1, dim2=2).log().sum(1, keepdim=True)).T
    return log_p


def spread(z: Float[Tensor, "n d"], most: int) -> Float[Tensor, "m d"]:
    """At most so many of the rows, evenly spread: sets may be sorted."""
    n = min(len(z), most)
    return z[torch.arange(n, device=z.device) * len(z) // n]


class LabelledPrior(Prior):
    """Codes [z, one-hot y] [n, d + K]: z of another law, y of the classes' frequencies."""

    frequencies: Tensor

    def __init__(self, law: Prior, n_classes: int) -> None:
        super().__init__(len(law.mean) + n_classes)
        self.law = law
        self.register_buffer("frequencies", torch.full((n_classes,), 1 / n_classes))

    @torch.no_grad()
    def count(self, y: Int[Tensor, "n"]) -> None:
        """Take the frequencies of the known labels [n]."""
        self.frequencies.copy_(y[y >= 0].bincount(minlength=len(self.frequencies)) / (y >= 0).sum())

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "{n} d"]:
        """n independent codes [n, d + K]."""
        return torch.cat([self.law.draw(n, rng), one_of(self.frequencies.expand(n, -1), rng)], 1)

    @contextmanager
    def truncated(self, threshold: float) -> Iterator[None]:
        """As `Prior.truncated`, of z."""
        with self.law.truncated(threshold):
            yield

    def draw_classes(self, y: Int[Tensor, "n"], rng: torch.Generator) -> Float[Tensor, "n d"]:
        """A code of each of the classes y [n]."""
        z = self.law.draw(len(y), rng)
        return torch.cat([z, one_hot(y, len(self.frequencies)).to(z.dtype)], 1)

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """log p(z) + log p(y) in nats: [n, d + K] -> [n]."""
        code, label = z.split((z.shape[1] - len(self.frequencies), len(self.frequencies)), 1)
        log_p: Tensor = self.law.log_prob(code) + (label @ self.frequencies).log()
        return log_p


PRIORS: dict[str, type[Prior]] = {"normal": NormalPrior, "uniform": UniformPrior}
DensityName: TypeAlias = Literal["gaussian", "mixture", "jitter"]
