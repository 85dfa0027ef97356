from __future__ import annotations

import pytest
import torch

from genlearn.maths import rng as numbers
from genlearn.maths.rng import bernoulli, coins, make_rng, normal, one_of, uniform


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bernoulli_has_its_mean_and_exact_ends(dtype):
    p = torch.tensor([0.0, 2**-12, 0.1, 0.5, 0.9, 1.0], dtype=dtype).expand(200_001, 6)
    x = bernoulli(p, make_rng(0))
    assert x.dtype == dtype
    assert set(x.unique().tolist()) == {0.0, 1.0}
    mean, q = x.double().mean(0), p[0].double()
    assert ((mean - q).abs() <= 5 * (q * (1 - q) / len(x)).sqrt()).all()
    correlation = torch.corrcoef(x[:, 2:5].double().T) - torch.eye(3)
    assert correlation.abs().max() < 0.015
    lag = torch.corrcoef(torch.stack([x[:-1, 3], x[1:, 3]]).double())[0, 1]
    assert abs(lag) < 0.015


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("u", "fine"), [(-(2**15), 0), (-(2**15), 255), (2**15 - 1, 0), (2**15 - 1, 255)])
def test_ends_are_exact_whatever_is_drawn(u, fine, dtype, monkeypatch):
    """At the lowest number and at the highest, of which few samples meet one."""

    def extreme(shape, rng, dtype=None):
        return torch.full(tuple(shape), float(u), dtype=dtype), torch.full(tuple(shape[1:]), fine / 256, dtype=dtype)

    monkeypatch.setattr(numbers, "thresholds", extreme)
    assert bernoulli(torch.tensor([[0.0, 1.0]], dtype=dtype), make_rng(0)).tolist() == [[0, 1]]
    assert coins((1, 2), 1.0, make_rng(0)).all() and not coins((1, 2), 0.0, make_rng(0)).any()


@pytest.mark.parametrize(
    "draw",
    [
        lambda p, shape, rng: bernoulli(torch.full(shape, p), rng),
        lambda p, shape, rng: coins(shape, p, rng),
    ],
)
def test_probabilities_finer_than_sixteen_bits(draw):
    """A quarter, and three quarters, of the step of 2^-16 that a number of its own gives."""
    rng, shape, calls = make_rng(0), (8, 500_000), 10
    for p in (2.0**-18, 3 * 2.0**-18):
        expected = calls * shape[0] * shape[1] * p
        assert abs(sum(int(draw(p, shape, rng).sum()) for _ in range(calls)) - expected) < 6 * expected**0.5


def test_noise_is_uniform_on_all_its_bits():
    u, fine = numbers.thresholds((2000, 300), make_rng(0))
    for values, n in ((u + 2**15, 2**16), (fine * 2**8, 2**8)):
        assert torch.equal(values, values.floor()) and values.min() >= 0 and values.max() < n
    high, low = (u + 2**15).to(torch.int64) // 256, (u + 2**15).to(torch.int64) % 256
    for values in (high, low):
        counts = values.flatten().bincount(minlength=256).double()
        expected = values.numel() / 256
        assert ((counts - expected).square() / expected).sum() < 255 + 5 * (2 * 255) ** 0.5
    assert abs(torch.corrcoef(torch.stack([u.flatten()[:-1], u.flatten()[1:]]))[0, 1]) < 0.007


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_of_has_its_law_and_never_the_impossible(dtype):
    p = torch.tensor([[0.0, 0.1, 0.0, 0.6, 0.3, 0.0], [0, 0, 1, 0, 0, 0]], dtype=dtype)
    n = 100_000
    x = one_of(p.repeat_interleave(n, 0), make_rng(0))
    assert x.dtype == dtype
    assert (x.sum(1) == 1).all()
    assert set(x.unique().tolist()) == {0.0, 1.0}
    mean, q = x.double().view(2, n, 6).mean(1), p.double()
    assert ((mean - q).abs() <= 5 * (q * (1 - q) / n).sqrt()).all()
    lag = torch.corrcoef(torch.stack([x[: n - 1, 3], x[1:n, 3]]).double())[0, 1]
    assert abs(lag) < 5 / n**0.5


def test_one_of_allows_for_rounding_in_its_sums():
    """Rows that add up to a little more or less than 1 still give one class, and a last one of probability 0 never."""
    p = torch.softmax(torch.randn(50_000, 30, generator=make_rng(0)), 1)
    p = torch.cat([p * torch.linspace(0.999, 1.001, len(p))[:, None], torch.zeros(len(p), 1)], 1)
    x = one_of(p, make_rng(1))
    assert (x.sum(1) == 1).all()
    assert not x[:, -1].any()


def test_one_of_passes_over_the_impossible_at_the_lowest_number(monkeypatch):
    monkeypatch.setattr(numbers, "uniform", lambda shape, rng, dtype: torch.zeros(shape, dtype=dtype))
    assert one_of(torch.tensor([[0.0, 0.0, 0.3, 0.7]]), make_rng(0)).tolist() == [[0, 0, 1, 0]]


def test_coins():
    x = coins((1000, 300), 0.8, make_rng(1))
    assert x.float().mean().item() == pytest.approx(0.8, abs=0.004)
    assert coins((1000, 3), 1.0, make_rng(1)).min() == 1
    assert coins((3, 5), 1.0, make_rng(1)).tolist() == [[True] * 5] * 3  # an odd number of them


def test_moments():
    assert uniform((9999, 9), make_rng(0), low=-2, high=4).mean().item() == pytest.approx(1, abs=0.03)
    assert normal((9999, 9), make_rng(0)).std().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    "draw",
    [
        uniform,
        normal,
        lambda s, r: coins(s, 0.5, r),
        lambda s, r: bernoulli(torch.full(s, 0.5), r),
        lambda s, r: one_of(torch.full(s, 0.2), r),
    ],
)
def test_processes_share_the_noise_of_the_whole_batch(draw):
    whole, after = make_rng(3), []
    expected = draw((6, 5), whole)
    for rank in range(3):
        rng = make_rng(3)
        rng.rank, rng.world = rank, 3
        assert torch.equal(draw((2, 5), rng), expected[2 * rank : 2 * rank + 2])
        after.append(rng.get_state())
    assert all(torch.equal(state, whole.get_state()) for state in after)
