"""Every option of the VAE does what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from genlearn._types import Batch
from genlearn.maths.rng import make_rng, normal
from genlearn.models.vae import VAE
from genlearn.train import Stream


def make(**changes) -> VAE:
    return VAE(**{"hidden": (7,), "n_latent": 3, "precision": "float64", "random_state": 0, **changes})


def grey(n: int = 400, d: int = 16) -> torch.Tensor:
    return torch.rand(n, d, generator=make_rng(5), dtype=torch.float64)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_loss_is_the_bound_with_its_weight(likelihood, beta):
    """- log p(x | z) + beta KL by torch's own distributions, for the draw of z that the loss makes."""
    model = make(beta=beta, likelihood=likelihood, binarize=False)
    nets, x = model._fresh_nets((16,), 0).double(), grey()
    with torch.no_grad():
        for p in nets.pixels.parameters():
            p.fill_(0.3)
    mean, log_var = nets.encoder(x).chunk(2, 1)
    q = Normal(mean, (log_var / 2).exp())
    z = mean + (log_var / 2).exp() * normal(mean.shape, make_rng(1), torch.float64)
    out = nets.decoder(z) + 0.3
    if likelihood == "bernoulli":
        log_p = (x * out.sigmoid().log() + (1 - x) * (-out).sigmoid().log()).sum(1).mean()
    else:
        log_p = Normal(out, math.exp(0.3)).log_prob(x).sum(1).mean()
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean()
    loss, logs = model._loss(nets, Batch(x), make_rng(1))
    assert loss.item() == pytest.approx((beta * kl - log_p).item())
    assert (logs["kl"].item(), logs["reconstruction"].item()) == (
        pytest.approx(kl.item()),
        pytest.approx(-log_p.item()),
    )


@pytest.mark.parametrize(
    ("likelihood", "binarize", "drawn"),
    [("bernoulli", True, True), ("bernoulli", False, False), ("gaussian", True, False)],
)
def test_pixels_are_drawn_where_that_is_asked_and_they_are_binary(likelihood, binarize, drawn):
    model, seen = make(likelihood=likelihood, binarize=binarize), []
    nets, x = model._fresh_nets((16,), 0).double(), grey()
    nets.encoder.register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    for i in range(2):
        model._loss(nets, Batch(x), make_rng(i))
    assert torch.equal(seen[0], x) == torch.equal(seen[0], seen[1]) == (not drawn)
    if drawn:
        assert set(seen[0].unique().tolist()) == {0.0, 1.0}
        assert torch.stack(seen).mean().item() == pytest.approx(x.mean().item(), abs=0.03)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_law_of_the_pixels_and_where_it_starts(likelihood):
    x, model = grey() * torch.linspace(0.1, 1, 16), make(likelihood=likelihood)
    nets = model._fresh_nets((16,), 0).double()
    model._start(nets, Stream(x, None, 10, 0, dtype=torch.float64), make_rng(0))
    start = nets.pixels.mean(torch.zeros(1, 16).double())[0]
    torch.testing.assert_close(start, x.mean(0))
    out = torch.randn(5, 16, generator=make_rng(2), dtype=torch.float64)
    if likelihood == "bernoulli":
        bits = (x[:5] > 0.2).double()
        expected = Bernoulli(logits=out + nets.pixels.bias).log_prob(bits).sum(1)
        torch.testing.assert_close(nets.pixels(bits, out), expected)
    else:
        sigma = x.var(0, unbiased=False).mean().sqrt()
        assert nets.pixels.log_sigma.exp().item() == pytest.approx(sigma.item())
        torch.testing.assert_close(nets.pixels(x[:5], out), Normal(out + x.mean(0), sigma).log_prob(x[:5]).sum(1))


def test_the_networks():
    nets = make(hidden=(7, 5), activation="tanh")._fresh_nets((16,), 0)
    x, z = torch.rand(3, 16), torch.randn(3, 3)
    for net, rows, sizes in (
        (nets.encoder, x, [(7, 16), (5, 7), (6, 5)]),
        (nets.decoder, z, [(5, 3), (7, 5), (16, 7)]),
    ):
        layers = [layer[0] for layer in net.hidden] + [net.out]
        assert [tuple(layer.weight.shape) for layer in layers] == sizes
        for layer in layers[:-1]:
            rows = layer(rows).tanh()
        torch.testing.assert_close(net(x if net is nets.encoder else z), net.out(rows))


@pytest.mark.parametrize("width", [2, 5])
def test_convolutions_have_the_width(width):
    nets = make(network="conv", width=width)._fresh_nets((1, 16, 16), 0)
    first, second = (m for m in nets.encoder.modules() if isinstance(m, torch.nn.Conv2d))
    assert (first.out_channels, second.out_channels) == (width, 2 * width)
    assert [m.in_channels for m in nets.decoder.modules() if isinstance(m, torch.nn.Conv2d)] == [
        2 * width,
        width,
        width // 2,
    ]


@pytest.mark.parametrize("pooling", ["none", "mean", "max"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 30), (81,)])
def test_convolutions_for_any_sides(shape, pooling):
    nets = make(network="conv", width=2, pooling=pooling)._fresh_nets(shape, 0)
    kinds = [type(m) for m in nets.encoder.modules()]
    assert (torch.nn.AvgPool2d in kinds, torch.nn.MaxPool2d in kinds) == (pooling == "mean", pooling == "max")
    assert nets.encoder(torch.rand(4, *shape)).shape == (4, 6)
    assert nets.decoder(torch.randn(4, 3)).flatten(1).shape == (4, math.prod(shape))


def test_dropout_of_hidden_units_while_it_learns():
    model, shares = make(dropout=0.4, hidden=(300,)), []
    nets = model._fresh_nets((16,), 0).double()
    for net in (nets.encoder, nets.decoder):
        with torch.no_grad():
            net.hidden[0][0].weight.zero_()
            net.hidden[0][0].bias.fill_(1.0)  # no hidden unit is 0
        net.out.register_forward_pre_hook(lambda m, a: shares.append((a[0] == 0).double().mean().item()))
    model._loss(nets, Batch(grey()), make_rng(0))
    assert shares == [pytest.approx(0.4, abs=0.03)] * 2
    model._decode(nets, model._encode(nets, grey()))
    assert shares[2:] == [0, 0]


def test_initial_weights_by_name():
    nets = make(init="normal(0.03)", hidden=(300,))._fresh_nets((16,), 0)
    weights = torch.cat([p.detach().flatten() for p in nets.parameters() if p.ndim == 2])
    assert weights.std().item() == pytest.approx(0.03, rel=0.03)
    assert not any(p.any() for name, p in nets.named_parameters() if name.endswith("out.bias"))


@pytest.mark.parametrize(
    ("shape", "colour"), [((64,), False), ((8, 8), False), ((1, 8, 8), False), ((3, 8, 8), True), ((2, 8, 8), True)]
)
def test_images_in_colour_get_convolutions_and_a_gaussian_law(shape, colour, capsys, tmp_path):
    """By themselves, which is said; what is asked for stays."""
    x = np.random.default_rng(0).integers(0, 256, (40, *shape)).astype(np.uint8)
    small = {"n_latent": 2, "width": 2, "hidden": (5,), "epochs": 1, "random_state": 0}
    model = VAE(**small).fit(x, verbose=1)
    said = capsys.readouterr().err
    chosen = ("conv", "gaussian") if colour else ("mlp", "bernoulli")
    assert f"network={chosen[0]!r}, likelihood={chosen[1]!r}" in said
    assert any(isinstance(m, torch.nn.Conv2d) for m in model.nets_.modules()) == colour
    assert model.nets_.pixels.bernoulli == (not colour)
    assert {entry.law for entry in model.log_likelihoods(x).values()} == {"gaussian" if colour else "binary"}
    assert np.array_equal(VAE.load(model.save(tmp_path)).sample(3, random_state=1), model.sample(3, random_state=1))
    other = VAE(**small, network="mlp", likelihood="bernoulli").fit(x, verbose=1)
    assert "network=" not in capsys.readouterr().err
    assert not any(isinstance(m, torch.nn.Conv2d) for m in other.nets_.modules())
    assert other.nets_.pixels.bernoulli


# --- against units that give up


def terms(model: VAE, nets, x: torch.Tensor, seen: int = 0) -> tuple[float, float, torch.Tensor]:
    """The loss, its reconstruction, and the KL of every unit [L] by torch's own distributions."""
    loss, logs = model._loss(nets, Batch(x, seen=seen), make_rng(0))
    mean, log_var = model._posterior(nets, x)
    units = kl_divergence(Normal(mean, (0.5 * log_var).exp()), Normal(0.0, 1.0)).mean(0)
    return loss.item(), logs["reconstruction"].item(), units.detach()


def test_a_warm_up_weighs_the_kl_by_the_images_seen():
    model = make(beta="linear(0, 2, over=1000)", binarize=False)
    nets, x = model._fresh_nets((16,), 0).double(), grey()
    for seen, weight in ((0, 0.0), (250, 0.5), (1000, 2.0), (5000, 2.0)):
        loss, reconstruction, units = terms(model, nets, x, seen)
        assert loss == pytest.approx(reconstruction + weight * units.sum().item())
    half = model.set_params(beta="linear(0, 2, over=budget)")._loss(nets, Batch(x, spent=0.5), make_rng(0))
    assert half[0].item() == pytest.approx(reconstruction + units.sum().item())


def test_free_bits_cost_nothing():
    """The largest of lambda and the mean KL, unit by unit."""
    plain, x = make(binarize=False), grey()
    nets = plain._fresh_nets((16,), 0).double()
    units = terms(plain, nets, x)[2].sort().values
    free = ((units[0] + units[1]) / 2).item()  # between the first and the second unit
    loss, reconstruction, _ = terms(make(binarize=False, free_bits=free), nets, x)
    assert loss == pytest.approx(reconstruction + free + units[1:].sum().item())
    logs = make(binarize=False, free_bits=free)._loss(nets, Batch(x), make_rng(0))[1]
    assert logs["kl"].item() == pytest.approx(units.sum().item())  # what it is, not what it costs


def test_the_score_is_the_bound_of_sixteen_draws_that_all_rows_share():
    model, x = make(), grey(7).round()
    nets = model._fresh_nets((16,), 0).double()
    expected = model._elbo(nets, x, normal((16, 1, 3), make_rng(0), torch.float64))
    assert torch.equal(model._scorer(nets)(x), expected)


def test_many_draws_give_the_importance_weighted_bound():
    """By the definition, from the same draws; k = 1 is the ELBO's own loss up to how the KL is taken."""
    model, x = make(k=5, binarize=False), grey(7)
    nets = model._fresh_nets((16,), 0).double()
    loss, _ = model._loss(nets, Batch(x), make_rng(3))
    mean, log_var = model._posterior(nets, x)
    eps = normal((7, 5, 3), make_rng(3), torch.float64)
    q = Normal(mean[:, None], (0.5 * log_var).exp()[:, None])
    z = q.loc + q.scale * eps
    weights = []
    for i in range(5):
        logits = nets.decoder(z[:, i]) + nets.pixels.bias
        cost = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
        weights.append(-cost + Normal(0.0, 1.0).log_prob(z[:, i]).sum(1) - q.log_prob(z)[:, i].sum(1))
    assert loss.item() == pytest.approx(-(torch.stack(weights).logsumexp(0) - math.log(5)).mean().item())
    with pytest.raises(ValueError, match=r"k is 5 with beta 2.0 and free_bits 0.0, expected 1 and 0"):
        make(k=5, beta=2.0).fit(x)


def test_active_units_are_counted():
    model, x = make(n_latent=4, binarize=False), grey()
    nets = model._fresh_nets((16,), 0).double()
    with torch.no_grad():
        nets.encoder.out.weight[1:3] = 0  # means that say nothing of x
        nets.encoder.out.weight[[0, 3]] *= 50
    assert model._loss(nets, Batch(x), make_rng(0))[1]["active units"].item() == 2


def test_options_of_the_other_network_are_refused():
    for changes in ({"network": "mlp", "pooling": "max"}, {"network": "conv", "dropout": 0.5}):
        with pytest.raises(ValueError, match="the usual fix is the other network"):
            make(**changes)._fresh_nets((1, 16, 16), 0)
