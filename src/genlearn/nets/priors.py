"""Laws of codes: what a latent model draws from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genlearn.maths.rng import normal, one_of, uniform
from genlearn.shapes import Float, Int


class Prior(nn.Module):
    """A law of codes z [n, d]: `draw` and `log_prob`; densities are fitted to codes by `fit`."""

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


class GaussianDensity(Prior):
    """N(mean, L L'), fitted to codes: their mean, and their covariance, its diagonal raised by a thousandth."""

    scale: Tensor

    def __init__(self, d: int) -> None:
        super().__init__(d)
        self.register_buffer("scale", torch.eye(d))

    @torch.no_grad()
    def fit(self, z: Float[Tensor, "n d"]) -> None:
        """Take mean and covariance of codes [n, d]."""
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
        u = torch.linalg.solve_triangular(self.scale, (z - self.mean).T, upper=False).T
        squares: Tensor = (u.square() + math.log(2 * math.pi)).sum(1)
        return -0.5 * squares - self.scale.diagonal().log().sum()


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
