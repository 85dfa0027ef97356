"""The deep Boltzmann machine against enumeration."""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy.stats import chi2

from genlearn._types import Batch
from genlearn.losses.contrastive import energy_difference
from genlearn.maths.ais import ais, log_z_exact, schedule
from genlearn.maths.rng import make_rng
from genlearn.models.dbm import DBM, DBMNets
from genlearn.nets.deep_boltzmann import DeepBoltzmann, MeanFieldMLP
from genlearn.samplers import Chains, after, dbm_chain, dbm_start
from genlearn.train import Stream

SIZES = [(4, 3, 3), (3, 2, 3, 2)]


def states(n: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def machine(sizes: tuple[int, ...], scale: float = 1.0) -> DeepBoltzmann:
    rng = make_rng(0)
    net = DeepBoltzmann(sizes, rng).double()
    with torch.no_grad():
        for p in [*net.parameters(), net.a_base]:
            p.normal_(generator=rng).mul_(scale)
    return net


def chains_at(states: torch.Tensor) -> Chains:
    """Persistent chains in these states."""
    chains = Chains(*states.shape).double()
    chains.states.copy_(states)
    return chains


@pytest.fixture(params=SIZES, ids=str)
def net(request) -> DeepBoltzmann:
    return machine(request.param)


def everything(net: DeepBoltzmann) -> list[torch.Tensor]:
    """All states [x_0 .. x_L], v slowest."""
    return list(states(sum(net.sizes)).split(net.sizes, 1))


def law(net: DeepBoltzmann) -> torch.Tensor:
    """p(v, h) of `everything`."""
    return torch.softmax(-net.energy(everything(net)).detach(), 0)


def log_p(net: DeepBoltzmann) -> torch.Tensor:
    """log p(v) of all v."""
    energies = -net.energy(everything(net)).view(2 ** net.sizes[0], -1)
    return energies.logsumexp(1) - energies.flatten().logsumexp(0)


def parameters(net: DeepBoltzmann) -> list[torch.Tensor]:
    return [*net.W, net.a, *net.b]


def test_energy(net):
    for x in zip(*(part[::37] for part in everything(net)), strict=True):
        e = -net.a.dot(x[0])
        for i in range(1, len(x)):
            e = e - net.b[i - 1].dot(x[i]) - x[i - 1] @ net.W[i - 1] @ x[i]
        assert net.energy([part[None] for part in x]).item() == pytest.approx(e.item())


def test_log_z_and_marginals_of_the_bipartite_form(net):
    brute = torch.logsumexp(-net.energy(everything(net)), 0).item()
    W, a, b, base = net.bipartite()
    assert log_z_exact(W, a, b) == pytest.approx(brute, abs=1e-10)
    assert net.log_partition(schedule(2))[:3] == pytest.approx((brute,) * 3, abs=1e-10)
    assert torch.equal(base, torch.cat([net.a_base, torch.zeros(len(base) - net.sizes[0], dtype=torch.float64)]))
    x = everything(net)
    odd, even = torch.cat(x[1::2], 1), torch.cat(x[0::2], 1)
    assert torch.allclose((odd @ W * even).sum(1) + odd @ a + even @ b, -net.energy(x))
    # p(odd) with the even side summed out is the marginal of the enumeration
    free = odd @ a + torch.nn.functional.softplus(b + odd @ W).sum(1)
    key = odd @ 2.0 ** torch.arange(odd.shape[1], dtype=torch.float64)
    marginal = torch.stack([law(net)[key == k].sum() for k in key.unique()])
    first = torch.stack([free[key == k][0] for k in key.unique()])
    assert torch.allclose((first - brute).exp(), marginal)


def test_conditionals(net):
    x, p = everything(net), law(net)
    for i in range(len(x)):
        others = torch.cat(x[:i] + x[i + 1 :], 1)
        key = others @ 2.0 ** torch.arange(others.shape[1], dtype=torch.float64)
        mean = net.mean(i, x)
        for k in key.unique()[:5]:
            rows = key == k
            assert torch.allclose(mean[rows][0], p[rows] @ x[i][rows] / p[rows].sum())


def test_a_sweep_leaves_the_law_as_it_is(net):
    """The transition matrix of one sweep, from the conditionals of the two halves."""
    x, p = everything(net), law(net)
    stay = torch.ones(len(p), len(p), dtype=torch.float64)
    for half in (0, 1):
        step = torch.ones_like(stay)
        for i in range(len(x)):
            if i % 2 == half:
                m = net.mean(i, x)[:, None]
                step *= torch.where(x[i].bool()[None], m, 1 - m).prod(2)
            else:
                step *= (x[i][:, None] == x[i][None]).all(2)
        assert torch.allclose(step.sum(1), torch.ones_like(p))
        assert torch.allclose(p @ step, p)


def test_chains_have_the_law_of_the_model(net):
    """Chi-square over all states of v, of independent chains, at a fixed seed."""
    rng, n = make_rng(3), 8000
    x = net.unpack((torch.rand(n, sum(net.sizes[1::2]), dtype=torch.float64, generator=rng) < 0.5).double())
    x, _ = after(61, dbm_chain(net, x, rng))
    d = net.sizes[0]
    index = (x[0] @ 2.0 ** torch.arange(d - 1, -1, -1, dtype=torch.float64)).long()
    expected = n * log_p(net).exp().detach()
    observed = torch.bincount(index, minlength=2**d)
    assert expected.min() > 5
    assert ((observed - expected) ** 2 / expected).sum() < chi2.ppf(0.999, 2**d - 1)


def test_each_state_of_a_chain_is_a_list_of_its_own_with_the_mean_of_its_pixels(net):
    x = net.unpack(torch.zeros(200, sum(net.sizes[1::2]), dtype=torch.float64))
    before = [*x]
    (first, _), (second, mean) = itertools.islice(dbm_chain(net, x, make_rng(0)), 2)
    assert all(a is b for a, b in zip(x, before, strict=True))
    assert not any(a is b for a, b in zip(first, second, strict=True))
    with torch.no_grad():
        assert torch.equal(mean, net.mean(0, second))  # its odd layers are those which v was drawn from


def test_chains_start_from_draws_of_the_odd_layers(net):
    n = 20_000
    v = states(net.sizes[0])[[5]].expand(n, -1)
    x, means = dbm_start(net, v, make_rng(0)), net.mean_field(v, 1)
    for i in range(1, len(x), 2):
        assert ((x[i] == 0) | (x[i] == 1)).all()
        assert (x[i].mean(0) - net.mean(i, means)[0]).abs().max() < 5 * 0.5 / n**0.5


def test_the_bound(net):
    """Stationary, increasing in the steps, never above log p(v)."""
    v = states(net.sizes[0])
    log_z = torch.logsumexp(-net.energy(everything(net)), 0)
    exact = log_p(net)
    bounds = torch.stack([net.bound(net.mean_field(v, n), log_z) for n in (1, 2, 5, 20, 400)])
    assert (bounds.diff(dim=0) > -1e-10).all()
    gap = exact - bounds[-1]
    print(f"gap of mean field: mean {gap.mean():.4f}, largest {gap.max():.4f} nats")
    assert (gap > -1e-10).all()
    assert gap.max() > 1e-3
    x = net.mean_field(v, 400)
    for i in range(1, len(x)):
        assert torch.allclose(net.mean(i, x), x[i], atol=1e-6)
    mu = [m.detach().requires_grad_() for m in x[1:]]
    for g in torch.autograd.grad(net.bound([v, *mu], log_z).sum(), mu):
        assert g.abs().max() < 1e-5


@pytest.mark.parametrize("sizes", [(4, 3), (4, 3, 3), (3, 2, 3, 2)], ids=str)
def test_the_bound_is_exact_where_layers_decouple(sizes):
    net = machine(sizes)
    with torch.no_grad():
        for W in net.W[1:]:
            W.zero_()
    log_z = torch.logsumexp(-net.energy(everything(net)), 0)
    assert torch.allclose(net.bound(net.mean_field(states(sizes[0]), 1), log_z), log_p(net))


def test_the_difference_of_energies_and_its_gradient(net):
    rng = make_rng(1)
    data, model = ([torch.rand(n, h, dtype=torch.float64, generator=rng) for h in net.sizes] for n in (7, 3))
    expected = net.energy(data).mean() - net.energy(model).mean()
    got = energy_difference(list(net.W), [net.a, *net.b], data, model)
    assert torch.allclose(got, expected)
    pairs = zip(*(torch.autograd.grad(loss, parameters(net)) for loss in (got, expected)), strict=True)
    assert all(torch.allclose(g, e, atol=1e-12) for g, e in pairs)


@pytest.mark.parametrize("m", [40, 20])
@pytest.mark.parametrize("centred", [False, True])
def test_the_difference_of_energies_in_bf16(m, centred):
    """Close to that in float32; nothing where data and model agree; in float32 where their numbers differ."""
    rng, sizes = make_rng(1), (30, 20, 10)
    net = DeepBoltzmann(sizes, rng)
    data, model = ([torch.rand(n, h, generator=rng) for h in sizes] for n in (40, m))
    centers = [torch.rand(h, generator=rng) for h in sizes] if centred else None

    def gradients(data, model, low):
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = energy_difference(list(net.W), [net.a, *net.b], data, model, centers)
        assert loss.dtype == torch.float32
        return torch.autograd.grad(loss, list(net.W))

    for exact, low in zip(gradients(data, model, False), gradients(data, model, True), strict=True):
        assert (low - exact).abs().max() < (3e-3 if m == 40 else 1e-9)
        assert (low != exact).any() == (m == 40)
        assert abs((low - exact).mean()) < 4e-4
    assert all(g.abs().max() < 1e-7 for g in gradients(data, data, True))


def test_centring_is_the_gradient_in_centred_parameters_mapped_back(net):
    """theta = J theta' for W' = W, b'_i = b_i + c_{i-1} W_i + W_{i+1} c_{i+1}: the direction is J J^T g."""
    rng = make_rng(1)
    data, model = ([torch.rand(n, h, dtype=torch.float64, generator=rng) for h in net.sizes] for n in (7, 3))
    centers = [torch.rand(h, dtype=torch.float64, generator=rng) for h in net.sizes]
    k = len(net.W)

    def J(primed: list[torch.Tensor]) -> list[torch.Tensor]:
        W, b = primed[:k], list(primed[k:])
        for i, w in enumerate(W):
            b[i], b[i + 1] = b[i] - w @ centers[i + 1], b[i + 1] - centers[i] @ w
        return [*W, *b]

    # where it changes nothing but the parameters: energies differ by a constant
    x, primed = everything(net), [p.detach().clone().requires_grad_() for p in parameters(net)]
    energies = -sum(
        (((low - c) @ w) * (high - e)).sum(1)
        for low, high, c, e, w in zip(x, x[1:], centers, centers[1:], primed, strict=False)
    ) - sum((part - c) @ b for part, c, b in zip(x, centers, primed[k:], strict=True))
    with torch.no_grad():
        for p, value in zip(parameters(net), J(primed), strict=True):
            p.copy_(value)
    assert (net.energy(x) - energies).std() < 1e-12
    plain = energy_difference(list(net.W), [net.a, *net.b], data, model)
    g = torch.autograd.grad(plain, parameters(net))
    expected = J(list(torch.autograd.grad(J(primed), primed, g)))
    centred = energy_difference(list(net.W), [net.a, *net.b], data, model, centers)
    got = torch.autograd.grad(centred, parameters(net))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(got, expected, strict=True))
    # a layer of None is one at 0
    for i, c in enumerate(centers):
        none, zero = ([*centers[:i], x, *centers[i + 1 :]] for x in (None, torch.zeros_like(c)))
        differences = (energy_difference(list(net.W), [net.a, *net.b], data, model, cs) for cs in (none, zero))
        a, b = (torch.autograd.grad(x, parameters(net)) for x in differences)
        assert all(torch.allclose(x, y, atol=1e-12) for x, y in zip(a, b, strict=True))


def test_exact_posterior_and_model_give_the_gradient_of_the_likelihood(net):
    """d/dtheta -log p(v): the energies' gradients, weighted by p(h | v) and by p(v, h)."""
    row, d = 2, net.sizes[0]
    x, p = everything(net), law(net).view(2**d, -1)
    posterior = torch.zeros_like(p)
    posterior[row] = p[row] / p[row].sum()
    difference = (posterior - p).flatten() @ net.energy(x)
    exact = torch.autograd.grad(-log_p(net)[row], parameters(net))
    assert all(
        torch.allclose(g, e) for g, e in zip(torch.autograd.grad(difference, parameters(net)), exact, strict=True)
    )


def bound_gradient(net: DeepBoltzmann, v: torch.Tensor) -> list[torch.Tensor]:
    """d/dtheta of minus the mean bound, through the enumerated log Z, the factorial law held."""
    x = [part.detach() for part in net.mean_field(v, 30)]
    log_z = torch.logsumexp(-net.energy(everything(net)), 0)
    return list(torch.autograd.grad(-net.bound(x, log_z).mean(), parameters(net)))


def test_the_loss_estimates_the_gradient_of_the_bound(net, monkeypatch):
    """With chains drawn from the model and centers 0, within five standard errors; the chains stay in its law."""
    n = 40_000
    monkeypatch.setattr("genlearn.models.dbm.CENTER_RATE", 0.0)
    chains = chains_at(torch.cat(everything(net)[1::2], 1)[torch.multinomial(law(net), n, True, generator=make_rng(2))])
    v = states(net.sizes[0])[[0, 2, 2, 5]]
    model = DBM(hidden=net.sizes[1:], n_chains=n, k=2, n_mean_field=30, binarize=False)
    before = chains.states.mean(0)
    loss, _ = model._loss(DBMNets(dbm=net, chains=chains), Batch(v), make_rng(5))
    got = torch.autograd.grad(loss, parameters(net))
    for g, e in zip(got, bound_gradient(net, v), strict=True):
        # means of n numbers in [0, 1], of standard deviation at most 1/2
        assert (g - e).abs().max() < 5 * 0.5 / n**0.5
    assert (chains.states.mean(0) - before).abs().max() < 5 * 0.5 * (2 / n) ** 0.5
    assert ((chains.states == 0) | (chains.states == 1)).all()


def test_the_gradient_of_the_bound_is_that_of_the_likelihood_where_it_is_tight():
    net = machine((4, 3, 3))
    with torch.no_grad():
        net.W[1].zero_()
    v = states(4)
    exact = torch.autograd.grad(-log_p(net).mean(), parameters(net))
    for g, e in zip(bound_gradient(net, v), exact, strict=True):
        assert torch.allclose(g, e)


def tied(
    W: torch.Tensor, a: torch.Tensor, b: torch.Tensor, v: list[torch.Tensor], h: list[torch.Tensor]
) -> torch.Tensor:
    """-E of an RBM with copies of its layers that share parameters [n]."""
    pairs = sum((x @ W * y).sum(1) for x in v for y in h)
    return pairs + len(h) * sum(x @ a for x in v) + len(v) * sum(y @ b for y in h)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_doubled_conditionals_are_those_of_tied_copies(layer):
    """(2009, section 3.1) One copy below the bottom is two of v; the top has two; the middle two of both."""
    net = machine((2, 2, 2, 2))
    n_low, n_high = (1 if layer == 3 else 2), (1 if layer == 1 else 2)
    parts = list(states(2 * (n_low + n_high)).split(2, 1))
    low, high = parts[:n_low], parts[n_low:]
    # biases as `up` and `down` count them: once for each unit, whatever the number of copies on the other side
    a = net.a if layer == 1 else net.below[layer - 2]
    b = net.b[layer - 1]
    p = torch.softmax(tied(net.W[layer - 1], a / n_high, b / n_low, low, high), 0)
    one, zero = torch.ones(1, 2, dtype=torch.float64), torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    for given, asked, conditional in ((low, high, net.up), (high, low, net.down)):
        for value in (one, zero):
            rows = torch.stack([(x == value).all(1) for x in given]).all(0)
            assert torch.allclose(conditional(layer, value)[0], p[rows] @ asked[0][rows] / p[rows].sum())


def test_a_consistent_top_leaves_the_law_of_the_first_layer():
    """(2012, section 3) With W_2 = W_1^T, b_2 = a, equal biases: p(h_1) is that of the RBM of two tied v."""
    net = machine((3, 4, 3))
    with torch.no_grad():
        net.W[1].copy_(net.W[0].T)
        net.b[1].copy_(net.a)
        net.below[0].copy_(net.b[0])
    h = states(4)
    # p(h) of the RBM: exp(b.h) (sum_v exp(a.v + v W h))^2
    rbm = torch.softmax(h @ net.b[0] + 2 * torch.nn.functional.softplus(net.a + h @ net.W[0].T).sum(1), 0)
    net.compose()
    p = law(net).view(2**3, 2**4, 2**3).sum((0, 2))
    assert torch.allclose(p, rbm)


def test_composition_is_the_geometric_mean_of_the_two_rbms():
    """p(h_1) of the machine is proportional to (p_below(h_1) p_above(h_1))^(1/2), biases included."""
    net = machine((3, 4, 2))
    h = states(4)
    softplus = torch.nn.functional.softplus
    first = h @ net.b[0] + 2 * softplus(net.a + h @ net.W[0].T).sum(1)
    second = h @ net.below[0] + 2 * softplus(net.b[1] + h @ net.W[1]).sum(1)
    net.compose()
    p = law(net).view(2**3, 2**4, 2**2).sum((0, 2))
    assert torch.allclose(p, torch.softmax((first + second) / 2, 0))


def test_pretraining_is_cd_1_of_the_doubled_rbm():
    """The expected gradient, of centred x, by enumeration of x -> h -> x, within five standard errors."""
    net = machine((3, 2, 2))
    net.center.uniform_(generator=make_rng(7))
    model, copies = DBM(hidden=(2, 2)), 40_000
    for layer in (1, 2):
        low, high = states(net.sizes[layer - 1]), states(net.sizes[layer])
        up, down = net.up(layer, low), net.down(layer, high)
        to_high = torch.where(high.bool()[None], up[:, None], 1 - up[:, None]).prod(2)
        to_low = torch.where(low.bool()[None], down[:, None], 1 - down[:, None]).prod(2)
        start = torch.zeros(len(low), dtype=torch.float64)
        start[[1, 2]] = 0.5
        end = start @ to_high @ to_low
        mu = net.center.split(net.sizes)[layer - 1]
        expected = (low - mu).T @ ((end - start)[:, None] * up)
        batch = Batch(low[[1, 2]].repeat(copies, 1))
        loss, _ = model._cd(layer - 1, DBMNets(dbm=net), batch, make_rng(4))
        (got,) = torch.autograd.grad(loss, [net.W[layer - 1]])
        assert (got - expected).abs().max() < 5 * 0.5 / (2 * copies) ** 0.5
        bias = net.a if layer == 1 else net.below[0]
        loss, _ = model._cd(layer - 1, DBMNets(dbm=net), batch, make_rng(4))
        got_low, got_high = torch.autograd.grad(loss, [bias, net.b[layer - 1]])
        times = 2 if layer == 1 else 1  # what the bias of h must make up for
        assert (got_low / times - (end - start) @ low).abs().max() < 5 * 0.5 / (2 * copies) ** 0.5
        assert (got_high / times - ((end - start) @ up - mu @ expected)).abs().max() < 5 / (2 * copies) ** 0.5


def test_ais_is_unbiased_in_z(net):
    W, a, b, base = net.bipartite()
    log_z = log_z_exact(W, a, b)
    runs = ais(W, a, b, a_base=torch.zeros_like(a), b_base=base, betas=schedule(20), n_chains=40_000, rng=make_rng(0))
    w = (runs.log_w - log_z).exp()
    assert (w.mean() - 1).abs() < 5 * w.std() / len(w) ** 0.5
    assert w.std() > 0.05


def test_the_classifier_starts_as_a_mean_field_step(net):
    """With q at the fixed point its layers are the means, the first given the image and q(h_2)."""
    mlp = MeanFieldMLP(net.sizes, 3).double()
    mlp.start(net)
    x = net.mean_field(states(net.sizes[0]), 400)
    h, features = torch.cat([x[0], *x[2:]], 1), []
    mlp.out.register_forward_pre_hook(lambda module, inputs: features.append(inputs[0]))
    mlp(h)
    assert torch.allclose(features[0], x[-1], atol=1e-6)


def test_mean_field_starts_from_the_doubled_pass(net):
    v = states(net.sizes[0])
    x = net.mean_field(v, 0)
    for i in range(1, len(x)):
        doubled = 1 if i == len(x) - 1 else 2
        assert torch.allclose(x[i], (net.b[i - 1] + doubled * x[i - 1] @ net.W[i - 1]).sigmoid())
        assert torch.allclose(x[i], net.up(i, x[i - 1]))


def test_the_joint_stage_starts_from_the_composed_machine(net):
    """Biases half and half, centers at the means of the layers given images, chains of bits."""
    chains = chains_at(torch.zeros(50, sum(net.sizes[1::2])))
    b, below = [p.detach().clone() for p in net.b], [p.detach().clone() for p in net.below]
    v = states(net.sizes[0])[:5]
    nets = DBMNets(dbm=net, chains=chains)
    with torch.no_grad():
        DBM(n_mean_field=7)._start(nets, Stream(v, None, 2, 0, dtype=torch.float64), make_rng(0))
    for got, up, down in zip(net.b, b, [*below, b[-1]], strict=True):
        assert torch.allclose(got, (up + down) / 2)
    assert torch.allclose(net.center, torch.cat(net.mean_field(v, 7), 1).mean(0))
    assert set(chains.states.unique().tolist()) == {0.0, 1.0}
    assert 0.3 < chains.states.mean() < 0.7


def test_the_classifier_sees_the_means_of_the_upper_layers(net):
    v = states(net.sizes[0])
    x = net.mean_field(v, 4)
    inputs = DBM(n_mean_field=4)._inputs(DBMNets(dbm=net), v)
    assert torch.equal(inputs, torch.cat([v, *x[2:]], 1))


def test_completion_draws_from_the_conditional():
    """E[v_unknown | v_known] of the model, over many chains, against enumeration."""
    net = machine((4, 3, 2))
    model, n = DBM(hidden=(3, 2), n_gibbs=30), 20_000
    known = torch.tensor([True, True, False, False])
    v = states(4)
    p = log_p(net).exp().detach()
    given = torch.tensor([1.0, 0.0, 0.5, 0.5], dtype=torch.float64)
    rows = (v[:, :2] == given[:2]).all(1)
    expected = p[rows] @ v[rows] / p[rows].sum()
    filled = model._complete(DBMNets(dbm=net), given.expand(n, 4), known.expand(n, 4), make_rng(0))
    assert torch.equal(filled[:, :2], given[:2].expand(n, 2))
    assert (filled.mean(0) - expected).abs().max() < 5 * 0.5 / n**0.5


def test_bernoulli_means_of_chains():
    """E[v | h_1] of samples has the mean of the model."""
    net, chains = machine((4, 3, 2)), chains_at(torch.zeros(1000, 3))
    chains.start(make_rng(1))
    images = DBM(hidden=(3, 2), n_gibbs=30)._draw(DBMNets(dbm=net, chains=chains), 20_000, make_rng(0))
    assert (images.mean(0) - log_p(net).exp() @ states(4)).abs().max() < 5 * 0.5 / 20_000**0.5


def test_centers_follow_the_means_of_the_data(net):
    """A hundredth of the way for each batch, to the mean-field means of its images."""
    v, chains = states(net.sizes[0])[[0, 2, 2, 5]], chains_at(torch.zeros(4, sum(net.sizes[1::2])))
    before = net.center.uniform_(generator=make_rng(0)).clone()
    model = DBM(hidden=net.sizes[1:], n_mean_field=7, binarize=False)
    model._loss(DBMNets(dbm=net, chains=chains), Batch(v), make_rng(1))
    expected = torch.cat(net.mean_field(v, 7), 1).mean(0)
    assert torch.allclose(net.center, before + 0.01 * (expected - before))


@pytest.mark.parametrize("binarize", [True, False])
def test_layers_are_pretrained_on_draws(net, binarize):
    """Of the layer below; of the pixels where `binarize` is set."""
    x = torch.rand(20_000, net.sizes[0], generator=make_rng(0)).double()
    model, nets = DBM(hidden=net.sizes[1:], binarize=binarize), DBMNets(dbm=net)
    for i in range(2):
        rows = model._upward(i, nets, Batch(x), make_rng(1)).x
        if i == 0 and not binarize:
            assert torch.equal(rows, x)
        else:
            assert set(rows.unique().tolist()) == {0.0, 1.0}
        mean = x if i == 0 else net.up(1, model._upward(0, nets, Batch(x), make_rng(1)).x)
        assert (rows.mean(0) - mean.mean(0)).abs().max() < 5 * 0.5 / 20_000**0.5


def test_the_joint_stage_sees_draws_where_binarize_is_set():
    seen, x = [], torch.full((4, 3), 0.5).double()
    net, chains = machine((3, 2, 2)), chains_at(torch.zeros(4, 2))
    mean_field = net.mean_field
    net.mean_field = lambda v, n: seen.append(v) or mean_field(v, n)
    for binarize in (True, False):
        model = DBM(hidden=(2, 2), binarize=binarize)
        model._loss(DBMNets(dbm=net, chains=chains), Batch(x), make_rng(1))
    assert set(seen[0].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(seen[1], x)


@pytest.mark.parametrize(("hidden", "kind"), [((20, 30), "lower bound"), ((21, 30), "estimate of a bound")])
def test_a_bound_is_one_where_log_z_is_exact(hidden, kind, monkeypatch):
    """Images have 22 pixels: neither the odd nor the even layers of the second machine can be enumerated."""
    monkeypatch.setattr("genlearn.models.dbm.salakhutdinov", lambda: schedule(20))
    X = states(5)[:, [0, 1, 2, 3, 4] * 4 + [0, 1]].numpy()
    model = DBM(hidden=hidden, pretrain_epochs=1, epochs=1, n_chains=4, random_state=0).fit(X)
    likelihood = model.log_likelihoods(X)["bound"]
    assert (model.score_kind(), likelihood.kind, likelihood.law) == (kind, kind, "binary")
    assert (likelihood.shift == (0, 0)) == (kind == "lower bound")
