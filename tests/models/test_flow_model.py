"""Flow matching as a model: what it learns on data of known law, its equation both ways, classes, completion."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from genlearn.data import load
from genlearn.data import modes as modes_of
from genlearn.maths.rng import Rng, make_rng
from genlearn.models.flow import FlowMatching
from genlearn.nets import Scale, Shares, TimedMLP, UNet

MEAN, COVARIANCE = np.array([1.0, -2.0]), np.array([[2.0, 0.9], [0.9, 0.8]])


@pytest.fixture(scope="module")
def gaussian() -> FlowMatching:
    """A small net that has learned a Gaussian."""
    X = np.random.default_rng(0).multivariate_normal(MEAN, COVARIANCE, 20_000).astype(np.float32)
    return FlowMatching(
        output="linear", hidden=(64, 64), batch_size=256, images=400_000, times="uniform", learning_rate=3e-3,
        ema=50_000, random_state=0,
    ).fit(X)  # fmt: skip


def test_a_trained_net_approaches_the_linear_field(gaussian):
    """v(x, t) = m + (t C - (1 - t) I) ((1 - t)^2 I + t^2 C)^-1 (x - t m), in the units inside."""
    nets = gaussian._nets(None)
    sd, eye = float(nets.scale.sd), np.eye(2)
    m, C = (MEAN - float(nets.scale.mean)) / sd, COVARIANCE / sd**2
    rng = np.random.default_rng(1)
    for t in (0.1, 0.5, 0.9):
        inner = (1 - t) ** 2 * eye + t**2 * C
        x = rng.multivariate_normal(t * m, inner, 500)
        exact = m + (x - t * m) @ np.linalg.inv(inner) @ (t * C - (1 - t) * eye)
        with torch.no_grad():
            v = gaussian._velocity(nets, torch.tensor(x).float(), torch.full((500,), t), None)
        assert np.square(v.numpy() - exact).mean() < 0.01 * np.square(exact).mean()


def test_its_samples_and_its_likelihood_are_those_of_the_gaussian(gaussian):
    x = gaussian.sample(5000, random_state=0)
    assert np.allclose(x.mean(0), MEAN, atol=0.1)
    assert np.allclose(np.cov(x.T), COVARIANCE, atol=0.15)
    rows = np.random.default_rng(2).multivariate_normal(MEAN, COVARIANCE, 300).astype(np.float32)
    law = torch.distributions.MultivariateNormal(torch.tensor(MEAN), torch.tensor(COVARIANCE))
    exact = law.log_prob(torch.tensor(rows).double()).numpy()
    assert gaussian.score_kind() == "estimate"
    assert abs((gaussian.score_samples(rows) - exact).mean()) < 0.05
    assert np.abs(gaussian.score_samples(rows) - exact).mean() < 0.1
    likelihood = gaussian.log_likelihoods(rows)["ODE"]
    assert np.allclose(likelihood.values, gaussian.score_samples(rows), atol=1e-5)
    assert not likelihood.notes  # no bits per dimension of what are no pixels


# --- the equation, both ways


@pytest.fixture(scope="module")
def trained(digits, digit_labels) -> FlowMatching:
    """A small U-Net that has seen the digits for some seconds, with labels."""
    return FlowMatching(width=8, images=8000, learning_rate=3e-3, random_state=0).fit(
        digits.reshape(-1, 8, 8), np.where(np.arange(len(digits)) % 7, digit_labels, -1)
    )


@pytest.mark.parametrize("how", [{"solver": "rk4", "n_steps": 40}, {"solver": "adaptive", "tolerance": 1e-5}])
def test_codes_come_back_as_the_image(trained, digits, how):
    trained = copy.copy(trained).set_params(**how)
    X = digits[:10].reshape(-1, 8, 8)
    codes = trained.transform(X)
    assert codes.shape == (10, 64)
    assert np.abs(trained.inverse_transform(codes) - X).max() < 1e-3
    z = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    assert not np.allclose(trained.inverse_transform(z), trained.inverse_transform(-z))


def test_guidance(trained):
    """0 is the field of an unknown class, 1 that of the class, and beyond it goes on along the same line."""
    trained = copy.copy(trained).set_params(n_steps=3)
    nets, rng = trained._nets(None), make_rng(0)
    x, t = torch.randn(6, 1, 8, 8, generator=rng), torch.rand(6, generator=rng)
    y = torch.arange(6)

    def field(guidance, y):
        trained.set_params(guidance=guidance)
        with torch.no_grad():
            return trained._field(nets, y)(x, t)

    unknown, known = field(1.0, None), field(1.0, y)
    assert torch.equal(field(0.0, y), unknown)
    assert torch.equal(unknown, field(1.0, torch.full((6,), -1)))
    assert not torch.allclose(known, unknown)
    assert torch.allclose(field(2.5, y), unknown + 2.5 * (known - unknown), atol=1e-5)
    trained.set_params(guidance=1.0)
    plain = trained.sample(4, y=3, random_state=0)
    assert np.array_equal(plain, trained.sample(4, y=3, guidance=1.0, random_state=0))
    assert not np.allclose(plain, trained.sample(4, y=3, guidance=3.0, random_state=0))
    free = trained.sample(4, y=3, guidance=0.0, random_state=0)
    assert np.array_equal(free, trained.sample(4, y=7, guidance=0.0, random_state=0))
    assert trained.guidance == 1.0
    with pytest.raises(ValueError, match="guidance is -1, expected a number at least 0"):
        trained.sample(1, y=3, guidance=-1)


def test_paths_go_from_noise_to_the_picture(trained):
    frames = trained.paths(3, 5, random_state=0)
    assert frames.shape == (5, 3, 8, 8)
    few = trained.paths(1, 2, random_state=0)
    assert np.array_equal(few[0, 0], frames[0, 0])  # image i depends on the seed and i alone
    assert np.abs(few[1, 0] - frames[4, 0]).max() < 1e-4  # 40 steps in one piece or in four
    ink = np.abs(np.diff(frames, axis=3)).mean((1, 2, 3))
    assert ink[0] > ink[-1]  # noise is rougher than a digit


def test_times_are_spread_evenly_over_processes():
    """One time in each of n parts of the law, and two processes take the times of one."""
    model, like = FlowMatching(times="uniform"), torch.zeros(1)

    def times(n, rank, world):
        rng = Rng()
        rng.manual_seed(0)
        rng.rank, rng.world = rank, world
        return model._times(n, rng, like)[0]

    whole = times(8, 0, 1)
    assert ((8 * whole).long() == torch.arange(8)).all()
    assert ((1000 * times(1000, 0, 1)).long() == torch.arange(1000)).all()
    assert torch.equal(torch.cat([times(4, 0, 2), times(4, 1, 2)]), whole)
    model.set_params(times="logit-normal")
    assert torch.allclose(times(8, 0, 1), torch.distributions.Normal(0.0, 1.0).icdf(whole).sigmoid(), atol=1e-4)
    assert model._bins == ["t 0.00-0.34", "t 0.34-0.50", "t 0.50-0.66", "t 0.66-1.00"]


def test_the_loss_is_watched_by_time(trained):
    rows = trained.journal_.rows
    names = [f"flow/{name}" for name in trained._bins]
    row = next(row for row in rows if "flow/loss" in row)
    assert np.mean([row[name] for name in names]) == pytest.approx(row["flow/loss"], rel=0.01)


# --- nets


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (1, 8, 8), (2, 7, 5), (4, 13, 20)])
@pytest.mark.parametrize("attention", [False, True])
def test_a_unet_takes_any_size_and_treats_rows_apart(shape, attention):
    torch.manual_seed(0)
    net = UNet(shape, 8, n_classes=3, attention=attention).double()
    x, t, y = torch.randn(4, *shape, dtype=torch.float64), torch.rand(4, dtype=torch.float64), torch.arange(4) - 1
    assert (net(x, t, y) == 0).all()
    for p in net.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    out = net(x, t, y)
    assert out.shape == x.shape
    assert torch.allclose(out[1:2], net(x[1:2], t[1:2], y[1:2]))
    for other in (net(x + 1, t, y), net(x, 1 - t, y), net(x, t, y.roll(1))):
        assert not torch.allclose(out, other)
    assert torch.equal(net(x, t), net(x, t, torch.full((4,), -1)))


def test_a_net_that_does_nothing_has_the_likelihood_of_its_scale():
    """v = 0: x = mean + sd z, so log p is that of a Gaussian, of pixels y = (255 x + u) / 256."""
    X = np.random.default_rng(0).integers(0, 256, (50, 6, 5)).astype(np.uint8)
    model = FlowMatching(width=8, device="cpu")
    x, _ = model._meet(X, None)
    nets = model._fresh_nets((1, 6, 5), 0)
    nets.scale.fit(torch.tensor(0.4), torch.tensor(0.04))
    u = torch.rand(1, 1, 6, 5, generator=make_rng(0))
    y = (x.double() + u) / 256
    exact = torch.distributions.Normal(0.4, 0.2).log_prob(y).flatten(1).sum(1)
    assert np.allclose(model.score_samples(X, nets=nets), exact, rtol=1e-4)
    likelihood = model.log_likelihoods(X, nets=nets)["ODE"]
    bits = 8 - likelihood.values.mean().item() / (30 * math.log(2))
    assert likelihood.notes[0].startswith(f"That is {bits:.3f} bits per dimension")
    z = torch.randn(3, 1, 6, 5)
    assert torch.allclose(
        nets.scale.inward(Scale.outward(nets.scale, z.clamp(-1.9, 2.9))), z.clamp(-1.9, 2.9), atol=1e-5
    )


def test_shares_of_classes():
    shares = Shares(3)
    shares.fit(torch.tensor([0, 0, 2, -1]))
    assert shares.p.tolist() == [0.5, 0, 0.25, 0.25]
    y = shares.draw(40_000, make_rng(0))
    assert torch.allclose(torch.bincount(y + 1, minlength=4) / 40_000, torch.tensor([0.25, 0.5, 0, 0.25]), atol=0.01)


def test_auto_takes_a_unet_for_images_and_an_mlp_for_rows(digits):
    common = {"epochs": 0.1, "images": None, "width": 8, "random_state": 0}
    assert isinstance(FlowMatching(**common).fit(digits[:50]).nets_.v, TimedMLP)
    assert isinstance(FlowMatching(**common).fit(digits[:50].reshape(-1, 8, 8)).nets_.v, UNet)
    assert isinstance(FlowMatching(network="unet", **common).fit(digits[:50]).nets_.v, UNet)


# --- learning


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_modes"), [("ring", 8), ("grid", 25)])
def test_all_modes_of_ring_and_grid(name, n_modes):
    centres, sd = modes_of(name)
    model = FlowMatching.from_preset("plane", random_state=0).fit(load(name).train.x)
    x = model.sample(2500, random_state=0)
    distance = np.linalg.norm(x[:, None] - centres[None], axis=2)
    good = distance.min(1) < 3 * sd
    assert good.mean() > 0.9
    share = np.bincount(distance.argmin(1)[good], minlength=n_modes) / len(x)
    assert share.min() > 0.5 / n_modes


@pytest.mark.slow
def test_digits_of_the_chosen_class(digits, digit_labels):
    """A judge with an error of 1 % reads what was asked for, and all classes come with their shares."""
    model = FlowMatching(images=80_000, random_state=0).fit(
        (255 * digits).astype(np.uint8).reshape(-1, 8, 8), digit_labels
    )
    judge = SVC(gamma=0.001).fit((16 * digits).round(), digit_labels)

    def read(x):
        return judge.predict((x.reshape(-1, 64) / 255 * 16).round())

    wanted = np.arange(500) % 10
    assert (read(model.sample(500, y=wanted, random_state=0)) == wanted).mean() > 0.93
    assert (read(model.sample(500, y=wanted, guidance=2.0, random_state=0)) == wanted).mean() > 0.97
    counts = np.bincount(read(model.sample(500, random_state=1)), minlength=10)
    assert ((counts - 50) ** 2 / 50).sum() < 27.9  # chi-square of 9 degrees of freedom, p = .001


def test_completion_by_a_learned_field_has_the_mean_and_the_spread_of_the_conditional_law(gaussian):
    """x_2 given x_1 = 2.5, one deviation off the mean; going back step by step the spread would be 14 % too small."""
    X = np.tile([[2.5, 0.0]], (1000, 1)).astype(np.float32)
    model = copy.copy(gaussian).set_params(n_resamplings=10)
    drawn = model.complete(X, np.array([True, False]), random_state=0)[:, 1]
    mean = MEAN[1] + COVARIANCE[0, 1] / COVARIANCE[0, 0] * (2.5 - MEAN[0])
    sd = math.sqrt(COVARIANCE[1, 1] - COVARIANCE[0, 1] ** 2 / COVARIANCE[0, 0])
    assert drawn.mean() == pytest.approx(mean, abs=0.08)
    assert drawn.std() == pytest.approx(sd, rel=0.07)


def test_the_loss_by_times_stands_in_the_journal_where_each_part_has_an_image():
    X = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    for batch, bins in ((8, 4), (3, 0)):
        model = FlowMatching(output="linear", hidden=(8,), batch_size=batch, images=40, random_state=0).fit(X)
        assert sum(name.startswith("flow/t ") for name in model.journal_.names) == bins


def test_samples_of_a_u_net_have_the_precision_of_training_and_adaptive_ones_are_full():
    X = np.random.default_rng(0).integers(0, 256, (16, 8, 8), np.uint8)
    model = FlowMatching.from_preset("tiny", network="unet", learning_rate=1e-2, random_state=0).fit(X)
    with torch.no_grad():
        model.nets_.v.last.weight.normal_(0, 0.1, generator=make_rng(0))
    for solver, same in (("heun", False), ("adaptive", True)):
        full, low = (
            model.set_params(solver=solver, precision=p).paths(4, 2, random_state=0) for p in ("float32", "bf16")
        )
        assert np.array_equal(full, low) == same
