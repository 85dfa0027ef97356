"""Initial weights: their laws against the published formulas, for every kind of layer."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from genlearn.maths.rng import make_rng
from genlearn.nets.conv import BatchNorm
from genlearn.nets.init import Init
from genlearn.nets.mlp import MLP

LAYERS = {  # a layer, its terms n_in and n_out of a sum
    "linear": (lambda: nn.Linear(300, 200), 300, 200),
    "convolution": (lambda: nn.Conv2d(40, 30, 4), 640, 480),
    "transposed": (lambda: nn.ConvTranspose2d(40, 30, 4), 640, 480),
}


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_laws(layer, channels_last):
    make, n_in, n_out = LAYERS[layer]
    net = make()
    if channels_last and layer != "linear":
        net = net.to(memory_format=torch.channels_last)
    for text, sd in {
        "xavier": math.sqrt(2 / (n_in + n_out)),
        "he": math.sqrt(2 / n_in),
        "normal(0.03)": 0.03,
        "uniform(0.03)": 0.03 / math.sqrt(3),
    }.items():
        Init.parse(text)(net, make_rng(0))
        w = net.weight
        assert w.std().item() == pytest.approx(sd, rel=0.02)
        assert abs(w.mean().item()) < sd / 30
        assert not net.bias.any()
        if text in ("xavier", "uniform(0.03)"):
            assert w.abs().max().item() == pytest.approx(sd * math.sqrt(3), rel=0.01)
        else:
            assert w.abs().max() > 3 * sd


def test_orthogonal():
    """W W^T = I where there are fewer outputs than inputs, of a transposed convolution too."""
    for net, rows in (
        (nn.Linear(30, 20), lambda w: w),
        (nn.Conv2d(4, 20, 3), lambda w: w.flatten(1)),
        (nn.ConvTranspose2d(4, 20, 3), lambda w: w.transpose(0, 1).flatten(1)),
    ):
        Init.parse("orthogonal")(net, make_rng(0))
        w = rows(net.weight)
        torch.testing.assert_close(w @ w.T, torch.eye(20), atol=1e-5, rtol=0)


def test_whole_nets_and_their_normalisation():
    net = nn.Sequential(MLP((30, 20, 9), pieces=3), BatchNorm(9))
    Init.parse("uniform(0.01)")(net, make_rng(0))
    assert all(p.abs().max() <= 0.01 for name, p in net[0].named_parameters())
    assert torch.equal(net[1].weight, torch.ones(9))
    again = MLP((30, 20, 9), pieces=3)
    Init.parse("uniform(0.01)")(again, make_rng(0))
    assert torch.equal(again.out.weight, net[0].out.weight)


@pytest.mark.parametrize("text", ["foo", "normal", "normal(0)", "normal(-1)", "he(1)", "normal(1, 2)", "normal(s=1)"])
def test_text_that_is_none(text):
    with pytest.raises(ValueError, match="are no initial weights, expected initial weights such as xavier") as error:
        Init.parse(text)
    assert "\n" not in str(error.value)
