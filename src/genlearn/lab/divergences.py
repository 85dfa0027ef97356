"""Divergences of discrete laws, and by quadrature of densities on the line; all in nats."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Weights: TypeAlias = Array | float


def quadrature(low: float, high: float, n: int = 20_001) -> tuple[Array, Array]:
    """Nodes x [n] and weights w [n] of the trapezoid rule: sum_i w_i f(x_i) is about the integral of f.

    For smooth f that vanishes at both ends the error falls faster than any power of the step (Euler, Maclaurin), so a
    few thousand nodes give Gaussian integrals to twelve digits; kinks cost the square of the step. Raises ValueError
    unless low < high and n >= 2.
    """
    if not (low < high and n >= 2):
        raise ValueError(f"quadrature from {low} to {high} with {n} nodes, expected low < high and at least 2 nodes")
    x = np.linspace(low, high, n)
    w = np.full(n, (high - low) / (n - 1))
    w[[0, -1]] /= 2
    return x, w


def normal(x: Array, mean: float = 0.0, sd: float = 1.0) -> Array:
    """The density of N(mean, sd^2) at x [n], per unit of x. Raises ValueError for sd <= 0."""
    if not sd > 0:
        raise ValueError(f"sd is {sd}, expected a number above 0")
    density: Array = np.exp(-(((x - mean) / sd) ** 2) / 2) / (sd * math.sqrt(2 * math.pi))
    return density


def two_bumps(x: Array) -> Array:
    """The density 1/2 N(-1.5, 0.5^2) + 1/2 N(1.5, 0.5^2) at x [n]."""
    return 0.5 * normal(x, -1.5, 0.5) + 0.5 * normal(x, 1.5, 0.5)


def checked(w: Weights, *laws: Array) -> None:
    """ValueError in one line unless all are laws on the same points: of one shape, none negative, with sum 1."""
    for p in laws:
        total = float(np.sum(w * p))
        if p.shape != laws[0].shape or (p < 0).any() or not abs(total - 1) < 1e-6:
            raise ValueError(
                f"got a law of shape {p.shape} and sum {total:.8g}, expected {laws[0].shape}, nothing negative and sum "
                "1; for a density the usual fix is a wider quadrature, and its weights w"
            )


def log(p: Array) -> Array:
    """log p [n], minus infinity where p is 0."""
    with np.errstate(divide="ignore"):
        return np.log(p)


def expectation(p: Array, f: Array, w: Weights = 1.0) -> float:
    """sum_i w_i p_i f_i, where 0 times infinity is 0."""
    return float(np.sum(w * p * np.where(p > 0, f, 0.0)))


def entropy(p: Array, w: Weights = 1.0) -> float:
    """H(p) = -E_p log p, in nats (Shannon 1948).

    p [n]: probabilities, or a density at the nodes of `quadrature` with its weights w [n]. Between 0 and log n for
    probabilities; of any sign for a density. As all functions here, raises ValueError where p does not sum to 1.
    """
    return cross_entropy(p, p, w)


def cross_entropy(p: Array, q: Array, w: Weights = 1.0) -> float:
    """H(p, q) = -E_p log q = H(p) + KL(p, q), in nats; infinite where q misses some of p. p, q [n]."""
    checked(w, p, q)
    return -expectation(p, log(q), w)


def kl(p: Array, q: Array, w: Weights = 1.0) -> float:
    """KL(p, q) = E_p log(p / q), in nats: from 0, where p = q, to infinity, where q misses some of p. p, q [n].

    Not symmetric: KL(p, q) punishes a q that misses some of p, KL(q, p) one that lies outside it. A density that
    underflows counts as missing: keep the quadrature within 38 standard deviations. Kullback and Leibler 1951.
    """
    checked(w, p, q)
    with np.errstate(invalid="ignore"):  # where both are 0, which `expectation` leaves out
        return expectation(p, log(p) - log(q), w)


def js(p: Array, q: Array, w: Weights = 1.0) -> float:
    """JSD(p, q) = KL(p, m) / 2 + KL(q, m) / 2 with m = (p + q) / 2, in nats: from 0 to log 2. Lin 1991. p, q [n]."""
    m = (p + q) / 2
    return (kl(p, m, w) + kl(q, m, w)) / 2


def wasserstein(p: Array, q: Array, x: Array, w: Weights = 1.0) -> float:
    """W1(p, q) = integral of |F_p - F_q| dx, in the unit of x: what it costs to move p onto q.

    p, q: laws on increasing points x [n]; a density comes with the weights w of its quadrature, and is taken as masses
    w p at x: exact for laws on points, and for two densities whose distribution functions do not cross; else the error
    is of the order of the step squared. Vallender 1974.
    """
    checked(w, p, q)
    return float(np.abs(np.cumsum(w * (p - q))[:-1]) @ np.diff(x))


def wasserstein_samples(x: Array, y: Array) -> float:
    """W1 of two samples of one size n, mean |sorted x - sorted y|, in the unit of x [n], y [n].

    Of two samples of the same law it is no 0: its floor falls as 1 / sqrt(n). Raises ValueError for two sizes.
    """
    if x.shape != y.shape:
        raise ValueError(f"got samples of shapes {x.shape} and {y.shape}, expected one size")
    return float(np.abs(np.sort(x) - np.sort(y)).mean())


class Divergences(NamedTuple):
    """What `divergences` found: nats, and the unit of x for w1."""

    entropy_p: float
    entropy_q: float
    cross_entropy: float
    kl_pq: float
    kl_qp: float
    js: float
    w1: float


def divergences(p: Array, q: Array, x: Array, w: Weights = 1.0) -> Divergences:
    """H(p), H(q), H(p, q), KL both ways, JSD and W1 of two laws p, q [n] on points x [n] with weights w."""
    return Divergences(
        entropy(p, w),
        entropy(q, w),
        cross_entropy(p, q, w),
        kl(p, q, w),
        kl(q, p, w),
        js(p, q, w),
        wasserstein(p, q, x, w),
    )
