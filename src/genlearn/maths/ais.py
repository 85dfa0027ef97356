"""The partition function of a restricted Boltzmann machine: annealed importance sampling, and exact enumeration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genlearn._types import Visible

MAX_UNITS = 20


@dataclass(frozen=True, eq=False)
class AIS:
    """An estimate of log Z in nats.

    log_w [n_chains] float64: log importance weights, log Z_0 included, so that E[exp(log_w)] = Z. log_z = log mean w.
    lower, upper: log(mean w -+ 3 standard errors); lower is -inf where that is no number. ess: effective number of
    chains, (sum w)^2 / sum w^2; near 1, the interval means nothing.
    """

    log_w: Tensor
    log_z: float
    lower: float
    upper: float
    ess: float


def schedule(n: int) -> Tensor:
    """n inverse temperatures from 0 to 1, evenly spaced [n] float64."""
    return torch.linspace(0, 1, n, dtype=torch.float64)


def salakhutdinov() -> Tensor:
    """The schedule of Salakhutdinov and Murray 2008 [14501] float64: steps of 1e-3 to .5, 1e-4 to .9, 1e-5 to 1."""
    parts = [torch.arange(0, 50_000, 100), torch.arange(50_000, 90_000, 10), torch.arange(90_000, 100_001)]
    return torch.cat(parts).double() / 100_000


@torch.no_grad()
def ais(
    W: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    betas: Tensor,
    n_chains: int,
    rng: torch.Generator,
    a_base: Tensor | None = None,
    visible: Visible = "binary",
    sigma: Tensor | None = None,
) -> AIS:
    """Estimate log Z of an RBM by annealed importance sampling, unbiased in Z.

    The path joins the model without hidden units of biases a_base (by default a) to the RBM,

        binary     p*_beta(v) = exp(((1 - beta) a_base + beta a).v) prod_j (1 + exp(beta (b_j + (v W)_j)))
        gaussian   p*_beta(v) = exp(-sum_i ((1 - beta) (v_i - a_base_i)^2 + beta (v_i - a_i)^2) / (2 sigma_i^2))
                                prod_j (1 + exp(beta (b_j + ((v / sigma) W)_j)))

    W [D, H], a [D], b [H], sigma [D] (gaussian, by default 1). betas: increasing from 0 to 1. Two matrix products of
    n_chains rows a temperature, in the type of W; the weights are added up in float64.
    Raises ValueError for betas that do not go from 0 to 1. Neal 2001; Salakhutdinov and Murray 2008, section 4.
    """
    steps = betas.tolist()
    if len(steps) < 2 or steps[0] != 0 or steps[-1] != 1 or any(low >= high for low, high in pairwise(steps)):
        raise ValueError("betas must increase from 0 to 1; the usual fix is betas=schedule(1000)")
    a_base = a if a_base is None else a_base
    log_w = torch.zeros(n_chains, dtype=torch.float64, device=W.device)
    if visible == "gaussian":
        # In units of sigma both ends have variance 1, and the path is linear in v up to a constant.
        sigma = torch.ones_like(a) if sigma is None else sigma
        a, a_base = a / sigma, a_base / sigma
        log_z0 = float(sigma.double().log().sum()) + len(a) * math.log(2 * math.pi) / 2
        log_w += (a_base.double().square() - a.double().square()).sum() / 2
    else:
        log_z0 = float(softplus(a_base.double()).sum())
    log_w += log_z0 + len(b) * math.log(2)

    slope = a - a_base
    v = _visible(a_base.repeat(n_chains, 1), visible, rng)
    for low, high in pairwise(steps):
        x = torch.addmm(b, v, W)
        y = x * high
        log_w += (high - low) * (v @ slope)
        log_w += softplus(y).sub_(softplus(x.mul_(low))).sum(1)
        h = _coins(y, rng)
        v = _visible(torch.addmm(torch.lerp(a_base, a, high), h, W.T, alpha=high), visible, rng)
    return _estimate(log_w)


def _visible(inputs: Tensor, visible: Visible, rng: torch.Generator) -> Tensor:
    """Draw v given its inputs [n, D], in place."""
    if visible == "binary":
        return _coins(inputs, rng)
    return inputs.add_(torch.empty_like(inputs).normal_(generator=rng))


def _coins(logits: Tensor, rng: torch.Generator) -> Tensor:
    """1 with probability sigmoid(logits), else 0, in place.

    Each compares 32 random bits, as a signed integer, with 2^31 (2 sigmoid(z) - 1) = 2^31 tanh(z / 2): bits that are
    drawn two to a word cost half of what `uniform_` does, which is a quarter of all the time.
    """
    words = torch.empty((logits.numel() + 1) // 2, dtype=torch.int64, device=logits.device)
    bits = words.random_(-(2**63), None, generator=rng).view(torch.int32)[: logits.numel()].view_as(logits)
    return torch.lt(bits.to(logits.dtype), logits.mul_(0.5).tanh_().mul_(2.0**31), out=logits)


def _estimate(log_w: Tensor) -> AIS:
    top = log_w.max()
    w = (log_w - top).exp_()
    mean, error = float(w.mean()), float(w.std()) / math.sqrt(len(w))
    log_z, upper = (float(top) + math.log(m) for m in (mean, mean + 3 * error))
    lower = float(top) + math.log(mean - 3 * error) if mean > 3 * error else -math.inf
    return AIS(log_w, log_z, lower, upper, float(w.sum().square() / w.square().sum()))


@torch.no_grad()
def log_z_exact(
    W: Tensor, a: Tensor, b: Tensor, *, visible: Visible = "binary", sigma: Tensor | None = None, chunk: int = 4096
) -> float:
    """log Z of an RBM in nats, by summing over all states of its smaller side in float64 (the hidden one if gaussian).

    Z = sum_h exp(b.h) prod_i (1 + exp(a_i + (W h)_i)), or the same with the sides exchanged;
    gaussian: Z = sum_h exp(b.h) prod_i sigma_i sqrt(2 pi) exp(a_i (W h)_i / sigma_i + (W h)_i^2 / 2).
    W [D, H], a [D], b [H], sigma [D]. Raises ValueError where that side has more than 20 units.
    """
    W, a, b = W.double(), a.double(), b.double()
    if visible == "binary" and len(a) < len(b):
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
        sums.append(torch.logsumexp(h @ b + inner.sum(1), 0))
    log_z = float(torch.logsumexp(torch.stack(sums), 0))
    if visible == "gaussian":
        log_z += float(sigma.log().sum()) + len(a) * math.log(2 * math.pi) / 2
    return log_z
