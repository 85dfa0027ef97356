"""Score matching and ratio matching against closed forms and enumeration."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from genlearn.losses.matching import (
    denoising_score_matching,
    flipped_ratio_matching,
    ratio_matching,
    rbm_flip_differences,
    score_matching,
    sliced_score_matching,
)
from genlearn.maths.flips import flip_differences
from genlearn.maths.rng import make_rng
from genlearn.nets.boltzmann import RestrictedBoltzmann

D = 3


class Gaussian(nn.Module):
    """1/2 (x - m)' P (x - m), the normaliser left out."""

    def __init__(self, m: Tensor, P: Tensor) -> None:
        super().__init__()
        self.m, self.P = nn.Parameter(m.clone()), nn.Parameter(P.clone())

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1) - self.m
        return 0.5 * ((x @ self.P) * x).sum(1)


def gradients(loss: Tensor, model: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.fixture
def x() -> Tensor:
    """Correlated points with an exact mean and covariance of their own [40, 3]."""
    rng = make_rng(0)
    mixing = torch.randn(D, D, generator=rng, dtype=torch.float64)
    return torch.randn(40, D, generator=rng, dtype=torch.float64) @ mixing + 2


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(0), torch.cov(x.T, correction=0)


def quartic() -> nn.Module:
    """A smooth energy of images [B, 1, 3, 1] that is no Gaussian."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(D, 5), nn.Tanh(), nn.Linear(5, 1), nn.Flatten(0)).double()


def test_score_matching_of_a_gaussian_is_the_closed_form(x):
    """1/2 tr(P S P) + 1/2 |P (mean - m)|^2 - tr P, and row by row 1/2 |P (x - m)|^2 - tr P."""
    rng = make_rng(1)
    A = torch.randn(D, D, generator=rng, dtype=torch.float64)
    model = Gaussian(torch.randn(D, generator=rng, dtype=torch.float64), A @ A.T)
    P, m, (mean, S) = model.P.detach(), model.m.detach(), moments(x)
    rows = score_matching(model, x)
    assert torch.allclose(rows, 0.5 * ((x - m) @ P).square().sum(1) - P.trace(), rtol=1e-12)
    expected = 0.5 * (P @ S @ P).trace() + 0.5 * (P @ (mean - m)).square().sum() - P.trace()
    assert rows.mean().item() == pytest.approx(expected.item(), rel=1e-12)


def test_score_matching_of_a_gaussian_is_least_at_the_moments(x):
    """At P = S^-1, m = mean the gradient is zero, the value -1/2 tr P, and Newton's method gets there."""
    mean, S = moments(x)
    model = Gaussian(mean, torch.linalg.inv(S))
    loss = score_matching(model, x).mean()
    assert loss.item() == pytest.approx(-0.5 * torch.linalg.inv(S).trace().item(), rel=1e-12)
    assert all(g.abs().max() < 1e-10 for g in gradients(loss, model))

    model = Gaussian(mean + 0.3, torch.eye(D, dtype=torch.float64))
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_grad=1e-12, tolerance_change=0,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = score_matching(model, x).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    # P enters E through its symmetric part alone, which is what is known.
    assert torch.allclose((model.P + model.P.T) / 2, torch.linalg.inv(S), atol=1e-7)
    assert torch.allclose(model.m, mean, atol=1e-7)


def test_the_trace_is_that_of_the_hessian_of_any_energy_of_images(x):
    energy, images = quartic(), x.view(-1, 1, D, 1)
    rows = score_matching(energy, images)
    for row, image in zip(rows[:5], images[:5], strict=True):
        g = torch.autograd.functional.jacobian(lambda i: energy(i[None])[0], image).flatten()
        hessian = torch.autograd.functional.hessian(lambda i: energy(i[None])[0], image).view(D, D)
        assert row.item() == pytest.approx((0.5 * g.square().sum() - hessian.trace()).item(), rel=1e-10)


def test_an_energy_without_curvature_has_no_trace(x):
    linear = nn.Sequential(nn.Linear(D, 1), nn.Flatten(0)).double()
    expected = 0.5 * linear[0].weight.square().sum().expand(len(x))
    assert torch.allclose(score_matching(linear, x), expected)
    assert torch.allclose(sliced_score_matching(linear, x, make_rng(0)), expected)


def test_sliced_score_matching_is_unbiased(x):
    """The mean over 40,000 projections of one point, in five standard errors; exact where the Hessian is diagonal."""
    for energy in (quartic(), Gaussian(torch.zeros(D).double(), torch.randn(D, D, generator=make_rng(3)).double())):
        exact = score_matching(energy, x[:1]).item()
        draws = sliced_score_matching(energy, x[:1].expand(40_000, D), make_rng(2)).detach()
        assert draws.std() > 0.01
        assert abs(draws.mean().item() - exact) < 5 * draws.std().item() / 200
    diagonal = Gaussian(torch.zeros(D).double(), torch.diag(torch.tensor([1.0, 2, 3]).double()))
    assert torch.allclose(sliced_score_matching(diagonal, x, make_rng(2)), score_matching(diagonal, x))


def test_the_sliced_objective_has_the_gradient_of_the_exact_one(x):
    energy = quartic()
    exact = gradients(score_matching(energy, x).sum() + 0 * energy(x).sum(), energy)
    n = 4000
    parts = []
    for seed in range(20):
        copies = x.repeat(n // 20, 1)
        rows = sliced_score_matching(energy, copies, make_rng(seed))
        parts.append(torch.cat([g.flatten() for g in gradients(rows.sum() / (n // 20) + 0 * energy(x).sum(), energy)]))
    parts = torch.stack(parts)
    error = parts.mean(0) - torch.cat([g.flatten() for g in exact])
    assert (error.abs() <= 5 * parts.std(0) / 20**0.5 + 1e-12).all()


def test_denoising_learns_the_blurred_density(x):
    """The gradient vanishes at P = (S + sigma^2 I)^-1 within five standard errors, and not at S^-1."""
    (mean, S), sigma, n = moments(x), 0.7, 1000

    def z_scores(P: Tensor) -> Tensor:
        model = Gaussian(mean, P)
        parts = torch.stack([
            torch.cat([g.flatten() for g in gradients(
                denoising_score_matching(model, x.repeat(n, 1), sigma, make_rng(seed)).mean(), model)])
            for seed in range(30)
        ])  # fmt: skip
        return parts.mean(0) / (parts.std(0) / 30**0.5)

    assert z_scores(torch.linalg.inv(S + sigma**2 * torch.eye(D))).abs().max() < 5
    assert z_scores(torch.linalg.inv(S)).abs().max() > 20


def test_denoising_is_the_score_matching_of_the_blurred_density_up_to_a_constant(x):
    """E J_DSM = 1/2 tr(P C P) - tr P + d / (2 sigma^2) at the mean, with C = S + sigma^2 I: the scale is Vincent's."""
    (mean, S), sigma, n = moments(x), 0.7, 10_000
    P = torch.linalg.inv(S) + 0.2 * torch.eye(D)
    rows = denoising_score_matching(Gaussian(mean, P), x.repeat(n, 1), sigma, make_rng(0)).detach()
    C = S + sigma**2 * torch.eye(D)
    expected = 0.5 * (P @ C @ P).trace() - P.trace() + D / (2 * sigma**2)
    # The 40 points repeat: what varies is their noise.
    assert abs(rows.mean() - expected) < 5 * rows.std() / len(rows) ** 0.5


# --- ratio matching


class Quadratic(nn.Module):
    """A fully visible Boltzmann machine, -v' U v - b.v [B, 2, 2] or [B, 4]: no bit is alone."""

    def __init__(self, d: int) -> None:
        super().__init__()
        rng = make_rng(7)
        self.U = nn.Parameter(torch.randn(d, d, generator=rng, dtype=torch.float64))
        self.b = nn.Parameter(torch.randn(d, generator=rng, dtype=torch.float64))

    def forward(self, v: Tensor) -> Tensor:
        v = v.flatten(1)
        return -((v @ self.U) * v).sum(1) - v @ self.b


def states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def rbm(d: int) -> RestrictedBoltzmann:
    rng = make_rng(0)
    net = RestrictedBoltzmann(d, 3, rng).double()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(generator=rng)
    return net


def test_ratio_matching_is_the_sum_of_squared_conditionals():
    """Each term is p(v with bit i flipped | the other bits)^2."""
    model, v = Quadratic(4), states(4)
    p = torch.softmax(-model(v), 0)
    expected = torch.zeros(len(v), dtype=torch.float64)
    for i in range(4):
        flipped = torch.arange(len(v)) ^ (1 << (3 - i))
        expected += (p[flipped] / (p + p[flipped])) ** 2
    assert torch.allclose(ratio_matching(model, v), expected, rtol=1e-12)
    assert torch.allclose(ratio_matching(model, v.view(-1, 2, 2)), expected, rtol=1e-12)


@pytest.mark.parametrize("model", [Quadratic(8), rbm(8)], ids=["fully visible", "rbm"])
def test_ratio_matching_is_consistent(model):
    """Under the model's own law, enumerated, the gradient is zero at the true parameters and only there."""
    energy = model.free_energy if isinstance(model, RestrictedBoltzmann) else model
    v = states(8)
    p = torch.softmax(-energy(v), 0).detach()
    assert all(g.abs().max() < 1e-12 for g in gradients(p @ ratio_matching(energy, v), model))
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    assert any(g.abs().max() > 1e-4 for g in gradients(p @ ratio_matching(energy, v), model))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_flips_average_to_all_exactly(n):
    model, v = Quadratic(4), states(4)
    subsets = torch.tensor(list(itertools.combinations(range(4), n)))

    def over(subset: Tensor) -> Tensor:
        """The objective over these bits, whichever were drawn."""
        differences = lambda v, drawn: flip_differences(model, v, subset.expand_as(drawn))  # noqa: E731
        return flipped_ratio_matching(differences, v, make_rng(0), n)

    mean = torch.stack([over(subset) for subset in subsets]).mean(0)
    assert torch.allclose(mean, ratio_matching(model, v), rtol=1e-12)


def test_the_bits_drawn_are_a_uniform_subset():
    drawn = []
    flipped_ratio_matching(lambda v, i: drawn.append(i) or torch.zeros(i.shape), torch.zeros(60_000, 5), make_rng(0), 2)
    code = (2 ** drawn[0]).sum(1)
    counts = torch.bincount(code)[[2**i + 2**j for i, j in itertools.combinations(range(5), 2)]]
    assert counts.sum() == 60_000  # never the same bit twice
    # Binomial with p = 1/10: five standard deviations.
    assert (counts - 6000).abs().max() < 5 * (60_000 * 0.09) ** 0.5


def test_few_flips_need_a_generator_and_a_range():
    v = states(3)
    with pytest.raises(ValueError, match="n_flips is given without rng"):
        ratio_matching(Quadratic(3), v, n_flips=2)
    with pytest.raises(ValueError, match="n_flips is 4, expected an integer between 1 and 3"):
        ratio_matching(Quadratic(3), v, make_rng(0), 4)


def test_the_flips_of_an_rbm_in_closed_form():
    net, v = rbm(6), states(6)
    indices = torch.stack([torch.randperm(6, generator=make_rng(i))[:4] for i in range(len(v))])
    generic = flip_differences(net.free_energy, v, indices)
    assert torch.allclose(rbm_flip_differences(net, v, indices), generic, rtol=1e-11)
    closed = flipped_ratio_matching(partial(rbm_flip_differences, net), v)
    for a, b in zip(
        gradients(closed.sum(), net), gradients(ratio_matching(net.free_energy, v).sum(), net), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-11)
