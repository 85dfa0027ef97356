"""Noise-contrastive estimation of densities with a known normaliser."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from genlearn.losses.noise_contrastive import nce
from genlearn.maths.rng import make_rng

M, SCALE = 0.5, 0.8  # data N(M, SCALE^2), noise N(0, SIGMA^2)
SIGMA = 1.5
LOG_Z = math.log(SCALE * math.sqrt(2 * math.pi))


def log_noise(x: Tensor) -> Tensor:
    return -0.5 * (x / SIGMA).square() - math.log(SIGMA * math.sqrt(2 * math.pi))


def energy(x: Tensor, m: Tensor | float = M, precision: Tensor | float = SCALE**-2) -> Tensor:
    return 0.5 * precision * (x - m).square()


def draw(n_sets: int, n: int, nu: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = make_rng(seed)
    x = M + SCALE * torch.randn(n_sets, n, generator=rng, dtype=torch.float64)
    return x, SIGMA * torch.randn(n_sets, nu * n, generator=rng, dtype=torch.float64)


def estimates(n_sets: int, n: int, nu: int, seed: int = 0) -> Tensor:
    """log Z of many data sets, each by Newton's method on its own (convex) objective, the shape of E known."""
    x, y = draw(n_sets, n, nu, seed)

    def loss(log_z: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return nce(-energy(x) - log_z, log_noise(x), -energy(y) - log_z, log_noise(y), nu)

    log_z = torch.full((n_sets,), LOG_Z, dtype=torch.float64)
    for _ in range(5):
        log_z.requires_grad_()
        (first,) = torch.autograd.grad(torch.func.vmap(loss)(log_z, x, y).sum(), log_z, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), log_z)
        log_z = (log_z - first / second).detach()
    assert first.abs().max() < 1e-10
    return log_z


def variance_in_theory(nu: int) -> float:
    """Gutmann and Hyvarinen 2012, theorem 3, by quadrature: 1 / I - (1 + 1 / nu), I = E_data[nu n / (p + nu n)]."""
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    p, n = (-energy(x) - LOG_Z).exp(), log_noise(x).exp()
    information = torch.trapezoid(p * nu * n / (p + nu * n), x).item()
    return 1 / information - (1 + 1 / nu)


def test_the_value_is_that_of_logistic_regression():
    """-E_data log h - nu E_noise log(1 - h) with h = p / (p + nu n), written out."""
    x, y = (t[0] for t in draw(1, 30, 4, 0))
    log_p, p = (lambda t: -energy(t) - 0.3), (lambda t: (-energy(t) - 0.3).exp())
    h = [p(t) / (p(t) + 4 * log_noise(t).exp()) for t in (x, y)]
    expected = -(h[0].log().sum() + (1 - h[1]).log().sum()) / 30
    assert nce(log_p(x), log_noise(x), log_p(y), log_noise(y), 4).item() == pytest.approx(expected.item(), rel=1e-12)


def test_log_z_is_recovered_and_its_error_falls_as_one_over_the_root_of_n():
    """1,000 data sets of 50 and of 800 points: the root mean square error is a quarter; no bias is seen."""
    few, many = (estimates(1000, n, 1) - LOG_Z for n in (50, 800))
    ratio = (few.square().mean() / many.square().mean()).sqrt().item()
    # The relative standard error of each is 1 / sqrt(2000), of their ratio sqrt(2) as large.
    assert abs(ratio / 4 - 1) < 5 / math.sqrt(1000)
    assert abs(many.mean().item()) < 5 * many.std().item() / math.sqrt(1000)


def test_the_variance_falls_with_nu_as_in_theory():
    n, previous = 100, math.inf
    for nu in (1, 3, 9):
        variance = n * estimates(1000, n, nu, seed=nu).var().item()
        # Relative standard error sqrt(2 / 1000).
        assert abs(variance / variance_in_theory(nu) - 1) < 5 * math.sqrt(2 / 1000)
        assert variance < previous
        previous = variance


def gradient(parameters: Tensor, x: Tensor, y: Tensor, nu: int) -> Tensor:
    """With respect to (m, precision, log Z)."""

    def loss(t: Tensor) -> Tensor:
        log_p = lambda x: -energy(x, t[0], t[1]) - t[2]  # noqa: E731
        return nce(log_p(x), log_noise(x), log_p(y), log_noise(y), nu)

    return torch.func.grad(loss)(parameters)


def test_the_gradient_at_the_truth_is_zero():
    truth = torch.tensor([M, SCALE**-2, LOG_Z], dtype=torch.float64)
    g = torch.stack([gradient(truth, *(t[0] for t in draw(1, 1000, 3, seed)), 3) for seed in range(200)])
    assert (g.mean(0).abs() < 5 * g.std(0) / 200**0.5).all()
    off = truth + torch.tensor([0, 0, 0.1], dtype=torch.float64)
    g = torch.stack([gradient(off, *(t[0] for t in draw(1, 1000, 3, seed)), 3) for seed in range(200)])
    assert g.mean(0)[2].abs() > 10 * g.std(0)[2] / 200**0.5


def test_the_gradient_tends_to_that_of_maximum_likelihood():
    """A binary machine of 6 bits against fair coins: all states once are the noise's exact expectation."""
    d = 6
    v = torch.tensor(list(itertools.product([0.0, 1.0], repeat=d)), dtype=torch.float64)
    data = v[[3, 3, 17, 40, 63]]
    U = torch.randn(d, d, generator=make_rng(0), dtype=torch.float64).requires_grad_()
    log_z = torch.logsumexp(((v @ U) * v).sum(1), 0)
    log_p = lambda v: ((v @ U) * v).sum(1)  # noqa: E731
    (exact,) = torch.autograd.grad(-(log_p(data).mean() - log_z), U, retain_graph=True)

    def error(nu: float) -> float:
        """Of the gradient in U, at the true log Z."""
        log_n = lambda v: v.new_full((len(v),), -d * math.log(2))  # noqa: E731
        c = log_z.detach()
        (g,) = torch.autograd.grad(nce(log_p(data) - c, log_n(data), log_p(v) - c, log_n(v), nu), U)
        return (g - exact).norm().item()

    errors = [error(nu) for nu in (1e3, 1e4, 1e5)]
    assert errors[0] > 1e-4
    for a, b in itertools.pairwise(errors):
        assert a / b == pytest.approx(10, rel=0.05)
    assert error(1e9) < 1e-6
