"""The Dirac-GAN, CD-k and the flow of gradients against closed forms and enumeration."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from genlearn import lab
from genlearn.lab.contrastive import bars, binary, gibbs_matrix, learned_rbm, statistics
from genlearn.losses import discriminator_loss, generator_loss, squared_gradient_norm
from genlearn.maths import log_z_exact, make_rng
from genlearn.nets import RestrictedBoltzmann
from genlearn.samplers import from_hidden

HALF = 0.5  # f'(0) of the logistic losses
EIGENVALUES = {
    "minimax": (1j * HALF, -1j * HALF),
    "non-saturating": (1j * HALF, -1j * HALF),
    "wgan": (1j, -1j),
    "wgan-clipping": (1j, -1j),
    "r1": (-0.5, -0.5),  # -gamma/2 +- sqrt(gamma^2 / 4 - f'(0)^2), gamma = 1
    "rpgan-r1-r2": (-1 + math.sqrt(0.75), -1 - math.sqrt(0.75)),  # the same with 2 gamma
    "instance-noise": (-0.25 + 1j * math.sqrt(3) / 4, -0.25 - 1j * math.sqrt(3) / 4),  # f'' s^2 +- sqrt(..), f'' = -1/4
    "consensus": (-0.25 + 1j * HALF, -0.25 - 1j * HALF),  # -gamma f'(0)^2 +- i f'(0)
}


def grad(f, i=0):
    """The derivative of f in its i-th argument."""

    def derivative(*x):
        x = [a.detach().clone().requires_grad_() for a in x]
        return torch.autograd.grad(f(*x), x[i])[0]

    return derivative


POINTS = torch.tensor([[0.3, -0.7], [1.0, 1.0], [-2.0, 0.5]], dtype=torch.float64)


@pytest.mark.parametrize("variant", EIGENVALUES)
def test_eigenvalues(variant):
    np.testing.assert_allclose(lab.dirac_eigenvalues(variant), EIGENVALUES[variant], atol=1e-12)
    J = lab.dirac_jacobian(variant)
    found = sorted(np.linalg.eigvals(J), key=lambda v: (round(v.imag, 6), v.real), reverse=True)
    np.testing.assert_allclose(found, EIGENVALUES[variant], atol=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 4.0])
def test_eigenvalues_of_any_penalty(gamma):
    """R1: -gamma/2 +- sqrt(gamma^2 / 4 - f'(0)^2); R1 and R2: with 2 gamma; consensus: -gamma f'(0)^2 +- i f'(0)."""
    for variant, g in (("r1", gamma), ("rpgan-r1-r2", 2 * gamma)):
        root = np.emath.sqrt(g**2 / 4 - HALF**2)
        wanted = (-g / 2 + root, -g / 2 - root)
        np.testing.assert_allclose(lab.dirac_eigenvalues(variant, gamma), wanted, atol=1e-12)
        found = lab.dirac(variant, 0.01, "simultaneous", 5, gamma)
        assert (found.real, found.imaginary) == pytest.approx((wanted[0].real, wanted[0].imag), abs=1e-12)
        assert found.factor == pytest.approx(max(abs(1 + 0.01 * v) for v in wanted), abs=1e-12)
        assert (found.theta, found.psi) == tuple(lab.dirac_path(variant, 0.01, steps=5, gamma=gamma)[-1])
    wanted = (-gamma * HALF**2 + 1j * HALF, -gamma * HALF**2 - 1j * HALF)
    np.testing.assert_allclose(lab.dirac_eigenvalues("consensus", gamma), wanted, atol=1e-12)
    for variant in ("minimax", "non-saturating", "wgan", "instance-noise"):  # no penalty to weigh
        assert lab.dirac_eigenvalues(variant, gamma) == lab.dirac_eigenvalues(variant)


def losses_of(variant, gamma):
    """(L_G, L_D) at (theta, psi), of the losses that models train with (that of D twice: it has a half), and R1."""

    def real(psi):
        return (psi * 0.0)[None]

    def fake(theta, psi):
        return (theta * psi)[None]

    def r1(psi):
        return gamma / 2 * squared_gradient_norm(lambda x: x[:, 0] * psi, torch.zeros(1, 1).double()).sum()

    def minimax(theta, psi):
        return generator_loss(fake(theta, psi), "minimax")

    def non_saturating(theta, psi):
        return generator_loss(fake(theta, psi), "non-saturating")

    def logistic(theta, psi):
        return 2 * discriminator_loss(real(psi), fake(theta, psi))

    def critic(theta, psi):
        return (fake(theta, psi) - real(psi)).sum()

    return {
        "minimax": (minimax, logistic),
        "non-saturating": (non_saturating, logistic),
        "wgan": (lambda t, p: -critic(t, p), critic),
        "wgan-gp": (lambda t, p: -critic(t, p), lambda t, p: critic(t, p) + gamma / 2 * (p.abs() - 1) ** 2),
        "r1": (minimax, lambda t, p: logistic(t, p) + gamma / 2 * p**2),
        "rpgan-r1-r2": (
            lambda t, p: softplus(real(p) - fake(t, p)).sum(),
            lambda t, p: softplus(fake(t, p) - real(p)).sum() + gamma * p**2,
        ),
    }.get(variant), r1


@pytest.mark.parametrize("gamma", [lab.GAMMA, 0.3])
@pytest.mark.parametrize("variant", ["minimax", "non-saturating", "wgan", "wgan-gp", "r1", "rpgan-r1-r2"])
def test_fields_are_gradients_of_the_losses_of_models(variant, gamma):
    (loss_g, loss_d), r1 = losses_of(variant, gamma)
    for theta, psi in POINTS:
        g, d = lab.dirac_field(variant, gamma)(theta.numpy(), psi.numpy())
        assert float(g) == pytest.approx(-float(grad(loss_g, 0)(theta, psi)), abs=1e-12)
        assert float(d) == pytest.approx(-float(grad(loss_d, 1)(theta, psi)), abs=1e-12)
        assert float(r1(psi)) == pytest.approx(gamma / 2 * float(psi) ** 2, abs=1e-12)


@pytest.mark.parametrize("gamma", [lab.GAMMA, 0.3])
def test_consensus_descends_the_length_of_the_field(gamma):
    def half_square(theta, psi):
        s = (theta * psi).sigmoid()
        return ((psi * s) ** 2 + (theta * s) ** 2) / 2

    for theta, psi in POINTS:
        plain, consensus = (lab.dirac_field(v, gamma)(theta.numpy(), psi.numpy()) for v in ("minimax", "consensus"))
        for i in (0, 1):
            wanted = plain[i] - gamma * float(grad(half_square, i)(theta, psi))
            assert float(consensus[i]) == pytest.approx(float(wanted), abs=1e-12)


def test_instance_noise_by_many_draws():
    e = torch.randn(400_000, generator=make_rng(0), dtype=torch.float64)
    for theta, psi in POINTS:

        def value(t, p, theta=theta):
            return -(softplus(-p * e[::2]) + softplus(p * (t + e[1::2]))).mean()

        g, d = lab.dirac_field("instance-noise")(theta.numpy(), psi.numpy())
        assert float(g) == pytest.approx(-float(grad(value, 0)(theta, psi)), abs=0.01)
        assert float(d) == pytest.approx(float(grad(value, 1)(theta, psi)), abs=0.01)


@pytest.mark.parametrize("rate", [0.03, 0.1, 0.3])
def test_radius_of_linear_play_in_closed_form(rate):
    path = lab.dirac_path("wgan", rate, steps=50)
    radius = np.hypot(*path.T)
    np.testing.assert_allclose(radius, math.sqrt(2) * (1 + rate**2) ** (np.arange(51) / 2), rtol=1e-12)
    assert lab.dirac_factor("wgan", rate) == pytest.approx(math.sqrt(1 + rate**2), abs=1e-12)
    assert lab.dirac_factor("wgan", rate, "alternating") == pytest.approx(1, abs=1e-12)
    theta, psi = lab.dirac_path("wgan", rate, "alternating", 200).T
    invariant = theta**2 + psi**2 - rate * theta * psi
    np.testing.assert_allclose(invariant, invariant[0], rtol=1e-10)


@pytest.mark.parametrize("variant", ["minimax", "wgan"])
def test_the_radius_grows_without_a_penalty(variant):
    path = lab.dirac_path(variant, 0.1, steps=200)
    assert (np.diff(np.hypot(*path.T)) > 0).all()
    assert lab.dirac(variant, 0.1, "simultaneous", 200).factor > 1


def test_the_non_saturating_game_settles_on_a_circle():
    """It shrinks far out and grows near (0, 0): it does not converge either."""
    radius = np.hypot(*lab.dirac_path("non-saturating", 0.1, steps=4000).T)
    assert radius[-1000:].min() > 0.4
    assert radius[-1000:].max() < 0.5
    assert lab.dirac_factor("non-saturating", 0.1) > 1


@pytest.mark.parametrize("variant", ["r1", "rpgan-r1-r2", "instance-noise", "consensus"])
@pytest.mark.parametrize("order", ["simultaneous", "alternating"])
def test_the_radius_shrinks_with_one(variant, order):
    found = lab.dirac(variant, 0.1, order, 400)
    assert found.real < 0 and found.other_real < 0 and found.factor < 1
    assert found.radius < 0.02
    assert found.radius == math.hypot(found.theta, found.psi)


def test_what_stays_away_from_the_equilibrium():
    clipped = lab.dirac_path("wgan-clipping", 0.1, steps=500)
    assert np.abs(clipped[:, 1]).max() == 1.0
    assert np.hypot(*clipped[-100:].T).max() > 0.5
    assert np.hypot(*lab.dirac_path("wgan-gp", 0.1, steps=500)[-100:].T).max() > 0.5
    assert math.isnan(lab.dirac("wgan-gp", 0.1, "simultaneous", 3).factor)
    with pytest.raises(ValueError, match="jumps at psi = 0"):
        lab.dirac_eigenvalues("wgan-gp")
    with pytest.raises(ValueError, match="gamma is -1, expected a number of at least 0"):
        lab.dirac_field("r1", -1)
    with pytest.raises(ValueError, match="did you mean 'wgan-gp'"):
        lab.dirac_field("wgan_gp")
    with pytest.raises(ValueError, match="did you mean 'alternating'"):
        lab.dirac_path("wgan", 0.1, "alternate")


def test_the_gibbs_matrix_leaves_the_model_as_it_is():
    net, v = learned_rbm(100, 0), binary(9)
    T, p = gibbs_matrix(net, v), (-net.free_energy(v)).softmax(0)
    torch.testing.assert_close(T.sum(1), torch.ones(512).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(p @ T, p, atol=1e-14, rtol=0)
    balance = p[:, None] * T
    torch.testing.assert_close(balance, balance.T, atol=1e-14, rtol=0)


def test_the_exact_gradient_is_that_of_the_log_likelihood():
    net, data = learned_rbm(30, 1), bars()
    assert len(data) == 16 and len(data.unique(dim=0)) == 14

    def log_likelihood(W):
        inputs = data @ W + net.b
        free = -(data @ net.a) - softplus(inputs).sum(1)
        v = binary(9)
        log_z = (v @ net.a + softplus(v @ W + net.b).sum(1)).logsumexp(0)
        return -free.mean() - log_z

    v = binary(9)
    ours = statistics(net, data, torch.full((16,), 1 / 16).double())
    ours = ours - statistics(net, v, (-net.free_energy(v)).softmax(0))
    torch.testing.assert_close(ours[: net.W.numel()].view_as(net.W), grad(log_likelihood)(net.W), atol=1e-12, rtol=0)
    found = lab.contrastive_bias(1, 30, 1)
    assert found.exact == pytest.approx(float(ours.norm()), abs=1e-12)
    log_z = log_z_exact(net.W, net.a, net.b)
    assert found.log_likelihood == pytest.approx(float(-net.free_energy(data).mean()) - log_z, abs=1e-10)


def test_a_step_of_exact_learning():
    """Half the gradient, from ten times the weights of a fresh RBM of that seed."""
    fresh, one, two, other = learned_rbm(0, 3), learned_rbm(1, 3), learned_rbm(2, 3), learned_rbm(0, 4)
    torch.testing.assert_close(fresh.W, 10 * RestrictedBoltzmann(9, 6, make_rng(3)).W.double(), atol=1e-7, rtol=0)
    assert not torch.equal(fresh.W, other.W) and not fresh.a.any()
    v, data = binary(9), bars()
    for before, after in ((fresh, one), (one, two)):
        model = statistics(before, v, (-before.free_energy(v)).softmax(0))
        g = statistics(before, data, torch.full((16,), 1 / 16).double()) - model
        moved = torch.cat([(after.W - before.W).flatten(), after.a - before.a, after.b - before.b])
        torch.testing.assert_close(moved, g / 2, atol=1e-12, rtol=0)


@pytest.mark.parametrize("steps", [100, 300])
def test_the_bias_of_cd_falls_with_k(steps):
    bias = [lab.contrastive_bias(k, steps, 0) for k in (1, 2, 5, 10, 50)]
    assert all(a.bias > b.bias for a, b in zip(bias[:-1], bias[1:], strict=True))
    assert bias[-1].relative < 0.05 * bias[0].relative
    assert all(b.exact == bias[0].exact for b in bias)
    # In the end each step shortens it by the second eigenvalue of the chain.
    a, b = (lab.contrastive_bias(k, 300, 0) for k in (80, 81))
    assert b.bias / a.bias == pytest.approx(a.slowest, rel=1e-3)
    with pytest.raises(ValueError, match="k is 0"):
        lab.contrastive_bias(0, steps, 0)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_the_bias_is_that_of_k_steps(k):
    """CD-k less the gradient is <.>_model - <.>_(data T^k), with T^k as a power of the matrix."""
    net, data, v = learned_rbm(100, 1), bars(), binary(9)
    T, model = gibbs_matrix(net, v), (-net.free_energy(v)).softmax(0)
    start = (v[:, None] == data).all(2).double().mean(1)
    after = start @ torch.linalg.matrix_power(T, k)
    bias = statistics(net, v, model) - statistics(net, v, after)
    found = lab.contrastive_bias(k, 100, 1)
    assert found.bias == pytest.approx(float(bias.norm()), rel=1e-10)
    assert found.relative == pytest.approx(found.bias / found.exact, rel=1e-12)
    cd = statistics(net, v, start) - statistics(net, v, after)
    exact = statistics(net, v, start) - statistics(net, v, model)
    assert found.cosine == pytest.approx(float(torch.cosine_similarity(cd, exact, 0)), abs=1e-12)


def test_the_chain_of_models_has_that_bias():
    """CD-2 with the sampler that RBM trains with, 200,000 chains, within 5 standard errors of the exact expectation."""
    net, data, k, n = learned_rbm(300, 0), bars(), 2, 200_000
    v, rng = data.repeat(n // 16, 1), make_rng(0)
    h = torch.bernoulli(net.p_hidden(v), generator=rng)
    end, _ = from_hidden(net, h, k, rng)
    index = (data @ (2.0 ** torch.arange(9).double())).long()
    p = torch.zeros(512).double().index_add_(0, index, torch.full((16,), 1 / 16).double())
    wanted = p @ torch.linalg.matrix_power(gibbs_matrix(net, binary(9)), k)
    seen = torch.bincount((end @ (2.0 ** torch.arange(9).double())).long(), minlength=512) / n
    assert ((seen - wanted).abs() < 5 * (wanted * (1 - wanted) / n).sqrt() + 1e-4).all()


def test_depth_in_closed_form():
    np.testing.assert_allclose(lab.gradient_by_depth(30, "linear"), 1, rtol=1e-12)
    deep = lab.gradient_by_depth(12, "sigmoid")
    assert (deep <= 0.25 ** torch.arange(12, -1, -1).double() * (1 + 1e-12)).all()
    assert lab.flow(deep).factor == pytest.approx(float(deep[0]) ** (1 / 12))
    assert float(deep[-1]) == 1


def test_depth_is_the_chain_rule():
    """One layer by hand: the gradient at the input is (top * tanh') W'."""
    rng = make_rng(3)
    x = torch.randn(64, 32, generator=rng, dtype=torch.float64)
    top = torch.randn(64, 32, generator=rng, dtype=torch.float64)
    W = torch.nn.init.orthogonal_(torch.empty(32, 32, dtype=torch.float64), generator=rng)
    for residual in (False, True):
        g = (top * (1 - (x @ W).tanh() ** 2)) @ W.T + (top if residual else 0)
        wanted = (g.square().sum() / top.square().sum()).sqrt()
        assert float(lab.gradient_by_depth(1, "tanh", residual, seed=3)[0]) == pytest.approx(float(wanted), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_what_keeps_the_gradient_alive(seed):
    ratio = {
        options: lab.flow(lab.gradient_by_depth(32, *options, seed)).ratio
        for options in product(("sigmoid", "tanh", "relu"), (False, True), ("none", "batch", "layer"))
    }
    assert ratio["sigmoid", False, "none"] < 1e-18
    assert 0.5 < ratio["sigmoid", True, "none"] < 3
    assert 0.02 < ratio["sigmoid", False, "batch"] < 50
    assert ratio["tanh", False, "none"] > 1e15 * ratio["sigmoid", False, "none"]
    assert 0.02 < ratio["relu", False, "none"] < 50
    assert ratio["relu", True, "none"] > 1e3  # the sum grows, and the gradient with it
    assert ratio["relu", True, "layer"] < 30


@pytest.mark.parametrize("scale", [0.5, 0.9, 1.0, 1.2])
def test_time_in_closed_form(scale):
    lengths = lab.gradient_over_time("linear", scale, steps=40)
    np.testing.assert_allclose(lengths, scale ** torch.arange(40, -1, -1).double(), rtol=1e-10)
    assert lab.flow(lengths).factor == pytest.approx(scale)
    tanh = lab.gradient_over_time("tanh", scale, steps=40)
    assert (tanh <= lengths * (1 + 1e-12)).all()  # tanh' is at most 1


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_an_open_gate_keeps_the_past(cell):
    factors = [lab.flow(lab.gradient_over_time(cell, 1.0, gate)).factor for gate in (0.0, 1.0, 3.0, 5.0)]
    assert factors == sorted(factors)
    assert factors[0] < 0.8 < 0.95 < factors[-1] < 1.1
    assert factors[-1] > 1.3 * lab.flow(lab.gradient_over_time("tanh", 1.0)).factor


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_cells_are_those_of_torch(cell):
    rng = make_rng(0)
    x, U = torch.randn(5, 4 * 3, generator=rng).double(), torch.randn(4 * 3, 3, generator=rng).double()
    h, c = torch.randn(2, 5, 3, generator=rng).double()
    if cell == "lstm":
        theirs, state, gates = torch.nn.LSTMCell(12, 3, bias=False).double(), (h, c), 4
    else:
        theirs, state, gates = torch.nn.GRUCell(9, 3, bias=False).double(), h, 3
    x, U = x[:, : 3 * gates], U[: 3 * gates]
    with torch.no_grad():
        theirs.weight_ih.copy_(torch.eye(3 * gates))
        theirs.weight_hh.copy_(U)
        wanted = theirs(x, state)
    ours = lab.gradients._step(cell, torch.cat([h, c], 1) if cell == "lstm" else h, x, U, 0.0)
    torch.testing.assert_close(ours, torch.cat(wanted, 1) if cell == "lstm" else wanted, atol=1e-12, rtol=0)


def test_the_flow_refuses_in_one_line():
    with pytest.raises(ValueError, match="did you mean 'sigmoid'"):
        lab.gradient_by_depth(3, "sigmoidal")
    with pytest.raises(ValueError, match="unknown normalisation"):
        lab.gradient_by_depth(3, normalisation="group")
    with pytest.raises(ValueError, match="depth is 0"):
        lab.gradient_by_depth(0)
    with pytest.raises(ValueError, match="unknown cell"):
        lab.gradient_over_time("rnn")
