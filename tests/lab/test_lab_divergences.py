"""Divergences, the best discriminator, saturation, supports and likelihood against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from genlearn import lab
from genlearn.lab.likelihood import draws
from genlearn.losses import discriminator_loss, generator_loss

SHIFTS = {  # mean of q: JSD, V(D*), KL; N(0, 1) against N(mean, 1)
    0.5: (0.030311, -1.325672, 0.125),
    1.0: (0.111421, -1.163451, 0.5),
    2.0: (0.336831, -0.712633, 2.0),
    4.0: (0.632720, -0.120854, 8.0),
}


@pytest.fixture(scope="module")
def line():
    return lab.quadrature(-30, 34)


@pytest.fixture(params=range(5))
def laws(request):
    """Two random discrete laws, some probabilities 0 in either or both."""
    rng = np.random.default_rng(request.param)
    p, q = rng.dirichlet(np.full((30,), 0.3), 2)
    p[:5], q[3:9] = 0, 0
    return p / p.sum(), q / q.sum()


@pytest.mark.parametrize("mean", SHIFTS)
def test_shifted_gaussians(line, mean):
    x, w = line
    p, q = lab.normal(x), lab.normal(x, mean)
    d, o = lab.divergences(p, q, x, w), lab.optimality(p, q, w)
    js, v, kl = SHIFTS[mean]
    assert d.js == pytest.approx(js, abs=5e-7) == o.js
    assert o.value == pytest.approx(v, abs=5e-7)
    assert d.kl_pq == pytest.approx(kl, abs=1e-10) == d.kl_qp
    assert d.w1 == pytest.approx(mean, abs=1e-10)
    assert d.entropy_p == pytest.approx(0.5 * math.log(2 * math.pi * math.e), abs=1e-10)
    assert d.cross_entropy == pytest.approx(d.entropy_p + kl, abs=1e-10)
    logit = mean**2 / 2 - mean * x
    np.testing.assert_allclose(lab.optimal_discriminator(p, q), 1 / (1 + np.exp(-logit)), rtol=1e-9)


def test_a_wider_gaussian(line):
    x, w = line
    p, q = lab.normal(x), lab.normal(x, sd=2)
    d = lab.divergences(p, q, x, w)
    assert d.js == pytest.approx(0.092733, abs=5e-7)
    assert lab.optimality(p, q, w).value == pytest.approx(-1.200828, abs=5e-7)
    assert d.kl_pq == pytest.approx(math.log(2) + 1 / 8 - 1 / 2, abs=1e-10)
    assert d.kl_qp == pytest.approx(-math.log(2) + 2 - 1 / 2, abs=1e-10)
    assert d.w1 == pytest.approx(math.sqrt(2 / math.pi), abs=1e-6)


def test_the_residual_on_discrete_laws(laws):
    p, q = laws
    o = lab.optimality(p, q)
    assert abs(o.residual) <= 1e-12
    assert o.value == lab.value(lab.optimal_logit(p, q), p, q)  # to the bit: each side by its own definition
    assert o.residual == o.value - o.bound and o.bound == -math.log(4) + 2 * lab.js(p, q)
    # The same value by the losses that models train with: -2 times the loss of D at the best logits.
    a = torch.from_numpy(lab.optimal_logit(p, q))
    loss = -2 * sum(
        float((torch.from_numpy(law) * term)[torch.from_numpy(law) > 0].sum())
        for law, term in ((p, torch.nn.functional.softplus(-a)), (q, torch.nn.functional.softplus(a)))
    )
    assert 2 * o.value == pytest.approx(loss, abs=1e-12)


def test_no_other_discriminator_is_better(laws):
    p, q = laws
    best, rng = lab.optimality(p, q).value, np.random.default_rng(0)
    a = np.clip(lab.optimal_logit(p, q), -20, 20)
    for size in (1e-3, 0.1, 1.0):
        for _ in range(5):
            assert lab.value(a + size * rng.standard_normal(len(a)), p, q) < best
    assert lab.value(np.zeros(len(p)), p, q) == pytest.approx(-math.log(4), abs=1e-14)
    same = lab.optimality(p, p)
    assert same.value == pytest.approx(-math.log(4), abs=1e-14)
    assert same.js == pytest.approx(0, abs=1e-14)
    assert (lab.optimal_discriminator(p, p) == 0.5).all()


def test_discrete_divergences(laws):
    p, q = laws
    assert lab.kl(p, q) == math.inf == lab.kl(q, p)
    assert 0 < lab.js(p, q) < math.log(2)
    assert lab.js(p, q) == lab.js(q, p)
    assert lab.kl(p, p) == 0
    fair = np.full(8, 1 / 8)
    assert lab.entropy(fair) == pytest.approx(math.log(8), abs=1e-14)
    p, q = np.array([0.5, 0.5]), np.array([0.9, 0.1])
    assert lab.kl(p, q) == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(5), abs=1e-14)
    assert lab.kl(q, p) != pytest.approx(lab.kl(p, q), abs=0.05)


def test_w1_of_laws_and_of_samples():
    x = np.array([0.0, 1.0, 3.0])
    assert lab.wasserstein(np.array([1.0, 0, 0]), np.array([0, 0.5, 0.5]), x) == pytest.approx(2.0, abs=1e-14)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 7))
    every = np.sort(np.concatenate([a, b]))
    p, q = (np.isin(every, s) / 7 for s in (a, b))
    assert lab.wasserstein_samples(a, b) == pytest.approx(lab.wasserstein(p, q, every), abs=1e-14)
    with pytest.raises(ValueError, match=r"shapes \(7,\) and \(3,\), expected one size"):
        lab.wasserstein_samples(a, b[:3])


def test_the_trapezoid_rule_is_exact_for_lines():
    x, w = lab.quadrature(-1, 3, 5)
    assert (x[0], x[-1], w.sum()) == (-1, 3, 4)
    assert w @ (2 * x + 1) == pytest.approx(12, abs=1e-12)


def test_a_law_that_is_none_is_refused_in_one_line(line):
    x, w = line
    with pytest.raises(ValueError, match=r"expected .* sum 1; .* wider quadrature") as error:
        lab.kl(lab.normal(x, 33), lab.normal(x), w)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="nothing negative"):
        lab.js(np.array([1.5, -0.5]), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"sum 0\.9999, expected"):
        lab.kl(np.array([0.5, 0.4999]), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="low < high"):
        lab.quadrature(1, 1)
    with pytest.raises(ValueError, match="sd is 0"):
        lab.normal(x, sd=0)


def test_gradients_in_the_logit():
    g = lab.logit_gradients(np.array([-10.0, 0.0, 10.0]))
    assert g.saturating[0] == pytest.approx(-4.54e-5, abs=5e-8)
    assert g.non_saturating[0] == pytest.approx(-0.99995, abs=5e-6)
    assert g.saturating[1] == g.non_saturating[1] == -0.5
    a = torch.linspace(-12, 12, 9, dtype=torch.float64, requires_grad=True)
    g = lab.logit_gradients(a.detach().numpy())
    for form, ours in (("minimax", g.saturating), ("non-saturating", g.non_saturating)):
        (theirs,) = torch.autograd.grad(generator_loss(a, form) * len(a), a)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("mean", [0.5, 1.0, 2.0, 4.0])
def test_what_the_generators_losses_descend(line, mean):
    """At D*: the derivative of 2 JSD, and that of KL(p_g, p_data) - 2 JSD (Arjovsky and Bottou 2017, theorem 2.5)."""
    x, w = line
    p, h = lab.normal(x), 1e-4
    js, kl = ([f(lab.normal(x, mean + s * h), p, w) for s in (-1, 1)] for f in (lab.js, lab.kl))
    g = lab.generator_gradients(mean, x, w)
    assert g.saturating == pytest.approx((js[1] - js[0]) / h, abs=1e-7)
    assert g.non_saturating == pytest.approx((kl[1] - kl[0]) / (2 * h) - (js[1] - js[0]) / h, abs=1e-6)
    assert g.saturating + g.non_saturating == pytest.approx(mean, abs=1e-10)


@pytest.mark.parametrize("shift", [-2.0, -1.5, -0.7, 0.0, 0.01, 0.3, 1.2, 2.0])
def test_supports_that_slide_apart(shift):
    s, far = lab.supports(shift), abs(shift)
    assert s.js == pytest.approx(math.log(2) * min(far, 1), abs=1e-12)
    assert s.w1 == pytest.approx(far, abs=1e-12)
    assert s.kl == (0 if shift == 0 else math.inf)
    assert s.w1_slope == pytest.approx(np.sign(shift), abs=1e-12)
    assert s.js_slope == pytest.approx(math.log(2) * np.sign(shift) * (far < 1), abs=1e-12)
    points = lab.supports(shift, "points")
    assert points.js == pytest.approx(math.log(2) * (far > 0), abs=1e-12)
    assert points.w1 == pytest.approx(far, abs=1e-12)
    if far > 0.01:
        assert points.w1_slope == pytest.approx(np.sign(shift), abs=1e-12)
        assert points.js_slope == pytest.approx(0, abs=1e-12)
    if far >= 1:
        assert s.value == pytest.approx(0, abs=1e-12) == points.value


def test_supports_refuse():
    with pytest.raises(ValueError, match=r"shift is 2\.5, expected a number from -2 to 2"):
        lab.supports(2.5)
    with pytest.raises(ValueError, match="did you mean 'points'"):
        lab.supports(1.0, "point")


@pytest.mark.parametrize("seed", range(3))
def test_maximum_likelihood_is_minimum_kl(seed):
    for theta in (-1.0, 0.0, 2.0):
        few, many = lab.likelihood(theta, 10, seed), lab.likelihood(theta, 100_000, seed)
        assert abs(few.residual) < 1e-12 and abs(many.residual) < 1e-12
        assert abs(many.nll - many.cross_entropy) < 4 * many.se
        # H(p, N(theta, 1)) = log(2 pi) / 2 + (E x^2 + theta^2) / 2, E x^2 = 1.5^2 + .5^2
        assert many.cross_entropy == pytest.approx(math.log(2 * math.pi) / 2 + (2.5 + theta**2) / 2, abs=1e-10)
    assert abs(many.best) < 4 * many.best_error < 0.03
    assert lab.likelihood(many.best, 100_000, seed).nll < min(
        lab.likelihood(many.best + h, 100_000, seed).nll for h in (-0.01, 0.01)
    )
    assert lab.likelihood(0.0, 2, seed).kl == lab.likelihood(0.0, 500, seed).kl
    with pytest.raises(ValueError, match="expected 2 points"):
        lab.likelihood(0.0, 1, seed)


def test_the_residual_of_points_is_what_it_says():
    """To the bit, with the frequencies of the cells counted another way."""
    edges = np.linspace(-12, 12, 241)
    for seed in range(6):
        x = draws(300, seed)
        q = lab.normal((edges[1:] + edges[:-1]) / 2, -2.0)
        q /= q.sum()
        cell = np.searchsorted(edges[1:-1], x, side="right")
        p, _ = np.histogram(x, edges)
        wanted = float(-np.log(q[cell]).mean()) - (lab.entropy(p / 300) + lab.kl(p / 300, q))
        assert lab.likelihood(-2.0, 300, seed).residual == wanted


def test_discriminator_loss_is_minus_half_the_value():
    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal((2, 1000))
    a = np.concatenate([real, fake])
    p, q = (np.repeat(s, 1000) / 1000 for s in ([1.0, 0.0], [0.0, 1.0]))
    loss = discriminator_loss(torch.from_numpy(real), torch.from_numpy(fake))
    assert lab.value(a, p, q) == pytest.approx(-2 * float(loss), abs=1e-12)
