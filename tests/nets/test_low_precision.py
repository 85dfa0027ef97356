"""Under autocast bf16 is inside of the nets: what leaves one is of the type of what entered it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlearn.maths.rng import make_rng
from genlearn.nets.adversarial import GENERATORS, ImageDiscriminator, Squashed
from genlearn.nets.codebook import GridDecoder, GridEncoder
from genlearn.nets.conv import ConvDecoder, ConvEncoder
from genlearn.nets.deep_boltzmann import MeanFieldMLP
from genlearn.nets.mlp import MLP
from genlearn.nets.stochastic import StochasticLayers
from genlearn.nets.tied import TiedDecoder, TiedLayer
from genlearn.nets.unet import TimedMLP, UNet

SHAPE = (1, 16, 16)
GRIDS, ROWS, TIED = GridDecoder(SHAPE, 2, 4, 5), MLP((6, 4, 5)), TiedLayer(5, 4, "sigmoid", make_rng(0))
GSN, CLASSES, TIED_ROWS = StochasticLayers((5, 4, 3), make_rng(0)), MeanFieldMLP((3, 4, 2), 2), TiedDecoder((5, 4, 6))
TIMED, UNET = TimedMLP(5, (4,)), UNet(SHAPE, 8)
torch.nn.init.normal_(UNET.last.weight, generator=make_rng(0))  # it begins as 0


NETS = {
    "mlp": MLP((5, 4, 3)),
    "maxout": MLP((5, 4, 1), pieces=2),
    "encoder": ConvEncoder(SHAPE, 4, 3),
    "decoder": ConvDecoder(SHAPE, 4, 5),
    "grid-encoder": GridEncoder(SHAPE, 2, 4, 3),
    "grid-decoder": lambda z: GRIDS(z.view(-1, 5, 1, 1).expand(-1, 5, 4, 4)),
    "tied-decoder": lambda z: TIED_ROWS(z, ROWS),
    "tied-encode": TIED.encode,
    "tied-slopes": TIED.squared_jacobian_norm,
    "tied-outputs": lambda z: TIED.outputs(z[:, :4]),
    "gsn-layers": lambda x: GSN.turn(GSN.start(x), 1.0, make_rng(0))[0][2],
    "gsn-logits": lambda x: GSN.turn(GSN.start(x), 1.0, make_rng(0))[1],
    "mean-field": CLASSES,
    "timed": lambda x: TIMED(x, x[:, 0]),
    "unet": lambda x: UNET(x, x[:, 0, 0, 0]),
    **{f"D-{network}": ImageDiscriminator(network, SHAPE, 4) for network in ("dcgan", "conv", "resnet")},
}
IMAGES = ("encoder", "grid-encoder", "unet", "D-dcgan", "D-conv", "D-resnet")


@pytest.mark.parametrize("name", NETS)
def test_what_leaves_a_net_is_of_the_type_of_what_entered(name):
    x = torch.rand(3, *(SHAPE if name in IMAGES else (5,)), generator=make_rng(0))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        low: Tensor = NETS[name](x)
    assert low.dtype == torch.float32
    assert not torch.equal(low, NETS[name](x))  # or nothing was bf16


@pytest.mark.parametrize("name", ["mlp", *GENERATORS])
def test_nearly_white_pixels_keep_their_slope_in_bf16(name):
    """1 - 1e-3 is 1 in eight bits, where the sigmoid has no slope: a pixel that got there would stay."""
    G = Squashed(MLP((5, 4, 256))) if name == "mlp" else GENERATORS[name](5, SHAPE, 4)
    *_, bias = (p for p in G.parameters() if p.ndim == 1)  # of the last layer
    with torch.no_grad():
        for p in G.parameters():
            p.zero_()
        scale = 2 if name == "dcgan" else 1  # (1 + tanh(a)) / 2 = sigmoid(2 a)
        bias.fill_(7 / scale)
    with torch.autocast("cpu", torch.bfloat16):
        images = G(torch.randn(3, 5, generator=make_rng(0)))
    assert images.dtype == torch.float32
    assert torch.allclose(1 - images, torch.tensor(9.11e-4), rtol=1e-2)
    (slope,) = torch.autograd.grad(images.mean(), bias)
    assert float(slope.sum()) / scale == pytest.approx(9.1e-4, rel=0.02)
