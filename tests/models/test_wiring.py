"""That options reach what they are of: a line that leaves one out would break nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from genlearn import registry
from genlearn._types import Batch
from genlearn.data import load
from genlearn.losses.elbo import importance_bound
from genlearn.maths.augment import Augmentation
from genlearn.maths.rng import bernoulli, make_rng, normal
from genlearn.models import contractive
from genlearn.models.autoencoder import Autoencoder
from genlearn.models.conditional_gan import ConditionalGAN
from genlearn.models.contractive import ContractiveAutoencoder
from genlearn.models.dcgan import DCGAN
from genlearn.models.gan import GAN
from genlearn.models.gsn import GSN
from genlearn.models.rnn import AutoregressiveRNN
from genlearn.models.vae import VAE
from genlearn.models.vqvae import VQVAE
from genlearn.models.wgan_gp import WGANGP
from genlearn.monitors import Collapse, Verdicts
from genlearn.nets.conv import BatchNorm, ConvTrunk
from genlearn.nets.priors import GaussianMixture
from genlearn.train import Game, Stream


def rows(n: int = 40, d: int = 16) -> torch.Tensor:
    return torch.rand(n, d, generator=make_rng(5), dtype=torch.float64)


@pytest.mark.parametrize("name", [entry.name for entry in registry.models()])
def test_every_preset_is_valid(name):
    model = registry.model(name)
    for preset in model.presets:
        model.from_preset(preset).check_parameters()


@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
def test_losses_know_how_much_of_the_budget_is_spent(order):
    model = GAN(instance_noise="linear(1, 0, over=budget)", order=order, hidden=(5,), hidden_d=(5,), penalty=None)
    nets = model._fresh_nets((500,), 0)
    x, sds, seen = torch.full((100, 500), 0.5), [], model._seen

    def watch(nets, batch, rng):
        real, fake = seen(nets, batch, rng)
        sds.append((real - batch.x).std().item())
        return real, fake

    model._seen = watch
    Game(model._stages((500,))[0], nets).round(Stream(x, None, 100, 0), make_rng(0), 0, spent=0.75)
    assert sds == [pytest.approx(0.25, rel=0.05)] * (2 if order == "alternating" else 1)


# --- autoencoders


def test_bounds_of_the_vae_are_named_right():
    """The ELBO with the KL in closed form, of 8 draws an image; 50 draws, others for every image, of importance."""
    model = VAE(hidden=(7,), n_latent=3, precision="float64")
    nets, x = model._fresh_nets((16,), 0).double(), rows(9).round()
    with torch.no_grad():
        got = model._likelihoods(nets, x, make_rng(3))
        noise = normal((50, 9, 3), make_rng(3), torch.float64)
        torch.testing.assert_close(got["ELBO"].values, model._elbo(nets, x, noise[:8]))
        torch.testing.assert_close(got["IWAE-50"].values, importance_bound(model._log_weights(nets, x, noise)))


def test_densities_are_fitted_at_the_end_of_every_kind_of_fit():
    common = {"epochs": 1, "n_latent": 3, "n_codes": 20, "n_components": 2, "random_state": 0}
    for model in (
        Autoencoder(hidden=(5,), activation="sigmoid", pretrain=True, pretrain_epochs=1, **common),
        Autoencoder(hidden=(5,), **common),
        ContractiveAutoencoder(hidden=(5,), **common),
        ContractiveAutoencoder(hidden=(5,), greedy=False, **common),
    ):
        assert model.fit(rows().float()).nets_.prior.fitted, model


def test_a_mixture_is_fitted_to_codes_from_everywhere():
    """Not to the first 10,000: sorted training sets would lose classes."""
    z = torch.cat([normal((10_000, 1), make_rng(0)), 9 + normal((10_000, 1), make_rng(1))]).double()
    law = GaussianMixture(1, 2).double()
    law.fit(z)
    assert law.means.flatten().sort().values.tolist() == pytest.approx([0, 9], abs=0.1)


def test_convolutions_of_an_autoencoder_have_the_width():
    nets = Autoencoder(network="conv", width=5)._fresh_nets((1, 16, 16), 0)
    first, second = (m.out_channels for m in nets.encoder.modules() if isinstance(m, nn.Conv2d))
    assert (first, second) == (5, 10)
    assert [m.in_channels for m in nets.decoder.modules() if isinstance(m, nn.Conv2d)] == [10, 5, 2]


def test_options_of_the_contractive_autoencoder(monkeypatch):
    model = ContractiveAutoencoder(hidden=(6,), n_latent=4, activation="tanh", loss="mse", contraction=0.0)
    nets, x = model._fresh_nets((16,), 0).double(), rows()
    for stage, layer in zip(model._stages((16,)), nets.layers, strict=True):
        loss, _ = stage.players[0].loss(nets, Batch(x), make_rng(0))
        expected = (layer.outputs(layer.encode(x)) - x).square().sum(1).mean()
        assert loss.item() == pytest.approx(expected.item())
        x = layer.encode(x)
    seen = {}
    monkeypatch.setattr(
        contractive, "tangent_chain", lambda e, d, x, step, rank, rng: seen.update(x=x, step=step, rank=rank)
    )
    model.set_params(step_size=0.3, rank=2)._chain(nets, 3, make_rng(0), rows())
    assert torch.equal(seen.pop("x"), rows())
    assert seen == {"step": 0.3, "rank": 2}
    model._chain(nets, 3, make_rng(0))
    assert torch.equal(seen.pop("x"), model._decode(nets, nets.prior.draw(3, make_rng(0))))
    norm = contractive.squared_jacobian_norm
    monkeypatch.setattr(
        contractive, "squared_jacobian_norm", lambda f, x, signs: seen.update(signs=signs) or norm(f, x, signs)
    )
    model.set_params(greedy=False, n_probes=3)._loss(nets, Batch(rows()), make_rng(0))
    assert seen["signs"].shape == (3, 40, 4)
    assert set(seen["signs"].unique().tolist()) == {-1.0, 1.0}
    assert (seen["signs"][0, 0] != seen["signs"][0]).any()  # each row has its own


def test_the_gsn_begins_at_the_mean_of_the_data_and_completes_by_a_clamped_chain(monkeypatch):
    model = GSN(hidden=(6,), n_gibbs=3)
    nets, x = model._fresh_nets((16,), 0), rows().float()
    with torch.no_grad():
        model._start(nets, Stream(x, None, 10, 0), make_rng(0))
    torch.testing.assert_close(nets.gsn.mean, x.mean(0))
    seen, states = [], model._states
    model._states = lambda nets, x, rng, known=None: seen.append((x, known)) or states(nets, x, rng, known)
    known = torch.rand(40, 16, generator=make_rng(1)) < 0.5
    with torch.no_grad():
        model._complete(nets, x, known, make_rng(0))
        next(model._chain(nets, 40, make_rng(0)))
    drawn = bernoulli(x.mean(0).expand(40, -1), make_rng(0))
    assert torch.equal(seen[0][0], torch.where(known, x, drawn))
    assert torch.equal(seen[0][1], known)
    assert torch.equal(seen[1][0], drawn)


# --- recurrent nets


def test_options_of_the_recurrent_net():
    model = AutoregressiveRNN(order="pixels", n_hidden=4, n_layers=3, clip=0.7, bptt=2)
    nets = model._fresh_nets((9,), 0)
    (stage,) = model._stages((9,))
    assert stage.players[0].clip == 0.7
    assert nets.rnn.cell.num_layers == 3
    seen, log_prob = {}, nets.rnn.log_prob
    nets.rnn.log_prob = lambda k, y=None, bptt=None: seen.update(k=k, bptt=bptt) or log_prob(k, y, bptt)
    model._loss(nets, Batch(torch.full((2000, 9), 0.3)), make_rng(0))
    assert seen["bptt"] == 2
    assert seen["k"].double().mean().item() == pytest.approx(0.3, abs=0.02)  # drawn, not rounded


@pytest.mark.parametrize("rule", ["averages", "loss"])
def test_options_of_the_vqvae(rule):
    options = {"commitment": 0.7, "decay": 0.5, "revive": 0.3, "prior_cell": "gru", "prior_hidden": 5}
    model = VQVAE(width=4, n_latent=3, n_codes=6, codebook=rule, prior_rate=0.3, prior_epochs=3, **options)
    x = torch.rand(50, 1, 8, 8, generator=make_rng(0))
    model.border_ = VQVAE(width=2, n_latent=2, n_codes=3, images=200, prior_epochs=1).fit(x).border_
    nets = model._fresh_nets((1, 8, 8), 0)
    assert (nets.codebook.decay, nets.codebook.revive) == (0.5, 0.3)
    assert isinstance(nets.prior.net.cell, nn.GRU)
    _, prior = model._stages((1, 8, 8))
    assert prior.players[0].optimizer.lr == 0.3
    assert prior.budget.epochs == 3
    with torch.no_grad():
        model._start(nets, Stream(x, None, 50, 0), make_rng(0))
    torch.testing.assert_close(nets.decoder.bias.flatten(), x.mean(0).clamp(0.01, 0.99).logit().flatten())
    nets.codebook.vectors.data.mul_(5)  # far from z, so that every term counts
    z = model._z(nets, x)
    e, k, commitment = nets.codebook(z)
    mse = (model._picture(nets, e).view_as(x) - x).square().mean() / x.var(unbiased=False)
    loss, logs = model._loss(nets, Batch(x), make_rng(0))
    expected = mse + 0.7 * commitment + (nets.codebook.distance(z, k) if rule == "loss" else 0)
    assert logs["error"].item() == pytest.approx(mse.item(), rel=1e-4)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    torch.testing.assert_close(nets.codebook.uses, 0.5 + 0.5 * k.bincount(minlength=6))


# --- adversarial nets


@pytest.mark.parametrize("network", ["conv", "dcgan", "resnet"])
def test_options_of_convolutional_nets(network):
    """Spectral norms of every layer of D, widths of G, normalisation in D, pixels from -1 to 1 for D."""
    nets = DCGAN(network=network, spectral_norm=True, width=4)._fresh_nets((3, 16, 16), 0)
    layers = [m for m in nets.D.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert all(parametrize.is_parametrized(m, "weight") for m in layers)
    widest = []
    for width in (40, 80):
        G = DCGAN(network=network, width=width)._fresh_nets((3, 16, 16), 0).G
        widest.append(max(p.shape[1] for p in G.parameters() if p.ndim == 4))
    for normalise in (False, True):
        nets = DCGAN(network=network, width=4, normalise_d=normalise)._fresh_nets((3, 16, 16), 0)
        assert any(isinstance(m, BatchNorm) for m in nets.D.modules()) == normalise
    seen = []
    nets.D.trunk.register_forward_pre_hook(lambda m, a: seen.append(a[0]))
    nets.D(torch.stack([torch.zeros(3, 16, 16), torch.ones(3, 16, 16)]))
    assert seen[0].flatten(1).unique(dim=1).tolist() == [[-1.0], [1.0]]


def test_units_of_a_convolutional_d_leak():
    trunk = ConvTrunk((1, 8, 8), 2)
    (unit,) = {type(m) for m in trunk.modules() if isinstance(m, (nn.ReLU, nn.LeakyReLU))}
    assert unit is nn.LeakyReLU
    assert next(m for m in trunk.modules() if isinstance(m, unit)).negative_slope == 0.2


@pytest.mark.parametrize("shape", [(2, 8, 16), (64,)])
def test_augmentation_is_of_images_as_they_lie(shape):
    x = torch.rand(5, *shape, generator=make_rng(0))
    got = DCGAN(augment="translation,cutout")._changed(x, make_rng(2))
    images = x.view(5, *(shape if len(shape) == 3 else (1, 8, 8)))
    assert torch.equal(got, Augmentation.parse("translation,cutout")(images, make_rng(2)).view_as(x))


def test_a_critic_with_convolutions_sees_pixels():
    assert WGANGP(network="dcgan", output="linear")._pixels
    assert not WGANGP(output="linear")._pixels


def test_historical_averaging_has_no_joint_pass_and_penalties_no_dropout():
    assert GAN(history=0.7, order="simultaneous")._stages((9,))[0].joint is None
    losses = []
    for p in (0.0, 0.5):
        model = GAN(dropout_d=p, hidden=(5,), hidden_d=(50,), penalty="r1(3)")
        nets = model._fresh_nets((16,), 0).double()
        losses.append(model._loss_d(nets, Batch(rows()), make_rng(0))[1]["r1"].item())
    assert losses[0] == pytest.approx(losses[1])


def test_defaults_of_dcgan_and_the_recipe_of_2016():
    """Radford et al. 2016, section 4: rate 2e-4, momentum .5, batches of 128, uniform z, weights N(0, .02)."""
    model = DCGAN()
    assert (model.penalty, model.augment, model.ema) == ("r1(1, every=4)", "color,translation", 20_000)
    paper = DCGAN.from_preset("radford-2016")
    assert (paper.learning_rate, paper.betas, paper.batch_size) == (2e-4, (0.5, 0.999), 128)
    assert (paper.prior, paper.init, paper.init_d) == ("uniform", "normal(0.02)", "normal(0.02)")
    assert (paper.network, paper.normalise_d, paper.penalty, paper.augment, paper.ema) == ("dcgan", True, None, None, 0)


def test_labels_are_not_taken_for_their_indices():
    x, y = rows(700).float(), np.where(np.arange(700) % 3 == 0, 7, 3)  # more than D is asked at once
    model = ConditionalGAN(hidden=(4,), hidden_d=(6,), n_latent=3, epochs=1, random_state=0).fit(x, y)
    told = torch.cat([x, torch.from_numpy(np.stack([y == 3, y == 7], 1)).float()], 1)
    assert np.allclose(model.discriminate(x, y), model.nets_.D(told).detach().flatten(), atol=1e-5)
    biases = model._fresh_nets((16,), 0)
    with torch.no_grad():
        model._start(biases, Stream(x, torch.from_numpy(y == 7).long(), 10, 0), make_rng(0))
    torch.testing.assert_close(biases.G.net.out.bias, x.mean(0).clamp(1e-3, 1 - 1e-3).logit())


def test_verdicts_tell_d_each_image_its_own_label_and_collapse_keeps_its_codes():
    data = load("digits")
    data = dataclasses.replace(data, valid=dataclasses.replace(data.valid, y=torch.full_like(data.valid.y, 9)))
    model = ConditionalGAN(hidden=(4,), hidden_d=(), n_latent=3, epochs=1, images=100, random_state=0).fit(data)
    with torch.no_grad():  # D reads the label alone
        model.nets_.D.out.weight.zero_()[0, -10:] = torch.arange(10.0)
        model.nets_.D.out.bias.zero_()
    n, asked, sample = min(500, len(data.train), len(data.valid)), [], model.sample
    model.sample = lambda n, **o: asked.append((o["y"], o["random_state"])) or sample(n, **o)
    said = Verdicts(model, data, 7)(model.nets_, 55)
    mean = data.train.y[:n].double().mean().item()
    assert [said[f"D on {p}"] for p in ("training", "validation", "samples")] == pytest.approx([mean, 9, mean])
    assert np.array_equal(asked[0][0], data.train.y[:n])
    assert asked[0][1] == 7
    del model.sample
    varieties = {Collapse(model, data, 7)(model.nets_, images)["variety"] for images in (100, 200)}
    assert len(varieties) == 1


# --- budgets and labels


def test_a_stage_for_which_no_image_is_left_plays_a_round_and_that_is_said():
    x = torch.rand(50, 1, 8, 8, generator=make_rng(0))
    model = VQVAE(width=4, n_latent=2, n_codes=3, images=50, prior_epochs=1, random_state=0)
    with pytest.warns(UserWarning, match="nothing was left of the budget for stage 'prior', which plays one round"):
        model.fit(x)
    assert any("prior/loss" in row for row in model.journal_.rows)
    with pytest.raises(ValueError, match="expected whole numbers from 0 to 2"):
        model.inverse_transform(np.full((2, 4), 0.5, np.float32))


def test_data_without_labels_are_named():
    data = load("digits")
    bare = dataclasses.replace(data, train=dataclasses.replace(data.train, y=None))
    with pytest.raises(
        ValueError, match="digits has no labels, expected classes; the usual fix is a sub-folder for each"
    ):
        ConditionalGAN(epochs=1).fit(bare)
