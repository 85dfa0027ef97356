"""The nets of DCGAN: their shapes, what is in them, and what D sees."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from genlearn._types import Batch
from genlearn.maths.rng import Rng, make_rng
from genlearn.models.dcgan import DCGAN
from genlearn.models.vae import VAE
from genlearn.models.wgan_gp import WGANGP
from genlearn.nets.conv import BatchNorm
from genlearn.nets.dcgan import DCGANGenerator, DCGANTrunk
from genlearn.nets.resnet import ResNetTrunk
from genlearn.train import Game, Stream


@pytest.mark.parametrize(
    ("shape", "steps", "smallest"),
    [
        ((1, 8, 8), 1, (4, 4)),
        ((1, 28, 28), 2, (7, 7)),
        ((3, 32, 32), 3, (4, 4)),
        ((3, 64, 64), 4, (4, 4)),
        ((4, 128, 128), 5, (4, 4)),
        ((2, 12, 20), 1, (6, 10)),
        ((64,), 1, (4, 4)),
    ],
)
@pytest.mark.parametrize("pack", [1, 2])
def test_sizes(shape, steps, smallest, pack):
    """Every step doubles, or halves; one linear layer takes all that is left; none is hidden, there is no pooling."""
    model = DCGAN(network="dcgan", width=2, n_latent=5, pack=pack)
    nets = model._fresh_nets(shape, 0)
    (linear,) = (m for m in nets.modules() if isinstance(m, nn.Linear))
    assert linear is nets.D.out
    assert linear.out_features == 1
    assert not {type(m) for m in nets.modules()} & {nn.MaxPool2d, nn.AvgPool2d}
    ups = [m for m in nets.G.modules() if isinstance(m, nn.ConvTranspose2d)]
    downs = [m for m in nets.D.modules() if isinstance(m, nn.Conv2d)]
    assert len(ups) == len(downs) + 1 == steps + 1
    assert tuple(ups[0].kernel_size) == smallest
    assert linear.in_features == downs[-1].out_channels * math.prod(smallest)
    assert all((m.kernel_size, m.stride) == ((4, 4), (2, 2)) for m in (*ups[1:], *downs))
    assert [m.out_channels for m in downs] == [2 << i for i in range(steps)]
    x = nets.G(nets.prior.draw(6, make_rng(0)))
    assert x.min() >= 0 and x.max() <= 1
    batch = Batch(torch.rand(6, *shape, generator=make_rng(1)))
    real, false = model._judge(nets, *model._seen(nets, batch, make_rng(2)), batch, make_rng(2))
    assert real.shape == false.shape == (6 // pack,)
    images = x.view(6, *shape)
    assert nets.D(model._packed(images)).shape == (6 // pack,)
    assert nets.D.features(model._packed(images)).ndim == 2


def test_weights_begin_small():
    nets = DCGAN(network="dcgan", width=32)._fresh_nets((3, 32, 32), 0)
    weights = [p for name, p in nets.named_parameters() if p.ndim > 1]
    values = torch.cat([p.detach().flatten() for p in weights])
    assert len(weights) == 8
    assert values.std().item() == pytest.approx(0.02, rel=0.01)
    assert abs(values.mean().item()) < 1e-4


@pytest.mark.parametrize("normalise", [True, False])
def test_d_sees_data_and_samples_apart_where_it_normalises(normalise):
    """Each pass has statistics of its own: other samples do not change what D says of data."""
    model = DCGAN(network="dcgan", width=4, n_latent=3, normalise_d=normalise, augment=None)
    nets = model._fresh_nets((1, 16, 16), 0)
    assert any(isinstance(m, BatchNorm) for m in nets.D.modules()) == normalise
    nets.train()
    x, fake = (torch.rand(8, 1, 16, 16, generator=make_rng(seed)) for seed in (0, 1))
    batch, passes = Batch(x), []
    nets.D.register_forward_pre_hook(lambda module, inputs: passes.append(len(inputs[0])))
    real = model._judge(nets, x, fake, batch, make_rng(0))[0]
    other = model._judge(nets, x, fake.square(), batch, make_rng(0))[0]
    torch.testing.assert_close(real, other, atol=1e-6, rtol=1e-5)
    assert passes == ([8, 8] if normalise else [16]) * 2
    (stage,) = DCGAN(width=4, order="simultaneous", normalise_d=normalise)._stages((1, 16, 16))
    assert (stage.joint is None) == normalise


def test_running_statistics_of_d_stay_out_of_the_game_of_g():
    """In play both nets are in training mode; afterwards an answer depends on its own row alone."""
    x = torch.randint(0, 256, (64, 1, 8, 8), generator=make_rng(0), dtype=torch.uint8)
    model = DCGAN(width=4, n_latent=3, normalise_d=True, epochs=1, batch_size=16, random_state=0).fit(x)
    whole = model.discriminate(x)
    assert np.allclose(model.discriminate(x[5:9]), whole[5:9], atol=1e-5)
    nets = model._fresh_nets((1, 8, 8), 0)
    game = Game(model._stages((1, 8, 8))[0], nets)
    game.round(Stream(x, None, 16, 0), make_rng(0), 0)
    assert all(m.training for m in nets.modules() if isinstance(m, BatchNorm))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 30, 30), "images are 30x30 with 3 channels, expected sides that are multiples of 4, 8 at least"),
        ((1, 4, 4), "images are 4x4 with 1 channel, expected"),
        ((5, 16, 16), "images are 16x16 with 5 channels, expected"),
        ((50,), "rows of 50 numbers are no square images"),
    ],
)
def test_images_that_it_cannot_have(shape, message):
    with pytest.raises(ValueError, match=message) as error:
        DCGAN(network="dcgan", width=2, epochs=1).fit(np.zeros((10, *shape), np.uint8))
    assert "\n" not in str(error.value)


# --- the other nets, and what is put before and behind them


@pytest.mark.parametrize("pack", [1, 2])
@pytest.mark.parametrize("pooling", ["none", "mean", "max"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 30, 21), (81,)])
def test_conv_takes_any_sides(shape, pooling, pack):
    model = DCGAN(network="conv", pooling=pooling, width=2, n_latent=5, pack=pack)
    nets = model._fresh_nets(shape, 0)
    kinds = [type(m) for m in nets.D.modules()]
    assert (nn.AvgPool2d in kinds, nn.MaxPool2d in kinds) == (pooling == "mean", pooling == "max")
    x = nets.G(nets.prior.draw(6, make_rng(0)))
    assert x.min() >= 0
    assert x.max() <= 1
    assert nets.D(model._packed(x.view(6, *shape))).shape == (6 // pack,)


@pytest.mark.parametrize("model", [DCGAN(width=4, n_latent=5), VAE(network="conv", width=4, n_latent=5)])
def test_no_checkerboard_is_built_in(model):
    """All pixels of a picture get as many terms, and all pixels that are read give as many: borders aside."""
    nets = model._fresh_nets((1, 64, 64), 0).eval()
    decoder, encoder = (nets.G.net, nets.D) if "G" in nets else (nets.decoder, nets.encoder)
    with torch.no_grad():
        for p in nets.parameters():
            if p.ndim == 4:
                nn.init.constant_(p, 0.1)
        x = decoder.layers(torch.ones(1, *decoder.first))[0, 0, 24:40, 24:40]
    assert x.std() < 1e-6 * x.abs().max()
    y = torch.full((1, 1, 64, 64), 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(encoder.trunk.layers(y).sum(), y)
    assert gradient[0, 0, 24:40, 24:40].std() < 1e-6 * gradient.abs().max()


@pytest.mark.parametrize("shape", [(4, 4), (1, 8), (3, 2), (1, 1)])
def test_the_smallest_pictures(shape):
    x = np.random.default_rng(0).integers(0, 256, (20, *shape)).astype(np.uint8)
    for model in (DCGAN(width=4, images=40), WGANGP(network="conv", width=4, images=40)):
        assert model.fit(x).sample(2).shape == (2, *shape)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 12, 20)])
def test_resnet(shape):
    model = DCGAN(network="resnet", width=2, n_latent=5)
    nets = model._fresh_nets(shape, 0)
    x = nets.G(nets.prior.draw(6, make_rng(0)))
    assert x.shape == (6, *shape)
    assert x.min() >= 0
    assert x.max() <= 1
    assert nets.D(x).shape == (6,)
    for block in (*nets.G.blocks, *nets.D.trunk.blocks):
        # Where the inner branch gives nothing, a block doubles or halves its input, by kernels of 1.
        nn.init.zeros_(block.two.weight)
        nn.init.zeros_(block.two.bias)
        v = torch.randn(2, block.short.in_channels, 4, 4, generator=make_rng(0))
        if block.scale == "up":
            scaled = v.repeat_interleave(2, 2).repeat_interleave(2, 3)
        else:
            scaled = v.unflatten(3, (2, 2)).unflatten(2, (2, 2)).mean((3, 5))
        torch.testing.assert_close(block(v), block.short(scaled))


def test_residual_blocks_of_d():
    """Two convolutions after ReLU, which cuts no image at the start; at the end the means of ReLU over the picture."""
    trunk, x = ResNetTrunk((1, 16, 16), 4, False, 1), torch.randn(3, 1, 16, 16, generator=make_rng(0))
    y = x
    for i, block in enumerate(trunk.blocks):
        inner = block.two(block.one(y.relu() if i else y).relu())
        y = nn.functional.avg_pool2d(block.short(y) + inner, 2)
    torch.testing.assert_close(trunk(x), y.relu().mean((2, 3)))


@pytest.mark.parametrize("minibatch", ["discrimination", "deviation"])
@pytest.mark.parametrize("network", ["dcgan", "conv", "resnet"])
def test_minibatch_layers_before_the_last(network, minibatch):
    """D's word of an image depends on the others then, not on their order; data and samples come apart."""
    model = DCGAN(network=network, width=4, n_latent=3, minibatch=minibatch, init_d=None)
    nets = model._fresh_nets((1, 16, 16), 0)
    x = torch.rand(6, 1, 16, 16, generator=make_rng(0))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(nets.D(x)[order], nets.D(x[order]), atol=1e-6, rtol=1e-5)
    assert (nets.D(x)[:1] - nets.D(torch.cat([x[:1], x[:1].expand(5, -1, -1, -1)]))[:1]).abs() > 1e-7
    assert not model._rows_apart
    with pytest.raises(ValueError, match="expected rows that can differ"):
        DCGAN(minibatch=minibatch, batch_size=1).fit(np.zeros((10, 1, 16, 16), np.uint8))


def test_what_d_sees_is_augmented_alike_and_d_is_asked_without():
    model = DCGAN(width=4, n_latent=3, augment="cutout", epochs=1, batch_size=8, images=None, random_state=0)
    nets = model._fresh_nets((1, 16, 16), 0)
    x = torch.ones(64, 1, 16, 16)
    model._fake = lambda nets, batch, rng: torch.ones_like(batch.x)
    real, fake = model._seen(nets, Batch(x), make_rng(0))
    for seen in (real, fake):
        hidden = (seen == 0).float().mean((1, 2, 3))
        assert hidden.min() > 0
        assert hidden.max() == 0.25
    assert not torch.equal(real, fake)
    plain = DCGAN(width=4, n_latent=3, augment=None)
    assert torch.equal(plain._seen(nets, Batch(x), make_rng(0))[0], x)
    model = DCGAN(width=4, n_latent=3, augment="cutout", epochs=1, batch_size=8, images=None, random_state=0)
    model.fit((255 * x).to(torch.uint8))
    model.nets_.eval()
    expected = model.nets_.D(x[:8]).detach()
    assert np.allclose(model.discriminate((255 * x[:8]).to(torch.uint8), nets=model.nets_), expected, atol=1e-5)


def test_layers_of_2016():
    """Normalisation everywhere but at the output of G and the input of D; ReLU in G, LeakyReLU of slope .2 in D."""
    G, D = DCGANGenerator(3, (1, 16, 16), 4).layers, DCGANTrunk((1, 16, 16), 4, True, 1).layers
    up, down = [nn.ConvTranspose2d, BatchNorm, nn.ReLU], [nn.Conv2d, BatchNorm, nn.LeakyReLU]
    assert [type(layer) for layer in G] == [*up, *up, nn.ConvTranspose2d]
    assert [type(layer) for layer in D] == [nn.Conv2d, nn.LeakyReLU, *down]
    assert {layer.negative_slope for layer in D if isinstance(layer, nn.LeakyReLU)} == {0.2}


def test_a_lazy_penalty_is_there_now_and_then_and_as_much_heavier():
    model = DCGAN(width=4, n_latent=3, augment=None, penalty="r1(2, every=3)", batch_size=8)
    whole = DCGAN(width=4, n_latent=3, augment=None, penalty="r1(2)", batch_size=8)
    nets = model._fresh_nets((1, 16, 16), 0)
    x = torch.rand(8, 1, 16, 16, generator=make_rng(0))
    terms = [model._loss_d(nets, Batch(x, seen=8 * step), make_rng(1))[1].get("r1") for step in range(7)]
    (always,) = {whole._loss_d(nets, Batch(x), make_rng(1))[1]["r1"].item()}
    assert [term is not None for term in terms] == [True, False, False, True, False, False, True]
    rng = Rng()
    rng.rank, rng.world = 1, 3  # the other rows of each batch are with other processes
    thirds = [model._loss_d(nets, Batch(x[:2], seen=6 * step), rng)[1].get("r1") for step in range(7)]
    assert [third is not None for third in thirds] == [True, False, False, True, False, False, True]
    assert terms[0].item() == pytest.approx(3 * always, rel=1e-5)


def test_pooling_is_of_conv_alone():
    with pytest.raises(ValueError, match="pooling is 'mean' with network='dcgan', expected 'none'"):
        DCGAN(network="dcgan", pooling="mean").fit(np.zeros((10, 1, 16, 16), np.uint8))
