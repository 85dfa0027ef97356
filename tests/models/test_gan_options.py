"""Every option of the GAN does what it says."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import softplus

from genlearn._types import Batch
from genlearn.maths.rng import make_rng
from genlearn.models.gan import GAN
from genlearn.train import Game, Optimizer, Stream

D = 6


def make(**changes) -> GAN:
    tiny = {"hidden": (5,), "hidden_d": (7,), "n_latent": 3, "precision": "float64", "r1": 0.0, "random_state": 0}
    return GAN(**{**tiny, **changes})


def fresh(model: GAN):
    return model._fresh_nets((D,), 0).double()


def batch(n: int = 8) -> Batch:
    return Batch(torch.rand(n, D, generator=make_rng(5), dtype=torch.float64))


def players(model: GAN) -> dict:
    (stage,) = model._stages((D,))
    return {player.name: player for player in stage.players}


def test_r1_of_a_linear_critic_is_half_gamma_times_the_squared_norm():
    """Mescheder et al. 2018, equation 9: R1 = gamma / 2 |w|^2 for the logit w.x + c, its gradient gamma w."""
    model, nets = make(hidden_d=(), r1=3.0), fresh(make(hidden_d=()))
    w = nets.D.out.weight
    penalty = model._penalty(nets, batch().x)
    assert penalty.item() == pytest.approx(1.5 * w.square().sum().item())
    torch.testing.assert_close(torch.autograd.grad(penalty, w)[0], 3 * w)
    losses = {r1: make(hidden_d=(), r1=r1)._loss_d(nets, batch(), make_rng(1))[0] for r1 in (0.0, 3.0)}
    assert (losses[3.0] - losses[0.0]).item() == pytest.approx(penalty.item())
    joint = {r1: make(hidden_d=(), r1=r1)._joint(nets, batch(), make_rng(1))[0] for r1 in (0.0, 3.0)}
    assert (joint[3.0]["D"] - joint[0.0]["D"]).item() == pytest.approx(penalty.item())
    assert joint[3.0]["G"].item() == joint[0.0]["G"].item()


@pytest.mark.parametrize(
    ("loss", "f"), [("non-saturating", lambda a: softplus(-a).mean()), ("minimax", lambda a: -softplus(a).mean())]
)
def test_what_each_player_descends(loss, f):
    model = make(loss=loss)
    nets = fresh(model)
    fake = nets.G(nets.prior.draw(8, make_rng(1)))
    real, false = nets.D(batch().x), nets.D(fake)
    assert model._loss_g(nets, batch(), make_rng(1))[0].item() == pytest.approx(f(false).item())
    expected = 0.5 * (softplus(-real).mean() + softplus(false).mean()).item()
    assert model._loss_d(nets, batch(), make_rng(1))[0].item() == pytest.approx(expected)
    joint = model._joint(nets, batch(), make_rng(1))[0]
    assert (joint["D"].item(), joint["G"].item()) == (pytest.approx(expected), pytest.approx(f(false).item()))


def test_the_journal_says_how_often_d_is_right():
    model, x = make(hidden_d=()), batch().x
    nets = fresh(model)
    nets.D.out.bias.data.fill_(-100.0)
    _, logs = model._loss_d(nets, Batch(x), make_rng(1))
    assert (logs["right on data"].item(), logs["right on samples"].item()) == (0.0, 1.0)


def test_each_player_has_its_optimiser_and_rate():
    common = {"betas": (0.3, 0.9), "weight_decay": 0.2, "momentum": 0.4}
    spec = Optimizer("sgd", lr=0.1, **common)
    for changes, expected in (
        ({}, spec),
        ({"optimizer_d": "adam"}, Optimizer("adam", lr=0.1, **common)),
        ({"learning_rate_d": 0.03}, Optimizer("sgd", lr=0.03, **common)),
    ):
        got = players(make(optimizer="sgd", learning_rate=0.1, **common, **changes))
        assert got["G"].optimizer == spec
        assert got["D"].optimizer == expected


def test_d_plays_k_steps_to_one_of_g():
    model = make(k=3, epochs=None, images=180, batch_size=10)
    x, y = model._meet(batch(40).x, None)
    progress = model._learn(x, y).progress
    assert progress.players == {"play/D": 180, "play/G": 60}
    with pytest.raises(ValueError, match="every player plays one step a round"):
        make(k=2, order="simultaneous").fit(batch(40).x)


@torch.no_grad()
def descend(move) -> None:
    for p, gradient in move:
        p -= 0.5 * gradient


@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
def test_order_of_play(order):
    """G steps against the D that has moved and on fresh noise, or against the D of the same moment, on the same."""
    model = make(order=order, optimizer="sgd", learning_rate=0.5)
    nets, twin = fresh(model), fresh(model)
    x = batch(1).x.expand(20, D).contiguous()  # one image: all batches are alike
    Game(model._stages((D,))[0], nets).round(Stream(x, None, 20, 0, dtype=torch.float64), make_rng(1), 0)
    noise, moves = make_rng(1), {}
    for name, loss in (("D", model._loss_d), ("G", model._loss_g)):
        rng = noise if order == "alternating" else make_rng(1)
        owned = list(twin[name].requires_grad_().parameters())
        moves[name] = list(zip(owned, torch.autograd.grad(loss(twin, Batch(x), rng)[0], owned), strict=True))
        if order == "alternating":
            descend(moves.pop(name))
    for move in moves.values():
        descend(move)
    for name, p in twin.named_parameters():
        torch.testing.assert_close(nets.get_parameter(name), p, msg=name)


@pytest.mark.parametrize("network_d", ["mlp", "maxout"])
def test_the_network_of_d(network_d):
    nets = fresh(make(network_d=network_d, hidden_d=(7, 4), pieces=3))
    shapes = [tuple(p.shape) for name, p in nets.D.named_parameters() if name.endswith("weight")]
    assert shapes == ([(7, D), (4, 7), (1, 4)] if network_d == "mlp" else [(21, D), (12, 7), (1, 4)])
    if network_d == "mlp":
        assert nets.D.hidden[0](-torch.ones(1, D).double()).min() < 0  # leaky, not clipped at 0


def test_the_network_of_g():
    nets = fresh(make(hidden=(5, 9), activation="tanh", n_latent=4))
    assert [tuple(layer[0].weight.shape) for layer in nets.G[0].hidden] == [(5, 4), (9, 5)]
    z = torch.randn(6, 4, dtype=torch.float64, generator=make_rng(0))
    first, second, out = nets.G[0].hidden[0][0], nets.G[0].hidden[1][0], nets.G[0].out
    torch.testing.assert_close(nets.G(z), out(second(first(z).tanh()).tanh()).sigmoid())
    linear = fresh(make(output="linear", hidden=()))
    torch.testing.assert_close(linear.G(z[:, :3]), linear.G[0].out(z[:, :3]))


def test_initial_weights_are_uniform_where_asked():
    """Of G and of D each its own; without, torch's default: U(-1 / sqrt(inputs), ..) with biases."""
    for init, init_d in ((0.3, 0.0), (0.0, 0.2), (0.3, 0.2)):
        nets = make(init=init, init_d=init_d, hidden=(90,), hidden_d=(90,), n_latent=50)._fresh_nets((50,), 0)
        for net, limit in ((nets.G, init), (nets.D, init_d)):
            first = next(p for p in net.parameters() if p.ndim == 2)
            assert first.abs().max().item() == pytest.approx(limit or 50**-0.5, rel=0.01)
            assert any(p.any() for name, p in net.named_parameters() if name.endswith("bias")) == (not limit)


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_the_law_of_z(prior):
    z = fresh(make(prior=prior, n_latent=50)).prior.draw(2000, make_rng(0))
    assert z.std().item() == pytest.approx(1, abs=0.02)
    fourth = z.pow(4).mean().item()  # 3 for a normal law, 9 / 5 for a uniform one
    assert fourth == pytest.approx(3 if prior == "normal" else 1.8, abs=0.1)
    model = make(prior=prior, epochs=1).fit(batch(40).x)
    torch.testing.assert_close(
        torch.from_numpy(model.inverse_transform(z[:4, :3].numpy())), model.nets_.G(z[:4, :3]), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(("inputs", "hidden"), [(0.4, 0.0), (0.0, 0.4)])
def test_dropout_of_d_while_it_learns(inputs, hidden):
    model = make(input_dropout_d=inputs, dropout_d=hidden, hidden=(50,), hidden_d=(200,))
    nets = model._fresh_nets((200,), 0).double()
    with torch.no_grad():  # no pixel of samples is 0, no hidden unit of D either
        nets.D.hidden[0][0].bias.fill_(50.0)
    x = torch.rand(40, 200, dtype=torch.float64) + 0.1
    seen: list[float] = []
    for layer in (nets.D.hidden[0], nets.D.out):
        layer.register_forward_pre_hook(lambda m, a: seen.append((a[0] == 0).double().mean().item()))
    for learn in (model._loss_d, model._loss_g, model._joint):
        learn(nets, Batch(x), make_rng(0))
    assert seen == [pytest.approx(inputs, abs=0.03), pytest.approx(hidden, abs=0.03)] * 3


def test_the_output_biases_of_g_start_at_the_means_of_the_pixels():
    x = batch(40).x
    for output in ("sigmoid", "linear"):
        model = make(output=output)
        nets = fresh(model)
        with torch.no_grad():
            model._start(nets, Stream(x, None, 10, 0, dtype=torch.float64), make_rng(0))
            nets.G[0].out.weight.zero_()
        torch.testing.assert_close(nets.G(torch.ones(1, 3).double())[0], x.mean(0))
