"""What the pictures of the lab show agrees with the numbers beside them, and controls reach the games."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genlearn import lab
from genlearn.lab.games import state
from genlearn.lab.likelihood import draws
from genlearn.lab.page import lab_data
from genlearn.maths import make_rng

SLOW = {"line", "ring"}
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in lab.TOPICS]


def settings(name):
    """The start, and others of which no network is trained anew."""
    topic = lab.TOPICS[name]
    if name == "critic":
        return [topic.start() | {"constraint": "clipping"}]
    if name in SLOW | {"start"}:
        return [topic.start(), topic.start() | {"round": topic.controls[-1].values[3]}]
    return [topic.start(), *list(topic.settings())[3 :: max(1, len(list(topic.settings())) // 6)]]


@pytest.mark.parametrize("name", NAMES)
def test_dots_lie_on_the_curve_of_their_colour(name):
    topic, found = lab.TOPICS[name], 0
    for setting in settings(name):
        shown = topic.state(**setting)
        for panel in topic.panels:
            lines = {
                m.colour: m for m in panel.marks if m.style in ("line", "dash") and (np.diff(shown[m.x]) > 0).all()
            }
            dots = [m for m in panel.marks if m.style == "dots" and not np.ndim(shown[m.x]) and m.colour in lines]
            for dot in dots:
                line = lines[dot.colour]
                x, y = (np.asarray(shown[key], float) for key in (line.x, line.y))
                on_it = np.interp(shown[dot.x], x, y)
                assert on_it == pytest.approx(float(shown[dot.y]), abs=2e-3 * np.ptp(y) + 1e-12), (setting, dot)
                found += 1
    assert found or name not in {"saturation", "start", "likelihood", "supports", "dirac", "cd", "line", "ring"}


@pytest.mark.parametrize("name", NAMES)
def test_areas_under_densities_are_one(name):
    topic = lab.TOPICS[name]
    for setting in settings(name):
        shown = topic.state(**setting)
        for panel in topic.panels:
            for mark in panel.marks:
                if mark.style == "area" and setting.get("shape") != "points":
                    area = np.trapezoid(shown[mark.y], shown[mark.x])
                    assert area == pytest.approx(1, abs=0.05), (setting, mark)


def test_curves_of_a_topic_are_of_their_number():
    """What the two KL add up; the slope of the best critic; the decay of the bias of CD-k."""
    shown = lab.TOPICS["divergences"].state("two bumps", 1.0, -1.0)
    for curve, number in (("pq", "kl_pq"), ("qp", "kl_qp")):
        assert np.trapezoid(shown[curve], shown["x"]) == pytest.approx(shown[number], rel=1e-3)
    shown = lab.TOPICS["critic"].state("clipping", 2.0)
    assert np.diff(shown["straight"]) == pytest.approx(-np.diff(shown["x"]))
    assert np.trapezoid(shown["f"] * (shown["p"] - shown["q"]), shown["x"]) == pytest.approx(
        shown["estimate"], rel=0.02
    )
    shown = lab.TOPICS["cd"].state(0, 300, 3)
    assert shown["rate"][:2] == pytest.approx(shown["all_bias"][0] * shown["slowest"] ** np.arange(2))


def test_the_page_keeps_four_digits_of_what_is_drawn():
    topic = lab.TOPICS["saturation"]
    page = lab_data([topic])
    columns = page["topics"][0]["columns"]
    for i, setting in enumerate(topic.settings()):
        for key, value in topic.state(**setting).items():
            if np.ndim(value) and key in columns:
                kept = np.array(page["pool"][columns[key]["arrays"][i]])
                assert np.abs(kept - value).max() < 1e-3 * np.abs(value).max()


def test_games_seeds_and_rates_make_a_difference():
    short = {"rounds": 12, "every": 12}
    line = [lab.gan_on_a_line(game, 0, **short)[-1] for game in ("non-saturating", "minimax", "fast generator")]
    line.append(lab.gan_on_a_line("non-saturating", 1, **short)[-1])
    ring = [lab.gan_on_a_ring(game, 0, **short)[-1] for game in ("balanced", "eager generator", "eager, packed")]
    ring.append(lab.gan_on_a_ring("balanced", 1, **short)[-1])
    critics = [lab.critic(1.0, "clipping", seed, rounds=3) for seed in (0, 1)]
    for frames, key in ((line, "p_g"), (ring, "points"), (critics, "f")):
        shown = [getattr(f, key) for f in frames]
        assert all(not np.allclose(a, b) for i, a in enumerate(shown) for b in shown[:i]), key


def test_values_at_the_start_are_within_their_bounds():
    """E log D <= log E D (Jensen), for both terms of V; at first D is about constant."""
    frames = lab.start_of_training(seed=0, rounds=40, every=20)
    bounds = [np.log(f.d_data) + np.log(1 - f.d_g) for f in frames]
    assert all(f.value <= bound + 1e-6 for f, bound in zip(frames, bounds, strict=True))
    assert frames[0].value == pytest.approx(bounds[0], abs=0.05)
    assert frames[0].saturating / frames[0].non_saturating == pytest.approx(
        frames[0].d_g / (1 - frames[0].d_g), rel=0.2
    )


def test_a_mode_counts_from_one_percent_on():
    points = np.concatenate([np.tile([1.0, 0.0], (991, 1)), np.tile([-1.0, 0.0], (9, 1))])
    assert lab.ring_scores(points).modes == 1
    points[990] = [-1.0, 0.0]
    assert lab.ring_scores(points).modes == 2


def test_standard_errors_are_the_spread_over_samples():
    found = [lab.likelihood(1.0, 40, seed) for seed in range(300)]
    for value, error in (("nll", "se"), ("best", "best_error")):
        spread = np.std([getattr(f, value) for f in found])
        assert np.mean([getattr(f, error) for f in found]) == pytest.approx(spread, rel=0.15)
    assert found[0].best == draws(40, 0).mean()
    x, w = lab.quadrature(-12, 12)
    assert found[0].kl == pytest.approx(found[0].cross_entropy - lab.entropy(lab.two_bumps(x), w), abs=1e-9)


@pytest.mark.parametrize("mean", [0.5, 3.0])
def test_d_at_the_middle_of_the_samples(mean):
    at = np.array([mean])
    best = lab.optimal_discriminator(lab.normal(at), lab.normal(at, mean))[0]
    assert lab.generator_gradients(mean, *lab.quadrature(-16, 16)).d_at_mean == pytest.approx(best, rel=1e-12)


def test_a_step_through_time_is_the_chain_rule():
    """One step of tanh by hand: the gradient at the start is (top tanh') U, U orthogonal, W of variance 1 / 32."""
    rng = make_rng(3)
    U = torch.nn.init.orthogonal_(torch.empty(32, 32, dtype=torch.float64), generator=rng)
    W = torch.randn(32, 32, generator=rng, dtype=torch.float64) / 32**0.5
    x, top = (torch.randn(64, 32, generator=rng, dtype=torch.float64) for _ in range(2))
    g = (top * (1 - (x @ W.T).tanh() ** 2)) @ (0.7 * U)
    wanted = (g.square().sum() / top.square().sum()).sqrt().item()
    assert lab.gradient_over_time("tanh", 0.7, seed=3, steps=1)[0].item() == pytest.approx(wanted, rel=1e-12)


def test_states_of_a_game_are_copies():
    net = torch.nn.Linear(2, 2)
    kept = state(net)
    with torch.no_grad():
        net.weight.add_(1)
    assert not torch.equal(kept["weight"], net.weight)
