"""Maximum likelihood is minimum KL, seen on samples."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from genlearn.lab.divergences import Array, cross_entropy, entropy, kl, normal, quadrature, two_bumps


class Likelihood(NamedTuple):
    """What `likelihood` found: nats per point; best and its error in the unit of x."""

    nll: float
    se: float
    cross_entropy: float
    kl: float
    residual: float
    best: float
    best_error: float


def draws(n: int, seed: int) -> Array:
    """n points [n] drawn from `two_bumps`."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.5, -1.5, 1.5) + 0.5 * rng.standard_normal(n)


def likelihood(theta: float, n: int, seed: int) -> Likelihood:
    """The mean negative log-likelihood of a model q = N(theta, 1) on n points of p = `two_bumps`, beside H(p, q).

        nll = -1/n sum_i log q(x_i)   ->   H(p, q) = H(p) + KL(p, q)   as n grows, with the standard error se

    H(p) does not depend on theta: the theta of greatest likelihood (best = mean x) tends to that of least KL (0 here;
    best_error is its standard error). residual: nll - (H + KL) of the points' own law and the model, both on cells of
    0.1, is 0 up to rounding: on any sample maximum likelihood *is* minimum KL. Raises ValueError for n < 2.
    """
    if n < 2:
        raise ValueError(f"n is {n}, expected 2 points at least")
    x = draws(n, seed)
    nats = (x - theta) ** 2 / 2 + math.log(2 * math.pi) / 2
    nodes, w = quadrature(-12, 12)
    p, q = two_bumps(nodes), normal(nodes, theta)
    return Likelihood(
        float(nats.mean()),
        float(nats.std(ddof=1)) / math.sqrt(n),
        cross_entropy(p, q, w),
        kl(p, q, w),
        on_cells(x, theta),
        float(x.mean()),
        float(x.std(ddof=1)) / math.sqrt(n),
    )


def on_cells(x: Array, theta: float) -> float:
    """-mean log q(cell of x_i) - (H(p^) + KL(p^, q)), p^ the frequencies of cells of 0.1 between -12 and 12; x [n]."""
    edges = np.linspace(-12, 12, 241)
    middles = (edges[1:] + edges[:-1]) / 2
    q = normal(middles, theta)
    q /= q.sum()
    cell = np.digitize(x, edges[1:-1])
    p = np.bincount(cell, minlength=len(q)) / len(x)
    return float(-np.log(q[cell]).mean()) - (entropy(p) + kl(p, q))
