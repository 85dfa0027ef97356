"""The RBM against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from genlearn._types import Batch
from genlearn.losses.contrastive import contrast
from genlearn.maths.rng import bernoulli, make_rng
from genlearn.models.rbm import RBM, RBMNets, pseudo_likelihood
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.samplers import rbm_chain

D, H = 5, 4


def states(n: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


@pytest.fixture
def net() -> RestrictedBoltzmann:
    rng = make_rng(0)
    net = RestrictedBoltzmann(D, H, rng).double()
    with torch.no_grad():
        net.W.normal_(generator=rng)
        net.a.normal_(generator=rng).mul_(0.5)
        net.b.normal_(generator=rng).mul_(0.5)
    return net


def joint(net: RestrictedBoltzmann) -> torch.Tensor:
    """p(v, h) by enumeration [2^D, 2^H]."""
    v, h = states(D), states(H)
    energy = -(v @ net.a)[:, None] - (h @ net.b)[None] - v @ net.W @ h.T
    return torch.softmax(-energy.flatten(), 0).view(len(v), len(h))


def exact_gradient(net: RestrictedBoltzmann, data: torch.Tensor) -> list[torch.Tensor]:
    """d/d(W, a, b) of the mean negative log-likelihood, through the enumerated log Z."""
    log_z = torch.logsumexp(-net.free_energy(states(D)), 0)
    return list(torch.autograd.grad(net.free_energy(data).mean() + log_z, [net.W, net.a, net.b]))


def test_energies_and_conditionals(net):
    p = joint(net).detach()
    v, h = states(D), states(H)
    pairs = net.energy(v.repeat_interleave(len(h), 0), h.repeat(len(v), 1)).view(len(v), len(h))
    assert torch.allclose(torch.softmax(-pairs.flatten(), 0).view_as(p), p)
    marginal = torch.softmax(-net.free_energy(v), 0)
    assert torch.allclose(marginal, p.sum(1))
    assert torch.allclose(net.p_hidden(v), (p @ h) / p.sum(1, keepdim=True))
    assert torch.allclose(net.mean_visible(h), (p.T @ v) / p.sum(0)[:, None])


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_the_surrogate_has_the_gradient_of_the_free_energy_difference(net, visible):
    net.visible = visible
    rng = make_rng(1)
    if visible == "gaussian":
        net.fit_biases(torch.rand(D, generator=rng), torch.rand(D, generator=rng))
    v, v_model = (torch.rand(n, D, dtype=torch.float64, generator=rng) for n in (7, 3))
    difference = net.free_energy(v).mean() - net.free_energy(v_model).mean()
    expected = torch.autograd.grad(difference, [net.W, net.a, net.b])
    with torch.no_grad():
        p, p_model = net.p_hidden(v), net.p_hidden(v_model)
    for weight in (1.0, 0.3):
        surrogate = weight * contrast(net, (v, p), (v_model, p_model))
        got = torch.autograd.grad(surrogate, [net.W, net.a, net.b])
        for g, e in zip(got, expected, strict=True):
            assert torch.allclose(g, weight * e, atol=1e-12)


def cd_gradient(net: RestrictedBoltzmann, data: torch.Tensor, k: int) -> list[torch.Tensor]:
    """The expected CD-k gradient, by the enumerated transition matrix of v -> h -> v."""
    v, p = states(D), joint(net).detach()
    transition = (p / p.sum(1, keepdim=True)) @ (p / p.sum(0)).T
    start = torch.tensor([(row == data).all(1).double().mean() for row in v], dtype=torch.float64)
    law = start @ torch.linalg.matrix_power(transition, k)
    surrogate = net.free_energy(data).mean() - law @ net.free_energy(v)
    return list(torch.autograd.grad(surrogate, [net.W, net.a, net.b]))


def test_cd_k_tends_to_the_exact_gradient(net):
    data = states(D)[[3, 3, 7, 21, 30]]
    exact = exact_gradient(net, data)
    errors = []
    for k in (1, 2, 5, 20, 100):
        cd = cd_gradient(net, data, k)
        errors.append(sum((g - e).square().sum() for g, e in zip(cd, exact, strict=True)).sqrt().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.05
    assert errors[-1] < 1e-6


@pytest.mark.parametrize("k", [1, 3])
def test_the_loss_estimates_the_cd_k_gradient(net, k):
    data = states(D)[[3, 3, 7, 21, 30]]
    model = RBM(n_hidden=H, algorithm="cd", k=k, centred=False)
    copies = 40_000
    batch = Batch(data.repeat(copies, 1))
    loss, _ = model._loss(RBMNets(rbm=net), batch, make_rng(5))
    got = torch.autograd.grad(loss, [net.W, net.a, net.b])
    for g, e in zip(got, cd_gradient(net, data, k), strict=True):
        # Each entry is a mean of 200,000 numbers in [-1, 1]: five standard errors.
        assert (g - e).abs().max() < 5 / (5 * copies) ** 0.5


def test_the_chain_has_the_law_of_the_model(net):
    """Chi-square over all 2^D states, of chains far apart in time, at a fixed seed."""
    rng, n = make_rng(3), 4000
    v = (torch.rand(n, D, dtype=torch.float64, generator=rng) < 0.5).double()
    for _, (state, _) in zip(range(60), rbm_chain(net, v, rng), strict=False):
        v = state
    index = (v @ (2.0 ** torch.arange(D - 1, -1, -1, dtype=torch.float64))).long()
    expected = n * joint(net).detach().sum(1).numpy()
    observed = torch.bincount(index, minlength=2**D).numpy()
    assert expected.min() > 5
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert statistic < chi2.ppf(0.999, len(expected) - 1)


def test_the_chain_tells_the_mean_that_v_was_drawn_from(net):
    v, rng = states(D), make_rng(0)
    with torch.no_grad():
        mean = net.mean_visible(bernoulli(net.p_hidden(v), rng))
    state, told = next(rbm_chain(net, v, make_rng(0)))
    assert torch.equal(told, mean)
    assert torch.equal(state, net.sample_visible(mean, rng))


def test_pseudo_likelihood(net):
    p = joint(net).detach().sum(1)
    v = states(D)
    log_p = torch.zeros(len(v), dtype=torch.float64)
    for i in range(D):
        flipped = torch.arange(len(v)) ^ (1 << (D - 1 - i))
        log_p += torch.log(p / (p + p[flipped]))
    assert torch.allclose(pseudo_likelihood(net, v, chunk=2), log_p)


def test_score_samples_is_exact_for_small_machines(digits):
    X = (digits[:200] > 0.5).astype(np.float64)
    model = RBM(n_hidden=6, epochs=2, precision="float64", random_state=0).fit(X)
    net = model.nets_.rbm
    h = states(6)
    log_joint = (torch.tensor(X[:9]) @ net.a)[:, None] + h @ net.b + torch.tensor(X[:9]) @ net.W @ h.T
    log_z = torch.logsumexp(h @ net.b + torch.nn.functional.softplus(net.a + h @ net.W.T).sum(1), 0)
    assert model.score_kind() == "exact"
    assert np.allclose(model.score_samples(X[:9]), (torch.logsumexp(log_joint, 1) - log_z).numpy())


def test_gaussian_units_are_a_density():
    """With one visible unit, exp(-F) / Z integrates to one."""
    rng = make_rng(0)
    x = np.concatenate([rng_normal(rng, 500) - 2, rng_normal(rng, 500) + 2])[:, None]
    model = RBM(n_hidden=3, visible="gaussian", epochs=5, precision="float64", random_state=0).fit(x)
    grid = np.linspace(-20, 20, 20_001)[:, None]
    assert np.trapezoid(np.exp(model.score_samples(grid)), grid[:, 0]) == pytest.approx(1, abs=1e-6)


def rng_normal(rng: torch.Generator, n: int) -> np.ndarray:
    return torch.randn(n, generator=rng, dtype=torch.float64).numpy()


def test_pcd_beats_cd_1_after_equal_updates():
    """Exact test log-likelihood of 784-16 machines on real digits (Tieleman 2008), 15 epochs of 9,000.

    Four seeds gave -170.4 to -175.0 by CD-1, -154.9 to -156.6 by PCD-1.
    """
    from genlearn.data import load

    data = load("mnist-mini")
    scores = {}
    for algorithm in ("cd", "pcd"):
        model = RBM(
            n_hidden=16, algorithm=algorithm, epochs=15, learning_rate="linear(0.1, 0, over=135000)", random_state=0
        )
        model.fit(data)
        scores[algorithm] = model.log_likelihoods(data.test.x)["exact"].values.mean().item()
    assert scores["pcd"] > scores["cd"] + 8


@pytest.mark.parametrize("algorithm", ["cd", "score-matching"])
def test_gaussian_units_learn_pictures_at_the_default_rate(algorithm):
    """Pixels that rise and fall together, as those of photographs do: uncentred, at .05 the weights are soon NaN."""
    n, rng = 300, np.random.default_rng(0)
    light = rng.normal(0, 1, (n, 1)) + 0.5 * rng.normal(0, 1, (n, 768))
    X = (255 / (1 + np.exp(-light))).astype(np.uint8).reshape(n, 3, 16, 16)
    options = {"visible": "gaussian", "algorithm": algorithm, "batch_size": 50, "random_state": 0}
    model = RBM(n_hidden=200, epochs=20, **options).fit(X)
    net, x = model.nets_.rbm, torch.from_numpy(X).flatten(1) / 255
    error = (net.mean_visible(net.p_hidden(x)) - x).square().mean()
    print(f"{algorithm}: error {error:.4f}, of the mean {x.var(0).mean():.4f}")
    assert error < 0.5 * x.var(0).mean()
    assert np.isfinite(model.sample(10)).all()
    with pytest.raises(FloatingPointError):
        RBM(n_hidden=200, epochs=20, learning_rate=0.05, centred=False, **options).fit(X)
