"""The best discriminator, what the game is worth (theorem 1 of Goodfellow et al. 2014), and saturation."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from genlearn.lab.divergences import Array, Weights, checked, expectation, js, log, normal


def optimal_logit(p_data: Array, p_g: Array) -> Array:
    """a* = log p_data - log p_g, so that D* = sigmoid(a*); infinite where one is 0, and 0 where both are. [n], [n]."""
    a = np.zeros_like(p_data)
    some = (p_data > 0) | (p_g > 0)
    a[some] = log(p_data[some]) - log(p_g[some])
    return a


def optimal_discriminator(p_data: Array, p_g: Array) -> Array:
    """D*(x) = p_data(x) / (p_data(x) + p_g(x)), 1/2 where both are 0 (Goodfellow et al. 2014, proposition 1)."""
    return sigmoid(optimal_logit(p_data, p_g))


def sigmoid(a: Array) -> Array:
    """1 / (1 + exp(-a)) [n], without overflow."""
    small = np.exp(-np.abs(a))
    probability: Array = np.where(a >= 0, 1.0, small) / (1 + small)
    return probability


def value(a: Array, p_data: Array, p_g: Array, w: Weights = 1.0) -> float:
    """V(D, G) = E_data log D + E_g log(1 - D), D = sigmoid(a), in nats (Goodfellow et al. 2014, equation 1).

    a [n]: the logit of D, since log(1 - D) is lost in D near 1; p_data, p_g [n] with weights w: as for `kl`.
    -log 4 for D = 1/2; at most 0.
    """
    checked(w, p_data, p_g)
    return -expectation(p_data, np.logaddexp(0, -a), w) - expectation(p_g, np.logaddexp(0, a), w)


class Optimality(NamedTuple):
    """What `optimality` found, in nats; residual is the difference of the two sides of theorem 1."""

    value: float
    js: float
    bound: float
    residual: float


def optimality(p_data: Array, p_g: Array, w: Weights = 1.0) -> Optimality:
    """V(D*, G) by its definition, JSD by its own, and V(D*, G) - (-log 4 + 2 JSD), which is 0 up to rounding.

    Goodfellow et al. 2014, theorem 1: bound = -log 4 + 2 JSD is least, -log 4, for p_g = p_data alone. p_data, p_g [n].
    """
    v, d = value(optimal_logit(p_data, p_g), p_data, p_g, w), js(p_data, p_g, w)
    bound = -math.log(4) + 2 * d
    return Optimality(v, d, bound, v - bound)


class LogitGradients(NamedTuple):
    """Derivatives of the two losses of the generator in the logit, [n] each, without a unit."""

    saturating: Array
    non_saturating: Array


def logit_gradients(a: Array) -> LogitGradients:
    """d/da log(1 - sigmoid(a)) = -sigmoid(a), and d/da -log sigmoid(a) = -(1 - sigmoid(a)); a [n].

    Where D is sure that a sample is fake, a is far below 0: the first is then about 0, the second about -1. Both are
    -1/2 at a = 0. Goodfellow et al. 2014, section 3.
    """
    return LogitGradients(-sigmoid(a), -sigmoid(-a))


class GeneratorGradients(NamedTuple):
    """Derivatives in the mean of the generator, nats per unit of x, and D* at that mean."""

    saturating: float
    non_saturating: float
    d_at_mean: float


def generator_gradients(mean: float, x: Array, w: Array) -> GeneratorGradients:
    """Derivatives of the generator's losses in m = `mean`, for p_data = N(0, 1), p_g = N(m, 1) and D held at D*.

        saturating       d/dm E_g log(1 - D*) = m E_g D*           (also the derivative of 2 JSD)
        non-saturating   d/dm E_g -log D* = m E_g (1 - D*)         (also that of KL(p_g, p_data) - 2 JSD)

    G(z) = m + z, and the logit of D* has the slope -m. Far away, the first vanishes and the second grows as m.
    x, w: a quadrature that holds both densities. Goodfellow et al. 2014, section 3; Arjovsky and Bottou 2017, theorem
    2.5.
    """
    p_g, a = normal(x, mean), mean**2 / 2 - mean * x
    g = logit_gradients(a)
    d = float(sigmoid(np.array(-(mean**2) / 2)))
    return GeneratorGradients(
        -mean * expectation(p_g, g.saturating, w), -mean * expectation(p_g, g.non_saturating, w), d
    )
