"""Nearest images against scikit-learn, and the ratio on copies and on fresh data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from genlearn.metrics import nearest, nearest_train, neighbours


@pytest.mark.parametrize("blocks", [(7, 10), (512, 8192)])
@pytest.mark.parametrize("k", [1, 3, 12])
def test_equals_scikit_learn(monkeypatch, digits, k, blocks):
    monkeypatch.setattr(neighbours, "ROWS", blocks[0])
    monkeypatch.setattr(neighbours, "COLUMNS", blocks[1])
    x, reference = digits[:40].astype(np.float64), digits[500:700].astype(np.float64)
    distances, indices = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(reference).kneighbors(x)
    got, index = nearest(x, reference, k)
    np.testing.assert_allclose(got.numpy(), distances, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(reference[index] - x[:, None], axis=2), distances, rtol=1e-6)
    assert (index == torch.from_numpy(indices)).float().mean() > 0.95


def test_an_identical_image_is_at_exactly_0():
    reference = torch.rand(300, 784, generator=torch.Generator().manual_seed(0)) * 1000
    distances, indices = nearest(reference[40:60], reference)
    assert distances.tolist() == [[0.0]] * 20
    assert indices[:, 0].tolist() == list(range(40, 60))


def test_bytes_are_measured_in_pixels_from_0_to_1():
    black, white = torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)
    assert nearest(black, white)[0].tolist() == [[2.0]]


def test_more_neighbours_than_images_is_an_error():
    with pytest.raises(ValueError, match="k is 4, expected 1 to 3"):
        nearest(torch.zeros(1, 2), torch.zeros(3, 2), 4)


def test_copies_score_0_and_fresh_data_1(digits):
    train, fresh, held_out = digits[:900], digits[900:1350], digits[1350:]
    copies = nearest_train(train[:200], train, held_out)
    assert copies.value == 0
    assert copies.interval == (0, 0)
    assert (copies.details["copies"], copies.details["copies_held_out"], copies.details["n_held_out"]) == (200, 0, 447)
    real = nearest_train(fresh, train, held_out)
    assert real.value == pytest.approx(1, abs=0.2)
    assert real.interval[0] < real.value < real.interval[1]
    assert (real.details["copies"], real.details["n_train"], real.n) == (0, 900, 450)


def test_a_few_samples_far_off_move_neither_the_median_nor_its_interval():
    samples, train = torch.tensor([[1.0]] * 90 + [[1000.0]] * 10), torch.zeros(1, 1)
    ratio = nearest_train(samples, train, torch.full((50, 1), 0.5))
    assert (ratio.value, ratio.interval) == (2, (2, 2))


def test_noise_is_far_from_everything(digits):
    noise = np.random.default_rng(0).random((100, 64))
    assert nearest_train(noise, digits[:900], digits[1350:]).interval[0] > 1.5
