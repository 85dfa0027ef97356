"""Every option of the GAN does what it says."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import softplus

from genlearn._types import Batch
from genlearn.maths.penalties import Penalties
from genlearn.maths.rng import make_rng
from genlearn.models.gan import GAN
from genlearn.models.wgan import WGAN
from genlearn.train import Game, Optimizer, Stream

D = 6


def make(**changes) -> GAN:
    tiny = {"hidden": (5,), "hidden_d": (7,), "n_latent": 3, "precision": "float64", "penalty": None, "random_state": 0}
    return GAN(**{**tiny, **changes})


def fresh(model: GAN):
    return model._fresh_nets((D,), 0).double()


def batch(n: int = 8) -> Batch:
    return Batch(torch.rand(n, D, generator=make_rng(5), dtype=torch.float64))


def players(model: GAN) -> dict:
    (stage,) = model._stages((D,))
    return {player.name: player for player in stage.players}


@pytest.mark.parametrize(
    ("penalty", "f"),
    [
        ("r1(3)", lambda w: 1.5 * w @ w),
        ("r2(4)", lambda w: 2 * w @ w),
        ("gp(10)", lambda w: 10 * ((w @ w).sqrt() - 1) ** 2),
        ("r1(3)+gp(2)", lambda w: 1.5 * w @ w + 2 * ((w @ w).sqrt() - 1) ** 2),
    ],
)
def test_penalties_of_a_linear_critic_in_closed_form(penalty, f):
    """For the output w.x + c: R1 and R2 gamma / 2 |w|^2, the gradient penalty gamma (|w| - 1)^2."""
    nets = fresh(make(hidden_d=()))
    w = nets.D.out.weight
    losses = [make(hidden_d=(), penalty=p)._loss_d(nets, batch(), make_rng(1))[0] for p in (None, penalty)]
    assert (losses[1] - losses[0]).item() == pytest.approx(f(w[0]).item())
    gradients = [torch.autograd.grad(loss, w)[0] for loss in losses]
    twin = w[0].detach().requires_grad_()
    torch.testing.assert_close((gradients[1] - gradients[0])[0], torch.autograd.grad(f(twin), twin)[0])
    joint = [make(hidden_d=(), penalty=p)._joint(nets, batch(), make_rng(1))[0] for p in (None, penalty)]
    assert (joint[1]["D"] - joint[0]["D"]).item() == pytest.approx(f(w[0]).item())
    assert joint[1]["G"].item() == joint[0]["G"].item()


def test_where_the_penalties_look():
    """R1 at data, R2 at samples, the interpolated penalty at a point of its own between each pair of them."""
    seen = {}

    def watched(f):
        return lambda x: seen.setdefault("points", []).append(x.detach()) or f(x)

    x, fake = batch().x, 5 + batch().x.flip(1)
    Penalties.parse("r1(1)+r2(1)+gp(1)")(watched(lambda x: x.sum(1)), x, fake, make_rng(0))
    assert torch.equal(seen["points"][0], x) and torch.equal(seen["points"][1], fake)
    u = (seen["points"][2] - x) / (fake - x)
    assert torch.allclose(u, u[:, :1].expand_as(u))
    assert u.min() >= 0 and u.max() <= 1 and len(u[:, 0].unique()) == len(x)


@pytest.mark.parametrize(
    ("loss", "f", "g"),
    [
        ("non-saturating", lambda r, f: (softplus(-r) + softplus(f)) / 2, lambda r, f: softplus(-f)),
        ("minimax", lambda r, f: (softplus(-r) + softplus(f)) / 2, lambda r, f: -softplus(f)),
        ("least-squares", lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda r, f: (f - 1) ** 2 / 2),
        ("hinge", lambda r, f: (1 - r).clamp_min(0) + (1 + f).clamp_min(0), lambda r, f: -f),
        ("wasserstein", lambda r, f: f - r, lambda r, f: -f),
        ("relativistic", lambda r, f: -(r - f).sigmoid().log(), lambda r, f: -(f - r).sigmoid().log()),
    ],
)
def test_what_each_player_descends(loss, f, g):
    """Each pair's formula at the outputs of D."""
    model = make(loss=loss)
    nets = fresh(model)
    nets.D.out.weight.data.mul_(20)  # outputs on both sides of the hinges
    real, false = nets.D(batch().x), nets.D(nets.G(nets.prior.draw(8, make_rng(1))))
    expected = {"D": f(real, false).mean().item(), "G": g(real, false).mean().item()}
    assert model._loss_g(nets, batch(), make_rng(1))[0].item() == pytest.approx(expected["G"])
    assert model._loss_d(nets, batch(), make_rng(1))[0].item() == pytest.approx(expected["D"])
    joint = model._joint(nets, batch(), make_rng(1))[0]
    assert {name: value.item() for name, value in joint.items()} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("loss", "f"),
    [
        ("non-saturating", lambda r: -(0.8 * r.sigmoid().log() + 0.2 * (1 - r.sigmoid()).log()) / 2),
        ("least-squares", lambda r: (r - 0.8) ** 2 / 2),
    ],
)
def test_smoothed_labels(loss, f):
    """D is to give data .8; samples keep the label 0."""
    nets = fresh(make())
    nets.D.out.weight.data.mul_(20)
    hard, soft = (make(loss=loss, smoothing=s)._loss_d(nets, batch(), make_rng(1))[0] for s in (0.0, 0.2))
    real = nets.D(batch().x)
    plain = softplus(-real) / 2 if loss == "non-saturating" else (real - 1) ** 2 / 2
    assert (soft - hard).item() == pytest.approx((f(real) - plain).mean().item())
    with pytest.raises(ValueError, match="no label to smooth; the usual fix is smoothing=0"):
        make(loss="hinge", smoothing=0.1).fit(batch(40).x)


def test_instance_noise_falls_on_all_that_d_sees():
    """With its schedule in the images that the player has seen; a sample stays a sample."""
    model = make(instance_noise="linear(0.5, 0, over=1000)")
    nets = fresh(model)
    for seen, sd in ((0, 0.5), (500, 0.25), (1000, 0.0), (5000, 0.0)):
        x, fake = model._seen(nets, batch(5000)._replace(seen=seen), make_rng(1))
        clean = model._fake(nets, batch(5000), make_rng(1))
        assert (x - batch(5000).x).std().item() == pytest.approx(sd, rel=0.03, abs=1e-12)
        assert (fake - clean).std().item() == pytest.approx(sd, rel=0.03, abs=1e-12)
        if sd:
            assert (
                abs(torch.corrcoef(torch.stack([(x - batch(5000).x).flatten(), (fake - clean).flatten()]))[0, 1]) < 0.03
            )


def test_spectral_normalisation():
    """Every layer of D, and no layer of G, has the largest singular value 1 (Miyato et al. 2018)."""
    model = make(hidden_d=(7, 5), spectral_norm=True)
    nets = fresh(model).train()
    for _ in range(200):  # steps of power iteration
        nets.D(batch().x)
    for layer in (nets.D.hidden[0][0], nets.D.hidden[1][0], nets.D.out):
        assert torch.linalg.svdvals(layer.weight)[0].item() == pytest.approx(1, abs=1e-4)
    assert len(nets.G.state_dict()) == len(fresh(make()).G.state_dict())


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
        ({"optimizer_d": "sgd(0.03)"}, Optimizer("sgd", lr=0.03, **common)),
        (
            {"optimizer_d": "rmsprop(linear(1, 0, over=9), weight_decay=0)"},
            Optimizer("rmsprop", lr="linear(1, 0, over=9)", **common | {"weight_decay": 0.0}),
        ),
    ):
        got = players(make(optimizer="sgd", learning_rate=0.1, **common, **changes))
        assert got["G"].optimizer == spec
        assert got["D"].optimizer == expected


def test_d_plays_k_steps_to_one_of_g():
    model = make(k=3, epochs=None, images=180, batch_size=10)
    x, y = model._meet(batch(40).x, None)
    progress = model._learn(x, y).progress
    assert progress.players == {"play/D": 180, "play/G": 60}
    with pytest.raises(ValueError, match="with simultaneous play, expected 1"):
        make(k=2, order="simultaneous").fit(batch(40).x)


def test_the_steps_of_d_may_follow_a_schedule():
    """From 3 steps to 1 within 60 images of G, which are 6 rounds."""
    model = make(k="linear(3, 1, over=60)", batch_size=10)
    steps = players(model)["D"].steps
    assert [steps(images) for images in range(0, 90, 10)] == [3, 3, 2, 2, 2, 1, 1, 1, 1]


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


@pytest.mark.parametrize(("network", "pieces"), [("mlp", (3,)), ("maxout", (3,)), ("maxout", (2, 3))])
def test_the_network_of_d(network, pieces):
    nets = fresh(make(network=network, hidden_d=(7, 4), pieces=pieces))
    shapes = [tuple(p.shape) for name, p in nets.D.named_parameters() if name.endswith("weight")]
    assert shapes == ([(7, D), (4, 7), (1, 4)] if network == "mlp" else [(7 * pieces[0], D), (12, 7), (1, 4)])
    if network == "mlp":
        assert nets.D.hidden[0](-torch.ones(1, D).double()).min() < 0  # leaky, not clipped at 0


def test_the_network_of_g():
    nets = fresh(make(hidden=(5, 9), activation="tanh", n_latent=4))
    assert [tuple(layer[0].weight.shape) for layer in nets.G.net.hidden] == [(5, 4), (9, 5)]
    z = torch.randn(6, 4, dtype=torch.float64, generator=make_rng(0))
    first, second, out = nets.G.net.hidden[0][0], nets.G.net.hidden[1][0], nets.G.net.out
    torch.testing.assert_close(nets.G(z), out(second(first(z).tanh()).tanh()).sigmoid())
    linear = fresh(make(output="linear", hidden=()))
    torch.testing.assert_close(linear.G(z[:, :3]), linear.G.out(z[:, :3]))


def test_batch_normalisation_of_g():
    """Before the activation, by the rows of the batch while G learns, and by what it has seen where it draws."""
    model = make(normalise=True, hidden=(5, 4), output="linear", init="normal(0.5)")
    nets = fresh(model)
    z = torch.randn(6, 3, dtype=torch.float64, generator=make_rng(0))
    h = z
    for layer in nets.G.hidden:
        h = h @ layer[0].weight.T + layer[0].bias
        h = ((h - h.mean(0)) / (h.var(0, correction=0) + 1e-5).sqrt()).relu()
    torch.testing.assert_close(nets.G(z), nets.G.out(h))
    first = z @ nets.G.hidden[0][0].weight.T
    torch.testing.assert_close(nets.G.hidden[0][1].mean, 0.1 * first.mean(0))
    nets.eval()
    torch.testing.assert_close(nets.G(z)[:2], nets.G(z[:2]))
    assert not any("1" in name.split(".") for name, _ in nets.D.named_parameters() if "hidden" in name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 1}, "batch_size is 1 with normalise=True, expected rows that can differ"),
        ({"cls": WGAN, "network": "dcgan"}, "normalise is of network='mlp': the G of 'dcgan' has"),
    ],
)
def test_where_g_cannot_be_normalised(changes, message):
    cls = changes.pop("cls", GAN)
    with pytest.raises(ValueError, match=message):
        cls(normalise=True, **changes).check_parameters()


def test_pieces_are_one_number_or_one_of_every_layer():
    with pytest.raises(
        ValueError, match=r"pieces is \(2, 3, 4\), expected one number or 2, for every hidden layer of D"
    ):
        make(network="maxout", hidden_d=(7, 4), pieces=(2, 3, 4)).fit(batch(20).x)


def test_initial_weights_by_name():
    """Of G and of D each its own; without, torch's default: U(-1 / sqrt(inputs), ..) with biases."""
    for init, init_d in ((0.3, 0.0), (0.0, 0.2), (0.3, 0.2)):
        laws = {k: f"uniform({v})" for k, v in (("init", init), ("init_d", init_d)) if v}
        nets = make(**laws, hidden=(90,), hidden_d=(90,), n_latent=50)._fresh_nets((50,), 0)
        for net, limit in ((nets.G, init), (nets.D, init_d)):
            first = next(p for p in net.parameters() if p.ndim == 2)
            assert first.abs().max().item() == pytest.approx(limit or 50**-0.5, rel=0.01)
            assert any(p.any() for name, p in net.named_parameters() if name.endswith("bias")) == (not limit)


def test_dropout_of_g_while_it_learns():
    """Where G makes samples to learn from, not where it is asked for some."""
    model = make(dropout=0.4, hidden=(300,), hidden_d=(5,))
    nets = model._fresh_nets((20,), 0).double()
    with torch.no_grad():
        nets.G.net.hidden[0][0].bias.fill_(50.0)  # no hidden unit is 0
    seen: list[float] = []
    nets.G.net.out.register_forward_pre_hook(lambda m, a: seen.append((a[0] == 0).double().mean().item()))
    x = torch.rand(40, 20, dtype=torch.float64)
    for learn in (model._loss_d, model._loss_g, model._joint):
        learn(nets, Batch(x), make_rng(0))
    assert seen == [pytest.approx(0.4, abs=0.03)] * 3
    model._decode(nets, nets.prior.draw(3, make_rng(0)))
    assert seen[3:] == [0]


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
            (nets.G.net if output == "sigmoid" else nets.G).out.weight.zero_()
        torch.testing.assert_close(nets.G(torch.ones(1, 3).double())[0], x.mean(0))


# --- remedies against mode collapse


def test_packs_are_shown_to_d():
    """Images side by side, a row of the batch in one pack only; D is as much wider (Lin et al. 2018)."""
    model = make(pack=4, penalty="r1(1)")
    nets, seen = fresh(model), []
    assert nets.D.hidden[0][0].weight.shape == (7, 4 * D)
    x, fake = model._seen(nets, batch(), make_rng(1))
    assert torch.equal(x, batch().x.view(2, 4 * D))
    assert torch.equal(fake, model._fake(nets, batch(), make_rng(1)).view(2, 4 * D))
    nets.D.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    model._loss_d(nets, batch(), make_rng(1))
    assert seen == [(4, 4 * D), (2, 4 * D)]
    with pytest.raises(ValueError, match="expected a multiple of it; the usual fix is batch_size=98"):
        make(pack=7, batch_size=100).fit(batch(200).x)
    with pytest.raises(ValueError, match="10 images are at hand for packs of 4"):
        make(pack=4).fit(batch(10).x)


def test_packs_of_pictures_are_channels():
    model = make(pack=2)
    images = Batch(torch.rand(4, 3, 2, 1, generator=make_rng(0), dtype=torch.float64))
    model._fake = lambda nets, batch, rng: batch.x.flip(0)
    x, _ = model._seen(None, images, make_rng(1))
    assert x.shape == (2, 6, 2, 1)
    assert torch.equal(x[1, 3:], images.x[3])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_feature_matching(share):
    """|E f(x) - E f(G(z))|^2 of the last hidden layer of D, in part or alone."""
    model = make(feature_matching=share, order="simultaneous")
    nets = fresh(model)
    fake = model._fake(nets, batch(), make_rng(1))
    matching = (nets.D.features(batch().x).mean(0) - nets.D.features(fake).mean(0)).square().sum()
    plain = softplus(-nets.D(fake)).mean()
    loss, logs = model._loss_g(nets, batch(), make_rng(1))
    assert loss.item() == pytest.approx(((1 - share) * plain + share * matching).item())
    assert ("matching" in logs) == (share > 0)
    assert (model._stages((D,))[0].joint is None) == (share > 0)


def test_features_are_matched_in_full_precision():
    """Their means are close: in bf16 the difference would be what was rounded."""
    model = make(feature_matching=1.0, precision="float32")
    with torch.autocast("cpu", torch.bfloat16):
        _, logs = model._loss_g(model._fresh_nets((D,), 0), Batch(batch().x.float()), make_rng(1))
    assert logs["matching"].dtype == torch.float32


def test_historical_averaging():
    """weight |theta - mean of all theta so far|^2, of either player's own weights."""
    model = make(history=0.7)
    nets, plain = fresh(model), make()
    for name, loss in (("D", "_loss_d"), ("G", "_loss_g")):
        past = []
        for step in range(4):
            theta = torch.cat([p.detach().flatten() for p in nets[name].parameters()])
            past.append(theta)
            expected = 0.7 * (theta - torch.stack(past).mean(0)).square().sum()
            got = (
                getattr(model, loss)(nets, batch(), make_rng(1))[0]
                - getattr(plain, loss)(nets, batch(), make_rng(1))[0]
            )
            assert got.item() == pytest.approx(expected.item(), abs=1e-12), step
            with torch.no_grad():
                for p in nets[name].parameters():
                    p.add_(torch.rand(p.shape, generator=make_rng(step), dtype=p.dtype))


@pytest.mark.parametrize("kind", ["discrimination", "deviation"])
def test_minibatch_layers(kind):
    """Their formulas; the order of rows changes only that of answers; one pass each for data and samples."""
    model = make(minibatch=kind)
    nets, x = fresh(model), batch().x
    f = nets.D.features(x)
    if kind == "discrimination":
        layer = nets.D.minibatch
        M = (f @ layer.T).view(8, 50, 5)
        extra = torch.stack(
            [
                torch.stack([sum(torch.exp(-(M[i, b] - M[j, b]).abs().sum()) for j in range(8)) for b in range(50)])
                for i in range(8)
            ]
        )
    else:
        extra = ((f - f.mean(0)).square().mean(0) + 1e-8).sqrt().mean().expand(8, 1)
    torch.testing.assert_close(nets.D.minibatch(f), torch.cat([f, extra], 1))
    order = torch.randperm(8, generator=make_rng(2))
    torch.testing.assert_close(nets.D(x[order]), nets.D(x)[order])
    real, false = model._judge(nets, x, x.flip(1), batch(), make_rng(1))
    torch.testing.assert_close(real, nets.D(x).view(-1))
    torch.testing.assert_close(false, nets.D(x.flip(1)).view(-1))
    assert model._stages((D,))[0].joint is None
    with pytest.raises(ValueError, match="expected rows that can differ"):
        make(minibatch=kind, batch_size=1).fit(x)


def test_the_schedule_of_k_counts_images_where_there_are_fewer_than_a_batch():
    """A step sees 16 images, not 100: 3, 2, 1 and 1 steps of D a round."""
    model = make(k="linear(3, 1, over=32)", epochs=None, images=16 * (3 + 2 + 1 + 1))
    x, y = model._meet(batch(16).x, None)
    assert model._learn(x, y).progress.players == {"play/D": 16 * 7, "play/G": 16 * 4}


def test_a_critic_without_bound_is_refused():
    with pytest.raises(ValueError, match=r"nothing bounds the slope of D.*the usual fix is penalty='gp"):
        make(loss="wasserstein").check_parameters()
    make(loss="wasserstein", penalty="r1(1)").check_parameters()
    make(loss="wasserstein", spectral_norm=True).check_parameters()
    WGAN().check_parameters()
