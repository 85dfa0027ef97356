"""The general Boltzmann machine against enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch.nn.functional import logsigmoid

from genlearn._types import Batch
from genlearn.maths import sweeps
from genlearn.maths.ais import schedule
from genlearn.maths.rng import make_rng
from genlearn.models import bm
from genlearn.models.bm import BMNets, BoltzmannMachine, pseudo_likelihood
from genlearn.models.rbm import pseudo_likelihood as rbm_pseudo_likelihood
from genlearn.nets import general_boltzmann
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.general_boltzmann import GeneralBoltzmann
from genlearn.samplers import Chains, after, bm_chain, settle

D, H = 4, 3


def states(n: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


S = states(D + H)


def machine(d: int, h: int, scale: float = 0.7) -> GeneralBoltzmann:
    """Random weights everywhere, below the diagonals too, where they must not count."""
    rng = make_rng(2)
    net = GeneralBoltzmann(d, h, rng).double()
    with torch.no_grad():
        for p in (*net.parameters(), net.a_base):
            p.normal_(generator=rng).mul_(scale)
    return net


def chains_at(states: torch.Tensor) -> Chains:
    """Persistent chains in these states."""
    chains = Chains(*states.shape).double()
    chains.states.copy_(states)
    return chains


@pytest.fixture
def net() -> GeneralBoltzmann:
    return machine(D, H)


def law(net: GeneralBoltzmann) -> torch.Tensor:
    """p(s) of all states S, the definition written out."""
    return torch.softmax(-net.energy(S[:, :D], S[:, D:]), 0)


def draws(net: GeneralBoltzmann, n: int, seed: int = 0) -> torch.Tensor:
    """n exact draws of p(s)."""
    return S[torch.multinomial(law(net).detach(), n, replacement=True, generator=make_rng(seed))]


def log_z(net: GeneralBoltzmann) -> torch.Tensor:
    return torch.logsumexp(-net.energy(S[:, :D], S[:, D:]), 0)


def index(s: torch.Tensor) -> torch.Tensor:
    return (s @ 2.0 ** torch.arange(s.shape[1] - 1, -1, -1, dtype=s.dtype)).long()


def is_law(s: torch.Tensor, p: torch.Tensor) -> bool:
    """Chi-square at .999, states of fewer than 5 expected in one cell."""
    expected, observed = len(s) * p.detach().numpy(), torch.bincount(index(s), minlength=len(p)).numpy()
    rare = expected < 5
    assert expected[rare].sum() < 0.01 * len(s)
    expected, observed = (np.append(x[~rare], x[rare].sum() + 1e-9) for x in (expected, observed))
    return bool(((observed - expected) ** 2 / expected).sum() < chi2.ppf(0.999, len(expected) - 1))


def test_the_energy_is_the_double_sum(net):
    for s in S[::5]:
        v, h = s[:D], s[D:]
        e = -(net.a @ v) - net.b @ h
        e = e - sum(net.r[i, k] * v[i] * v[k] for i in range(D) for k in range(i + 1, D))
        e = e - sum(net.t[j, k] * h[j] * h[k] for j in range(H) for k in range(j + 1, H))
        e = e - sum(net.w[i, j] * v[i] * h[j] for i in range(D) for j in range(H))
        assert torch.allclose(net.energy(v[None], h[None])[0], e)
        assert torch.allclose(-(s @ net.J @ s / 2 + net.c @ s), e)


def test_the_weights_are_symmetric_without_diagonal(net):
    for matrix in (net.r, net.t, net.J):
        assert torch.equal(matrix, matrix.T)
        assert not matrix.diagonal().any()
        assert matrix.any()


def test_log_z_marginals_and_posteriors(net):
    p = law(net)
    v = states(D)
    p_v = torch.zeros(len(v), dtype=p.dtype).index_add(0, index(S[:, :D]), p)
    assert net.log_z_exact() == pytest.approx(log_z(net).item(), abs=1e-12)
    assert torch.allclose(net.marginals(), p @ S)
    assert torch.allclose((-net.free_energy(v) - net.log_z_exact()).exp(), p_v)
    p_h = torch.zeros(len(v), H, dtype=p.dtype).index_add(0, index(S[:, :D]), p[:, None] * S[:, D:])
    assert torch.allclose(net.p_hidden(v), p_h / p_v[:, None])
    for i in range(D):
        flipped = p[torch.arange(len(S)) ^ (1 << (D + H - 1 - i))]
        on = torch.where(S[:, i] == 1, p, flipped)
        assert torch.allclose(net.conditional_visible(S)[:, i], on / (p + flipped))


def test_sums_in_chunks():
    """2^13 states are two chunks."""
    net = machine(12, 1)
    s = states(13)
    e = -net.energy(s[:, :12], s[:, 12:])
    assert net.log_z_exact() == pytest.approx(torch.logsumexp(e, 0).item(), abs=1e-12)
    assert torch.allclose(net.marginals(), torch.softmax(e, 0) @ s)
    tall = machine(1, 13, scale=0.3)
    both = torch.stack([torch.logsumexp(-tall.energy(torch.full((2**13, 1), x).double(), s), 0) for x in (0, 1)])
    assert torch.allclose(-tall.free_energy(states(1)), both)
    joint = torch.softmax(-tall.energy(torch.ones(2**13, 1).double(), s), 0)
    assert torch.allclose(tall.p_hidden(torch.ones(1, 1).double())[0], joint @ s)


def test_too_many_units_are_refused():
    with pytest.raises(ValueError, match=r"2\^21 states, expected at most 20 units"):
        machine(11, 10).log_z_exact()
    with pytest.raises(ValueError, match=r"2\^21 states"):
        machine(2, 21).free_energy(torch.zeros(1, 2).double())


def twin(net: GeneralBoltzmann) -> RestrictedBoltzmann:
    """The RBM that is left without r and t."""
    rbm = RestrictedBoltzmann(len(net.a), len(net.b), make_rng(0)).double()
    with torch.no_grad():
        net.r_upper.zero_()
        net.t_upper.zero_()
        for mine, theirs in ((net.w, rbm.W), (net.a, rbm.a), (net.b, rbm.b)):
            theirs.copy_(mine)
    return rbm


def test_without_r_and_t_it_is_an_rbm(net):
    rbm = twin(net)
    v = states(D)
    assert torch.allclose(net.free_energy(v), rbm.free_energy(v))
    assert torch.allclose(net.p_hidden(v), rbm.p_hidden(v))
    assert torch.allclose(net.mean_hidden(v, 1), rbm.p_hidden(v))
    assert torch.allclose(-net.bound(v, net.mean_hidden(v, 1)), rbm.free_energy(v))


def test_the_gradient_of_the_likelihood_is_clamped_minus_free(net):
    data = states(D)[[3, 3, 7, 9, 14]]
    likelihood = -net.free_energy(data).mean() - log_z(net)
    dr, dt, dw, da, db = torch.autograd.grad(likelihood, [net.r_upper, net.t_upper, net.w, net.a, net.b])
    p = law(net).detach()
    clamped = torch.zeros_like(p)
    for v in data:
        here = (S[:, :D] == v).all(1) * p
        clamped += here / here.sum() / len(data)
    second = S.T @ ((clamped - p)[:, None] * S)
    assert torch.allclose(dr, second[:D, :D].triu(1))
    assert torch.allclose(dt, second[D:, D:].triu(1))
    assert torch.allclose(dw, second[:D, D:])
    assert torch.allclose(torch.cat([da, db]), (clamped - p) @ S)


@pytest.mark.parametrize("clamped", ["mean-field", "gibbs"])
def test_the_loss_estimates_the_gradient(clamped):
    """From exact draws in the chains: of the likelihood with Gibbs sampling, of the bound with mean field."""
    n, data = 40_000, states(D)[[3, 3, 7, 9, 14]]
    net = machine(D, H)
    with torch.no_grad():
        # Rivals, which mean field takes for independent.
        net.t_upper.fill_(-1.5)
        net.b.fill_(1.5)
    chains = chains_at(draws(net, n))
    exact = {"gibbs": net.free_energy(data).mean()}
    exact |= {sweeps: net.energy(data, net.mean_hidden(data, sweeps)).mean() for sweeps in (0, 50)}
    gradients = {name: torch.autograd.grad(e + log_z(net), list(net.parameters())) for name, e in exact.items()}
    expected = gradients["gibbs" if clamped == "gibbs" else 50]
    before = chains.states.clone()
    model = BoltzmannMachine(n_hidden=H, n_chains=n, clamped=clamped, n_clamped=50)
    loss, _ = model._loss(BMNets(bm=net, chains=chains), Batch(data.repeat(n // 5, 1)), make_rng(5))
    got = torch.autograd.grad(loss, list(net.parameters()))
    # The difference of two means of n numbers of standard deviation .5 at most: five standard errors.
    tolerance = 5 * 0.5 * (2 / n) ** 0.5
    assert all((g - e).abs().max() < tolerance for g, e in zip(got, expected, strict=True))
    for other in gradients.values():
        if other is not expected:
            assert max((g - e).abs().max() for g, e in zip(other, expected, strict=True)) > 2 * tolerance
    assert not torch.equal(before, chains.states)
    assert is_law(chains.states, law(net))


@pytest.mark.parametrize("block", [3, 64])
def test_mean_field_is_a_fixed_point_and_its_bound_only_rises(net, block, monkeypatch):
    monkeypatch.setattr(sweeps, "UNITS", block)
    v = states(D)
    bounds = torch.stack([net.bound(v, net.mean_hidden(v, n)) for n in (0, 1, 2, 5, 200)])
    assert (bounds.diff(dim=0) >= -1e-12).all()
    assert (bounds[1] > bounds[0] + 1e-6).any()
    assert (bounds <= -net.free_energy(v)).all()
    mu = net.mean_hidden(v, 200)
    assert torch.allclose(mu, torch.sigmoid(net.b + v @ net.w + mu @ net.t), atol=1e-12)


@pytest.mark.parametrize("block", [2, 3, 64])
def test_a_sweep_draws_each_unit_from_its_conditional(net, block, monkeypatch):
    """From each state, the units before i are forced anywhere: unit i flips at the noise logit p(s_i = 1 | others),

    and the transition matrix of the whole sweep, the product of these conditionals, leaves p invariant.
    """
    monkeypatch.setattr(sweeps, "UNITS", block)
    p, n = law(net).detach(), D + H
    start, end = (x.reshape(-1, n) for x in (S[:, None].expand(-1, len(S), -1), S[None].expand(len(S), -1, -1)))
    transition = torch.ones(len(start), dtype=p.dtype)
    for i in range(n):
        # The unit's neighbours as the sweep meets them: new before i, old after.
        on, off = (torch.cat([end[:, :i], torch.full_like(end[:, :1], x), start[:, i + 1 :]], 1) for x in (1.0, 0.0))
        logit = p[index(on)].log() - p[index(off)].log()
        transition *= torch.sigmoid(torch.where(end[:, i] == 1, logit, -logit))
        for shift, value in ((-1e-9, 1.0), (1e-9, 0.0)):
            noise = (1 - 2 * end) * torch.inf
            noise[:, i] = logit + shift
            s = start.T.contiguous()
            sweeps.sweep(net.J.detach(), net.c.detach()[:, None], s, noise.T.contiguous())
            assert torch.equal(s[:i], end.T[:i])
            assert (s[i] == value).all()
    transition = transition.view(len(S), len(S))
    assert torch.allclose(transition.sum(1), torch.ones(len(S), dtype=p.dtype))
    assert torch.allclose(p @ transition, p)
    uniform = torch.full_like(p, 1 / len(p))
    assert not torch.allclose(uniform @ transition, uniform)


@pytest.mark.parametrize("block", [3, 64])
def test_gibbs_sampling_has_the_law_of_the_model(net, block, monkeypatch):
    monkeypatch.setattr(sweeps, "UNITS", block)
    rng, n = make_rng(3), 40_000
    start = torch.zeros(n, D + H, dtype=torch.float64)
    s = after(40, bm_chain(net, start, rng))
    assert not start.any()
    assert is_law(s, law(net))
    # Stationary, not only reached: the law is kept by one sweep more from exact draws.
    assert is_law(next(bm_chain(net, draws(net, n), rng)), law(net))
    assert not is_law(next(bm_chain(net, start, rng)), law(net))


def test_clamped_gibbs_sampling_has_the_conditional_law(net):
    rng, n = make_rng(4), 20_000
    v = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    given = (S[:, :D] == v).all(1) * law(net)
    assert is_law(settle(net, v.expand(n, -1), rng, 40), (given / given.sum())[(S[:, :D] == v).all(1)])
    half = torch.tensor([1.0, torch.nan, 0.0, torch.nan], dtype=torch.float64)
    fits = (S[:, 0] == 1) & (S[:, 2] == 0)
    s = after(40, bm_chain(net, torch.zeros(n, D + H, dtype=torch.float64), rng, half.expand(n, -1)))
    assert (s[:, 0] == 1).all() and not s[:, 2].any()
    p = law(net)[fits]
    assert is_law(s[:, [1, *range(3, D + H)]], p / p.sum())


def test_held_units_stay_whatever_is_drawn(monkeypatch):
    """At the lowest number, and where the weights pull the other way."""
    monkeypatch.setattr(sweeps, "uniform", lambda shape, rng, dtype: torch.zeros(shape, dtype=dtype))
    c = torch.tensor([-torch.inf, torch.inf, 0.0])
    J = torch.tensor([[0.0, 9.0, 9.0], [9.0, 0.0, -9.0], [9.0, -9.0, 0.0]])
    assert sweeps.gibbs(J, c, torch.tensor([[0.0, 1.0, 0.0]]), make_rng(0)).tolist() == [[0, 1, 1]]


def test_the_states_of_a_single_chain_are_apart(net):
    start = torch.full((1, D + H), 0.5, dtype=torch.float64)
    kept = list(itertools.islice(bm_chain(net, start, make_rng(0)), 20))
    assert (start == 0.5).all()
    assert torch.cat(kept).unique(dim=0).shape[0] > 1


def test_hidden_units_settle_from_draws_given_the_pixels(net):
    n, v = 20_000, torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    h = settle(net, v.expand(n, -1), make_rng(0), 0)
    assert ((h == 0) | (h == 1)).all()
    assert (h.mean(0) - net.hidden_input(v[None])[0].sigmoid()).abs().max() < 5 * 0.5 / n**0.5


def test_completion_gives_the_mean_of_what_is_not_known(net):
    model = BoltzmannMachine(n_hidden=H, n_gibbs=400)
    x = states(2)[:, [0, 0, 1, 1]].repeat(50, 1).view(-1, 2, 2)
    known = torch.tensor([[True, False], [True, False]]).expand(200, -1, -1)
    got = model._complete(BMNets(bm=net), x, known, make_rng(0))
    assert torch.equal(got[known], x[known])
    for i, (first, third) in enumerate(states(2)):
        p = law(net) * (S[:, 0] == first) * (S[:, 2] == third)
        mean = (p @ S / p.sum()).detach()[[1, 3]]
        assert torch.allclose(got[i::4, :, 1].mean(0), mean, atol=0.02)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_training_keeps_the_symmetry(optimizer, digits):
    model = BoltzmannMachine(n_hidden=7, epochs=1, optimizer=optimizer, weight_decay=0.1, random_state=0)
    net = model.fit(digits).nets_.bm
    for upper, matrix in ((net.r_upper, net.r), (net.t_upper, net.t)):
        assert torch.equal(matrix, matrix.T)
        assert not matrix.diagonal().any()
        assert not upper.tril().any()
        assert upper.any()


def test_it_starts_as_independent_pixels(digits):
    X = digits.astype(np.float64)
    model = BoltzmannMachine(n_hidden=7, n_chains=2000, images=1, epochs=None, learning_rate=1e-12, random_state=0)
    nets = model.set_params(precision="float64").fit(X).nets_
    net = nets.bm
    mean = torch.from_numpy(X.mean(0)).clamp(0.01, 0.99)
    assert torch.allclose(net.a, mean.logit())
    assert torch.allclose(net.a_base, mean.logit())
    assert not net.r.round(decimals=9).any()
    p = torch.cat([mean, torch.full((7,), 0.5).double()])
    assert ((nets.chains.states.mean(0) - p).abs() < 5 * (p * (1 - p) / 2000).sqrt() + 0.02).all()


def brute_pseudo(net: GeneralBoltzmann, v: torch.Tensor) -> torch.Tensor:
    total = torch.zeros(len(v), dtype=v.dtype)
    for i in range(v.shape[1]):
        other = v.clone()
        other[:, i] = 1 - v[:, i]
        total += logsigmoid(net.free_energy(other) - net.free_energy(v))
    return total


def test_pseudo_likelihood(net, monkeypatch):
    v = states(D)
    assert torch.allclose(pseudo_likelihood(net, v, 10), brute_pseudo(net, v))
    monkeypatch.setattr(bm, "EXACT_HIDDEN", 0)
    # By mean field it is near where units depend on each other, and exact where hidden ones do not.
    assert not torch.allclose(pseudo_likelihood(net, v, 100), brute_pseudo(net, v), atol=1e-6)
    with torch.no_grad():
        net.t_upper.zero_()
    assert torch.allclose(pseudo_likelihood(net, v, 1, chunk=3), brute_pseudo(net, v))


@pytest.mark.parametrize("exact", [0, 12])
def test_pseudo_likelihood_is_that_of_an_rbm(net, exact, monkeypatch):
    monkeypatch.setattr(bm, "EXACT_HIDDEN", exact)
    rbm, v = twin(net), states(D)
    assert torch.allclose(pseudo_likelihood(net, v, 1), rbm_pseudo_likelihood(rbm, v))


@pytest.mark.parametrize("rough", [2, 5])
def test_ais_is_unbiased_in_z_and_in_reverse_in_1_over_z(net, rough):
    n, betas = 40_000, schedule(rough)
    forward = net.ais(betas=betas, n_chains=n, rng=make_rng(0))
    reverse = net.reverse_ais(draws(net, n, seed=1), betas=betas, rng=make_rng(1))
    for w in ((forward.log_w - net.log_z_exact()).exp(), (net.log_z_exact() - reverse.log_w).exp()):
        error = float(w.std()) / math.sqrt(n)
        assert error < 0.05
        assert abs(float(w.mean()) - 1) < 4 * error
    for estimate in (forward, reverse):
        assert abs(estimate.log_z - net.log_z_exact()) < 0.05
        assert estimate.lower < estimate.log_z < estimate.upper


def test_ais_brackets_log_z_of_larger_machines(monkeypatch):
    net, start = machine(10, 8, scale=0.4), torch.zeros(20, 18).double()
    exact = net.log_z_exact()
    assert net.log_partition(schedule(2), start) == (exact, exact, exact, ())
    monkeypatch.setattr(general_boltzmann, "MAX_UNITS", 17)
    got = net.log_partition(schedule(500), start)
    assert got.lower < exact < got.upper < got.lower + 0.3
    assert "log Z can be trusted" in got.notes[0]
    with pytest.raises(ValueError, match="betas must increase from 0 to 1"):
        net.log_partition(torch.tensor([0.0, 0.5]), start)


def test_scores_and_likelihoods_of_small_machines_are_exact(digits):
    X = (digits[:300, 18:30] > 0.5).astype(np.float64)
    model = BoltzmannMachine(n_hidden=5, epochs=2, precision="float64", random_state=0).fit(X)
    net = model.nets_.bm
    s = states(17)
    every = torch.logsumexp(-net.energy(s[:, :12], s[:, 12:]), 0)
    h = states(5)
    rows = torch.stack([torch.logsumexp(-net.energy(v.expand(len(h), -1), h), 0) for v in torch.tensor(X[:9])])
    assert model.score_kind() == "exact"
    assert np.allclose(model.score_samples(X[:9]), rows - every)
    likelihood = model.log_likelihoods(X[:9])["exact"]
    assert likelihood.kind == "exact"
    assert torch.allclose(likelihood.values, rows - every)


def test_likelihoods_of_larger_machines(digits, monkeypatch):
    """The estimate and the bound, where both can be told from the truth."""
    X = (digits[:300, 18:30] > 0.5).astype(np.float64)
    model = BoltzmannMachine(n_hidden=5, epochs=5, learning_rate=0.2, precision="float64", random_state=0).fit(X)
    exact = torch.from_numpy(model.score_samples(X))
    monkeypatch.setattr(general_boltzmann, "MAX_UNITS", 16)
    assert model.score_kind() == "pseudo"
    ((name, estimate),) = model.log_likelihoods(X).items()
    assert (name, estimate.kind) == ("AIS", "estimate")
    assert (estimate.values - exact).abs().max() < 0.1
    monkeypatch.setattr(bm, "EXACT_HIDDEN", 4)
    ((name, bound),) = model.log_likelihoods(X).items()
    assert (name, bound.kind) == ("mean field", "estimate of a bound")
    assert (bound.values < estimate.values).all()
    assert (bound.values - exact).mean() > -0.5
    assert bound.shift[0] < 0 < bound.shift[1]
    assert "log Z can be trusted" in bound.notes[0]


@pytest.mark.parametrize("binarize", [True, False])
def test_grey_pixels_are_drawn_where_binarize_is_set(net, binarize, monkeypatch):
    seen, mean_hidden = [], net.mean_hidden
    monkeypatch.setattr(net, "mean_hidden", lambda v, n: seen.append(v) or mean_hidden(v, n))
    x, nets = torch.full((6, D), 0.5).double(), BMNets(bm=net, chains=chains_at(draws(net, 6)))
    BoltzmannMachine(n_hidden=H, binarize=binarize)._loss(nets, Batch(x), make_rng(0))
    assert set(seen[0].unique().tolist()) == ({0.0, 1.0} if binarize else {0.5})
