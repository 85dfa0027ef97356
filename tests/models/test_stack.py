"""Models that start from a stack of RBMs: what is copied where, what the RBMs learn from, and what comes of it."""

from __future__ import annotations

import itertools
from functools import reduce

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from genlearn._types import Batch, Nets
from genlearn.maths.rng import make_rng
from genlearn.models.autoencoder import Autoencoder
from genlearn.models.stack import StackNets, ascend, greedy, greedy_rbms, label_loss, stack
from genlearn.models.stacked_rbm import StackedRBMClassifier
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.constant import Constant
from genlearn.train import Budget, Journal, Optimizer, Stream, Training

SHAPE = (1, 2, 3)
DEEP = {"pretrain": True, "activation": "sigmoid"}


def states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


@pytest.fixture
def pictures() -> Stream:
    x = torch.rand(40, *SHAPE, generator=make_rng(1), dtype=torch.float64)
    return Stream(x, torch.arange(40) % 3, 8, 0, dtype=torch.float64)


def nets_of(model) -> Nets:
    """Fresh nets in which no number is zero, so that a wrong copy shows."""
    nets, rng = model._build(SHAPE, make_rng(0)).double(), make_rng(2)
    with torch.no_grad():
        for p in nets.parameters():
            p.normal_(generator=rng)
    return nets


def start(model, nets: Nets, stream: Stream) -> None:
    """What the last stage does first."""
    stage = model._stages(SHAPE)[-1]
    assert stage.name == "fine-tune"
    with torch.no_grad():
        stage.start(nets, stream, make_rng(0))


# --- greedy layers


def test_each_layer_learns_on_the_means_that_the_ones_below_make(pictures):
    nets = StackNets(rbms=stack((6, 4, 3, 2), make_rng(0))).double()
    with torch.no_grad():
        for p in nets.parameters():
            p.normal_(generator=make_rng(1))
    x = pictures.x.flatten(1)
    means = [x]
    for i in range(3):
        net = nets.rbms[i]
        means.append(torch.sigmoid(means[-1] @ net.W + net.b))
        assert torch.allclose(ascend(list(nets.rbms)[: i + 1], pictures.x), means[-1])
    stages = greedy_rbms(3, Budget(epochs=2.0), lambda _: Optimizer("sgd", 0.1))
    with torch.no_grad():
        for i, stage in enumerate(stages):
            assert [n for n, _ in stage.players[0].parameters(nets)] == [f"rbms.{i}.{p}" for p in ("W", "a", "b")]
            batch = stage.prepare(nets, Batch(pictures.x, pictures.y), make_rng(0))
            assert torch.allclose(batch.x, means[i])
            assert batch.y is pictures.y
            stage.start(nets, pictures, make_rng(0))
            assert torch.allclose(nets.rbms[i].a, means[i].mean(0).clamp(0.01, 0.99).logit())


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_a_layer_learns_by_contrastive_divergence(k, centred):
    """On grey rows: <v p> of the rows less that of the enumerated law after k steps from them, of v or of centred v."""
    nets, copies = StackNets(rbms=stack((4, 3), make_rng(0))).double(), 20_000
    net, v, h = nets.rbms[0], states(4), states(3)
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(generator=make_rng(3))
        x = torch.rand(5, 4, generator=make_rng(1)).double()
        net.a_base.copy_(x.mean(0).logit())
        up, down = net.p_hidden(v), net.mean_visible(h)
        to_h = (up[:, None] * h + (1 - up[:, None]) * (1 - h)).prod(2)
        to_v = (down[:, None] * v + (1 - down[:, None]) * (1 - v)).prod(2)
        p = net.p_hidden(x)
        law = (p[:, None] * h + (1 - p[:, None]) * (1 - h)).prod(2).mean(0) @ to_v
        law = law @ torch.linalg.matrix_power(to_h @ to_v, k - 1)
        expected = [(v * law[:, None]).T @ up - x.T @ p / 5, law @ v - x.mean(0), law @ up - p.mean(0)]
        if centred:
            expected[0] -= torch.outer(net.base_mean(), expected[2])
            expected[2] = expected[2] - net.base_mean() @ expected[0]
    loss = greedy_rbms(1, Budget(epochs=1.0), lambda _: Optimizer("sgd", 0.1), k, centred)[0].players[0].loss
    value, _ = loss(nets, Batch(x.repeat(copies, 1)), make_rng(0))
    for g, e in zip(torch.autograd.grad(value, [net.W, net.a, net.b]), expected, strict=True):
        assert (g - e).abs().max() < 5 * 0.5 / (5 * copies) ** 0.5
    assert expected[0].abs().max() > 0.02


def test_greedy_knows_nothing_of_what_a_layer_is():
    """Layers of numbers: each callable is given its layer, before its own arguments."""
    nets, calls = Nets(a=Constant(1.0), b=Constant(2.0)), []

    def loss(i, nets, batch, rng):
        calls.append(("loss", i))
        return nets["ab"[i]].value * batch.x.sum(), {}

    def start(i, nets, stream, rng):
        calls.append(("start", i))

    def prepare(i, nets, batch, rng):
        calls.append(("prepare", i))
        return batch._replace(x=batch.x + i)

    stages = greedy(2, Budget(images=8), lambda i: Optimizer("sgd", 0.5 + i), name="player {}".format,
                    owns=lambda i: ("ab"[i],), loss=loss, start=start, prepare=prepare)  # fmt: skip
    assert [(stage.name, stage.players[0].name, stage.budget.images) for stage in stages] == [
        ("layer 1", "player 0", 8), ("layer 2", "player 1", 8),
    ]  # fmt: skip
    Training(nets, stages, Stream(torch.ones(8, 1), None, 8, 0), make_rng(0), Journal()).run()
    assert (nets.a.value.item(), nets.b.value.item()) == (1 - 0.5 * 8, 2 - 1.5 * 16)
    assert calls == [(what, i) for i in (0, 1) for what in ("start", "prepare", "loss")]


# --- the deep autoencoder


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("hidden", [(), (5,), (5, 4), (5, 4, 7)])
def test_the_autoencoder_starts_as_the_stack_up_and_down(pictures, hidden, tied):
    model = Autoencoder(**DEEP, hidden=hidden, n_latent=2, tied=tied)
    nets = nets_of(model)
    start(model, nets, pictures)
    with torch.no_grad():
        code: RestrictedBoltzmann = nets.code
        u = code.mean_visible(ascend(nets.rbms, pictures.x))
        assert torch.allclose(u, code.a + ascend(nets.rbms, pictures.x) @ code.W.T)
        assert torch.allclose(model._encode(nets, pictures.x), u)
        down = reduce(
            lambda h, i: nets.rbms[i].mean_visible(h), reversed(range(len(hidden))), code.p_hidden(u)
        )  # fmt: skip
        assert torch.allclose(model._decode(nets, u), down)
        logits = model._out(nets, u)
        x = pictures.x.flatten(1)
        loss = -(x * logits.sigmoid().log() + (1 - x) * (-logits).sigmoid().log()).sum(1).mean()
        assert torch.allclose(model._loss(nets, Batch(pictures.x), make_rng(0))[0], loss)


def test_the_rbm_with_a_gaussian_code_learns_by_contrastive_divergence():
    """<u h> of the rows less the enumerated one: h -> u ~ N(a + W h, 1) -> h' ~ p(h | u) -> the mean of u.

    One dimension of code, so that the step over u is a sum over a grid.
    """
    model, copies = Autoencoder(**DEEP, hidden=(3,), n_latent=1), 40_000
    nets = nets_of(model)
    net, states_h = nets.code, states(3)
    h = torch.rand(4, 3, generator=make_rng(5)).double()
    assert (net.mean, net.sigma) == (0, 1)
    with torch.no_grad():
        W, a, b = net.W, net.a, net.b
        u = a + h @ W.T
        grid = torch.arange(-12, 12, 0.01, dtype=torch.float64)
        density = torch.exp(-(grid - u).square() / 2) / (2 * torch.pi) ** 0.5 * 0.01
        p = torch.sigmoid(b + grid[:, None] @ W)
        law = density.mean(0) @ (p[:, None] * states_h + (1 - p[:, None]) * (1 - states_h)).prod(2)
        u_model = a + states_h @ W.T
        expected = [(u_model * law[:, None]).T @ states_h - u.T @ h / 4, law @ u_model - u.mean(0)]
        expected.append(law @ states_h - h.mean(0))
    stage = model._stages(SHAPE)[-2]
    assert stage.name == "code"
    loss, _ = stage.players[0].loss(nets, Batch(h.repeat(copies, 1)), make_rng(0))
    for g, e in zip(torch.autograd.grad(loss, [W, a, b]), expected, strict=True):
        assert (g - e).abs().max() < 5 * 3 / (4 * copies) ** 0.5
    assert min(float(e.abs().max()) for e in expected) > 0.05


def test_the_code_learns_on_the_top_means(pictures):
    model = Autoencoder(**DEEP, hidden=(5, 4), n_latent=2)
    nets, stage = nets_of(model), model._stages(SHAPE)[-2]
    with torch.no_grad():
        batch = stage.prepare(nets, Batch(pictures.x), make_rng(0))
        assert torch.allclose(batch.x, ascend(nets.rbms, pictures.x))


def test_every_stage_of_the_autoencoder_has_its_rate_and_its_epochs():
    options = {"pretrain_epochs": 3, "pretrain_rate": 0.3, "code_rate": 0.02, "epochs": 7, "learning_rate": 0.007}
    stages = Autoencoder(**DEEP, hidden=(5, 4), n_latent=2, **options)._stages(SHAPE)
    optimizers = [stage.players[0].optimizer for stage in stages]
    assert [optimizer.lr for optimizer in optimizers] == [0.3, 0.3, 0.02, 0.007]
    assert [optimizer.name for optimizer in optimizers] == ["momentum"] * 3 + ["adam"]
    assert [stage.budget.epochs for stage in stages] == [3, 3, 3, 7]


def test_the_autoencoder_is_better_than_principal_components(digits):
    """Squared error of held-out images from codes of two numbers."""
    test = np.arange(len(digits)) % 4 == 0
    X, T = digits[~test], digits[test]
    model = Autoencoder(**DEEP, hidden=(128,), n_latent=2, pretrain_epochs=5, epochs=60, batch_size=50,
                        learning_rate=3e-3, random_state=0).fit(X)  # fmt: skip
    error, pca = np.square(model.inverse_transform(model.transform(T)) - T).mean(), PCA(2).fit(X)
    assert error < 0.85 * np.square(pca.inverse_transform(pca.transform(T)) - T).mean()


# --- the classifier


@pytest.mark.parametrize("pretrain", [True, False])
def test_the_classifier_starts_with_the_weights_of_the_stack(pictures, pretrain):
    model = StackedRBMClassifier(hidden=(5, 4), pretrain=pretrain)
    model._meet(np.zeros((3, 8), np.float32), np.arange(3))
    nets = nets_of(model)
    before = [p.clone() for p in nets.mlp.parameters()]
    start(model, nets, pictures)
    x = pictures.x
    features = nets.mlp.features(x)
    if pretrain:
        assert torch.allclose(features, ascend(nets.rbms, x))
        assert all(torch.equal(a, b) for a, b in zip(before[-2:], nets.mlp.out.parameters(), strict=True))
    else:
        assert list(nets) == ["mlp"]
        assert all(torch.equal(a, b) for a, b in zip(before, nets.mlp.parameters(), strict=True))


def test_labels_that_are_unknown_do_not_count():
    logits = torch.randn(6, 3, generator=make_rng(0)).double().requires_grad_()
    y = torch.tensor([0, -1, 2, 1, -1, -1])
    loss = label_loss(logits, y, make_rng(0))
    rows = [0, 2, 3]
    assert torch.allclose(loss, -logits.log_softmax(1)[rows, y[rows]].mean())
    (g,) = torch.autograd.grad(loss, logits)
    assert (g[y < 0] == 0).all()
    assert label_loss(logits, torch.full((6,), -1), make_rng(0)).item() == 0


def test_images_without_labels_serve_the_rbms_only(digits, digit_labels):
    """Other unlabelled images change the network where it is pretrained, and nothing where it is not."""
    y = np.where(np.arange(200) < 60, digit_labels[:200], -1)
    noise = np.random.default_rng(0).random((140, 64), np.float32)
    other = np.concatenate([digits[:60], noise])
    for pretrain in (True, False):
        model = StackedRBMClassifier(hidden=(20,), pretrain=pretrain, pretrain_epochs=2, epochs=3, batch_size=20,
                                     random_state=0)  # fmt: skip
        p, q = (model.fit(X, y).predict_proba(digits[200:300]) for X in (digits[:200], other))
        assert np.array_equal(p, q) != pretrain


def test_the_fine_tuning_counts_epochs_of_the_labelled(digits, digit_labels):
    """Ten epochs of 60 labelled images of 200, in batches of 20."""
    y = np.where(np.arange(200) < 60, digit_labels[:200], -1)
    model = StackedRBMClassifier(hidden=(20,), pretrain=False, epochs=10, batch_size=20, random_state=0)
    assert model.fit(digits[:200], y).n_iter_ == 30
    model = StackedRBMClassifier(hidden=(20,), pretrain_epochs=2, epochs=10, batch_size=20, random_state=0)
    assert model.fit(digits[:200], y).n_iter_ == 20 + 30


def test_fifty_labels_among_a_thousand_digits(digits, digit_labels):
    """Chance is .1. (At this size the start from random weights is as good: no claim is made that it is worse.)"""
    order = np.random.default_rng(0).permutation(len(digits))
    X, truth = digits[order], digit_labels[order]
    y = np.where(np.arange(1000) < 50, truth[:1000], -1)
    model = StackedRBMClassifier(hidden=(100,), pretrain_epochs=5, epochs=150, batch_size=10, learning_rate=3e-3,
                                 random_state=0).fit(X[:1000], y)  # fmt: skip
    assert (model.predict(X[1000:]) == truth[1000:]).mean() > 0.7


@pytest.mark.parametrize(
    "model", [StackedRBMClassifier(hidden=(60, 50), pretrain=False), Autoencoder(hidden=(60, 50), activation="sigmoid")]
)
def test_without_rbms_the_weights_begin_as_glorot_and_bengio_have_it_for_sigmoids(model):
    """U(-l, l) with l = 4 sqrt(6 / (m + n)), and no biases."""
    nets = model._build((64,), make_rng(0))
    linear = [m for m in nets.modules() if isinstance(m, torch.nn.Linear) and m.out_features in (60, 50)]
    assert len(linear) >= 2
    for m in linear:
        limit = 4 * (6 / (m.in_features + m.out_features)) ** 0.5
        assert 0.95 * limit < m.weight.abs().max() <= limit
        assert not m.bias.any()


def test_labels_that_are_all_unknown_fail_before_pretraining(digits, monkeypatch):
    monkeypatch.setattr(StackedRBMClassifier, "_learn", lambda *args: pytest.fail("it began"))
    with pytest.raises(ValueError, match=r"every label in y is unknown \(-1\), expected known ones"):
        StackedRBMClassifier(hidden=(4,)).fit(digits[:50], np.full(50, -1))
