"""The estimators of an RBM, its chains and its completions, against enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn

from genlearn._types import Batch
from genlearn.losses.contrastive import contrast, weighted_free_energy
from genlearn.maths.rng import bernoulli, make_rng
from genlearn.maths.running import update_mean
from genlearn.models.rbm import RBM, RBMNets
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.constant import Constant
from genlearn.samplers import Chains, from_chains, from_hidden, from_tempered_chains, rbm_chain

D, H = 4, 3


def states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def index(x: Tensor) -> Tensor:
    """The row of `states` that each row of x is."""
    return (x @ (2.0 ** torch.arange(x.shape[1] - 1, -1, -1)).to(x)).long()


def machine(d: int = D, h: int = H, seed: int = 0, visible: str = "binary", scale: float = 1.0) -> RestrictedBoltzmann:
    rng = make_rng(seed)
    net = RestrictedBoltzmann(d, h, rng, visible).double()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(generator=rng).mul_(scale)
        net.a_base.normal_(generator=rng)
    return net


def chains_at(states: Tensor) -> Chains:
    """Persistent chains in these states."""
    chains = Chains(*states.shape).double()
    chains.states.copy_(states)
    return chains


def law(net: RestrictedBoltzmann, beta: float = 1.0) -> Tensor:
    """The tempered p(v, h) [2^D, 2^H]: exp((1 - beta) a_base.v - beta E(v, h)) / Z_beta."""
    v, h = states(len(net.a)), states(len(net.b))
    with torch.no_grad():
        energy = -(v @ net.a)[:, None] - h @ net.b - v @ net.W @ h.T
        return torch.softmax(((1 - beta) * (v @ net.a_base)[:, None] - beta * energy).flatten(), 0).view_as(energy)


def draw(p: Tensor, n: int, seed: int) -> Tensor:
    """n indices of the law p."""
    return torch.multinomial(p, n, replacement=True, generator=make_rng(seed))


def fits(observed: Tensor, p: Tensor) -> None:
    """Chi-square of the indices `observed` against the law p, at 1 in 1000."""
    expected = len(observed) * p.flatten()
    assert expected.min() > 5
    counts = torch.bincount(observed, minlength=p.numel())
    assert float(((counts - expected).square() / expected).sum()) < chi2.ppf(0.999, p.numel() - 1)


def gradients(loss: Tensor, net: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [net.W, net.a, net.b]))


def same(got: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.allclose(g, e, atol=1e-12) for g, e in zip(got, expected, strict=True))


# --- centring


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor, Tensor]:
    """States of the data and of the model, their weights."""
    v = states(D)[draw(torch.rand(2**D, generator=make_rng(1)), 12, 2)]
    w = torch.cat([torch.full((7,), 1 / 7), torch.full((5,), -1 / 5)]).double()
    return v, w, torch.rand(D + H, generator=make_rng(3), dtype=torch.float64)


def update(net: RestrictedBoltzmann, v: Tensor, w: Tensor, centre: tuple[Tensor, Tensor] | None) -> list[Tensor]:
    with torch.no_grad():
        p = net.p_hidden(v)
    return gradients(weighted_free_energy(net, v, p, w, centre=centre), net)


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_the_centred_gradient_is_that_of_the_centred_parameters(pictures, visible):
    """E' = -(v - mu).a' - (h - lambda).b' - (v - mu) W (h - lambda), with a = a' - W lambda and b = b' - W' mu."""
    v, w, offsets = pictures
    net = machine(visible=visible)
    net.sigma.copy_(torch.rand(D, generator=make_rng(4)) + 0.5)
    x, mu, lam = (v / net.sigma if visible == "gaussian" else v), offsets[:D], offsets[D:]
    W, a, b = (p.detach().clone() for p in (net.W, net.a, net.b))
    a, b = (a + W @ lam).requires_grad_(), (b + mu @ W).requires_grad_()
    W.requires_grad_()
    inputs = b + (x - mu) @ W
    quadratic = x.square().sum(1) / 2 if visible == "gaussian" else 0
    free_energy = quadratic - (x - mu) @ a - nn.functional.softplus(inputs).sum(1) + inputs @ lam
    dW, da, db = torch.autograd.grad(w @ free_energy, [W, a, b])
    assert same(update(net, v, w, (mu, lam)), [dW, da - dW @ lam, db - mu @ dW])


def flipped(W: Tensor, a: Tensor, b: Tensor, f: Tensor, g: Tensor) -> list[Tensor]:
    """The machine of v' and h', where 0 and 1 have changed places in the units that f [D] and g [H] mark."""
    W, a, b = W * (1 - 2 * f)[:, None], a * (1 - 2 * f), b + f @ W
    return [W * (1 - 2 * g), a + W @ g, b * (1 - 2 * g)]


def test_without_a_centre_the_hidden_side_stays_as_it_is(pictures):
    v, w, offsets = pictures
    net, mu = machine(), offsets[:D]
    assert same(update(net, v, w, (mu, None)), update(net, v, w, (mu, torch.zeros(H).double())))


def test_the_centred_gradient_does_not_change_when_0_and_1_change_places(pictures):
    v, w, offsets = pictures
    net, other, mu, lam = machine(), machine(), offsets[:D], offsets[D:]
    f, g = torch.tensor([1.0, 0, 0, 1]).double(), torch.tensor([0.0, 1, 0]).double()
    with torch.no_grad():
        for p, value in zip(other.parameters(), flipped(net.W, net.a, net.b, f, g), strict=True):
            p.copy_(value)
    turned = (v - f).abs()
    energies = [m.free_energy(x) for m, x in ((net, v), (other, turned))]
    assert torch.allclose(energies[0] - energies[0][0], energies[1] - energies[1][0])  # the same machine
    centres = (mu, lam), ((mu - f).abs(), (lam - g).abs())
    there, back = update(net, v, w, centres[0]), update(other, turned, w, centres[1])
    assert same(flipped(*there, f, g), back)
    there, back = update(net, v, w, None), update(other, turned, w, None)
    assert not any(torch.allclose(x, y, atol=0.01) for x, y in zip(flipped(*there, f, g), back, strict=True))


def test_the_centred_gradient_vanishes_where_the_exact_one_does():
    """At the machine of maximum likelihood for a law that is near it, and in no machine's reach.

    The optimum is at finite weights, its Hessian positive: Newton's method meets it to the last bits of float64. (A
    minimiser that compares values knows a place to the root of their last bit only, and the gradient there to 1e-8.)
    """
    net, v = machine(D, 1), states(D)
    near = 0.5 * torch.randn(2**D, generator=make_rng(2), dtype=torch.float64)
    q = torch.softmax(law(net).sum(1).log() + near, 0)

    def loss(theta: Tensor) -> Tensor:
        W, a, b = theta.split((D, D, 1))
        log_p = v @ a + nn.functional.softplus(b + v @ W)
        return log_p.logsumexp(0) - q @ log_p

    centre = torch.rand(D, generator=make_rng(6)).double(), torch.full((1,), 0.3).double()
    far = update(net, v, q - law(net).sum(1), centre)
    theta = nn.utils.parameters_to_vector(net.parameters()).detach()
    for _ in range(2000):
        theta = theta - torch.func.grad(loss)(theta)
    for _ in range(8):
        theta = theta - torch.linalg.solve(
            hessian := torch.autograd.functional.hessian(loss, theta), torch.func.grad(loss)(theta)
        )
    assert torch.linalg.eigvalsh(hessian).min() > 1e-4
    nn.utils.vector_to_parameters(theta, net.parameters())
    assert (law(net).sum(1) - q).abs().max() > 0.01
    for c in (None, centre):
        assert max(float(g.abs().max()) for g in update(net, v, q - law(net).sum(1), c)) < 1e-12
    assert max(float(g.abs().max()) for g in far) > 0.01


@pytest.mark.parametrize("algorithm", ["cd", "pcd", "parallel-tempering"])
def test_centred_losses_centre_at_the_means_of_data_and_hidden_units(algorithm):
    data = states(D)[draw(torch.rand(2**D, generator=make_rng(1)), 50, 2)]
    model = RBM(n_hidden=H, algorithm=algorithm, n_chains=10, n_temperatures=3, k=2)
    got = []
    for model.centred in (False, True):
        net = machine()
        shape = {"pcd": (10, H), "parallel-tempering": (10, 3, H)}.get(algorithm)
        before = net.active.clone()
        loss, _ = model._loss(
            RBMNets(rbm=net, chains=shape and chains_at(torch.zeros(shape))), Batch(data), make_rng(9)
        )
        got.append(gradients(loss, net))
    with torch.no_grad():
        assert torch.allclose(net.active, 0.95 * before + 0.05 * net.p_hidden(data).mean(0))
    (dW, da, db), mu, lam = got[0], net.a_base.sigmoid(), net.active
    dW = dW - torch.outer(mu, db) - torch.outer(da, lam)
    assert same(got[1], [dW, da - dW @ lam, db - mu @ dW])


# --- sparsity


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_sparsity_adds_the_gradient_of_its_linear_form(pictures, visible):
    v, w, offsets = pictures
    net = machine(visible=visible)
    x, g = offsets[:D], offsets[D:]
    with torch.no_grad():
        p = net.p_hidden(v)
    pushed, plain = (gradients(weighted_free_energy(net, v, p, w, sparsity=s), net) for s in ((x, g), None))
    linear = gradients(g @ (net.b + x @ net.W) + 0 * net.a.sum(), net)
    assert same([a - b for a, b in zip(pushed, plain, strict=True)], linear)


def test_sparsity_moves_the_activity_to_its_target():
    """The gradient is that of the cross-entropy with the target where a unit treats all images alike."""
    data = states(D)[draw(torch.rand(2**D, generator=make_rng(1)), 400, 2)]
    net = machine()
    with torch.no_grad():
        net.W.mul_(0.01)
        net.b.copy_(torch.tensor([-3.0, 0.0, 3.0]))
        net.active.copy_(net.p_hidden(data).mean(0))
    active, got = net.active.clone(), []
    for sparsity in (0.0, 2.0):
        model = RBM(n_hidden=H, algorithm="cd", sparsity=sparsity, target=0.2)
        got.append(gradients(model._loss(RBMNets(rbm=net), Batch(data), make_rng(3))[0], net))
    push = [b - a for a, b in zip(*got, strict=True)]
    q = net.p_hidden(data).mean(0)
    entropy = -(0.2 * q.log() + 0.8 * (1 - q).log()).sum()
    exact = gradients(2 * entropy + 0 * net.a.sum(), net)
    assert all(torch.allclose(g, e, rtol=0.01, atol=1e-3) for g, e in zip(push, exact, strict=True))
    with torch.no_grad():
        for p, g in zip((net.W, net.a, net.b), push, strict=True):
            p -= 0.1 * g
        moved = net.p_hidden(data).mean(0) - active
    assert moved.sign().tolist() == [1, -1, -1]


def test_the_running_mean():
    net, p = machine(), torch.rand(9, H, generator=make_rng(0)).double()
    for _ in range(300):
        update_mean(net.active, p.mean(0), 0.05)
    assert torch.allclose(net.active, p.mean(0), atol=1e-6)
    half = update_mean(torch.zeros(2), torch.tensor([1.0, 0.5], dtype=torch.bfloat16), 0.5)
    assert torch.equal(half, torch.tensor([0.5, 0.25]))


# --- chains


@pytest.mark.parametrize("k", [1, 3])
def test_the_states_of_cd_have_the_law_of_k_steps(k):
    net, n = machine(), 20_000
    p, h = law(net), states(H)[5]
    up, down = p / p.sum(1, keepdim=True), p.T / p.sum(0)[:, None]
    v, p_hidden = from_hidden(net, h.expand(n, H), k, make_rng(1))
    fits(index(v), (torch.linalg.matrix_power(down @ up, k - 1) @ down)[5])
    assert torch.equal(p_hidden, net.p_hidden(v))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_k_steps_are_k_draws_of_the_visible_units(k):
    net, h, rng = machine(), states(H), make_rng(0)
    for _ in range(k):
        v = net.gibbs(h, rng)
        h = bernoulli(net.p_hidden(v), rng)
    assert torch.equal(from_hidden(net, states(H), k, make_rng(0))[0], v)


def test_persistent_chains_keep_the_law_and_move_on():
    n = 20_000
    net = machine(scale=0.6)
    p = law(net)
    chains = chains_at(states(H)[draw(p.sum(0), n, 0)])
    before, rng = chains.states.clone(), make_rng(1)
    for _ in range(2):
        v, p_hidden = from_chains(net, chains, 2, rng)
    fits(index(v), p.sum(1))
    fits(index(v) * 2**H + index(chains.states), p)
    assert torch.equal(p_hidden, net.p_hidden(v))
    assert not torch.equal(chains.states, before)


def test_tempered_chains_keep_the_product_of_the_tempered_laws():
    """Exact states in, exact states out: v at beta = 1, h at every beta, and neighbours independent of each other."""
    betas, n = (1.0, 0.6, 0.3, 0.0), 20_000
    T = len(betas)
    net = machine(scale=0.6)
    laws = [law(net, beta) for beta in betas]
    h = torch.stack([states(H)[draw(p.sum(0), n, i)] for i, p in enumerate(laws)], 1)
    chains = chains_at(h)
    v, p_hidden = from_tempered_chains(net, chains, betas, 3, make_rng(1))
    fits(index(v), laws[0].sum(1))
    assert torch.equal(p_hidden, net.p_hidden(v))
    after = index(chains.states.flatten(0, 1)).view(n, T)
    for t, p in enumerate(laws):
        fits(after[:, t], p.sum(0))
    fits(index(v) * 2**H + after[:, 0], laws[0])
    for t in range(T - 1):
        fits(after[:, t] * 2**H + after[:, t + 1], torch.outer(laws[t].sum(0), laws[t + 1].sum(0)))


def test_tempered_chains_find_the_law_from_anywhere():
    """Two wells that plain chains do not leave: the exchanges carry them over."""
    net = RestrictedBoltzmann(D, H, make_rng(0)).double()
    with torch.no_grad():
        net.W.fill_(7.0)
        net.a.copy_(-net.W.sum(1) / 2)
        net.b.copy_(-net.W.sum(0) / 2)
    chains = chains_at(torch.zeros(2000, 5, H))
    v, _ = from_tempered_chains(net, chains, (1.0, 0.75, 0.5, 0.25, 0.0), 200, make_rng(0))
    share = v.mean(1).gt(0.5).double().mean().item()
    assert share == pytest.approx(0.5, abs=5 * 0.5 / 2000**0.5)
    assert from_chains(net, chains_at(torch.zeros(2000, H)), 200, make_rng(0))[0].mean() < 0.01


def test_equal_temperatures_always_exchange():
    """States that Gibbs steps keep: 0-1 and 2-3 change places, then 1-2."""
    net = RestrictedBoltzmann(2, 2, make_rng(0)).double()
    with torch.no_grad():
        net.W.copy_(200 * torch.eye(2))
        net.a.fill_(-100)
        net.b.fill_(-100)
    net.a_base.copy_(net.a)
    rows = states(2).repeat(2, 1)
    rows[4:] = rows[[3, 3, 1, 0]]
    chains = chains_at(rows.view(2, 4, 2))
    v, p = from_tempered_chains(net, chains, [1.0] * 4, 1, make_rng(0))
    assert torch.equal(chains.states.flatten(0, 1), rows[[1, 3, 0, 2, 5, 7, 4, 6]])
    assert torch.equal(v, rows[[1, 5]])
    assert torch.allclose(p, v)


def test_the_hottest_chains_are_independent_pixels():
    net, chains = machine(), chains_at(torch.zeros(20_000, 1, H))
    v, _ = from_tempered_chains(net, chains, [0.0], 1, make_rng(0))
    q, x = net.a_base.sigmoid(), states(D)
    fits(index(v), (x * q + (1 - x) * (1 - q)).prod(1))
    fits(index(chains.states[:, 0]), torch.full((2**H,), 0.5**H).double())


# --- estimators without chains


def nets_of(net: RestrictedBoltzmann, log_z: float | None = None) -> RBMNets:
    return RBMNets(rbm=net, log_z=None if log_z is None else Constant(log_z).double())


def test_the_gradient_of_nce_is_zero_at_the_truth():
    """In expectation, for log Z as well: 100 batches of 500 exact draws, five standard errors."""
    net = machine()
    p = law(net)
    log_z = torch.logsumexp(-net.free_energy(states(D)), 0).item()
    model, rng = RBM(n_hidden=H, algorithm="nce", n_noise=3), make_rng(1)

    def z_scores(shift: float) -> Tensor:
        nets, rows = nets_of(net, log_z + shift), states(D)[draw(p.sum(1), 100 * 500, 0)].chunk(100)
        parameters = list(nets.parameters())
        assert len(parameters) == 4
        flat = [
            torch.cat([g.flatten() for g in torch.autograd.grad(model._loss(nets, Batch(v), rng)[0], parameters)])
            for v in rows
        ]
        g = torch.stack(flat)
        return g.mean(0).abs() / (g.std(0) / 100**0.5)

    assert z_scores(0.0).max() < 5
    assert z_scores(0.2).max() > 10


def test_the_noise_of_nce_is_the_machine_without_hidden_units():
    """The value of the loss for one image that carries all noise: computed from the log-ratios."""
    net, v = machine(), states(D)
    with torch.no_grad():
        net.W.zero_()
        net.a.copy_(net.a_base)
    # The model is the noise: log p - log n = 0, h = 1 / (1 + nu).
    log_z = net.log_z_base().item() + nn.functional.softplus(net.b).sum().item()
    loss, _ = RBM(n_hidden=H, algorithm="nce", n_noise=4)._loss(nets_of(net, log_z), Batch(v), make_rng(0))
    assert loss.item() == pytest.approx(math.log(5) + 4 * math.log(5 / 4), abs=1e-12)


def test_ratio_matching_is_minimal_at_the_truth():
    net, v = machine(), states(D)
    model = RBM(n_hidden=H, algorithm="score-matching", n_flips=D)

    def expected(p: Tensor) -> list[Tensor]:
        rows = [gradients(model._loss(nets_of(net), Batch(x[None]), make_rng(0))[0], net) for x in v]
        return [sum(w * g for w, g in zip(p, column, strict=True)) for column in zip(*rows, strict=True)]

    p = law(net).sum(1)
    assert max(float(g.abs().max()) for g in expected(p)) < 1e-12
    assert max(float(g.abs().max()) for g in expected(p.roll(1))) > 0.1


def test_denoising_score_matching_is_minimal_at_the_truth():
    """Mixtures of Gaussians of variance 1 - s^2 at the machine's means, blurred by s, have the machine's law."""
    net, s, n = machine(2, 2, visible="gaussian"), 0.6, 200_000
    net.mean.copy_(torch.tensor([3.0, -1.0]))
    net.sigma.copy_(torch.tensor([0.5, 2.0]))
    with torch.no_grad():
        h = states(2)
        x = h @ net.W.T
        p = torch.softmax(h @ net.b + (net.a * x + x.square() / 2).sum(1), 0)
        u = (net.a + x)[draw(p, n, 0)]
    u = u + (1 - s**2) ** 0.5 * torch.randn(n, 2, generator=make_rng(1), dtype=torch.float64)
    batches = (net.mean + net.sigma * u).chunk(100)

    def z_scores(noise: float) -> Tensor:
        model, rng = RBM(n_hidden=2, visible="gaussian", algorithm="score-matching", noise=noise), make_rng(2)
        g = torch.stack([
            torch.cat([g.flatten() for g in gradients(model._loss(nets_of(net), Batch(v), rng)[0], net)])
            for v in batches
        ])  # fmt: skip
        return g.mean(0).abs() / (g.std(0) / 100**0.5)

    assert z_scores(s).max() < 5
    assert z_scores(0.5).max() > 10


# --- learning


def bars_and_stripes() -> Tensor:
    """The 14 pictures of 3 x 3 whose rows, or whose columns, are all on or all off."""
    lines = states(3)
    rows, columns = lines[:, :, None].expand(8, 3, 3), lines[:, None, :].expand(8, 3, 3)
    return torch.cat([rows, columns]).flatten(1).unique(dim=0)


SLOPE = "linear(0.5, 0.02, over=56000)"
LEARN = {
    "cd": {"learning_rate": SLOPE},
    "pcd": {"learning_rate": SLOPE},
    "parallel-tempering": {"learning_rate": SLOPE, "n_chains": 50, "n_temperatures": 5},
    "nce": {"learning_rate": "linear(0.05, 0, over=56000)", "optimizer": "adam"},
    "score-matching": {"learning_rate": 0.01, "optimizer": "adam", "n_flips": 9},
}


def exact_score(net: RestrictedBoltzmann, v: Tensor) -> tuple[float, float]:
    """Mean log p(v) by enumeration of v, and log Z."""
    with torch.no_grad():
        log_z = torch.logsumexp(-net.free_energy(states(v.shape[1])), 0)
        return float(-net.free_energy(v).mean() - log_z), float(log_z)


@pytest.mark.parametrize("algorithm", LEARN)
def test_every_estimator_learns_bars_and_stripes(algorithm):
    """At most -log 14 = -2.64 nats; independent pixels have -9 log 2 = -6.24."""
    v = bars_and_stripes()
    assert len(v) == 14
    model = RBM(
        n_hidden=10, algorithm=algorithm, precision="float64", batch_size=70, epochs=160, random_state=0,
        **LEARN[algorithm],
    ).fit(v.repeat(25, 1).numpy())  # fmt: skip
    score, log_z = exact_score(model.nets_.rbm, v)
    assert score > (-3.9 if algorithm == "nce" else -3.6)
    if algorithm == "nce":
        assert model.nets_.log_z.value.item() == pytest.approx(log_z, abs=0.6)


# --- completion


def fitted(net: RestrictedBoltzmann, **settings) -> RBM:
    """An RBM that has learned, as it were, the machine."""
    d, h = net.W.shape
    X = states(d).numpy()
    model = RBM(n_hidden=h, precision="float64", epochs=1, random_state=0, visible=net.visible, **settings).fit(X)
    with torch.no_grad():
        for name in ("W", "a", "b", "a_base", "mean", "sigma"):
            getattr(model.nets_.rbm, name).copy_(getattr(net, name))
    return model


def test_completions_have_the_conditional_law():
    net, n = machine(5, 3), 4000
    with torch.no_grad():  # as good as symmetric, so that the bits depend on each other
        net.W.mul_(1.2)
        net.a.mul_(0.3).sub_(net.W.sum(1) / 2)
        net.b.mul_(0.3).sub_(net.W.sum(0) / 2)
    known, given = torch.tensor([True, False, False, True, False]), torch.tensor([1.0, 0, 0, 0, 0]).double()
    v, p = states(5), law(net).sum(1)
    agree = ((v == given) | ~known).all(1)
    p = p * agree / p[agree].sum()
    # The chain itself: chi-square over the eight states of the unknown bits.
    chain = rbm_chain(net, given.expand(n, 5), make_rng(0), known.expand(n, 5))
    with torch.no_grad():
        x = next(itertools.islice(chain, 30, None))[0]
    assert torch.equal(x[:, known], given[known].expand(n, 2))
    fits(index(x[:, ~known]), p[agree])
    # The public face: means given the hidden units; what stands at the unknown places does not matter.
    X = given.expand(n, 5).numpy().copy()
    X[:, ~known.numpy()] = np.nan
    filled = fitted(net, n_gibbs=30).complete(X, known.numpy(), random_state=0)
    assert (filled[:, [0, 3]] == [1, 0]).all()
    mean = (p @ v).numpy()
    error = filled.std(0) / n**0.5
    assert (np.abs(filled.mean(0) - mean) < 5 * error + 1e-12).all()
    assert (error[~known.numpy()] < 0.01).all()
    free = law(net).sum(1) @ v
    assert np.abs(free.numpy() - mean)[~known.numpy()].max() > 0.1


@pytest.mark.parametrize("algorithm", ["nce", "score-matching"])
def test_what_an_estimator_has_not_is_refused(algorithm):
    with pytest.raises(ValueError, match=f"sparsity is 0.1 with algorithm '{algorithm}', which has none"):
        RBM(algorithm=algorithm, sparsity=0.1).check_parameters()


@pytest.mark.parametrize("binarize", [True, False])
def test_grey_pixels_are_drawn_where_binarize_is_set(binarize):
    x = torch.rand(20_000, D, generator=make_rng(0)).double()
    v = RBM(n_hidden=H, binarize=binarize)._states(machine(), Batch(x), make_rng(1))
    assert torch.equal(v, x) != binarize
    if binarize:
        assert set(v.unique().tolist()) == {0.0, 1.0}
        assert (v.mean(0) - x.mean(0)).abs().max() < 5 * 0.5 / 20_000**0.5


@pytest.mark.parametrize(("n_hidden", "d", "visible", "kinds"), [
    (20, 21, "binary", ("exact", "exact")),
    (21, 20, "binary", ("exact", "exact")),
    (21, 21, "binary", ("pseudo", "estimate")),
    (20, 21, "gaussian", ("exact", "exact")),
    (21, 20, "gaussian", ("estimate", "estimate")),
])  # fmt: skip
def test_scores_say_what_they_are_worth(n_hidden, d, visible, kinds, monkeypatch):
    """Exact where a side can be enumerated, of Gaussian units the hidden one; else an estimate of log Z is inside."""
    monkeypatch.setattr("genlearn.models.rbm.salakhutdinov", lambda: torch.linspace(0, 1, 20).double())
    X = states(5)[:, torch.arange(d) % 5].numpy()
    model = RBM(n_hidden=n_hidden, visible=visible, epochs=1, n_chains=4, learning_rate=1e-3, random_state=0).fit(X)
    (likelihood,) = model.log_likelihoods(X).values()
    assert (model.score_kind(), likelihood.kind) == kinds
    assert likelihood.law == visible
    assert (likelihood.shift == (0, 0)) == (likelihood.kind == "exact")


@pytest.mark.parametrize("m", [40, 20])
def test_the_contrast_in_bf16(m):
    """Close to that in float32; nothing where data and model agree; in float32 where their numbers differ."""
    rng = torch.Generator().manual_seed(0)
    net = RestrictedBoltzmann(30, 20, rng)
    v, w = (torch.rand(n, 30, generator=rng).round() for n in (40, m))
    states = [(x, torch.rand(len(x), 20, generator=rng)) for x in (v, w)]

    def gradient_of_W(data, model, low):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = contrast(net, data, model)
        assert loss.dtype == torch.float32
        return torch.autograd.grad(loss, net.W)[0]

    exact, low = (gradient_of_W(*states, low) for low in (False, True))
    assert (low - exact).abs().max() < (2e-3 if m == 40 else 1e-9)
    assert (low != exact).any() == (m == 40)
    assert abs((low - exact).mean()) < 2e-4
    assert gradient_of_W(states[0], states[0], True).abs().max() < 1e-7
