"""log Z by enumeration and by annealed importance sampling, against sums written out."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from genlearn.maths.ais import ais, log_z_exact, salakhutdinov, schedule


def machine(d: int, h: int, seed: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> tuple:
    rng = torch.Generator().manual_seed(seed)
    W, a, b = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in ((d, h), (d,), (h,)))
    return (scale * W).to(dtype), a.to(dtype), b.to(dtype)


def states(n: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def brute_force(W, a, b) -> float:
    """log sum over v and h of exp(a.v + b.h + v W h), no factorisation."""
    v, h = states(len(a)), states(len(b))
    return float(torch.logsumexp(((v @ a)[:, None] + h @ b + v @ W @ h.T).flatten(), 0))


def base(d: int) -> torch.Tensor:
    return torch.linspace(-1, 1, d, dtype=torch.float64)


@pytest.mark.parametrize(("d", "h"), [(7, 5), (5, 7), (1, 6), (6, 1)])
@pytest.mark.parametrize("chunk", [4, 4096])
def test_enumeration_equals_the_sum_over_both_sides(d, h, chunk):
    W, a, b = machine(d, h, 0)
    assert log_z_exact(W, a, b, chunk=chunk) == pytest.approx(brute_force(W, a, b), abs=1e-12)


def test_gaussian_enumeration_equals_quadrature():
    W, a, b = machine(2, 3, 1)
    sigma = torch.tensor([0.7, 1.6], dtype=torch.float64)
    step = 0.1
    x = torch.arange(-14, 14, step, dtype=torch.float64)
    v = torch.cartesian_prod(x, x)
    energy = ((v - a) / sigma).square().sum(1) / 2
    log_p = torch.stack([-energy + (v / sigma) @ W @ h + b @ h for h in states(3)])
    integral = float(torch.logsumexp(log_p.flatten(), 0)) + 2 * math.log(step)
    assert log_z_exact(W, a, b, visible="gaussian", sigma=sigma) == pytest.approx(integral, abs=1e-9)


def test_enumeration_refuses_too_many_units():
    with pytest.raises(ValueError, match=r"2\^21 states.*ais\(\)"):
        log_z_exact(*machine(21, 21, 0))
    with pytest.raises(ValueError, match=r"2\^21 states"):
        log_z_exact(*machine(2, 21, 0), visible="gaussian")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ais_covers_log_z_of_784_pixels_and_16_units(dtype):
    """To four standard errors: in float32 the last bits, which differ between machines, decide some of the states."""
    W, a, b = machine(784, 16, 2, 0.1, dtype)
    rng = torch.Generator().manual_seed(0)
    estimate = ais(W, a, b, a_base=torch.zeros_like(a), betas=schedule(500), n_chains=100, rng=rng)
    width = estimate.upper - estimate.lower
    assert abs(estimate.log_z - log_z_exact(W, a, b)) < 4 * width / 6
    assert 0.2 < width < 0.7
    assert estimate.log_w.dtype == torch.float64
    assert 30 < estimate.ess <= 100


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
@pytest.mark.parametrize("rough", [2, 5])
def test_ais_is_unbiased_in_z_however_few_the_temperatures(visible, rough):
    """E[Z_hat] = Z: the mean of many short independent chains is within 4 standard errors of 1."""
    W, a, b = machine(6, 4, 3, 0.5)
    sigma = torch.linspace(0.6, 1.5, 6, dtype=torch.float64) if visible == "gaussian" else None
    rng = torch.Generator().manual_seed(0)
    a_base = base(6) if visible == "binary" else 0.7 * a
    estimate = ais(
        W, a, b, a_base=a_base, betas=schedule(rough), n_chains=40_000, rng=rng, visible=visible, sigma=sigma
    )
    w = (estimate.log_w - log_z_exact(W, a, b, visible=visible, sigma=sigma)).exp()
    error = float(w.std()) / math.sqrt(len(w))
    assert error < 0.05
    assert abs(float(w.mean()) - 1) < 4 * error


@pytest.mark.parametrize("a_base", [None, base(8)])
def test_ais_of_gaussian_units_covers_the_exact_sum(a_base):
    W, a, b = machine(8, 6, 4, 0.7)
    sigma = torch.linspace(0.5, 2, 8, dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    estimate = ais(
        W, a, b, a_base=a_base, betas=schedule(1000), n_chains=200, rng=rng, visible="gaussian", sigma=sigma
    )  # fmt: skip
    exact = log_z_exact(W, a, b, visible="gaussian", sigma=sigma)
    assert abs(estimate.log_z - exact) < 0.1
    assert estimate.lower < exact < estimate.upper


def test_without_weights_the_estimate_is_exact():
    _, a, b = machine(9, 5, 5)
    estimate = ais(
        torch.zeros(9, 5).double(), a, b, betas=schedule(2), n_chains=3, rng=torch.Generator().manual_seed(0)
    )
    assert estimate.log_z == pytest.approx(float(torch.log1p(a.exp()).sum() + torch.log1p(b.exp()).sum()), abs=1e-12)
    assert estimate.ess == pytest.approx(3)


def test_a_weight_that_rules_all_others_has_no_lower_end():
    W, a, b = machine(12, 8, 6, 4.0)
    estimate = ais(W, a, b, a_base=base(12), betas=schedule(2), n_chains=20, rng=torch.Generator().manual_seed(0))
    assert estimate.lower == -math.inf
    assert estimate.ess < 2
    assert estimate.upper > estimate.log_z


def test_schedules():
    betas = salakhutdinov()
    assert len(betas) == 14_501
    assert [float(betas[i]) for i in (0, 1, 500, 501, 4500, 4501, -1)] == [0, 0.001, 0.5, 0.5001, 0.9, 0.90001, 1]
    assert schedule(5).tolist() == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("betas", [[0.1, 1.0], [0.0, 0.9], [0.0, 0.6, 0.5, 1.0], [1.0]])
def test_temperatures_must_run_from_0_to_1(betas):
    with pytest.raises(ValueError, match="betas must increase from 0 to 1"):
        ais(*machine(3, 2, 0), betas=torch.tensor(betas), n_chains=2, rng=torch.Generator())
