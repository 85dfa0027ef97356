"""Parzen windows against sums written out, scikit-learn and the calibration of 2014; likelihoods and intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.neighbors import KernelDensity

from genlearn.metrics import likelihood, likelihood_result, parzen, parzen_log_prob


def uniform(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("rows", [4, 7, 256])
def test_equals_a_sum_written_out(monkeypatch, rows):
    monkeypatch.setattr(likelihood, "ROWS", rows)
    x, centres, sigmas = uniform(9, 5), uniform(6, 5, seed=1), torch.tensor([0.05, 0.2, 1.3])
    got = parzen_log_prob(x, centres, sigmas)
    for k, sigma in enumerate(sigmas.tolist()):
        for i in range(9):
            density = sum(math.prod(norm.pdf(float(x[i, d]), float(c[d]), sigma) for d in range(5)) for c in centres)
            assert float(got[k, i]) == pytest.approx(math.log(density / 6), rel=1e-10, abs=1e-10)


def test_equals_scikit_learn_in_few_dimensions():
    x, centres = uniform(50, 3), uniform(200, 3, seed=1)
    for sigma in (0.1, 0.5):
        tree = KernelDensity(bandwidth=sigma, algorithm="ball_tree", rtol=0, atol=0).fit(centres.numpy())
        got = parzen_log_prob(x, centres, torch.tensor([sigma], dtype=torch.float64))[0]
        np.testing.assert_allclose(got.numpy(), tree.score_samples(x.numpy()), rtol=1e-9)


def test_windows_far_too_narrow_stay_finite():
    """The nearest centre decides, -|x - mu|^2 / (2 sigma^2) - d log(sigma sqrt(2 pi)) - log m: exp underflows."""
    x, centres = torch.zeros(1, 784).double(), torch.full((3, 784), 0.5).double()
    centres[1] = 0.4
    got = float(parzen_log_prob(x, centres, torch.tensor([0.01], dtype=torch.float64)))
    norms = 784 * math.log(0.01 * math.sqrt(2 * math.pi)) + math.log(3)
    assert got == pytest.approx(-784 * 0.16 / (2 * 1e-4) - norms, rel=1e-12)


def test_protocol_chooses_sigma_on_the_first_1000_validation_images():
    """Test images far off would choose the widest windows, and so would the validation images after them."""
    samples, test = uniform(30, 1, 4, 4), 3 + uniform(40, 1, 4, 4, seed=1)
    valid = torch.cat([uniform(1000, 1, 4, 4, seed=2), torch.full((500, 1, 4, 4), 9.0)])
    result = parzen(samples, valid, test)
    sigmas = torch.logspace(-1, 0, 10, dtype=torch.float64)
    search = [parzen_log_prob(x.flatten(1), samples.flatten(1), sigmas).mean(1) for x in (valid[:1000], valid, test)]
    best, *others = (int(values.argmax()) for values in search)
    assert best not in (*others, 9)
    values = parzen_log_prob(test.flatten(1), samples.flatten(1), sigmas[best : best + 1])[0]
    assert result.details["sigma"] == float(sigmas[best])
    assert result.details["valid"] == pytest.approx(search[0].tolist(), rel=1e-12)
    assert result.details["n_valid"] == 1000
    assert result.value == pytest.approx(float(values.mean()), rel=1e-12)
    assert result.se == pytest.approx(float(values.std()) / math.sqrt(40), rel=1e-12)
    assert result.interval[0] < result.value < result.interval[1]
    assert (result.n, result.unit, result.kind) == (40, "nats", "estimate")
    assert "Theis" in result.notes[0]


def test_bytes_are_divided_by_255():
    samples, valid, test = ((255 * uniform(20, 16, seed=s)).to(torch.uint8) for s in range(3))
    as_floats = parzen(samples / 255, valid / 255, test / 255)
    assert parzen(samples, valid, test).value == pytest.approx(as_floats.value, abs=1e-4)
    assert parzen(samples.numpy(), valid.numpy(), test.numpy()).value == parzen(samples, valid, test).value


def test_floor_and_ceiling_are_the_mean_image_and_real_images(digits):
    train, valid, test = digits[:1000], digits[1000:1300], digits[1300:]
    result = parzen(uniform(100, 64), valid, test, train=train)
    assert result.ceiling["real training images"] == pytest.approx(parzen(train, valid, test).value, rel=1e-12)
    assert result.floor["mean image"] == pytest.approx(
        parzen(train.astype(np.float64).mean(0, keepdims=True), valid, test).value, rel=1e-9
    )
    assert result.value < result.floor["mean image"] < result.ceiling["real training images"]
    assert len(result.notes) == 1


def test_a_score_above_real_images_says_so(digits):
    train, valid, test = digits[:300], digits[1000:1300], digits[1300:]
    result = parzen(digits[:1000], valid, test, train=train)
    assert result.value > result.ceiling["real training images"]
    assert "score above real training images" in result.notes[1]
    assert len(parzen(train, valid, test, train=train).notes) == 1


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.zeros(3, 5), "number of values .*samples 5, valid 16"),
        (torch.zeros(0, 16), "at least one image"),
        (torch.full((2, 16), math.nan), "samples holds NaN or inf"),
        (torch.tensor([[-math.inf] + 15 * [0.0]]), "samples holds NaN or inf"),
        (torch.full((2, 1, 4, 4), 255.0), "pixels up to 255.*divide by 255"),
    ],
)
def test_bad_images_are_one_line(samples, message):
    with pytest.raises(ValueError, match=message) as error:
        parzen(samples, uniform(4, 16), uniform(4, 16))
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("real_mnist")
def test_calibration_of_2014_on_mnist():
    """This draw of 10,000 real training images 244.2 (five: 242.3 to 244.2) at sigma .1668, the mean image -59 +- 1."""
    from genlearn.data import load

    data = load("mnist", split="parzen-2014")
    train = data.train.x.numpy()
    rows = np.random.default_rng(0).choice(len(train), 10_000, replace=False)
    result = parzen(train[rows], data.valid.x, data.test.x)
    assert len(train) == 50_000
    assert result.value == pytest.approx(244.2, abs=1.0)
    assert result.details["sigma"] == pytest.approx(0.1668, abs=1e-4)
    assert result.se == pytest.approx(2.1, abs=0.1)
    mean_image = likelihood.pixel_moments(train)[0][None]
    assert parzen(mean_image, data.valid.x, data.test.x).value == pytest.approx(-59, abs=1)


def test_likelihood_interval_is_widened_by_the_shared_error():
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0)) - 90
    plain = likelihood_result("AIS", values, "estimate")
    wide = likelihood_result("AIS", values, "estimate", (-0.5, math.inf))
    assert plain.value == wide.value == pytest.approx(float(values.double().mean()))
    assert wide.interval == (plain.interval[0] - 0.5, math.inf)
    assert plain.interval[1] - plain.interval[0] == pytest.approx(2 * 1.96 * plain.se, rel=0.1)
    assert (plain.notes, plain.details) == ((), {"shift": [0, 0]})
    assert wide.notes == ("The interval includes [-inf, +0.50] nats for the noise of log Z (three standard errors).",)


@pytest.mark.parametrize(("kind", "said"), [
    ("exact", "estimate"), ("lower bound", "estimate of a bound"), ("estimate", "estimate"), ("pseudo", "pseudo"),
    ("estimate of a bound", "estimate of a bound"),
])  # fmt: skip
def test_what_rests_on_an_estimate_of_log_z_is_neither_exact_nor_a_bound(kind, said):
    values = torch.arange(10.0)
    verdict = ("log Z is uncertain",)
    off = likelihood_result("x", values, kind, (-0.25, 0.0), notes=verdict)
    assert off.kind == said
    assert off.notes == ("The interval includes [-0.00, +0.25] nats for the noise of log Z (three standard errors).",
                         *verdict)  # fmt: skip
    sure = likelihood_result("x", values, kind, notes=verdict)
    assert (sure.kind, sure.notes) == (kind, verdict)


def test_likelihoods_must_be_numbers():
    with pytest.raises(ValueError, match="ELBO has 1 log-likelihoods that are NaN or inf"):
        likelihood_result("ELBO", torch.tensor([-1.0, math.nan]), "lower bound")


def test_the_floor_of_independent_pixels():
    """Of binary pixels it is their entropy where test is train; of Gaussian ones, that of the normal law."""
    x = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    entropy = -2 * (0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert likelihood.independent_pixels(x, x, "binary")["independent pixels"] == pytest.approx(-entropy)
    got = likelihood.independent_pixels(x, x, "gaussian")["independent pixels"]
    assert got == pytest.approx(-2 * (0.5 + math.log(math.sqrt(3 / 16) * math.sqrt(2 * math.pi))))


@pytest.mark.parametrize("law", ["binary", "gaussian"])
def test_the_floor_learns_from_train_and_is_measured_on_test(law):
    train, test = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.25]])
    got = likelihood.independent_pixels(train, test, law)["independent pixels"]
    if law == "binary":
        expected = math.log(0.25) + 0.25 * math.log(0.75) + 0.75 * math.log(0.25)
    else:
        expected = norm.logpdf([1, 0.25], [0.25, 0.75], math.sqrt(3 / 16)).sum()
    assert got == pytest.approx(expected)
    as_bytes = likelihood.independent_pixels((255 * train).astype(np.uint8), test, law)["independent pixels"]
    assert as_bytes == pytest.approx(expected)


@pytest.mark.parametrize("law", ["binary", "gaussian"])
def test_the_floor_of_pixels_on_another_scale_is_that_of_what_the_model_sees(law):
    train, test = uniform(50, 4), uniform(20, 4, seed=1) / 2 + 0.25
    train[0, 0], train[1, 0] = 0, 1
    floor = likelihood.independent_pixels(train, test, law)["independent pixels"]
    for scale, low in ((2, -1), (255, 0)):
        there = likelihood.independent_pixels(scale * train + low, scale * test + low, law)["independent pixels"]
        assert there == pytest.approx(floor, rel=1e-9)


def test_pixel_moments_are_those_of_all_images_in_chunks_or_not():
    x = uniform(25, 2, 3)
    for chunk in (7, 100):
        mean, variance = likelihood.pixel_moments(x, chunk)
        torch.testing.assert_close(mean, x.flatten(1).mean(0))
        torch.testing.assert_close(variance, x.flatten(1).var(0, correction=0))


def test_the_floor_of_independent_levels():
    """By hand: 3 pixels, levels counted in train and once more each."""
    train, test = np.array([[0, 255, 7], [0, 255, 9]], np.uint8), np.array([[0, 3, 9]], np.uint8)
    expected = np.log([3 / 258, 1 / 258, 2 / 258]).sum()
    for x, t in ((train, test), (train / 255, test / 255)):
        assert likelihood.independent_pixels(x, t, "levels")["independent pixels"] == pytest.approx(expected)
