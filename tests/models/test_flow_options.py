"""Flow matching: what each option does, exactly, by what the net is told and asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import silu

from genlearn._types import Batch
from genlearn.maths.rng import make_rng
from genlearn.models import flow
from genlearn.models.flow import FlowMatching
from genlearn.nets.unet import Attention, Labels, Residual, TimedMLP, UNet, waves


class Asked(FlowMatching):
    """Its velocity is x + the index of the class (-1: unknown); it counts how often it is asked."""

    calls = 0

    def _velocity(self, nets, x, t, y):
        Asked.calls += 1
        told = torch.full_like(t, -1) if y is None else y.to(x.dtype)
        return x + told.view(-1, *[1] * (x.ndim - 1)) + 0 * super()._velocity(nets, x, t, y)


def fitted(cls=FlowMatching, X=None, y=None, **options):
    """A model of hardly any training, with weights drawn anew so that none is 0."""
    X = np.random.default_rng(0).normal(size=(60, 3)) if X is None else X
    common = {"hidden": (8,), "width": 8, "epochs": 0.1, "images": None, "ema": 0.0, "random_state": 0}
    common |= {"output": "linear" if X.ndim == 2 else "pixels", "precision": "float64"}
    model = cls(**common | options).fit(X, y)
    with torch.no_grad():
        for p in model.nets_.v.parameters():
            p.normal_(0, 0.2, generator=make_rng(1))
    return model


def images(*shape, n=60):
    return np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)


# --- training


@pytest.fixture
def step(monkeypatch):
    """What one step of training on images x [B, ...] shows the net and asks of it."""

    def run(x, y=None, **options):
        model, seen = fitted(X=x, y=y, **options), {}

        def on_path(x, z, t, name):
            seen.update(x=x, name=name)
            seen["velocity"] = real(x, z, t, name)[1]
            return real(x, z, t, name)

        def velocity(nets, x, t, y):
            seen.update(y=y, v=torch.tanh(x))
            return seen["v"]

        real = flow.on_path
        with monkeypatch.context() as patch:
            patch.setattr(flow, "on_path", on_path)
            patch.setattr(model, "_velocity", velocity, raising=False)
            nets, labels = model.nets_, None if y is None else model.border_.index(np.asarray(y))
            inside = model._inside(model._read(x), nets)
            seen["loss"] = model._loss(nets, Batch(inside, labels, 0), make_rng(0))[0]
        return seen | {"levels": 256 * (nets.scale.mean + nets.scale.sd * seen["x"])}

    return run


def test_pixels_get_noise_of_one_level_each_and_numbers_none(step):
    X = images(6, 5)
    u = step(X)["levels"][:, 0] - torch.tensor(X).double()
    assert 0 <= u.min() < 0.01
    assert 0.99 < u.max() <= 1
    assert u.mean() == pytest.approx(0.5, abs=0.05)
    assert len(u.unique()) == u.numel()
    rows = np.random.default_rng(0).normal(size=(60, 3))
    assert torch.allclose(step(rows)["levels"] / 256, torch.tensor(rows))


def test_the_scale_is_that_of_all_values_and_gradients_are_clipped_to_norm_one():
    X = np.random.default_rng(0).normal([0.0, 5.0], [1.0, 2.0], (60, 2))  # columns apart: no mean of their deviations
    model = fitted(X=X)
    assert float(model.nets_.scale.mean) == pytest.approx(X.mean())
    assert float(model.nets_.scale.sd) == pytest.approx(X.std())
    assert [player.clip for player in model._stages((2,))[0].players] == [1.0]


def test_flips_mirror_half_of_the_images_from_left_to_right(step):
    X = images(6, 5, n=400)
    x = torch.tensor(X).double()
    for flips, share in ((False, 0), (True, 0.5)):
        levels = step(X, flips=flips)["levels"][:, 0].floor().clamp(0, 255)
        mirrored = (levels == x.flip(2)).flatten(1).all(1)
        assert (mirrored | (levels == x).flatten(1).all(1)).all()
        assert mirrored.double().mean() == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("name", ["linear", "vp"])
def test_the_loss_is_the_mean_over_all_rows_on_the_chosen_path(step, name):
    seen = step(images(6, 5), path=name)
    assert seen["name"] == name
    assert seen["loss"].item() == pytest.approx((seen["v"] - seen["velocity"]).square().mean().item(), rel=1e-12)


@pytest.mark.parametrize("times", ["uniform", "logit-normal"])
def test_the_loss_by_times_is_of_the_parts_that_their_names_say(times, monkeypatch):
    """Of a loss t, its means over the rows between the two times of each name."""
    model, seen = fitted(times=times), {}
    monkeypatch.setattr(model, "_velocity", lambda nets, x, t, y: seen.update(t=t) or x, raising=False)
    monkeypatch.setattr(flow, "flow_matching", lambda v, velocity: seen["t"])
    logs = model._loss(model.nets_, Batch(torch.zeros(4000, 3, dtype=torch.float64), None, 0), make_rng(0))[1]
    for name, mean in logs.items():
        low, high = (float(end) for end in name[2:].split("-"))
        inside = (seen["t"] >= low) & (seen["t"] < high)
        assert mean.item() == pytest.approx(seen["t"][inside].mean().item(), abs=0.005)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_labels_is_hidden_and_the_others_are_told(step, share):
    X, y = np.random.default_rng(0).normal(size=(900, 2)), np.arange(900) % 3
    told = step(X, y, unconditional=share)["y"].numpy()
    assert ((told == y) | (told == -1)).all()
    assert (told == -1).mean() == pytest.approx(share, abs=0.05)


# --- classes


def test_an_unknown_class_has_a_vector_of_its_own():
    labels = Labels(3, 4)
    assert torch.equal(labels(torch.tensor([-1, 0, 1, 2])), labels.weight[[3, 0, 1, 2]])


def test_the_class_that_is_asked_for_is_drawn_and_others_by_their_shares():
    """v = x + y carries z to e z + (e - 1) y: the same z without a class is e - 1 lower for every y above -1."""
    y = np.array([7, 7, 3, 5, 7, -1])[np.arange(1200) % 6]
    model = fitted(Asked, X=np.random.default_rng(0).normal(size=(1200, 2)), y=y, solver="rk4", n_steps=8)
    step = float(model.nets_.scale.sd) * (math.e - 1)

    def classes(**asked):
        drawn, free = (model.sample(random_state=0, guidance=w, **asked) for w in (1, 0))
        k = (drawn - free) / step - 1
        assert np.allclose(k, k.round(), atol=1e-4)
        return k.round()[:, 0]

    assert classes(y=[3, 5, 7, 3]).tolist() == [0, 1, 2, 0]
    shares = np.bincount(classes(n=3200).astype(int) + 1) / 3200
    assert np.allclose(shares, [1 / 6, 1 / 6, 1 / 6, 1 / 2], atol=0.04)


def test_truncation_bounds_z():
    """v = x - 1 carries z to e z - (e - 1)."""
    model = fitted(Asked, solver="rk4", n_steps=8)
    mean, sd = (float(v) for v in (model.nets_.scale.mean, model.nets_.scale.sd))
    x = (model.sample(50, truncation=0.5, random_state=0) - mean) / sd
    assert np.abs((x + math.e - 1) / math.e).max() == pytest.approx(0.5, abs=0.01)


# --- the equation


@pytest.mark.parametrize(("solver", "evaluations"), [("euler", 1), ("heun", 2), ("rk4", 4)])
def test_solver_and_steps_are_those_that_were_chosen(solver, evaluations):
    model = fitted(Asked, solver=solver, n_steps=7, n_resamplings=3)
    X = model.sample(2, random_state=0)
    asks = {
        "sample": lambda: model.sample(2, random_state=0),
        "transform": lambda: model.transform(X),
        "inverse_transform": lambda: model.inverse_transform(X),
        "score_samples": lambda: model.score_samples(X),
        "complete": lambda: model.complete(X, np.array([True, False, True]), random_state=0),
    }
    for name, ask in asks.items():
        Asked.calls = 0
        ask()
        assert Asked.calls == 7 * evaluations * (3 if name == "complete" else 1), name


def test_a_smaller_tolerance_takes_more_steps_and_errs_less():
    model = fitted(Asked, solver="adaptive")
    z, found = np.random.default_rng(0).normal(size=(4, 3)), []
    mean, sd = (float(v) for v in (model.nets_.scale.mean, model.nets_.scale.sd))
    exact = mean + sd * (math.e * z - (math.e - 1))  # of the unknown class, -1
    for tolerance in (1e-2, 1e-7):
        Asked.calls = 0
        error = np.abs(model.set_params(tolerance=tolerance).inverse_transform(z) - exact).max()
        found.append((Asked.calls, error))
    assert found[1][0] > 2 * found[0][0]
    assert found[1][1] < 1e-6 < found[0][1] < 0.1


@pytest.mark.parametrize(("n_steps", "parts"), [(1, 1), (3, 3), (7, 4), (40, 4)])
def test_a_completion_goes_back_over_quarters_of_the_path(n_steps, parts, monkeypatch):
    back, real = [], flow.noised
    monkeypatch.setattr(flow, "noised", lambda *a: back.append(a[1:3]) or real(*a))
    model = fitted(Asked, n_steps=n_steps, n_resamplings=2)
    model.complete(np.zeros((1, 3)), np.array([True, False, True]), random_state=0)
    assert len(back) == parts
    assert (back[0][0], back[-1][1]) == (0, 1)
    assert all(before[1] == after[0] for before, after in zip(back, back[1:], strict=False))


def test_paths_end_at_the_samples_of_the_averaged_weights():
    """Of more images than a block, with classes, and of rows as of pictures."""
    y = np.arange(60) % 3
    for X in (None, images(6, 5)):
        model = fitted(X=X, y=y, n_steps=4, ema=100.0)  # the raw weights are drawn anew: others than the average
        frames, drawn = model.paths(70, 3, random_state=5), model.sample(70, random_state=5)
        assert frames.shape == (3, *drawn.shape)
        assert np.allclose(frames[-1].astype(float), drawn, atol=1e-9 if X is None else 1)
        assert not np.allclose(drawn, model.sample(70, random_state=5, nets=model.nets_))
        assert np.array_equal(model.paths(3, 3, random_state=5), frames[:, :3])


def test_codes_and_scores_are_of_full_precision():
    model, z = fitted(X=images(8, 8), precision="float32", n_steps=2), np.ones((2, 64), np.float32)
    asks = [
        lambda: model.transform(images(8, 8, n=2)),
        lambda: model.inverse_transform(z),
        lambda: model.score_samples(images(8, 8, n=2)),
    ]
    for ask in asks:
        full, low = model.set_params(precision="float32") and ask(), model.set_params(precision="bf16") and ask()
        assert np.array_equal(full, low)


# --- likelihood


def test_likelihoods_have_signs_and_noise_for_each_row_and_their_mean_is_the_exact_one(monkeypatch):
    """v = A x has the divergence tr A: the mean over rows comes to it, where shared signs would all err alike."""
    d, n = 20, 1280
    A = 0.1 * (torch.randn(d, d, generator=make_rng(0), dtype=torch.float64) + torch.eye(d))
    model = fitted(X=np.random.default_rng(0).normal(size=(60, d)), solver="rk4", n_steps=10)
    monkeypatch.setattr(model, "_velocity", lambda nets, x, t, y: x @ A.T, raising=False)
    X = np.zeros((n, d)) + float(model.nets_.scale.mean)
    values = model.log_likelihoods(X)["ODE"].values
    exact = -0.5 * d * math.log(2 * math.pi) - A.trace() - d * model.nets_.scale.sd.log()
    assert values.std() > 0.1
    assert len(values.unique()) > 0.9 * n
    assert abs(values.mean() - exact) < 5 * values.std() / n**0.5
    assert len(np.unique(model.score_samples(X).round(9))) == 1


# --- nets


def test_the_nets_are_as_large_as_asked():
    assert [p.shape[0] for p in fitted(hidden=(5, 6)).nets_.v.layers.parameters() if p.ndim == 2] == [5, 6, 3]
    for side, width, found in ((8, None, 32), (48, None, 32), (49, None, 16), (49, 24, 24)):
        model = FlowMatching(width=width)
        assert model._build((1, side, side), make_rng(0)).v.width == found
    for attention in (False, True):
        v = FlowMatching(width=8, attention=attention)._build((1, 8, 8), make_rng(0)).v
        assert (v.attention is not None) == attention


def test_a_unet_uses_its_attention_and_what_left_the_way_down():
    net, rng = UNet((1, 16, 16), 8, attention=True), make_rng(0)
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(0, 0.2, generator=rng)
        down, up = [], []
        for block in net.down:
            block.register_forward_hook(lambda _, args, out: down.append(out))
        for block in net.up:
            block.register_forward_hook(lambda _, args, out: up.append(args[0]))
        x, t = torch.randn(2, 1, 16, 16, generator=rng), torch.rand(2, generator=rng)
        out = net(x, t)
        for left, seen in zip(down, reversed(up), strict=True):
            assert torch.equal(seen[:, -left.shape[1] :], left)
        net.attention = None
        assert not torch.allclose(net(x, t), out)


def test_waves_are_of_frequencies_from_one_to_the_highest():
    t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    for highest, told in ((100.0, waves(t, 6)), (9.0, waves(t, 6, 9.0))):
        w = torch.tensor([1.0, highest**0.5, highest], dtype=torch.float64)
        assert torch.allclose(told, torch.cat([(t[:, None] * w).cos(), (t[:, None] * w).sin()], 1))


@pytest.mark.parametrize("d", [2, 8, 9])
def test_an_mlp_is_told_x_and_t_and_the_class_and_of_few_dimensions_waves_of_x(d):
    net, rng = TimedMLP(d, (5,), n_classes=3, n_waves=4), make_rng(0)
    x, t, y = torch.randn(6, d, generator=rng), torch.rand(6, generator=rng), torch.arange(6) % 4 - 1
    parts = [x, waves(t, 4) + net.labels.weight[y]]  # the unknown class is the last
    if d <= 8:
        parts.append(torch.cat([waves(x[:, i], 4, 10.0) for i in range(d)], 1))
    assert torch.equal(net(x, t, y), net.layers(torch.cat(parts, 1)))


def test_attention_adds_to_each_pixel_the_mean_of_all_by_their_likeness():
    layer, x = Attention(8), torch.randn(2, 8, 3, 4, generator=make_rng(0))
    assert torch.equal(layer(x), x)  # from zero
    with torch.no_grad():
        layer.out.weight.normal_(generator=make_rng(1))
        q, k, v = layer.qkv(layer.norm(x)).flatten(2).chunk(3, 1)
        likeness = torch.softmax(torch.einsum("bni,bnj->bij", q, k) / 8**0.5, 2)
        mixed = torch.einsum("bij,bnj->bni", likeness, v).view_as(x)
        assert torch.allclose(layer(x), x + layer.out(mixed), atol=1e-5)


@pytest.mark.parametrize("m", [8, 16])
def test_a_residual_block_adds_to_what_came_in_and_is_told_between(m):
    block, rng = Residual(8, m, 5), make_rng(0)
    x, told = 3 * torch.randn(2, 8, 3, 4, generator=rng), torch.randn(2, 5, generator=rng)
    norm = torch.nn.functional.group_norm
    with torch.no_grad():
        block.conv2.weight.normal_(generator=rng)
        h = block.conv1(silu(norm(x, 8))) + block.told(told)[:, :, None, None]
        assert torch.allclose(block(x, told), block.skip(x) + block.conv2(silu(norm(h, 8))), atol=1e-4)
        assert (block.skip(x) is x) == (m == 8)


def test_a_unet_tells_every_block_the_time_and_the_class():
    net, rng = UNet((1, 16, 16), 8, n_classes=3), make_rng(0)
    x, t, y = torch.randn(3, 1, 16, 16, generator=rng), torch.rand(3, generator=rng), torch.tensor([0, 2, -1])
    told = silu(net.time(waves(t, 16)) + net.labels.weight[[0, 2, 3]])
    seen = []
    for block in (*net.down, *net.middle, *net.up):
        block.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    net(x, t, y)
    assert len(seen) == 2 * len(net.down) + 2
    assert all(torch.allclose(s, told) for s in seen)


@pytest.mark.parametrize(
    ("shape", "options"), [((64,), {"flips": True}), ((1, 8, 8), {"attention": True, "network": "mlp"})]
)
def test_options_that_would_do_nothing_are_refused(shape, options):
    x = np.random.default_rng(0).integers(0, 256, (40, *shape), dtype=np.uint8)
    with pytest.raises(ValueError, match="expected attention of 'unet', flips of images; the usual fix is false"):
        FlowMatching.from_preset("tiny", device="cpu", **options).fit(x)
