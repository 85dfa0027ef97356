"""Every optimiser by the rule of its paper, written out by hand; what decays, and what follows a schedule."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from genlearn.train import Optimizer

Array = NDArray[np.float64]
LR, M, B1, B2, EPS = 0.05, 0.7, 0.6, 0.8, 1e-8
ROUNDS = 14  # rectified Adam is plain momentum for the first ones


def walk(spec: Optimizer, gradients: list[Array], start: Array, images: int = 10, one: bool = False) -> list[Array]:
    """A parameter (a matrix, or if `one` a vector) after each of the steps along given gradients."""
    p = nn.Parameter(torch.tensor(start if one else start[None]))
    optimizer, places = spec.build([("p", p)]), []
    for i, g in enumerate(gradients):
        spec.schedule(optimizer, i * images)
        p.grad = torch.tensor(g).view_as(p)
        spec.step(optimizer)
        places.append(p.detach().numpy().ravel().copy())
    return places


def sgd(p: Array, g: Array, t: int, s: dict) -> Array:
    return p - LR * g


def momentum(p: Array, g: Array, t: int, s: dict) -> Array:
    s["v"] = M * s.get("v", 0) + g
    return p - LR * s["v"]


def nesterov(p: Array, g: Array, t: int, s: dict) -> Array:
    """Sutskever et al. 2013, in the form that looks ahead from the point where the gradient is taken."""
    s["v"] = M * s.get("v", 0) + g
    return p - LR * (g + M * s["v"])


def adagrad(p: Array, g: Array, t: int, s: dict) -> Array:
    s["n"] = s.get("n", 0) + g**2
    return p - LR * g / np.sqrt(s["n"])


def adadelta(p: Array, g: Array, t: int, s: dict) -> Array:
    s["n"] = 0.9 * s.get("n", 0) + 0.1 * g**2
    step = np.sqrt(s.get("d", 0) + 1e-6) / np.sqrt(s["n"] + 1e-6) * g
    s["d"] = 0.9 * s.get("d", 0) + 0.1 * step**2
    return p - LR * step


def rmsprop(p: Array, g: Array, t: int, s: dict) -> Array:
    s["n"] = 0.99 * s.get("n", 0) + 0.01 * g**2
    return p - LR * g / (np.sqrt(s["n"]) + EPS)


def moments(g: Array, s: dict) -> None:
    s["m"] = B1 * s.get("m", 0) + (1 - B1) * g
    s["n"] = B2 * s.get("n", 0) + (1 - B2) * g**2


def adam(p: Array, g: Array, t: int, s: dict) -> Array:
    """Kingma and Ba 2015, algorithm 1; without decay AdamW is the same."""
    moments(g, s)
    return p - LR * (s["m"] / (1 - B1**t)) / (np.sqrt(s["n"] / (1 - B2**t)) + EPS)


def adamax(p: Array, g: Array, t: int, s: dict) -> Array:
    """Kingma and Ba 2015, algorithm 2."""
    s["m"] = B1 * s.get("m", 0) + (1 - B1) * g
    s["u"] = np.maximum(B2 * s.get("u", 0), np.abs(g))
    return p - LR / (1 - B1**t) * s["m"] / s["u"]


def nadam(p: Array, g: Array, t: int, s: dict) -> Array:
    """Dozat 2016, with the warm-up of the momentum."""
    moments(g, s)
    mu, ahead = (B1 * (1 - 0.5 * 0.96 ** (0.004 * i)) for i in (t, t + 1))
    s["mu"] = s.get("mu", 1.0) * mu
    m = ahead * s["m"] / (1 - s["mu"] * ahead) + (1 - mu) * g / (1 - s["mu"])
    return p - LR * m / (np.sqrt(s["n"] / (1 - B2**t)) + EPS)


def radam(p: Array, g: Array, t: int, s: dict) -> Array:
    """Liu et al. 2020, algorithm 2."""
    moments(g, s)
    m, limit = s["m"] / (1 - B1**t), 2 / (1 - B2) - 1
    rho = limit - 2 * t * B2**t / (1 - B2**t)
    if rho <= 5:
        return p - LR * m
    r = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
    return p - LR * r * m / np.sqrt(s["n"] / (1 - B2**t))


RULES: dict[str, Callable[[Array, Array, int, dict], Array]] = {
    f.__name__: f for f in (sgd, momentum, nesterov, adagrad, adadelta, rmsprop, adam, adamax, nadam, radam)
} | {"adamw": adam}
START = np.array([1.0, -2.0, 0.5])


def gradients() -> list[Array]:
    return list(np.random.default_rng(0).normal(size=(ROUNDS, 3)))


def by_hand(rule, along: Callable[[int, Array], Array]) -> list[Array]:
    p, state, places = START, {}, []
    for t in range(1, ROUNDS + 1):
        p = rule(p, along(t - 1, p), t, state)
        places.append(p)
    return places


@pytest.mark.parametrize("name", RULES)
def test_every_name_is_the_rule_of_its_paper(name):
    given = gradients()
    got = walk(Optimizer(name, lr=LR, momentum=M, betas=(B1, B2)), given, START)
    np.testing.assert_allclose(got, by_hand(RULES[name], lambda i, p: given[i]), rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in RULES if name != "adamw"])
def test_weight_decay_is_an_l2_term_of_matrices_and_leaves_biases_alone(name):
    given, spec = gradients(), Optimizer(name, lr=LR, momentum=M, betas=(B1, B2), weight_decay=0.3)
    np.testing.assert_allclose(
        walk(spec, given, START), by_hand(RULES[name], lambda i, p: given[i] + 0.3 * p), rtol=1e-6
    )
    np.testing.assert_allclose(
        walk(spec, given, START, one=True), by_hand(RULES[name], lambda i, p: given[i]), rtol=1e-6
    )


def test_decoupled_weight_decay_shrinks_the_weights_themselves():
    """Loshchilov and Hutter 2019, algorithm 2: not through the moments."""
    given, spec = gradients(), Optimizer("adamw", lr=LR, betas=(B1, B2), weight_decay=0.3)
    expected = by_hand(lambda p, g, t, s: adam(p, g, t, s) - LR * 0.3 * p, lambda i, p: given[i])
    np.testing.assert_allclose(walk(spec, given, START), expected, rtol=1e-6)
    np.testing.assert_allclose(walk(spec, given, START, one=True), by_hand(adam, lambda i, p: given[i]), rtol=1e-6)


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_rate_and_momentum_follow_the_images_seen(name):
    spec = Optimizer(name, lr="linear(0.1, 0, over=100)", momentum="linear(0.1, 0.9, over=80)")
    ones = [np.ones(3)] * 3
    p, v, expected = START, np.zeros(3), []
    for i in range(3):
        lr, m = 0.1 - 0.01 * i, 0.1 + 0.1 * i
        v = m * v + 1
        p = p - lr * (v if name == "momentum" else 1 + m * v)
        expected.append(p)
    np.testing.assert_allclose(walk(spec, ones, START, images=10), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["adam", "adamax"])  # fused, and not
def test_to_train_and_to_resume_does_not_load_the_compiler(name, tmp_path):
    """It takes longer to import than a small model to train."""
    code = f"""if True:
        import sys
        from genlearn.run import Run
        tiny = dict(hidden=(4,), n_latent=2, optimizer="{name}", epochs=None, images=100, device="cpu")
        Run.create(r"{tmp_path}", "vae", "digits", tiny, {{}}).train()
        Run.open(r"{tmp_path}").train(resume=True, budget=dict(images=200))
        sys.exit("torch._dynamo" in sys.modules)
    """
    subprocess.run([sys.executable, "-c", code], check=True)
