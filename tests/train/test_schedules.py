from __future__ import annotations

import pytest
import torch
from torch import nn

from genlearn.train import Optimizer, Schedule


@pytest.mark.parametrize(
    ("text", "images", "value"),
    [
        (0.3, 1e9, 0.3),
        ("constant(0.3)", 1e9, 0.3),
        ("exponential(0.1, half_life=1e6)", 2e6, 0.025),
        ("exponential(0.1, half_life=1e6, floor=0.05)", 5e6, 0.05),
        ("inverse(0.1, half_life=1e6)", 3e6, 0.025),
        ("linear(0.5, 0.7, over=1e6)", 5e5, 0.6),
        ("linear(0.5, 0.7, over=1e6)", 2e6, 0.7),
    ],
)
def test_values(text, images, value):
    assert Schedule.parse(text)(images) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["x", "linear(1)", "linear(1, 2)", "linear(1, 2, over=0)", "cosine(1, over=2)", "inverse(a, half_life=1)",
             "exponential(0.1, half_life=1, roof=2)", "linear(1, 2, 3, over=1)"]
)  # fmt: skip
def test_bad_text_is_one_line(text):
    with pytest.raises(ValueError, match="is no schedule") as error:
        Schedule.parse(text)
    assert "\n" not in str(error.value)


def test_weight_decay_spares_biases():
    net = nn.Linear(3, 2)
    sgd = Optimizer("sgd", lr=0.5, weight_decay=0.1).build(net.named_parameters())
    weight, bias = net.weight.detach().clone(), net.bias.detach().clone()
    net.weight.grad, net.bias.grad = torch.zeros(2, 3), torch.ones(2)
    sgd.step()
    assert torch.allclose(net.weight, weight * (1 - 0.5 * 0.1))
    assert torch.allclose(net.bias, bias - 0.5)


def test_momentum_is_the_classical_one():
    """v <- m v + g, p <- p - lr v, with the rate and momentum of the schedule at each step."""
    p = nn.Parameter(torch.tensor([[1.0, 2.0]], dtype=torch.float64))
    spec = Optimizer("momentum", lr="linear(0.1, 0.2, over=100)", momentum="linear(0.5, 0.9, over=100)")
    sgd = spec.build([("p", p)])
    expected, v = p.detach().clone(), torch.zeros(1, 2, dtype=torch.float64)
    for images in (0, 50, 100, 150):
        g = torch.tensor([[images + 1.0, -2.0]], dtype=torch.float64)
        t = min(images / 100, 1)
        v = (0.5 + 0.4 * t) * v + g
        expected = expected - (0.1 + 0.1 * t) * v
        spec.schedule(sgd, images)
        p.grad = g
        sgd.step()
        assert torch.allclose(p, expected)


def test_over_the_budget():
    """The share of the budget that is spent decides, not the images."""
    schedule = Schedule.parse("linear(1e-3, 0, over=budget)")
    assert [schedule(10**9, spent) for spent in (0.0, 0.25, 1.0, 1.5)] == pytest.approx([1e-3, 7.5e-4, 0, 0])
    for text in ("linear(1, 0, over=money)", "exponential(1, half_life=budget)", "linear(1, 0, over=-1)"):
        with pytest.raises(ValueError, match="is no schedule"):
            Schedule.parse(text)
