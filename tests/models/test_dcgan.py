"""The nets of DCGAN: their shapes, what is in them, and what D sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from genlearn._types import Batch
from genlearn.maths.rng import make_rng
from genlearn.models.dcgan import DCGAN
from genlearn.nets.conv import BatchNorm
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
    """Every step doubles, or halves; what is left is one kernel; no fully connected layer, no pooling."""
    model = DCGAN(width=2, n_latent=5, pack=pack)
    nets = model._fresh_nets(shape, 0)
    kinds = {type(m) for m in nets.modules()}
    assert not kinds & {nn.Linear, nn.MaxPool2d, nn.AvgPool2d}
    ups = [m for m in nets.G.modules() if isinstance(m, nn.ConvTranspose2d)]
    downs = [m for m in nets.D.modules() if isinstance(m, nn.Conv2d)]
    assert len(ups) == len(downs) == steps + 1
    assert tuple(ups[0].kernel_size) == tuple(downs[-1].kernel_size) == smallest
    assert all((m.kernel_size, m.stride) == ((4, 4), (2, 2)) for m in (*ups[1:], *downs[:-1]))
    assert [m.out_channels for m in downs[:-1]] == [2 << i for i in range(steps)]
    x = nets.G(nets.prior.draw(6, make_rng(0)))
    assert x.min() >= 0 and x.max() <= 1
    batch = Batch(torch.rand(6, *shape, generator=make_rng(1)))
    real, false = model._judge(nets, *model._seen(nets, batch, make_rng(2)), batch, make_rng(2))
    assert real.shape == false.shape == (6 // pack,)
    images = x.view(6, *shape)
    assert nets.D(model._packed(images)).shape == (6 // pack,)
    assert nets.D.features(model._packed(images)).ndim == 2


def test_weights_begin_small():
    nets = DCGAN(width=32)._fresh_nets((3, 32, 32), 0)
    kernels = [p for name, p in nets.named_parameters() if p.ndim == 4]
    values = torch.cat([p.detach().flatten() for p in kernels])
    assert len(kernels) == 8
    assert values.std().item() == pytest.approx(0.02, rel=0.01)
    assert abs(values.mean().item()) < 1e-4


@pytest.mark.parametrize("normalise", [True, False])
def test_d_sees_data_and_samples_apart_where_it_normalises(normalise):
    """Each pass has statistics of its own: other samples do not change what D says of data."""
    model = DCGAN(width=4, n_latent=3, normalise_d=normalise)
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
    model = DCGAN(width=4, n_latent=3, epochs=1, batch_size=16, random_state=0).fit(x)
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
        DCGAN(width=2, epochs=1).fit(np.zeros((10, *shape), np.uint8))
    assert "\n" not in str(error.value)
