"""Generative stochastic networks against their chain written down over the states of three bits."""

from __future__ import annotations

import itertools
from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from genlearn.maths.rng import make_rng
from genlearn.models.gsn import GSN
from genlearn.nets import StochasticLayers
from genlearn.samplers import after, gsn_chain
from genlearn.train import Batch

STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
N = 40_000


def index(x: Tensor) -> Tensor:
    return (x.double() @ torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)).long()


def network(seed: int = 0, sizes: tuple[int, ...] = (3, 5)) -> StochasticLayers:
    net = StochasticLayers(sizes, make_rng(seed)).double()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(generator=make_rng(seed + 1)).mul_(1.5)
    return net


@torch.no_grad()
def transitions(net: StochasticLayers, level: float, known: Tensor | None = None, at: Tensor | None = None) -> Tensor:
    """T[x, x'] = sum over corrupted x~ of C(x~ | x) p(x' | x~), one hidden layer; where `known`, x' is `at`."""
    same = (STATES[:, None] == STATES).double()
    corrupt = (same * (1 - level) + 0.5 * level).prod(2)
    p = (((STATES @ net.W[0] + net.b[1]).tanh()) @ net.W[0].T + net.b[0]).sigmoid()
    if known is not None:
        p = torch.where(known, at, p)
    return corrupt @ (p[:, None] * STATES + (1 - p[:, None]) * (1 - STATES)).prod(2)


def stationary(T: Tensor) -> Tensor:
    values, vectors = torch.linalg.eig(T.T)
    law = vectors[:, values.real.argmax()].real
    return law / law.sum()


def has_law(x: Tensor, law: Tensor) -> bool:
    share = index(x).bincount(minlength=8) / len(x)
    return bool(((share - law).abs() < 5 * (law * (1 - law) / len(x)).sqrt() + 1e-12).all())


def test_the_chain_steps_as_written_down_and_settles_in_its_stationary_law():
    """After 1 and 2 steps from one state, and after 60: eight shares within five standard errors."""
    net, level = network(), 0.4
    T, start = transitions(net, level), STATES[5].expand(N, -1)
    for n in (1, 2, 60):
        x, _ = after(n, gsn_chain(net, start, level, 0.0, make_rng(n)))
        assert has_law(x, torch.linalg.matrix_power(T, n)[5])
    assert torch.allclose(torch.linalg.matrix_power(T, 60)[5], stationary(T))
    assert (T[5] - stationary(T)).abs().max() > 0.05
    assert not has_law(x, T[5])


def test_a_clamped_chain_has_the_law_of_the_others_given_what_is_known():
    net, level, known = network(), 0.4, torch.tensor([True, False, False])
    start = STATES[5].expand(N, -1)
    x, _ = after(60, gsn_chain(net, start, level, 0.0, make_rng(0), known.expand(N, -1)))
    assert (x[:, 0] == 1).all()
    law = stationary(transitions(net, level, known, STATES[5]))
    assert has_law(x, law)
    assert (law - stationary(transitions(net, level))).abs().max() > 0.05


def test_of_independent_bits_the_chain_learns_the_law_exactly():
    """p(x | x~) is then independent too, as the output is: the best GSN's stationary law is the data's (theorem 1)."""
    rates = torch.tensor([0.2, 0.6, 0.9]).double()
    X = (torch.rand(5000, 3, generator=make_rng(0)).double() < rates).double()
    model = GSN(hidden=(16,), walkback=1, epochs=40, batch_size=500, learning_rate="linear(0.02, 0, over=2e5)",
                random_state=0, precision="float64").fit(X.numpy())  # fmt: skip
    law = stationary(transitions(model.nets_.gsn, model.level))
    rates = X.mean(0)
    expected = (rates * STATES + (1 - rates) * (1 - STATES)).prod(1)
    assert 0.5 * (law - expected).abs().sum() < 0.02


def test_of_bits_that_belong_together_it_learns_which():
    """000 and 111 in equal shares, mostly: by far nearer to the data than independent bits are."""
    X = np.repeat([[0, 0, 0], [1, 1, 1], [1, 0, 0]], [450, 450, 100], 0).astype(float)
    data = torch.tensor([0.45, 0, 0, 0, 0.1, 0, 0, 0.45]).double()
    model = GSN(hidden=(16,), walkback=1, level=0.2, epochs=100, batch_size=250, random_state=0,
                learning_rate="linear(0.05, 0, over=1e5)", precision="float64").fit(X)  # fmt: skip
    rates = torch.from_numpy(X).mean(0)
    independent = (rates * STATES + (1 - rates) * (1 - STATES)).prod(1)
    law = stationary(transitions(model.nets_.gsn, model.level))
    far = [0.5 * (p - data).abs().sum().item() for p in (law, independent)]
    assert far[0] < 0.4 * far[1]


def test_layers_turn_the_odd_ones_first():
    net, x = network(sizes=(3, 5, 4, 2)), torch.rand(7, 3, generator=make_rng(2)).double()
    h = [torch.randn(7, n, generator=make_rng(n)).double() for n in (3, 5, 4, 2)]
    h[0] = x
    W, b = list(net.W), list(net.b)
    with torch.no_grad():
        new, logits = net.turn(h, 0.0, make_rng(0))
        h1 = (x @ W[0] + h[2] @ W[1].T + b[1]).tanh()
        h3 = (h[2] @ W[2] + b[3]).tanh()
        h2 = (h1 @ W[1] + h3 @ W[2].T + b[2]).tanh()
        for got, expected in zip(new, (x, h1, h2, h3), strict=True):
            torch.testing.assert_close(got, expected)
        torch.testing.assert_close(logits, h1 @ W[0].T + b[0])


def test_noise_is_before_and_after_the_units_above_the_first():
    """With large weights tanh is a sign: what is added before it seldom shows, what is added after has its variance."""
    net, n, sigma = network(sizes=(3, 5, 4)), 20_000, 0.5
    with torch.no_grad():
        net.W[1].zero_()
        net.b[2].copy_(torch.tensor([100.0, -100.0, 0.0, 0.0]))
        h, _ = net.turn(net.start(STATES[5].expand(n, -1)), sigma, make_rng(0))
    assert (h[1] == h[1][0]).all()
    error = 5 * sigma / n**0.5
    assert torch.allclose(h[2][:, :2].mean(0), torch.tensor([1.0, -1.0]).double(), atol=error)
    assert torch.allclose(h[2][:, :2].std(0), torch.tensor(sigma).double(), atol=error)
    before = (sigma * torch.randn(10**6, generator=make_rng(1)).double()).tanh().var() + sigma**2
    assert torch.allclose(h[2][:, 2:].var(0), before, rtol=5 * (2 / n) ** 0.5)


def test_the_loss_is_the_mean_over_the_steps_of_walkback():
    """Of the image itself, at every step; the slope passes through the layers above, not through what is drawn."""
    model = GSN(hidden=(5, 4), walkback=3, level=0.3, hidden_noise=0.5)
    nets, x = model._fresh_nets((3,), 0).double(), torch.rand(6, 3, generator=make_rng(1)).double()
    loss, logs = model._loss(nets, Batch(x), make_rng(7))
    logits = [out for _, out in islice(gsn_chain(nets.gsn, x, 0.3, 0.5, make_rng(7)), 3)]
    costs = [binary_cross_entropy_with_logits(out, x) * 3 for out in logits]
    torch.testing.assert_close(loss, torch.stack(costs).mean())
    torch.testing.assert_close(logs["first step"], costs[0])
    assert torch.autograd.grad(costs[2], nets.gsn.W[1], retain_graph=True)[0].abs().max() > 0
    with pytest.raises(RuntimeError, match="not have been used"):  # the top reaches x one step later
        torch.autograd.grad(costs[0], nets.gsn.b[2])


def test_fewer_steps_than_layers_are_refused():
    for options in ({"hidden": (4, 4), "walkback": 1}, {"hidden": ()}):
        with pytest.raises(ValueError, match="the usual fix is walkback=4") as error:
            GSN(**options).check_parameters()
        assert "\n" not in str(error.value)
