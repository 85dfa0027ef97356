"""The networks of autoencoders: chosen by the images, dropout, first weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from genlearn._types import Batch
from genlearn.maths.rng import coins, make_rng
from genlearn.models.autoencoder import Autoencoder
from genlearn.models.denoising import DenoisingAutoencoder
from genlearn.nets import ConvEncoder

KINDS = pytest.mark.parametrize("kind", [Autoencoder, DenoisingAutoencoder])
SHAPES = [((64,), False), ((8, 8), False), ((1, 8, 8), False), ((3, 8, 8), True), ((2, 8, 8), True)]


@KINDS
@pytest.mark.parametrize(("shape", "colour"), SHAPES)
def test_images_in_colour_get_convolutions(kind, shape, colour, capsys, tmp_path):
    """By themselves, which is said; what is asked for stays."""
    x = np.random.default_rng(0).integers(0, 256, (40, *shape)).astype(np.uint8)
    small = {"n_latent": 2, "n_components": 2, "width": 2, "hidden": (5,), "epochs": 1, "random_state": 0}
    model = kind(**small).fit(x, verbose=1)
    assert f"network={'conv' if colour else 'mlp'!r}" in capsys.readouterr().err.splitlines()[0]
    assert isinstance(model.nets_.encoder, ConvEncoder) == colour
    twin = kind.load(model.save(tmp_path))
    assert np.array_equal(twin.sample(3, random_state=1), model.sample(3, random_state=1))
    assert twin.inverse_transform(twin.transform(x[:3])).shape == (3, *shape)
    other = kind(**small, network="mlp").fit(x, verbose=1)
    assert "network=" not in capsys.readouterr().err
    assert not isinstance(other.nets_.encoder, ConvEncoder)


@pytest.mark.parametrize(
    "asked", [{"tied": True}, {"dropout": 0.2}, {"pretrain": True, "activation": "sigmoid", "hidden": (4,)}]
)
def test_what_only_fully_connected_layers_can_do_keeps_them(asked):
    model = Autoencoder(**asked)
    model.check_parameters()
    assert model._choices((3, 8, 8)) == {"network": "mlp"}
    assert not isinstance(model._fresh_nets((3, 8, 8), 0).encoder, ConvEncoder)


@KINDS
def test_dropout_of_hidden_units_while_it_learns(kind):
    model, shares = kind(dropout=0.4, hidden=(300,), activation="softplus"), []
    nets = model._fresh_nets((16,), 0)
    for net in (nets.encoder, nets.decoder):
        net.out.register_forward_pre_hook(lambda m, a: shares.append((a[0] == 0).double().mean().item()))
    x = torch.rand(400, 16, generator=make_rng(1))
    model._loss(nets, Batch(x), make_rng(0))
    assert shares == [pytest.approx(0.4, abs=0.03)] * 2
    model._decode(nets, model._encode(nets, x))
    assert shares[2:] == [0, 0]


def test_dropout_of_a_tied_decoder():
    """By hand, from the same coins; both nets lose units while they learn, and none later."""
    model = Autoencoder(dropout=0.4, hidden=(30,), n_latent=3, tied=True, activation="softplus", loss="mse")
    nets, x = model._fresh_nets((16,), 0).double(), torch.rand(5, 16, generator=make_rng(1), dtype=torch.float64)
    (first, out), biases, rng = (nets.encoder.hidden[0][0], nets.encoder.out), nets.decoder.biases, make_rng(0)

    def hidden(u: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.softplus(u) * coins(u.shape, 0.6, rng) / 0.6

    z = out(hidden(first(x)))
    y = hidden(z @ out.weight + biases[0]) @ first.weight + biases[1]
    assert model._loss(nets, Batch(x), make_rng(0))[0].item() == pytest.approx((y - x).square().sum(1).mean().item())
    assert torch.equal(model._decode(nets, model._encode(nets, x)), model._decode(nets, model._encode(nets, x)))


@KINDS
@pytest.mark.parametrize("changes", [{}, {"activation": "sigmoid"}, {"network": "conv", "width": 8}])
def test_initial_weights_by_name(kind, changes):
    nets = kind(init="normal(0.03)", hidden=(300,), **changes)._fresh_nets((1, 16, 16), 0)
    weights = torch.cat([p.detach().flatten() for p in nets.parameters() if p.ndim > 1])
    assert weights.std().item() == pytest.approx(0.03, rel=0.03)
    assert not any(p.any() for name, p in nets.named_parameters() if name.endswith("out.bias"))


def test_sigmoid_units_begin_as_glorot_and_bengio_have_it():
    weight = Autoencoder(activation="sigmoid", hidden=(300,))._fresh_nets((16,), 0).encoder.hidden[0][0].weight
    assert weight.abs().max().item() == pytest.approx(4 * math.sqrt(6 / 316), rel=0.01)
