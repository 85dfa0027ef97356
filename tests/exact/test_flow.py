"""Solvers, divergence and flow matching against Gaussian data, whose velocity field is in closed form."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

from genlearn.losses.flow import flow_matching, noised, on_path, path
from genlearn.maths import divergence
from genlearn.maths.rng import make_rng
from genlearn.models.flow import FlowMatching
from genlearn.samplers import solve, transport

PATHS = ("linear", "vp")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=make_rng(seed), dtype=torch.float64)


class Mixture:
    """p(x) = sum_k w_k N(x; m_k, C_k), and the exact field of its path: E[x_t' | x_t]."""

    def __init__(self, w, means, covariances, name="linear") -> None:
        self.w, self.m, self.C, self.name = (
            *(torch.tensor(v, dtype=torch.float64) for v in (w, means, covariances)),
            name,
        )

    def law(self, t: float):
        """The components of x_t."""
        a, s = path(torch.tensor(t, dtype=torch.float64), self.name)
        covariance = a**2 * self.C + s**2 * torch.eye(self.C.shape[-1], dtype=torch.float64)
        return torch.distributions.MultivariateNormal(a * self.m, covariance)

    def log_prob(self, x, t: float = 1.0):
        return torch.logsumexp(self.w.log() + self.law(t).log_prob(x[:, None]), 1)

    def __call__(self, x, t):
        """sum_k p(k | x_t) E[a' x + s' z | x_t, k], all rows at the same t."""
        (time,) = t.unique().tolist()
        a, s = path(t[0], self.name)
        da, ds = (1, -1) if self.name == "linear" else (math.pi / 2 * s, -math.pi / 2 * a)
        law = self.law(time)
        u = torch.linalg.solve(law.covariance_matrix, (x[:, None] - a * self.m)[..., None])
        field = da * (self.m + a * (self.C @ u)[..., 0]) + ds * s * u[..., 0]
        p = torch.softmax(self.w.log() + law.log_prob(x[:, None]), 1)
        return (p[..., None] * field).sum(1)


def gaussian(name="linear") -> Mixture:
    return Mixture([1.0], [[1.0, -2.0]], [[[2.0, 0.6], [0.6, 0.5]]], name)


def mixture(name="linear") -> Mixture:
    C = [[[0.3, 0.1], [0.1, 0.2]], [[0.1, 0.0], [0.0, 0.4]], [[0.2, -0.1], [-0.1, 0.2]]]
    return Mixture([0.2, 0.5, 0.3], [[1.0, 0.0], [-1.0, 0.5], [0.0, -1.5]], C, name)


def root(C):
    values, vectors = torch.linalg.eigh(C)
    return vectors * values.sqrt() @ vectors.T


# --- solvers


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("rk4", 4)])
@pytest.mark.parametrize("name", PATHS)
def test_orders_of_the_solvers(solver, order, name):
    """Halving the step divides the error by 2^order; the flow of the linear path is z -> m + C^(1/2) z."""
    field, z = gaussian(name), random(50, 2)
    exact = field.m + z @ root(field.C[0])
    errors = [(solve(field, z, 0, 1, solver, n) - exact).norm() / 50**0.5 for n in (20, 40, 80, 160)]
    orders = [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]
    assert orders[-1] == pytest.approx(order, abs=0.1), orders
    assert errors[-1] < {1: 2e-2, 2: 1e-4, 4: 1e-8}[order]


@pytest.mark.parametrize("name", PATHS)
def test_the_exact_field_transports_moments_exactly(name):
    """Points whose mean and covariance are exactly 0 and I arrive with those of the data."""
    field = gaussian(name)
    z = torch.cat([2**0.5 * torch.eye(2, dtype=torch.float64), -(2**0.5) * torch.eye(2, dtype=torch.float64)])
    x = solve(field, z, 0, 1, "rk4", 200)
    assert torch.allclose(x.mean(0), field.m[0], atol=1e-9)
    assert torch.allclose((x - x.mean(0)).T @ (x - x.mean(0)) / 4, field.C[0], atol=1e-9)


def test_adaptive_steps_keep_the_tolerance_row_by_row():
    """A pendulum of a frequency of its own for each row: the error follows the tolerance, and no row sees another."""
    w = torch.tensor([0.5, 3.0, 40.0], dtype=torch.float64)
    x = random(3, 2)
    calls = []

    def turning(w):
        def f(x, t):
            calls.append(len(t))
            return w[:, None] * torch.stack([x[:, 1], -x[:, 0]], 1)

        return f

    exact = torch.stack([x[:, 0] * w.cos() + x[:, 1] * w.sin(), x[:, 1] * w.cos() - x[:, 0] * w.sin()], 1)
    errors = []
    for tolerance in (1e-3, 1e-5, 1e-7):
        y = solve(turning(w), x, 0, 1, "adaptive", tolerance=tolerance)
        errors.append((y - exact).norm().item())
        alone = [solve(turning(w[i : i + 1]), x[i : i + 1], 0, 1, "adaptive", tolerance=tolerance) for i in range(3)]
        assert torch.equal(y, torch.cat(alone))
    assert all(error < 100 * tolerance for error, tolerance in zip(errors, (1e-3, 1e-5, 1e-7), strict=True))
    assert (solve(turning(w), y, 1, 0, "adaptive", tolerance=1e-7) - x).norm() < 1e-5
    calls.clear()
    solve(turning(w[:1]), x[:1], 0, 1, "adaptive", tolerance=1e-3)
    assert len(calls) < 40  # the slow one takes few steps


def test_the_error_of_a_step_is_a_mean_over_the_numbers_of_a_row_and_relative_to_large_ones():
    """An image of equal pixels takes the steps of one of them, and large numbers no more of them than larger ones."""

    def end(scale, n):
        calls.append(0)

        def f(x, t):
            calls[-1] += 1
            return -9 * x

        return solve(f, scale * torch.ones(1, n, dtype=torch.float64), 0, 1, "adaptive") / scale

    calls: list[int] = []
    assert torch.allclose(end(1, 100), end(1, 1), rtol=1e-12)
    end(1e6, 1), end(1e9, 1)
    assert calls[0] == calls[1]
    assert calls[2] == calls[3]


def test_a_field_without_end_is_refused():
    with pytest.raises(ValueError, match=r"more than 1000 steps for tolerance 0\.001"):
        solve(lambda x, t: x / 0.0, torch.ones(1, 1), 0, 1, "adaptive")


# --- divergence and likelihood


def test_divergence_is_the_trace_of_the_jacobian():
    W, x = random(5, 5), random(7, 5, seed=1)

    def f(x):
        return torch.tanh(x @ W)

    exact = ((1 - f(x).square()) * W.diagonal()).sum(1)
    value, trace = divergence(f, x)
    assert torch.equal(value, f(x))
    assert torch.allclose(trace, exact)


def test_hutchinson_is_unbiased():
    """The mean over all 2^5 vectors of signs is the trace itself; one of them alone is not."""
    W, x = random(5, 5), random(7, 5, seed=1)
    signs = torch.tensor(list(product([-1.0, 1.0], repeat=5)), dtype=torch.float64)[:, None]

    def f(x):
        return torch.tanh(x @ W)

    exact = divergence(f, x)[1]
    assert torch.allclose(divergence(f, x, signs)[1], exact)
    assert not torch.allclose(divergence(f, x, signs[:1])[1], exact, atol=0.1)


@pytest.mark.parametrize("name", PATHS)
def test_likelihood_of_a_mixture_under_the_exact_field(name):
    field = mixture(name)
    x = torch.cat([random(40, 2), 2 * random(10, 2, seed=1)])
    z, log_det = transport(field, x, 1, 0, "rk4", 100)
    normal = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.eye(2))
    assert (normal.log_prob(z) + log_det - field.log_prob(x)).abs().max() < 1e-4
    back, inverse = transport(field, z, 0, 1, "rk4", 100)
    assert (back - x).abs().max() < 1e-4
    assert (inverse + log_det).abs().max() < 1e-4


# --- paths and the loss


@pytest.mark.parametrize("name", PATHS)
def test_paths_go_from_noise_to_data_with_their_velocity(name):
    x, z = random(6, 3), random(6, 3, seed=1)
    for t, end in ((0.0, z), (1.0, x)):
        assert torch.allclose(on_path(x, z, torch.full((6,), t, dtype=torch.float64), name)[0], end, atol=1e-12)
    t, h = torch.rand(6, generator=make_rng(2), dtype=torch.float64), 1e-6
    velocity = on_path(x, z, t, name)[1]
    difference = (on_path(x, z, t + h, name)[0] - on_path(x, z, t - h, name)[0]) / (2 * h)
    assert torch.allclose(velocity, difference, atol=1e-8)


@pytest.mark.parametrize("name", PATHS)
def test_the_optimum_on_gaussian_data_is_the_linear_field(name):
    """Least squares of the velocity on (1, x_t) at a fixed t gives the closed form; and nothing has a lower loss."""
    field, n = gaussian(name), 400_000
    x = field.m + random(n, 2) @ root(field.C[0])
    z = random(n, 2, seed=1)
    for time in (0.2, 0.7):
        t = torch.full((n,), time, dtype=torch.float64)
        x_t, velocity = on_path(x, z, t, name)
        design = torch.cat([x_t, torch.ones(n, 1, dtype=torch.float64)], 1)
        fitted = torch.linalg.lstsq(design, velocity).solution
        points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        exact = field(points, t[:3])
        assert torch.allclose(torch.cat([points, torch.ones(3, 1)], 1) @ fitted, exact, atol=0.02)
        best = flow_matching(field(x_t, t), velocity).mean()
        for other in (velocity * 0, field(x_t, t) + 0.1, 1.1 * field(x_t, t)):
            assert flow_matching(other, velocity).mean() > best + 1e-3


@pytest.mark.parametrize("name", PATHS)
def test_the_way_back_keeps_the_law_of_the_path(name):
    """x_u noised back to t has the mean and the covariance of x_t; back to 0 nothing of it is left."""
    field, n = gaussian(name), 400_000
    x = field.law(0.6).mean + random(n, 2) @ root(field.law(0.6).covariance_matrix[0])
    back, law = noised(x, 0.45, 0.6, random(n, 2, seed=1), name), field.law(0.45)
    assert torch.allclose(back.mean(0), law.mean[0], atol=0.01)
    assert torch.allclose(back.T.cov(), law.covariance_matrix[0], atol=0.01)
    eps = random(5, 2, seed=2)
    assert torch.allclose(noised(x[:5], 0.0, 0.6, eps, name), eps)


@pytest.mark.parametrize("name", PATHS)
def test_completion_under_the_exact_field_draws_from_the_conditional_law(name):
    """x_2 given x_1 = .4: mean C_21 / C_11 x_1, variance C_22 - C_21^2 / C_11; without resampling it does not."""
    C = [[0.55, 0.25], [0.25, 0.22]]
    field, z = Mixture([1.0], [[0.0, 0.0]], [C], name), random(100, 2).numpy()

    class Exact(FlowMatching):
        def _field(self, nets, y=None):
            return field

    model = Exact(output="linear", path=name, n_steps=20, precision="float64", epochs=0.1, images=None).fit(z)
    model.nets_.scale.mean.zero_(), model.nets_.scale.sd.fill_(1.0)
    X = np.tile([[0.4, 0.0]], (1000, 1))
    gaps = []
    for r in (1, 10):
        filled = model.set_params(n_resamplings=r).complete(
            X, np.array([True, False]), nets=model.nets_, random_state=0
        )
        assert (filled[:, 0] == 0.4).all()
        gaps.append(abs(filled[:, 1].mean() - 0.25 / 0.55 * 0.4))
    assert gaps[0] > 0.05 > 0.025 > gaps[1]
    assert filled[:, 1].std() == pytest.approx(math.sqrt(0.22 - 0.25**2 / 0.55), rel=0.05)


@pytest.mark.parametrize("solver", ["euler", "heun", "rk4", "adaptive"])
def test_the_signs_stay_the_same_all_along_the_path(solver):
    """v = A x: the estimate of each row is e' A e times the time, of its own signs e or of those that all share."""
    A, x = random(5, 5), random(7, 5, seed=1)
    for signs in (random(1, 7, 5, seed=2).sign(), random(2, 1, 5, seed=3).sign()):
        log_det = transport(lambda x, t: x @ A.T, x, 1, 0, solver, 6, probes=signs)[1]
        assert torch.allclose(log_det, -((signs @ A) * signs).sum(2).mean(0).expand(7))
