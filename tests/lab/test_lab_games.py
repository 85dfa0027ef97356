"""The small games: what is exact of their frames, and what they learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from genlearn import lab
from genlearn.data import load
from genlearn.lab.games import MIDDLES, data_masses, pushed_masses


def test_a_law_is_pushed_through_a_map():
    """Against the normal law itself: G(z) = 0.7 z + 0.5, and the two branches of z^2 - 1."""
    edges = torch.linspace(-4, 4, 161, dtype=torch.float64)
    for G, cdf in (
        (lambda z: 0.7 * z + 0.5, lambda e: torch.special.ndtr((e - 0.5) / 0.7)),
        (lambda z: z**2 - 1, lambda e: 2 * torch.special.ndtr((e + 1).clamp_min(0).sqrt()) - 1),
    ):
        wanted = cdf(edges)
        wanted[0], wanted[-1] = 0, 1
        np.testing.assert_allclose(pushed_masses(G), wanted.diff().numpy(), atol=6e-4)
    assert pushed_masses(lambda z: 0 * z + 9)[-1] == pytest.approx(1)  # what lies beyond is in the outermost cell
    x, w = lab.quadrature(-8, 8, 16_001)
    coarse = [float(w[np.abs(x - m) <= 0.025] @ lab.two_bumps(x)[np.abs(x - m) <= 0.025]) for m in MIDDLES[60:100]]
    np.testing.assert_allclose(data_masses()[60:100], coarse, rtol=0.05)
    assert data_masses().sum() == pytest.approx(1, abs=1e-12)


def test_frames_of_a_game_on_the_line():
    frames = lab.gan_on_a_line("non-saturating", seed=3, rounds=60, every=20)
    assert len(frames) == 4
    p = data_masses()
    for f in frames:
        assert f.best_value == pytest.approx(f.bound, abs=1e-10)
        assert f.value <= f.best_value
        assert f.bound == pytest.approx(2 * f.js - math.log(4), abs=1e-12)
        assert f.js == pytest.approx(lab.js(p, f.p_g), abs=1e-12)
        assert f.w1 == pytest.approx(lab.wasserstein(p, f.p_g, MIDDLES), abs=1e-12)
        assert 0 <= f.gap <= 1
        assert f.gap == pytest.approx(float((p + f.p_g) / 2 @ np.abs(f.d - f.d_star)), abs=1e-12)
    assert frames[-1].js < frames[0].js
    lab.gan_on_a_line.cache_clear()
    again = lab.gan_on_a_line("non-saturating", seed=3, rounds=60, every=20)
    assert all(np.array_equal(a.p_g, b.p_g) and a.value == b.value for a, b in zip(frames, again, strict=True))
    with pytest.raises(ValueError, match="did you mean 'minimax'"):
        lab.gan_on_a_line("minmax")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_generator_as_fast_as_d_swings(seed):
    slow, fast = (lab.gan_on_a_line(game, seed) for game in ("non-saturating", "fast generator"))
    assert slow[-1].js < 0.03 and slow[-1].gap < 0.1
    late = [max(f.js for f in frames[10:30]) for frames in (slow, fast)]
    assert late[1] > 3 * late[0]


def test_scores_on_the_ring():
    data = load("ring", n=20_000).test.x.numpy().astype(float)
    found = lab.ring_scores(data)
    assert (found.modes, found.near) == (8, 1)
    assert found.kl < 0.01
    one = lab.ring_scores(data[np.linalg.norm(data - [1, 0], axis=1) < 0.2])
    assert (one.modes, one.near) == (1, 1)
    assert one.kl == pytest.approx(math.log(8))
    nowhere = lab.ring_scores(np.zeros((100, 2)))
    assert (nowhere.modes, nowhere.near) == (0, 0)
    assert nowhere.kl == pytest.approx(math.log(8))
    half = lab.ring_scores(np.concatenate([data, np.zeros_like(data)]))
    assert (half.modes, half.near) == (8, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_an_eager_generator_collapses_and_packing_helps(seed):
    eager, packed, balanced = (
        lab.gan_on_a_ring(game, seed) for game in ("eager generator", "eager, packed", "balanced")
    )
    assert max(f.modes for f in eager[3:]) <= 2
    assert max(f.modes for f in packed) >= 7
    assert balanced[-1].modes == 8


def test_d_alone_makes_one_gradient_vanish_beside_the_other():
    frames = lab.start_of_training(seed=0, rounds=100, every=50)
    first, last = frames[0], frames[-1]
    assert last.value > first.value + 0.5
    assert last.d_g < 0.2 < 0.7 < last.d_data
    assert last.non_saturating / last.saturating > 4 * first.non_saturating / first.saturating


def the_best_critic(mean):
    """Estimate and mean slope of the f that none beats: -f' = 1 + dF / (2 lambda r), r the law of points between."""
    x, w = lab.quadrature(-8, 12, 4001)
    F = torch.special.ndtr(torch.from_numpy(np.stack([x, x - mean]))).numpy()
    u, v = lab.quadrature(0, 1, 401)
    r = sum(b * lab.normal(x, (1 - a) * mean, math.hypot(a, 1 - a)) for a, b in zip(u, v, strict=True))
    dF = F[0] - F[1]
    slope = 1 + dF / np.maximum(20 * r, 1e-12)
    return float(w @ (slope * dF)), float(w @ (slope * (lab.normal(x) + lab.normal(x, mean)) / 2))


@pytest.mark.parametrize("mean", [2.0, *(pytest.param(m, marks=pytest.mark.slow) for m in (0.5, 1.0, 4.0))])
def test_a_critic_estimates_w1(mean):
    found = lab.critic(mean)
    assert found.w1 == mean
    assert found.corrected == pytest.approx(mean, rel=0.03)
    best = the_best_critic(mean)
    assert (found.estimate, found.slope) == pytest.approx(best, rel=0.01)
    # The affine one: the slope that maximises s |m| - lambda (s - 1)^2, lambda = 10.
    assert found.estimate == pytest.approx(mean * (1 + mean / 20), rel=0.05)


def test_a_clipped_linear_critic():
    for mean in (0.5, 2.0):
        found = lab.critic(mean, "clipping", rounds=300)
        assert found.estimate == pytest.approx(0.1 * mean, rel=0.01)
        assert found.slope == pytest.approx(0.1, rel=0.01)
    with pytest.raises(ValueError, match="did you mean 'clipping'"):
        lab.critic(1.0, "clip")
