"""Topics on what is optimal: divergences, maximum likelihood, the best discriminator."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from genlearn.lab.divergences import Array, cross_entropy, divergences, normal, two_bumps
from genlearn.lab.likelihood import draws, likelihood
from genlearn.lab.optimality import optimal_discriminator, optimal_logit, optimality, sigmoid, value
from genlearn.lab.topic import Control, Mark, Number, Panel, Topic
from genlearn.lab.topics.common import QUADRATURE, SEEDS, W, X

SHOWN = slice(6000, 14_001, 50)  # the nodes of pictures: -8 to 8
MEANS, SDS = tuple(np.arange(-4, 4.01, 0.5).tolist()), (0.75, 1.0, 1.5, 2.0)
DATA = {"normal": normal(X), "two bumps": two_bumps(X)}
MEAN = Control("mean", "mean of q", MEANS, 1.0)
SD = Control("sd", "standard deviation of q", SDS, 1.0)
LAW = Control("law", "p", ("normal", "two bumps"), "normal")


def _divergences(law: str, sd: float, mean: float) -> dict[str, Any]:
    p, q = DATA[law], normal(X, mean, sd)
    each = p * (np.log(p) - np.log(q)), q * (np.log(q) - np.log(p))
    shown = {"x": X[SHOWN], "p": p[SHOWN], "q": q[SHOWN], "pq": each[0][SHOWN], "qp": each[1][SHOWN]}
    return shown | divergences(p, q, X, W)._asdict()


DIVERGENCES = Topic(
    "divergences",
    "Entropy, cross-entropy and divergences",
    "How far is q from p? KL(p, q) asks how badly q misses what p has, KL(q, p) how much q puts where p "
    "has nothing: with two bumps they want different means and widths. JSD is symmetric and never above log 2 = .693, "
    "so from far away it says no more how far; W1 is what it costs to carry p onto q, mass times way. At p = q both "
    "KL, JSD and W1 are 0, and H(p, q) = H(p).",
    (
        r"H(p) = -\int p \log p d x \quad H(p, q) = -\int p \log q d x = H(p) + \KL(p, q)",
        r"\KL(p, q) = \int p \log \frac{p}{q} d x \quad \JSD(p, q) = \frac{1}{2} \KL(p, \frac{p + q}{2}) + "
        r"\frac{1}{2} \KL(q, \frac{p + q}{2})",
        r"W_1(p, q) = \int | F_p(x) - F_q(x) | d x",
    ),
    (LAW, SD, MEAN),
    _divergences,
    (
        Number("entropy_p", "H(p)", "nats", QUADRATURE),
        Number("entropy_q", "H(q)", "nats", QUADRATURE),
        Number("cross_entropy", "H(p, q)", "nats", QUADRATURE),
        Number("kl_pq", "KL(p, q)", "nats", QUADRATURE),
        Number("kl_qp", "KL(q, p)", "nats", QUADRATURE),
        Number("js", "JSD(p, q)", "nats", QUADRATURE),
        Number("w1", "W1(p, q)", "units of x", QUADRATURE),
    ),
    (
        Panel("The two densities", "x", "density", (Mark("area", "x", "p", "p", 0), Mark("area", "x", "q", "q", 1))),
        Panel(
            "What the two KL add up, cut at 3",
            "x",
            "nats per unit of x",
            (Mark("line", "x", "pq", "p log p/q", 0), Mark("line", "x", "qp", "q log q/p", 1)),
            ylim=(-0.6, 3.0),
        ),
    ),
    """from genlearn import lab

x, w = lab.quadrature(-20, 20)
p = {"normal": lab.normal(x), "two bumps": lab.two_bumps(x)}[{law}]
q = lab.normal(x, mean={mean}, sd={sd})
result = lab.divergences(p, q, x, w)
print(result)""",
    "Shannon 1948; Kullback and Leibler 1951; Lin 1991; Vallender 1974",
    "mean",
)


THETAS = np.arange(-30, 31) / 10
SIZES = (10, 30, 100, 300, 1000, 10_000)


@lru_cache
def _exact() -> Array:
    """H(p, q) at every theta of the picture."""
    return np.array([cross_entropy(two_bumps(X), normal(X, float(t)), W) for t in THETAS])


def _likelihood(seed: int, n: int, theta: float) -> dict[str, Any]:
    x, edges = draws(n, seed), np.linspace(-4, 4, 41)
    heights, _ = np.histogram(x, edges, density=True)
    nll = np.array([float(((x - t) ** 2).mean()) for t in THETAS]) / 2 + np.log(2 * np.pi) / 2
    inside = slice(8000, 12_001, 40)
    return likelihood(theta, n, seed)._asdict() | {
        "x": X[inside],
        "p": two_bumps(X)[inside],
        "q": normal(X, theta)[inside],
        "cells": (edges[1:] + edges[:-1]) / 2,
        "heights": heights,
        "thetas": THETAS,
        "all_nll": nll,
        "all_exact": _exact(),
        "theta": theta,
    }


LIKELIHOOD = Topic(
    "likelihood",
    "Maximum likelihood is minimum KL",
    "n points are drawn from p; the model q is N(theta, 1). Their mean negative log-likelihood estimates H(p, q) = "
    "H(p) + KL(p, q), and H(p) does not depend on theta: as n grows, the theta of greatest likelihood tends to that of "
    "least KL. q covers both bumps rather than fit one: KL(p, q) punishes missing. For the points' own law the "
    "identity is exact for any n: the residual, on cells of .1.",
    (r"-\frac{1}{n} \sum_i \log q_\theta(x_i) \to H(p, q_\theta) \quad H(p, q_\theta) = H(p) + \KL(p, q_\theta)",),
    (
        SEEDS,
        Control("n", "points n", SIZES, 100),
        Control("theta", "theta", tuple((np.arange(-6, 7) / 2).tolist()), 1.0),
    ),
    _likelihood,
    (
        Number("nll", "mean negative log-likelihood", "nats", "from the n points"),
        Number("se", "its standard error", "nats", "from the n points"),
        Number("cross_entropy", "H(p) + KL(p, q)", "nats", QUADRATURE),
        Number("kl", "KL(p, q)", "nats", QUADRATURE + "; floor 0.7538 at theta = 0"),
        Number("residual", "residual on the points' own law", "nats", "0 up to rounding"),
        Number("best", "theta of greatest likelihood", "units of x", "of least KL: 0"),
        Number("best_error", "its standard error", "units of x", "from the n points"),
    ),
    (
        Panel(
            "Points and model",
            "x",
            "density",
            (
                Mark("area", "x", "p", "p", 0),
                Mark("line", "x", "q", "q", 1),
                Mark("dots", "cells", "heights", "points, in cells of .2", 6),
            ),
            ylim=(0, 1.6),
        ),
        Panel(
            "As theta moves",
            "theta",
            "nats per point",
            (
                Mark("line", "thetas", "all_exact", "H(p) + KL(p, q)", 0),
                Mark("dash", "thetas", "all_nll", "n points", 1),
                Mark("dots", "theta", "nll", "", 1),
                Mark("dots", "theta", "cross_entropy", "", 0),
            ),
        ),
    ),
    """from genlearn import lab

result = lab.likelihood(theta={theta}, n={n}, seed={seed})
print(result)""",
    "Fisher 1922; Kullback and Leibler 1951; Akaike 1973",
    "theta",
)


def _optimality(law: str, sd: float, scale: float, mean: float) -> dict[str, Any]:
    p, q = DATA[law], normal(X, mean, sd)
    a = optimal_logit(p, q)
    shown = {"x": X[SHOWN], "p": p[SHOWN], "q": q[SHOWN], "d_star": optimal_discriminator(p, q)[SHOWN]}
    yours = value(scale * a, p, q, W)
    return shown | optimality(p, q, W)._asdict() | {"d": sigmoid(scale * a)[SHOWN], "yours": yours}


OPTIMALITY = Topic(
    "optimality",
    "The best discriminator, and what the game is worth",
    "For a fixed generator the best discriminator is known: D* = p_data / (p_data + p_g). With it the game is worth "
    "V(D*, G) = -log 4 + 2 JSD, and the residual shows that both sides, computed apart, agree. Any other D is worth "
    "less: here D = sigmoid(s a*), where a* is the logit of D*. Move p_g onto p_data: D* becomes 1/2 everywhere and V "
    "falls to -log 4 = -1.386, the least it can be.",
    (
        r"V(D, G) = E_{data} \log D(x) + E_g \log(1 - D(x))",
        r"D^*(x) = \frac{p_{data}(x)}{p_{data}(x) + p_g(x)} \quad V(D^*, G) = - \log 4 + 2 \JSD(p_{data}, p_g)",
    ),
    (
        replace(LAW, label="p_data"),
        Control("sd", "standard deviation of p_g", (0.75, 1.0, 2.0), 1.0),
        Control("scale", "s, D = sigmoid(s a*)", (0.0, 0.5, 1.0, 2.0), 0.5),
        replace(MEAN, label="mean of p_g", start=2.0),
    ),
    _optimality,
    (
        Number("value", "V(D*, G)", "nats", QUADRATURE),
        Number("bound", "-log 4 + 2 JSD", "nats", QUADRATURE),
        Number("residual", "their difference", "nats", "0 up to rounding"),
        Number("js", "JSD(p_data, p_g)", "nats", QUADRATURE),
        Number("yours", "V(D, G) of your D", "nats", QUADRATURE),
    ),
    (
        Panel(
            "p_data, p_g and D",
            "x",
            "density, and probability",
            (
                Mark("area", "x", "p", "p_data", 0),
                Mark("area", "x", "q", "p_g", 1),
                Mark("line", "x", "d_star", "D*", 2),
                Mark("dash", "x", "d", "your D", 3),
            ),
            ylim=(0, 1.02),
        ),
    ),
    """from genlearn import lab

x, w = lab.quadrature(-20, 20)
p_data = {"normal": lab.normal(x), "two bumps": lab.two_bumps(x)}[{law}]
p_g = lab.normal(x, mean={mean}, sd={sd})
result = lab.optimality(p_data, p_g, w)
print(result)
print("your D:", lab.value({scale} * lab.optimal_logit(p_data, p_g), p_data, p_g, w))""",
    "Goodfellow et al. 2014, proposition 1 and theorem 1",
    "mean",
)


TOPICS = (DIVERGENCES, LIKELIHOOD, OPTIMALITY)
