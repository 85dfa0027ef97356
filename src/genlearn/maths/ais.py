"""log Z of a restricted Boltzmann machine: annealed importance sampling, forward and in reverse, and enumeration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from genlearn._types import Visible
from genlearn.maths.rng import bernoulli
from genlearn.progress import track
from genlearn.shapes import Float

MAX_UNITS = 20


@dataclass(frozen=True, eq=False)
class AIS:
    """An estimate of log Z in nats.

    log_w [n_chains] float64: log importance weights, log Z_0 included, so that E[exp(log_w)] = Z (forward) or
    E[exp(-log_w)] = 1 / Z (reverse). log_z = log mean w, or -log mean 1 / w. lower, upper: the same for the mean -+ 3
    standard errors; infinite where that is no number. ess: effective number of chains, (sum w)^2 / sum w^2 (of 1 / w in
    reverse); near 1, the interval means nothing.
    """

    log_w: Tensor
    log_z: float
    lower: float
    upper: float
    ess: float


def schedule(n: int) -> Float[Tensor, "{n}"]:
    """n inverse temperatures from 0 to 1, evenly spaced [n] float64."""
    return torch.linspace(0, 1, n, dtype=torch.float64)


def salakhutdinov() -> Float[Tensor, "14501"]:
    """The schedule of Salakhutdinov and Murray 2008 [14501] float64: steps of 1e-3 to .5, 1e-4 to .9, 1e-5 to 1."""
    parts = [torch.arange(0, 50_000, 100), torch.arange(50_000, 90_000, 10), torch.arange(90_000, 100_001)]
    return torch.cat(parts).double() / 100_000


@torch.no_grad()
def ais(
    W: Float[Tensor, "D H"],
    a: Float[Tensor, "D"],
    b: Float[Tensor, "H"],
    *,
    betas: Float[Tensor, "T"],
    n_chains: int,
    rng: torch.Generator,
    a_base: Float[Tensor, "D"] | None = None,
    b_base: Float[Tensor, "H"] | None = None,
    n_classes: int = 0,
    visible: Visible = "binary",
    sigma: Float[Tensor, "D"] | None = None,
) -> AIS:
    """Estimate log Z of an RBM by annealed importance sampling, unbiased in Z.

    The path joins the model without weights, of biases a_base (by default a) and b_base (by default 0), to the RBM,

        binary     p*_beta(v) = exp(((1 - beta) a_base + beta a).v) prod_j (1 + exp(x_j(beta)))
        gaussian   p*_beta(v) = exp(-sum_i ((1 - beta) (v_i - a_base_i)^2 + beta (v_i - a_i)^2) / (2 sigma_i^2))
                                prod_j (1 + exp(x_j(beta)))

    with x(beta) = (1 - beta) b_base + beta (b + (v / sigma) W). W [D, H], a [D], b [H], sigma [D] (gaussian, by default
    1). n_classes: so many last visible units (binary) are one softmax group, a label. betas: increasing from 0 to 1.
    Two matrix products of n_chains rows a temperature, in the type of W; the weights are added up in float64.
    Raises ValueError for betas that do not go from 0 to 1. Neal 2001; Salakhutdinov and Murray 2008, section 4.
    """
    path = AnnealedPath(W, a, b, a_base, b_base, n_classes, visible, sigma)
    v = path.draw(path.a_base.repeat(n_chains, 1), rng)
    return estimate(path.log_z0 + path.anneal(v, checked(betas), rng))


@torch.no_grad()
def reverse_ais(
    W: Float[Tensor, "D H"],
    a: Float[Tensor, "D"],
    b: Float[Tensor, "H"],
    v: Float[Tensor, "n D"],
    *,
    betas: Float[Tensor, "T"],
    rng: torch.Generator,
    a_base: Float[Tensor, "D"] | None = None,
    b_base: Float[Tensor, "H"] | None = None,
    n_classes: int = 0,
    visible: Visible = "binary",
    sigma: Float[Tensor, "D"] | None = None,
) -> AIS:
    """Estimate log Z from states of the model v [n, D] by annealing them away, unbiased in 1 / Z.

    The path of `ais`, walked from beta = 1 to 0. Where v are exact samples, log Z is overestimated on average, as `ais`
    underestimates it: the two bracket it. Chains that have not reached the model's law break that promise.
    Raises ValueError for betas that do not go from 0 to 1.
    Grosse, Ghahramani and Adams 2015, section 3; Burda, Grosse and Salakhutdinov 2015.
    """
    path = AnnealedPath(W, a, b, a_base, b_base, n_classes, visible, sigma)
    v = v / path.sigma if visible == "gaussian" else v
    return estimate(path.log_z0 - path.anneal(v, checked(betas)[::-1], rng), reverse=True)


class AnnealedPath:
    """The annealing path of an RBM; visible states are in units of sigma, where both ends have variance 1."""

    def __init__(
        self,
        W: Float[Tensor, "D H"],
        a: Float[Tensor, "D"],
        b: Float[Tensor, "H"],
        a_base: Float[Tensor, "D"] | None = None,
        b_base: Float[Tensor, "H"] | None = None,
        n_classes: int = 0,
        visible: Visible = "binary",
        sigma: Float[Tensor, "D"] | None = None,
    ) -> None:
        a_base, b_base = a if a_base is None else a_base, torch.zeros_like(b) if b_base is None else b_base
        self.visible, self.n_classes, self.W = visible, n_classes, W
        self.log_z0 = float(softplus(b_base.double()).sum())
        if visible == "gaussian":
            self.sigma = torch.ones_like(a) if sigma is None else sigma
            a, a_base = a / self.sigma, a_base / self.sigma
            self.log_z0 += float(self.sigma.double().log().sum()) + len(a) * math.log(2 * math.pi) / 2
            # The path is linear in v up to this constant.
            self.constant = float((a_base.double().square() - a.double().square()).sum()) / 2
        else:
            n, self.constant = len(a) - n_classes, 0.0
            self.log_z0 += float(softplus(a_base[:n].double()).sum())
            if n_classes:
                self.log_z0 += float(a_base[n:].double().logsumexp(0))
        self.a, self.a_base, self.b_base = a, a_base, b_base
        self.slope, self.rise = a - a_base, b - b_base

    def draw(self, inputs: Float[Tensor, "n D"], rng: torch.Generator) -> Float[Tensor, "n D"]:
        """v given its inputs [n, D], which are overwritten."""
        if self.visible == "gaussian":
            return inputs.add_(torch.empty_like(inputs).normal_(generator=rng))
        if not self.n_classes:
            return bernoulli(inputs.sigmoid_(), rng)
        n = inputs.shape[1] - self.n_classes
        noise = torch.empty_like(inputs[:, n:]).exponential_(generator=rng).log_()
        label = one_hot((inputs[:, n:] - noise).argmax(1), self.n_classes)
        return torch.cat([bernoulli(inputs[:, :n].sigmoid(), rng), label.to(inputs.dtype)], 1)

    def _visible(self, inputs: Tensor, beta: float, rng: torch.Generator) -> Tensor:
        h = bernoulli(inputs.sigmoid_(), rng)
        return self.draw(torch.addmm(torch.lerp(self.a_base, self.a, beta), h, self.W.T, alpha=beta), rng)

    def step(self, v: Float[Tensor, "n D"], beta: float, rng: torch.Generator) -> Float[Tensor, "n D"]:
        """A step of block Gibbs sampling at inverse temperature beta."""
        x = torch.addmm(self.rise, v, self.W)
        return self._visible(torch.add(self.b_base, x, alpha=beta), beta, rng)

    def anneal(self, v: Float[Tensor, "n D"], steps: Sequence[float], rng: torch.Generator) -> Float[Tensor, "n"]:
        """sum log p*_there(v) - log p*_here(v) along the steps [n] float64, v moving after each."""
        log_w = torch.zeros(len(v), dtype=torch.float64, device=v.device)
        for here, there in track(pairwise(steps), "log Z", len(steps) - 1):
            x = torch.addmm(self.rise, v, self.W)
            y = torch.add(self.b_base, x, alpha=there)
            log_w += (there - here) * (v @ self.slope)
            log_w += softplus(y).sub_(softplus(torch.add(self.b_base, x, alpha=here, out=x))).sum(1)
            v = self._visible(y, there, rng)
        return log_w + (steps[-1] - steps[0]) * self.constant


def checked(betas: Float[Tensor, "T"]) -> list[float]:
    """The temperatures as numbers; a one-line ValueError unless they increase from 0 to 1."""
    steps: list[float] = betas.tolist()
    if len(steps) < 2 or steps[0] != 0 or steps[-1] != 1 or any(low >= high for low, high in pairwise(steps)):
        raise ValueError("betas must increase from 0 to 1; the usual fix is betas=schedule(1000)")
    return steps


def estimate(log_w: Float[Tensor, "n"], reverse: bool = False) -> AIS:
    """log mean w; in reverse, -log mean 1 / w."""
    sign = -1 if reverse else 1
    top = (sign * log_w).max()
    w = (sign * log_w - top).exp_()
    mean, error = float(w.mean()), float(w.std()) / math.sqrt(len(w))
    far = float(top) + math.log(mean + 3 * error)
    near = float(top) + math.log(mean - 3 * error) if mean > 3 * error else -math.inf
    lower, upper = sorted((sign * near, sign * far))
    log_z = sign * (float(top) + math.log(mean))
    return AIS(log_w, log_z, lower, upper, float(w.sum().square() / w.square().sum()))


@torch.no_grad()
def log_z_exact(
    W: Float[Tensor, "D H"],
    a: Float[Tensor, "D"],
    b: Float[Tensor, "H"],
    *,
    n_classes: int = 0,
    visible: Visible = "binary",
    sigma: Float[Tensor, "D"] | None = None,
    chunk: int = 4096,
) -> float:
    """log Z of an RBM in nats, by summing over all states of its smaller side in float64 (the hidden one if gaussian).

    Z = sum_h exp(b.h) prod_i (1 + exp(a_i + (W h)_i)), or the same with the sides exchanged;
    gaussian: Z = sum_h exp(b.h) prod_i sigma_i sqrt(2 pi) exp(a_i (W h)_i / sigma_i + (W h)_i^2 / 2).
    W [D, H], a [D], b [H], sigma [D]. The last n_classes visible units are one softmax group.
    Raises ValueError where that side has more than 20 units.
    """
    W, a, b = W.double(), a.double(), b.double()
    if visible == "binary" and len(a) < len(b) and not n_classes:
        W, a, b = W.T, b, a
    n = len(b)
    if n > MAX_UNITS:
        raise ValueError(f"cannot enumerate 2^{n} states, expected at most {MAX_UNITS} units; the usual fix is ais()")
    sigma = torch.ones_like(a) if sigma is None else sigma.double()
    sums = []
    for states in torch.arange(2**n, device=W.device).split(chunk):
        h = (states[:, None] >> torch.arange(n, device=W.device) & 1).double()
        x = h @ W.T
        inner = softplus(a + x) if visible == "binary" else a / sigma * x + x.square() / 2
        if n_classes:
            inner = torch.cat([inner[:, :-n_classes], torch.logsumexp((a + x)[:, -n_classes:], 1, keepdim=True)], 1)
        sums.append(torch.logsumexp(h @ b + inner.sum(1), 0))
    log_z = float(torch.logsumexp(torch.stack(sums), 0))
    if visible == "gaussian":
        log_z += float(sigma.log().sum()) + len(a) * math.log(2 * math.pi) / 2
    return log_z
