"""The deep belief network against enumeration."""

from __future__ import annotations

import itertools
from functools import reduce

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor
from torch.nn.functional import logsigmoid

from genlearn._types import Batch
from genlearn.maths.ais import schedule
from genlearn.maths.rng import make_rng, uniform
from genlearn.models import dbn
from genlearn.models.dbn import DBN, DBNNets
from genlearn.nets.deep_belief import DeepBelief
from genlearn.train import Stream

SIZES = [(5, 4, 3), (4, 3, 4), (4, 3, 2, 3)]
K = 3


def states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def network(sizes: tuple[int, ...], n_classes: int = 0, seed: int = 0) -> DeepBelief:
    rng = make_rng(seed)
    net = DeepBelief(sizes, rng, n_classes).double()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(generator=rng)
    return net


def log_bernoulli(x: Tensor, inputs: Tensor) -> Tensor:
    """log p of every state x [n, d] for every row of inputs [m, d]: [m, n]."""
    return logsigmoid(inputs) @ x.T + logsigmoid(-inputs) @ (1 - x).T


def log_top(net: DeepBelief) -> Tensor:
    """log p_top(x_{L-1}, y) by enumeration of the top RBM [2^H, max(K, 1)]."""
    top, n = net.top, net.top.n_pixels
    x, h = states(n), states(len(top.b))
    (W, U), (a, c) = top.W.split((n, top.n_classes)), top.a.split((n, top.n_classes))
    log_p = (x @ a + (x @ W @ h.T + h @ top.b).T).T[:, None]
    if top.n_classes:
        log_p = log_p + c[:, None] + U @ h.T
    log_p = log_p.logsumexp(2)
    return log_p - log_p.logsumexp((0, 1))


def log_down(net: DeepBelief) -> list[Tensor]:
    """log p(x_i | x_{i+1}) [2^H_{i+1}, 2^H_i]."""
    return [log_bernoulli(states(len(r.a)), r.a + states(len(r.b)) @ r.W.T) for r in net.layers]


def log_up(net: DeepBelief) -> list[Tensor]:
    """log q(x_{i+1} | x_i) [2^H_i, 2^H_{i+1}]."""
    return [log_bernoulli(states(u.out_features), u(states(u.in_features))) for u in net.up]


def log_joint(net: DeepBelief) -> Tensor:
    """log p(v, x_1, .., x_{L-1}), the label summed out; one axis a layer."""
    log_p = log_top(net).logsumexp(1)
    for down in reversed(log_down(net)):
        log_p = down.T.view(down.shape[1], down.shape[0], *[1] * (log_p.ndim - 1)) + log_p
    return log_p


def log_q(net: DeepBelief) -> Tensor:
    """log q(x_1, .., x_{L-1} | v), in the axes of `log_joint`."""
    ups = log_up(net)
    return reduce(lambda total, up: total[..., None] + up.view(*[1] * (total.ndim - 1), *up.shape), ups[1:], ups[0])


def exact_bound(net: DeepBelief) -> Tensor:
    """E_q[log p(v, x) - log q(x | v)] for every v."""
    q, p = log_q(net), log_joint(net)
    return (q.exp() * (p - q)).flatten(1).sum(1)


def marginal(net: DeepBelief) -> Tensor:
    return log_joint(net).flatten(1).logsumexp(1)


def log_z(net: DeepBelief) -> float:
    return net.top.log_partition(schedule(2)).value


# --- the bound


@pytest.mark.parametrize("n_classes", [0, K])
@pytest.mark.parametrize("sizes", SIZES)
@torch.no_grad()
def test_the_bound_is_log_p_less_the_divergence_of_q(sizes, n_classes):
    """Exactly, for every image: each draw of q is asked for in turn, by noise of 0 (on) or 1 (off)."""
    net = network(sizes, n_classes)
    v, q, bound = states(sizes[0]), log_q(net).exp(), torch.zeros(2 ** sizes[0]).double()
    for index in itertools.product(*(range(2**n) for n in sizes[1:-1])):
        noise = [1 - states(n)[i].view(1, 1, n) for n, i in zip(sizes[1:-1], index, strict=True)]
        bound += q[(slice(None), *index)] * net.bound(v, log_z(net), noise)
    assert torch.allclose(bound, exact_bound(net), atol=1e-10)
    log_p, posterior = marginal(net), log_joint(net)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
    posterior = posterior - log_p.view(-1, *[1] * (posterior.ndim - 1))
    divergence = (q * (log_q(net) - posterior)).flatten(1).sum(1)
    assert divergence.min() > 0.01
    assert torch.allclose(bound + divergence, log_p, atol=1e-10)


@pytest.mark.parametrize("sizes", SIZES)
@torch.no_grad()
def test_draws_of_q_give_the_bound_on_average(sizes):
    """2,000 draws of each image: five standard errors."""
    net, v, n = network(sizes), states(sizes[0]), 2000
    noise = [uniform((1, n * len(v), m), make_rng(1), torch.float64) for m in sizes[1:-1]]
    values = net.bound(v.repeat(n, 1), log_z(net), noise).view(n, -1)
    error = values.std(0) / n**0.5
    assert ((values.mean(0) - exact_bound(net)).abs() < 5 * error).all()
    assert error.max() < 0.2


def test_one_layer_is_an_rbm():
    X = states(4).numpy()
    model = DBN(hidden=(3,), pretrain_epochs=3, epochs=2, batch_size=8, precision="float64", random_state=0).fit(X)
    net = model.nets_.dbn
    with torch.no_grad():
        exact = torch.log_softmax(-net.top.free_energy(states(4)), 0).numpy()
    assert np.allclose(model.score_samples(X), exact)
    assert np.allclose(model.log_likelihoods(X)["bound"].values.numpy(), exact)


# --- the theorem


def started(sizes: tuple[int, ...], **settings) -> tuple[DBN, DeepBelief, Stream]:
    """A network whose first layer has learned something, and whose second starts as it upside down."""
    net = network(sizes)
    x = states(sizes[0])[torch.randint(2 ** sizes[0], (40,), generator=make_rng(1))]
    model, stream = DBN(hidden=sizes[1:], **settings), Stream(x, None, 8, 0, dtype=torch.float64)
    with torch.no_grad():
        model._start(1, DBNNets(dbn=net), stream, make_rng(2))
    return model, net, stream


@pytest.mark.parametrize("sizes", [(5, 4, 5), (4, 3, 4)])
@torch.no_grad()
def test_a_layer_upside_down_changes_nothing(sizes):
    """p(v) is that of the first RBM, q is the posterior, and so the bound is tight."""
    _, net, _ = started(sizes, transpose=True)
    first, v = net.layers[0], states(sizes[0])
    assert torch.allclose(net.q(0, v), first.p_hidden(v))
    log_p = torch.log_softmax(-first.free_energy(v), 0)
    assert torch.allclose(marginal(net), log_p, atol=1e-10)
    noise = [uniform((3, 1, sizes[1]), make_rng(0), torch.float64)]
    assert torch.allclose(net.bound(v, log_z(net), noise), log_p, atol=1e-10)  # whatever the draw
    assert torch.allclose(exact_bound(net), log_p, atol=1e-10)


@pytest.mark.parametrize(("sizes", "transpose"), [((5, 4, 3), True), ((5, 4, 5), False)])
@torch.no_grad()
def test_a_layer_of_another_size_or_not_asked_for_starts_afresh(sizes, transpose):
    _, net, stream = started(sizes, transpose=transpose)
    assert torch.equal(net.top.W, network(sizes).top.W)
    assert torch.allclose(net.top.a, net.ascend(stream.x, 1).mean(0).clamp(0.01, 0.99).logit())


def test_learning_the_top_cannot_lower_the_bound():
    """It rises by as much as the top's mean log-likelihood of what q draws from the data (Hinton et al. 2006)."""
    _, net, stream = started((5, 4, 5), transpose=True)
    rows = (stream.x @ 2.0 ** torch.arange(4, -1, -1).double()).long()
    q = log_up(net)[0].detach().exp()[rows].mean(0)
    before, parameters = exact_bound(net)[rows].mean().item(), list(net.top.parameters())
    values = []
    for _ in range(200):
        value = q @ log_top(net)[:, 0]
        values.append(value.item())
        with torch.no_grad():
            for p, g in zip(parameters, torch.autograd.grad(value, parameters), strict=True):
                p += 0.1 * g
    gain = (q @ log_top(net)[:, 0]).item() - values[0]
    assert gain > 0.05
    assert values == sorted(values)
    after = exact_bound(net)[rows].mean().item()
    assert after - before == pytest.approx(gain, abs=1e-10)
    assert marginal(net)[rows].mean().item() >= after


# --- up-down


def test_centred_recognition_is_the_same_law():
    net = network((4, 3, 2, 3), 0)
    x = torch.rand(5, 4, generator=make_rng(1)).double()
    net.layers[0].a_base.normal_(generator=make_rng(2))
    with torch.no_grad():
        assert torch.allclose(net.centred_inputs(0, x), net.up[0](x))


def data_of(sizes: tuple[int, ...], copies: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, their indices, and labels, of which every fourth is unknown."""
    index = torch.tensor([0, 3, 3, 5, 9, 14, 6, 6])
    y = torch.tensor([0, 1, 2, -1, 0, 1, 2, -1])
    return states(sizes[0])[index].repeat(copies, 1), index, y.repeat(copies)


def gradient(loss: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    """Zero where a parameter does not matter."""
    grads = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)]


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("sizes", "n_classes"), [((4, 3, 4), K), ((4, 3, 2, 3), 0)])
def test_up_down_has_the_gradients_of_its_three_parts(sizes, n_classes, centred):
    """Generative: of -E_q log p(v | x); recognition: of -E_p log q(x | v), the top's dream being its law after many
    steps; top: of -E_q log p_top. Centred: the last two in W (x - mu) for the x below. Each reaches its own parameters
    only, which the exact parts alone must explain."""
    net, copies = network(sizes, n_classes), 4000
    v, index, y = data_of(sizes, copies)
    model = DBN(hidden=sizes[1:], top_steps=25, centred=centred)
    loss, logs = model._up_down(DBNNets(dbn=net), Batch(v, y if n_classes else None), make_rng(3))
    assert set(logs) == {"top"}
    generative = [p for r in net.layers for p in (r.W, r.a)]
    recognition, top = list(net.up.parameters()), list(net.top.parameters())
    n = len(v)

    def law_of_layers() -> list[Tensor]:
        """q of each layer of states given the data: [8, 2^H_i]."""
        laws = [torch.eye(2 ** sizes[0]).double()[index]]
        for up in log_up(net):
            laws.append(laws[-1] @ up.detach().exp())
        return laws

    laws, ups = law_of_layers(), log_up(net)
    wake = 0.0
    for i, down in enumerate(log_down(net)):
        pairs = laws[i].mean(0)[:, None] * ups[i].detach().exp()
        wake = wake - (pairs * down.T).sum()
    # The top, with the label where it is known.
    log_p = log_top(net)
    known = y[:8] if n_classes else torch.zeros(8, dtype=torch.int64)
    pick = [log_p.logsumexp(1) if k < 0 else log_p[:, k] for k in known]
    at_top = -torch.stack([q @ p for q, p in zip(laws[-1], pick, strict=True)]).mean()
    # The dream.
    law, sleep = log_p.detach().logsumexp(1).exp(), 0.0
    for i in reversed(range(len(ups))):
        pairs = law[:, None] * log_down(net)[i].detach().exp()  # p(x_{i+1}, x_i)
        sleep = sleep - (pairs * ups[i].T).sum()
        law = pairs.sum(0)
    for parameters, exact in ((generative, wake), (recognition, sleep), (top, at_top)):
        got = gradient(loss, parameters)
        expected = gradient(exact, parameters)
        if parameters is top and centred:
            (dW, da, db), mu = expected, net.top.base_mean()
            dW = dW - torch.outer(mu, db)
            expected = [dW, da, db - mu @ dW]
        if parameters is recognition and centred:
            for i in range(len(net.up)):
                (dR, dc), mu = expected[2 * i : 2 * i + 2], net.layers[i].base_mean()
                dR = dR - torch.outer(dc, mu)
                expected[2 * i : 2 * i + 2] = dR, dc - dR @ mu
        for g, e in zip(got, expected, strict=True):
            # Means of numbers in [-1, 1]; of the contrast, differences of two.
            assert (g - e).abs().max() < 5 * (0.5 / n) ** 0.5
        assert max(float(e.abs().max()) for e in expected) > 0.05
    biases = [r.b for r in net.layers]
    assert all((g == 0).all() for g in gradient(loss, biases))
    owned = [id(p) for p in (*generative, *recognition, *top)]
    stage = model._stages((sizes[0],))[-1]
    player = [id(p) for _, p in stage.players[0].parameters(DBNNets(dbn=net))]
    assert sorted(player) == sorted(owned)


# --- the public face


def fitted(net: DeepBelief, sizes: tuple[int, ...], **settings) -> DBN:
    """A model that has learned, as it were, the network."""
    X = states(sizes[0]).numpy()
    model = DBN(hidden=sizes[1:], pretrain_epochs=1, epochs=1, precision="float64", random_state=0, **settings)
    model.fit(X, np.array(list("abc" * 20))[: len(X)] if net.top.n_classes else None)
    model.nets_.dbn.load_state_dict(net.state_dict())
    return model


def fits(v: Tensor, p: Tensor) -> None:
    """Chi-square of the rows of v over all states."""
    counts = torch.bincount((v @ 2.0 ** torch.arange(v.shape[1] - 1, -1, -1).double()).long(), minlength=len(p))
    expected = len(v) * p
    assert expected.min() > 5
    assert float(((counts - expected).square() / expected).sum()) < chi2.ppf(0.999, len(p) - 1)


@torch.no_grad()
def visible_law(net: DeepBelief) -> Tensor:
    """p(v, y) [2^D, max(K, 1)]."""
    law = log_top(net).exp()
    for down in reversed(log_down(net)):
        law = down.exp().T @ law
    return law


@pytest.mark.parametrize(("sizes", "n_classes"), [((4, 3, 4), 0), ((4, 3, 2, 3), 0), ((4, 3, 4), K), ((4, 5), K)])
def test_samples_have_the_law_of_the_network(sizes, n_classes):
    """Bits drawn from the means of `sample` are draws of p(v), or of p(v | y): chi-square over all states."""
    net, n = network(sizes, n_classes, seed=2), 6000
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(0.7)
        for layer in net.layers:
            layer.W.mul_(4)
            layer.a.copy_(-layer.W.sum(1) / 2)
        if n_classes:
            net.top.W[-K:] *= 3
            net.top.W *= 1.5
    model, law = fitted(net, sizes, n_gibbs=40), visible_law(net)

    def bits(mean: np.ndarray) -> Tensor:
        return (torch.rand(len(mean), sizes[0], generator=make_rng(2)).double() < torch.from_numpy(mean)).double()

    fits(bits(model.sample(n, random_state=1)), law.sum(1))
    if n_classes:
        y = np.array(list("abc"))[np.arange(n) % K]
        v = bits(model.sample(n, y=y, random_state=1))
        for k in range(K):
            fits(v[k::K], law[:, k] / law[:, k].sum())
        assert max((law[:, k] / law[:, k].sum() - law.sum(1)).abs().sum() for k in range(K)) > 0.1


@pytest.mark.parametrize("sizes", [(4, 3, 4), (4, 3, 2, 3), (4, 5)])
def test_classes_codes_and_scores(sizes):
    """At the means of the layer below the top, all labels and hidden states of the top RBM are added up."""
    net, v, z = network(sizes, K), states(sizes[0]), states(sizes[-1])
    model, (W, U) = fitted(net, sizes), net.top.W.split((sizes[-2], K))
    with torch.no_grad():
        x = reduce(lambda x, up: torch.sigmoid(x @ up.weight.T + up.bias), net.up, v)
        log_p = net.top.a[-K:, None] + (x @ W @ z.T + z @ net.top.b)[:, None] + U @ z.T
        log_p = log_p - log_p.logsumexp((1, 2), keepdim=True)
        assert np.allclose(model.predict_log_proba(v.numpy()), log_p.logsumexp(2))
        assert np.allclose(model.transform(v.numpy()), log_p.exp().sum(1) @ z)
        assert (model.predict(v.numpy()) == np.array(list("abc"))[log_p.logsumexp(2).argmax(1)]).all()
        down = torch.sigmoid(z @ W.T + net.top.a[:-K])
        down = reduce(lambda x, r: torch.sigmoid(x @ r.W.T + r.a), reversed(net.layers), down)
        assert np.allclose(model.inverse_transform(z.numpy()), down)


@pytest.mark.parametrize("sizes", SIZES)
def test_scores_are_the_bound(sizes):
    """The mean of the scores has the error of its few draws of q, which all images share; not so `log_likelihoods`."""
    net = network(sizes)
    model, v = fitted(net, sizes), states(sizes[0])
    with torch.no_grad():
        exact = exact_bound(net).numpy()
        noise = model._noise(1, make_rng(0))
        draws = torch.stack([net.bound(v, log_z(net), [u[[s]] for u in noise]) for s in range(len(noise[0]))])
    assert model.score_kind() == "lower bound"
    assert np.allclose(model.score_samples(v.numpy()), draws.mean(0))
    assert abs(model.score(v.numpy()) - exact.mean()) < 5 * draws.mean(1).std().item() / len(draws) ** 0.5 < 2.5
    likelihood = model.log_likelihoods(v.repeat(40, 1).numpy())["bound"]
    assert likelihood.kind == "lower bound"
    values = likelihood.values.view(40, -1).numpy()
    assert (np.abs(values.mean(0) - exact) < 5 * values.std(0) / 40**0.5).all()
    assert abs(values.mean() - exact.mean()) < 0.05


def test_completions_of_one_layer_have_the_conditional_law():
    sizes, n = (5, 4), 4000
    net = network(sizes)
    known = np.array([True, False, True, False, False])
    filled = fitted(net, sizes, n_gibbs=30).complete(np.tile([1.0, 9, 0, 9, 9], (n, 1)), known, random_state=0)
    v, p = states(5), log_top(net)[:, 0].detach().exp()
    p = p * (v[:, 0] == 1) * (v[:, 2] == 0)
    error = filled.std(0) / n**0.5
    assert (np.abs(filled.mean(0) - (p @ v / p.sum()).numpy()) < 5 * error + 1e-12).all()


def test_completions_of_two_layers_come_near_it():
    """The top does not see the known pixels: approximate even where q is the posterior (a layer upside down).

    Of what the known pixels change, half is found here (20,000 completions: 0.0205 of 0.0411 is left).
    """
    _, net, _ = started((5, 4, 5), transpose=True)
    known, n = np.array([True, False, True, False, False]), 4000
    filled = fitted(net, (5, 4, 5), n_gibbs=30).complete(np.tile([1.0, 0, 0, 0, 0], (n, 1)), known, random_state=0)
    v, p = states(5), marginal(net).detach().exp()
    free = (p @ v).numpy()
    p = p * (v[:, 0] == 1) * (v[:, 2] == 0)
    mean = (p @ v / p.sum()).numpy()
    assert (filled[:, known] == [1, 0]).all()
    assert np.abs(filled.mean(0) - mean)[~known].max() < 0.7 * np.abs(free - mean)[~known].max()


def test_greedy_layers_and_up_down_learn_bars_and_stripes():
    """At most -log 14 = -2.64 nats; independent pixels have -9 log 2 = -6.24. The bound is below log p, and near it."""
    lines = states(3)
    rows, columns = lines[:, :, None].expand(8, 3, 3), lines[:, None, :].expand(8, 3, 3)
    v = torch.cat([rows, columns]).flatten(1).unique(dim=0)
    model = DBN(
        hidden=(8, 10), pretrain_epochs=60, pretrain_rate=0.1, epochs=60, learning_rate=0.05, batch_size=70,
        precision="float64", random_state=0,
    ).fit(v.repeat(25, 1).numpy())  # fmt: skip
    net = model.nets_.dbn
    row = (v @ 2.0 ** torch.arange(8, -1, -1).double()).long()
    with torch.no_grad():
        bound, log_p = exact_bound(net)[row].mean().item(), marginal(net)[row].mean().item()
    assert -4 < bound < log_p < -2.64
    assert model.score(v.numpy()) == pytest.approx(bound, abs=0.2)


@pytest.mark.parametrize(("hidden", "kind"), [((30, 20), "lower bound"), ((30, 21), "estimate of a bound")])
def test_a_bound_is_one_where_log_z_is_exact(hidden, kind, monkeypatch):
    monkeypatch.setattr("genlearn.models.dbn.salakhutdinov", lambda: schedule(20))
    X = states(5).numpy()
    model = DBN(hidden=hidden, pretrain_epochs=1, epochs=1, random_state=0).fit(X)
    likelihood = model.log_likelihoods(X)["bound"]
    assert (model.score_kind(), likelihood.kind, likelihood.law) == (kind, kind, "binary")
    assert (likelihood.shift == (0, 0)) == (kind == "lower bound")


@pytest.mark.parametrize("binarize", [True, False])
def test_layers_are_pretrained_on_draws(binarize):
    """Of the layer below, as `q` has them; of the pixels where `binarize` is set."""
    net, x = network((4, 3, 4)), torch.rand(20_000, 4, generator=make_rng(0)).double()
    model, nets = DBN(hidden=(3, 4), binarize=binarize), DBNNets(dbn=net)
    with torch.no_grad():
        v, h = (model._prepare(i, nets, Batch(x), make_rng(1)).x for i in range(2))
        assert torch.equal(v, x) != binarize
        for rows, mean in ((v, x), (h, net.q(0, v)))[not binarize :]:
            assert set(rows.unique().tolist()) == {0.0, 1.0}
            assert (rows.mean(0) - mean.mean(0)).abs().max() < 5 * 0.5 / 20_000**0.5


def test_the_steps_at_the_top_follow_their_schedule(monkeypatch):
    """3 at the start, 7 after 40 images, as the player of up-down counts them: the layers before do not count."""
    taken, original = [], dbn.from_hidden
    monkeypatch.setattr(dbn, "from_hidden", lambda *arguments: taken.append(arguments[2]) or original(*arguments))
    DBN(
        hidden=(3, 2), pretrain_epochs=1, k=2, top_steps="linear(3, 7, over=40)", epochs=3, batch_size=10,
        random_state=0,
    ).fit(np.tile(states(4).numpy()[:10], (2, 1)))  # fmt: skip
    assert taken == [2, 2, 2, 2, 3, 4, 5, 6, 7, 7]
