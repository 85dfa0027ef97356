"""What leaves a generator."""

from __future__ import annotations

import pytest
import torch

from genlearn.nets.adversarial import GENERATORS, Squashed
from genlearn.nets.mlp import MLP

SHAPE = (1, 16, 16)


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
        images = G(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)))
    assert images.dtype == torch.float32
    assert torch.allclose(1 - images, torch.tensor(9.11e-4), rtol=1e-2)
    (slope,) = torch.autograd.grad(images.mean(), bias)
    assert float(slope.sum()) / scale == pytest.approx(9.1e-4, rel=0.02)
