"""Every curve of a picture is what its legend says, and the games are played by the rules that they name."""

from __future__ import annotations

import inspect

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from genlearn import lab
from genlearn.data import modes
from genlearn.lab import games
from genlearn.lab.likelihood import draws
from genlearn.lab.picture import COLOURS, _panel
from genlearn.maths import make_rng, spawn
from genlearn.train import Optimizer


def densities(shown, mean, sd, law="normal"):
    p = {"normal": lab.normal, "two bumps": lab.two_bumps}[law](shown["x"])
    q = lab.normal(shown["x"], mean, sd)
    np.testing.assert_allclose(shown["p"], p, rtol=1e-12)
    np.testing.assert_allclose(shown["q"], q, rtol=1e-12)
    return p, q


def test_the_curves_of_what_is_optimal():
    shown = lab.TOPICS["divergences"].state("two bumps", 1.5, -1.0)
    p, q = densities(shown, -1.0, 1.5, "two bumps")
    np.testing.assert_allclose(shown["pq"], p * np.log(p / q), rtol=1e-9)
    np.testing.assert_allclose(shown["qp"], q * np.log(q / p), rtol=1e-9)
    shown = lab.TOPICS["optimality"].state("two bumps", 1.0, 0.5, 2.0)
    p, q = densities(shown, 2.0, 1.0, "two bumps")
    np.testing.assert_allclose(shown["d_star"], p / (p + q), rtol=1e-9)
    np.testing.assert_allclose(shown["d"], p**0.5 / (p**0.5 + q**0.5), rtol=1e-9)
    x, w = lab.quadrature(-20, 20)
    p, q = lab.two_bumps(x), lab.normal(x, 2.0)
    assert shown["yours"] == pytest.approx(lab.value(0.5 * np.log(p / q), p, q, w), abs=1e-12)
    shown = lab.TOPICS["likelihood"].state(1, 300, -2.0)
    np.testing.assert_allclose(shown["q"], lab.normal(shown["x"], -2.0), rtol=1e-12)
    np.testing.assert_allclose(shown["p"], lab.two_bumps(shown["x"]), rtol=1e-12)
    x = draws(300, 1)
    inside = np.abs(shown["cells"][:, None] - x) < 0.1
    np.testing.assert_allclose(shown["heights"], inside.sum(1) / inside.sum() / 0.2)
    np.testing.assert_allclose(shown["all_nll"], [lab.likelihood(float(t), 300, 1).nll for t in shown["thetas"]])


def test_the_curves_of_what_teaches_a_generator():
    shown = lab.TOPICS["saturation"].state(3.0)
    np.testing.assert_allclose(shown["g_saturating"] + shown["g_non_saturating"], 1)
    np.testing.assert_allclose(shown["g_saturating"], 1 / (1 + np.exp(-shown["a"])))
    np.testing.assert_allclose(shown["m_saturating"] + shown["m_non_saturating"], shown["m"], atol=1e-12)
    for shape in ("points", "intervals"):
        shown = lab.TOPICS["supports"].state(shape, -1.3)
        s = np.abs(shown["shifts"])
        np.testing.assert_allclose(shown["all_w1"], s, atol=1e-12)
        wanted = np.log(2) * (np.minimum(s, 1) if shape == "intervals" else s > 0)
        np.testing.assert_allclose(shown["all_js"], wanted, atol=1e-12)
        middles = [float(shown["x"] @ shown[k] / shown[k].sum()) for k in ("p", "q")]
        assert middles[1] - middles[0] == pytest.approx(-1.3, abs=1e-9)
        assert shown["p"].max() == shown["q"].max() == pytest.approx(1)
    shown = lab.TOPICS["critic"].state("clipping", 4.0)
    densities(shown, 4.0, 1.0)
    np.testing.assert_allclose(np.diff(shown["f"]), -0.1 * np.diff(shown["x"]), rtol=0.01)
    assert shown["f"][len(shown["f"]) // 2] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("variant", ["non-saturating", "r1", "wgan-gp"])
def test_the_arrows_and_the_path_of_the_smallest_game(variant):
    shown = lab.TOPICS["dirac"].state(variant, 2.0, "alternating", 0.2, 45)
    theta, psi = shown["grid_theta"], shown["grid_psi"]
    assert len({*zip(theta, psi, strict=True)}) == 225
    u, v = lab.dirac_field(variant, 2.0)(theta, psi)
    np.testing.assert_array_equal(shown["u"], u)
    np.testing.assert_array_equal(shown["v"], v)
    path = np.stack([shown["path_theta"], shown["path_psi"]], 1)
    np.testing.assert_array_equal(path, lab.dirac_path(variant, 0.2, "alternating", 240, 2.0))
    assert tuple(path[45]) == (shown["theta"], shown["psi"])
    assert shown["all_radius"][45] == pytest.approx(shown["radius"], abs=1e-12)
    if variant == "r1":
        assert shown["real"] == lab.dirac_eigenvalues(variant, 2.0)[0].real


def test_the_curves_of_gradients():
    lengths = lab.gradient_by_depth(8, "tanh", True, "batch").numpy()
    np.testing.assert_array_equal(lab.TOPICS["depth"].state("tanh", "batch", True, 8)["shown"], lengths)
    lengths = lab.gradient_over_time("lstm", 0.8, 3.0).numpy()
    np.testing.assert_array_equal(lab.TOPICS["time"].state("lstm", 3.0, 0.8)["shown"], lengths)
    shown = lab.TOPICS["cd"].state(1, 100, 5)
    bias = [lab.contrastive_bias(int(k), 100, 1).relative for k in shown["ks"]]
    np.testing.assert_allclose(shown["all_bias"], np.maximum(bias, 1e-9), rtol=1e-12)
    assert lab.contrastive_bias(1, 100, 0).relative != bias[0]


def test_the_frames_of_games_that_are_drawn(monkeypatch):
    """The topic shows the frame of its round and seed, beside the data."""
    short = lab.gan_on_a_line("minimax", 1, rounds=2, every=1)
    monkeypatch.setattr(lab.topics.games, "gan_on_a_line", lambda game, seed: {("minimax", 1): short}[game, seed])
    shown = lab.TOPICS["line"].state("minimax", 1, 60)
    assert shown["js"] == short[1].js and shown["at"] == shown["rounds"][1] == 60
    np.testing.assert_allclose(shown["p_g"] * 0.05, short[1].p_g)
    np.testing.assert_allclose(shown["p_data"], lab.two_bumps(shown["x"]), atol=2e-3)
    assert shown["d"] is short[1].d and shown["d_star"] is short[1].d_star
    ring = lab.gan_on_a_ring("balanced", 1, rounds=2, every=1)
    monkeypatch.setattr(lab.topics.games, "gan_on_a_ring", lambda game, seed: {("balanced", 1): ring}[game, seed])
    shown = lab.TOPICS["ring"].state("balanced", 1, 160)
    np.testing.assert_array_equal(np.stack([shown["px"], shown["py"]], 1), ring[2].points[:300])
    np.testing.assert_array_equal(np.stack([shown["cx"], shown["cy"]], 1), modes("ring")[0])
    start = lab.start_of_training(1, rounds=2, every=1)
    monkeypatch.setattr(lab.topics.distance, "start_of_training", lambda seed: {1: start}[seed])
    shown = lab.TOPICS["start"].state(1, 40)
    assert shown["d_g"] == start[2].d_g and shown["at"] == shown["rounds"][2] == 40


def test_games_are_played_by_the_rules_that_they_name(monkeypatch):
    seen = []

    def play(nets, x, losses, rounds, every, seed, rates, *, eager=1, after=None):
        rates = {k: float(str(rate).removeprefix("linear(").split(",")[0]) for k, rate in rates.items()}
        widths = [layer.in_features for layer in nets.D.modules() if isinstance(layer, torch.nn.Linear)]
        seen.append((widths[0], eager, rates, len(x)))
        return []

    monkeypatch.setattr(games, "play", play)
    for game in games.RING_GAMES:
        lab.gan_on_a_ring.__wrapped__(game)
    rates = {"D": 1e-3, "G": 1e-3}
    assert seen == [(2, 1, rates, 20_000), (2, 5, rates, 20_000), (4, 5, rates, 20_000)]
    seen.clear()
    for game in games.LINE_GAMES:
        lab.gan_on_a_line.__wrapped__(game)
    slow, fast = {"D": 5e-3, "G": 1e-3}, {"D": 5e-3, "G": 5e-3}
    assert seen == [(1, 1, slow, 5000), (1, 1, slow, 5000), (1, 1, fast, 5000)]
    seen.clear()
    lab.start_of_training.__wrapped__()
    assert seen == [(1, 1, {"D": 2e-3}, 5000)]


@pytest.mark.parametrize("constraint", ["penalty", "clipping"])
def test_a_critic_starts_flat(monkeypatch, constraint):
    seen = []

    def play(nets, x, losses, rounds, every, seed, rates, *, after=None):
        seen.append((bool(nets.D.out.weight.any()), x.mean(0).round(1).tolist(), after is not None))
        torch.nn.init.constant_(nets.D.out.weight, -1)

    monkeypatch.setattr(lab.critics, "play", play)
    lab.critic.__wrapped__(2.0, constraint)
    assert seen == [(False, [0.0, 2.0], constraint == "clipping")]


@pytest.mark.parametrize("name", ["start", "line", "ring"])
def test_the_rounds_of_a_slider_are_those_that_a_game_keeps(name):
    game = {"start": lab.start_of_training, "line": lab.gan_on_a_line, "ring": lab.gan_on_a_ring}[name]
    default = {key: p.default for key, p in inspect.signature(game.__wrapped__).parameters.items()}
    topic = lab.TOPICS[name]
    assert topic.controls[-1].values == tuple(range(0, default["rounds"] + 1, default["every"]))
    assert f"[{{round}} // {default['every']}]" in topic.code
    assert max(topic.controls[-2].values) < 10 and topic.controls[-2].key == "seed"


def test_a_round_is_a_step_of_d_and_the_steps_of_g(monkeypatch):
    counts, made = dict.fromkeys("DG", 0), []
    monkeypatch.setattr(games, "Optimizer", lambda *a, **k: made.append((a, k)) or Optimizer(*a, **k))

    def counted(name, loss):
        def inner(*args):
            counts[name] += 1
            return loss(*args)

        return inner

    rules = {k: counted(k, loss) for k, loss in games.losses("minimax").items()}
    nets, x = games.networks(1, 0), draws(300, 0)[:, None]
    states = games.play(nets, x, rules, 4, 2, 0, {"D": 1e-3, "G": 1e-3}, eager=3)
    assert counts == {"D": 4, "G": 12} and len(states) == 3
    assert made == 2 * [(("adam",), {"lr": 1e-3, "betas": (0.5, 0.99)})]
    assert torch.equal(states[2]["D.out.weight"], nets.D.out.weight)
    before, after = (s["D.out.weight"] for s in games.play(nets, x, rules, 1, 1, 0, {"D": 1e-3, "G": 1e-3}))
    assert (after - before).abs().max().item() == pytest.approx(1e-3, rel=0.01)  # the first step of Adam is its rate


def test_the_first_frame_of_the_start_by_hand():
    """Both losses of G, V and the means of D from the fresh networks, N = 2,000 codes and 5,000 points."""
    build, start, _, look = spawn(2, 4)
    nets = games.networks(1, build)
    z, x = nets.prior.draw(2000, make_rng(look)), torch.from_numpy(draws(5000, start)).float()[:, None]
    real, fake = nets.D(x).sigmoid(), nets.D(nets.G(z)).sigmoid()
    found = lab.start_of_training(2, rounds=1, every=1)[0]
    for loss, length in (((1 - fake).log(), found.saturating), (-fake.log(), found.non_saturating)):
        g = torch.autograd.grad(loss.mean(), [*nets.G.parameters()], retain_graph=True)
        assert length == pytest.approx(sum(t.square().sum().item() for t in g) ** 0.5, rel=1e-4)
    assert found.value == pytest.approx((real.log().mean() + (1 - fake).log().mean()).item(), abs=1e-5)
    assert (found.d_data, found.d_g) == pytest.approx((real.mean().item(), fake.mean().item()), abs=1e-6)


def test_the_first_frame_of_the_line_by_hand():
    """D of the fresh networks at the middles of the cells, and its V."""
    build, _, _ = spawn(2, 3)
    nets, found = games.networks(1, build), lab.gan_on_a_line(seed=2, rounds=1, every=1)[0]
    with torch.no_grad():
        d = nets.D(torch.from_numpy(games.MIDDLES).float()[:, None])[:, 0].double().sigmoid().numpy()
    np.testing.assert_allclose(found.d, d, rtol=1e-6)
    p, q = games.data_masses(), found.p_g
    np.testing.assert_allclose(found.d_star[q > 0], (p / (p + q))[q > 0], rtol=1e-9)
    assert found.value == pytest.approx(float(p @ np.log(d) + q @ np.log(1 - d)), abs=1e-6)
    best = lab.optimality(p, q)
    assert (found.best_value, found.bound, found.js) == (best.value, best.bound, best.js)
    assert found.w1 == lab.wasserstein(p, q, games.MIDDLES)
    assert found.gap == pytest.approx(float((p + q) @ np.abs(d - p / (p + q)) / 2), abs=1e-6)
    np.testing.assert_allclose(q, games.pushed_masses(nets.G), atol=1e-12)
    z = torch.randn(200_000, 1, generator=make_rng(0))
    assert float(games.MIDDLES @ q) == pytest.approx(nets.G(z).mean().item(), abs=0.01)


@pytest.mark.parametrize("name", ["divergences", "supports", "dirac", "depth"])
def test_a_still_picture_is_drawn_from_the_state(name):
    topic = lab.TOPICS[name]
    state = topic.state(**topic.start())
    for panel in topic.panels:
        axes = Figure().subplots()
        _panel(axes, panel, state, (0.1, 1.0), (0.2, 3.0))
        assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == (panel.xlabel, panel.ylabel, panel.title)
        assert axes.get_xlim() == (0.1, 1.0) and axes.get_ylim() == (0.2, 3.0)
        assert axes.get_yscale() == ("log" if "y" in panel.log else "linear")
        marks = [mark for mark in panel.marks if mark.style != "arrows"]
        for line, mark in zip(axes.lines, marks, strict=True):
            x, y = (np.atleast_1d(state[key]) for key in (mark.x, mark.y))
            stop = int(state[mark.until]) + 1 if mark.until else None
            np.testing.assert_array_equal(line.get_data(), (x[:stop], y[:stop]))
            assert line.get_color() == COLOURS[mark.colour]
            assert line.get_linestyle() == {"dash": "--", "dots": "None"}.get(mark.style, "-")
        names = [text.get_text() for text in axes.get_legend().get_texts()] if axes.get_legend() else []
        assert names == [mark.label for mark in panel.marks if mark.label]
        for mark in panel.marks:
            if mark.style == "arrows":
                (arrows,) = (c for c in axes.collections if isinstance(c, matplotlib.quiver.Quiver))
                angle = np.arctan2(arrows.V, arrows.U), np.arctan2(state[mark.v], state[mark.u])
                moving = np.hypot(state[mark.u], state[mark.v]) > 1e-6
                np.testing.assert_allclose(angle[0][moving], angle[1][moving], atol=1e-9)
