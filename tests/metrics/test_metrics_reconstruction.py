"""The error of images made again, and the floor of principal components, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from genlearn.hooks import bottleneck
from genlearn.metrics import evaluate, likelihood_result, principal_images, reconstruct, reconstruction
from genlearn.models.autoencoder import Autoencoder


def by_hand(train: np.ndarray, test: np.ndarray, k: int) -> np.ndarray:
    """Rows made again from k principal components of train, by the singular value decomposition."""
    mean = train.mean(0)
    v = np.linalg.svd(train - mean)[2][:k]
    return mean + (test - mean) @ v.T @ v


@pytest.mark.parametrize("k", [1, 3, 8, 20])
def test_principal_components_of_a_small_set(k):
    rng = np.random.default_rng(0)
    train, test = (rng.normal(size=(n, 8)) * np.arange(1, 9) + 5 for n in (30, 11))
    np.testing.assert_allclose(principal_images(train, test, k), by_hand(train, test, k), atol=1e-10)
    assert (np.abs(by_hand(train, test, k) - test).max() < 1e-10) == (k >= 8)


def test_where_all_is_known():
    """The first component is an axis: what stands beside it is lost, 4 of the first image."""
    train = np.array([[-2.0, 0, 0], [-1, 0, 0], [1, 0, 0], [2, 0, 0]])
    test = np.array([[0.5, 2, 0], [3, 0, 0], [-1, 0, 0], [0, 0, 0]])
    score = reconstruction(np.zeros((4, 3)), 1, train, test)
    assert score.value == pytest.approx((4.25 + 9 + 1 + 0) / 4)
    assert score.floor == {"1 principal component": pytest.approx(1.0)}
    assert score.se == pytest.approx(np.std([4.25, 9, 1, 0], ddof=1) / 2)
    assert score.interval[0] < score.value < score.interval[1]
    assert (score.n, score.details, score.unit) == (4, {"numbers": 1}, "squared error")


def test_the_floor_is_named_after_the_components_that_there_are():
    """A code of more numbers than there are training images, or pixels."""
    train, test = (np.random.default_rng(0).normal(size=(n, 8)) for n in (5, 3))
    assert [*reconstruction(test, 500, train, test).floor] == ["5 principal components"]
    assert [*reconstruction(test, 500, train.repeat(9, 0), test).floor] == ["8 principal components"]


def test_bytes_are_pixels_from_0_to_1_and_the_floor_is_clipped_too(digits):
    pixels = (255 * digits).round().astype(np.uint8).reshape(-1, 1, 8, 8)
    train, test = pixels[:900], pixels[900:]
    x, upside_down = test.reshape(-1, 64) / 255, test[:, :, ::-1].copy()
    score = reconstruction(upside_down, 4, train, test)
    assert score.value == pytest.approx(np.square(x - upside_down.reshape(-1, 64) / 255).sum(1).mean())
    linear = by_hand(train.reshape(-1, 64) / 255, x, 4)
    plain, clipped = (np.square(x - y).sum(1).mean() for y in (linear, linear.clip(0, 1)))
    assert score.floor == {"4 principal components": pytest.approx(plain), "the same, clipped": pytest.approx(clipped)}
    assert clipped < plain - 0.02


def test_of_a_set_too_large_rows_are_taken_evenly(monkeypatch):
    rng = np.random.default_rng(0)
    train = np.sort(rng.normal(size=(40, 6)), axis=0)
    monkeypatch.setattr(reconstruct, "VALUES", 60)
    np.testing.assert_allclose(principal_images(train, train, 2), by_hand(train[::4], train, 2), atol=1e-10)


def test_in_the_protocol(digits):
    """Of train and test alone; principal components as a model reach their own floor, whatever the other parts are."""
    train, test = digits[:900].astype(float), digits[1200:].astype(float)
    pca = PCA(5).fit(train)
    parts = {"train": train, "valid": 1 - test, "test": test, "sample": None, "likelihoods": None}

    def through(x):
        return pca.transform(x), pca.inverse_transform(pca.transform(x))

    (score,) = evaluate(**parts, bottleneck=through)
    assert score.name == "reconstruction"
    assert score.value == pytest.approx(score.floor["5 principal components"])
    with pytest.raises(ValueError, match="metric 'reconstruction' is not possible here: there is no bottleneck"):
        evaluate(**parts, metrics=["reconstruction"])


def test_the_floor_of_codes_that_are_whole_numbers_is_the_mean_image(digits):
    """k principal components are k real numbers: what they reach is told, and is no floor of fewer bits."""
    train, test = digits[:900].astype(float), digits[1200:].astype(float)
    parts = {"train": train, "valid": test, "test": test, "sample": None, "likelihoods": None}
    pca = PCA(5).fit(train)
    linear = np.square(pca.inverse_transform(pca.transform(test)) - test).sum(1).mean()
    (score,) = evaluate(**parts, bottleneck=lambda x: (np.zeros((len(x), 5)), 0 * x))
    assert score.floor == {"mean image": pytest.approx(np.square(test - train.mean(0)).sum(1).mean())}
    (note,) = score.notes
    assert note.endswith(f"5 real ones, which hold far more bits, reach {linear:.4g} (5 principal components).")


def test_a_bottleneck_is_narrower_than_images(digits):
    few = {"hidden": (), "epochs": 1, "density": "gaussian", "random_state": 0}
    assert bottleneck(Autoencoder(n_latent=64, **few).fit(digits)) is None
    model = Autoencoder(n_latent=63, **few).fit(digits)
    codes, rebuilt = bottleneck(model)(digits[:7])
    assert codes.shape == (7, 63)
    np.testing.assert_array_equal(rebuilt, model.inverse_transform(model.transform(digits[:7])))


def test_a_single_image_has_no_interval():
    train = np.random.default_rng(0).random((9, 5))
    for result in (
        reconstruction(train[:1], 2, train, train[1:2]),
        likelihood_result("x", torch.tensor([-3.0]), "exact"),
    ):
        assert (result.n, result.se, result.interval) == (1, None, None)
