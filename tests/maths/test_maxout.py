from __future__ import annotations

import torch

from genlearn.maths.rng import make_rng
from genlearn.nets.mlp import Maxout


def test_maxout_is_the_maximum_over_pieces_with_the_gradient_of_amax():
    torch.manual_seed(0)
    layer, x = Maxout(4, 3, 5).double(), torch.randn(6, 4, generator=make_rng(0), dtype=torch.float64)
    x[0] = 0  # with biases 0 all pieces are equal there
    torch.nn.init.zeros_(layer.linear.bias)
    pieces = layer.linear(x).view(6, 5, 3)
    assert torch.equal(layer(x), pieces.max(1).values)
    weights = torch.randn(6, 3, generator=make_rng(1), dtype=torch.float64)
    expected = torch.autograd.grad((pieces.amax(1) * weights).sum(), list(layer.parameters()))
    got = torch.autograd.grad((layer(x) * weights).sum(), list(layer.parameters()))
    assert all(torch.allclose(g, e) for g, e in zip(got, expected, strict=True))
    rows = x[1:].clone().requires_grad_()
    assert torch.autograd.gradcheck(layer, (rows,))
    assert torch.autograd.gradgradcheck(layer, (rows,))
