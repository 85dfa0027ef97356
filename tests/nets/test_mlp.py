"""Which tensor each probability of dropout hits, how what is left is scaled; activations, initial weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from genlearn.maths.rng import make_rng
from genlearn.nets.mlp import MLP, activation, dropout


def inputs(net: nn.Module, *arguments) -> list[Tensor]:
    """What every linear layer of a net is given, bottom up."""
    seen: list[Tensor] = []
    hooks = [m.register_forward_pre_hook(lambda m, x: seen.append(x[0])) for m in net.modules() if type(m) is nn.Linear]
    net(*arguments)
    for hook in hooks:
        hook.remove()
    return seen


def dropped(x: Tensor) -> float:
    return (x == 0).double().mean().item()


def test_what_is_not_dropped_is_scaled_to_the_same_mean():
    x = torch.full((200, 300), 2.0)
    y = dropout(x, 0.2, make_rng(0))
    assert y.unique().tolist() == [0.0, 2.5]
    assert dropped(y) == pytest.approx(0.2, abs=0.01)  # six standard deviations
    assert torch.equal(dropout(x, 0.2, None), x)
    assert torch.equal(dropout(x, 0.0, make_rng(0)), x)


@pytest.mark.parametrize("pieces", [0, 3])
def test_inputs_and_hidden_units_are_dropped_with_their_own_probability(pieces):
    torch.manual_seed(0)
    net = MLP((400, 300, 200, 2), "sigmoid", pieces=pieces, input_dropout=0.2, dropout=0.6)
    x = torch.ones(50, 400)
    first, second, last = inputs(net, x, make_rng(0))
    assert first.unique().tolist() == [0.0, 1.25]
    assert [round(dropped(t), 1) for t in (first, second, last)] == [0.2, 0.6, 0.6]
    for layer, below, above in ((net.hidden[0], first, second), (net.hidden[1], second, last)):
        torch.testing.assert_close(above, torch.where(above == 0, 0.0, layer(below) / 0.4))
    assert not any(dropped(t) for t in inputs(net, x))  # without a generator nothing is


def test_without_hidden_layers_the_inputs_are_dropped():
    net = MLP((400, 2), input_dropout=0.3, dropout=0.9)
    assert dropped(*inputs(net, torch.ones(100, 400), make_rng(0))) == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("relu", lambda a: max(a, 0)),
        ("tanh", math.tanh),
        ("leaky_relu", lambda a: max(a, 0.2 * a)),
        ("softplus", lambda a: math.log1p(math.exp(a))),
        ("sigmoid", lambda a: 1 / (1 + math.exp(-a))),
        ("elu", lambda a: a if a > 0 else math.expm1(a)),
        ("silu", lambda a: a / (1 + math.exp(-a))),
    ],
)
def test_activations(name, f):
    a = [-1.5, -0.3, 0.4, 2.0]
    assert activation(name)(torch.tensor(a).double()).tolist() == pytest.approx([f(x) for x in a])
    net = MLP((1, 4, 1), name).double()
    hidden = net.hidden[0][0](torch.tensor([[0.7]]).double())[0]
    assert net.features(torch.tensor([[0.7]]).double())[0].tolist() == pytest.approx([f(x) for x in hidden.tolist()])


@pytest.mark.parametrize("pieces", [0, (2, 3)])
def test_branches_are_layers_side_by_side(pieces):
    """Each sees its own part of the input, and all of it."""
    net = MLP((5, 4, 1), "tanh", pieces=pieces, branches=((3, 7), (2, 6)), dropout=0.5).double()
    left, right = net.hidden[0].layers
    x = torch.randn(8, 5, generator=make_rng(0), dtype=torch.float64)
    first = torch.cat([left(x[:, :3]), right(x[:, 3:])], 1)
    assert first.shape == (8, 13)
    torch.testing.assert_close(net(x), net.out(net.hidden[1](first)))
    assert [round(dropped(t), 1) for t in inputs(net, x.expand(8, 5), make_rng(0))[-1:]] in ([0.4], [0.5], [0.6])


def test_pieces_of_each_layer():
    net = MLP((9, 4, 5, 1), pieces=(2, 3))
    assert [layer.linear.out_features for layer in net.hidden] == [8, 15]
