"""Where every pixel of a picture comes from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genlearn.draw import as_pixels, filters, grid, pairs


def images(n: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("pad", "scale", "columns"), [(2, 1, 3), (0, 2, 4), (3, 3, 1)])
def test_image_k_is_at_its_row_and_column(channels, pad, scale, columns):
    x = images(7, channels, 5, 4)
    sheet = np.asarray(grid(x, columns, pad, scale))
    sheet = sheet[..., None] if channels == 1 else sheet
    rows = -(-7 // columns)
    assert sheet.shape == (rows * (5 * scale + pad) - pad, columns * (4 * scale + pad) - pad, channels)
    seen = np.zeros(sheet.shape[:2], bool)
    for k in range(7):
        top, left = (k // columns) * (5 * scale + pad), (k % columns) * (4 * scale + pad)
        for y in range(5 * scale):
            for z in range(4 * scale):
                assert (sheet[top + y, left + z] == x[k, :, y // scale, z // scale]).all()
                seen[top + y, left + z] = True
    assert (sheet[~seen] == 255).all()


def test_columns_and_scale_by_default():
    assert grid(images(5, 28, 28)).size == (3 * 56 + 2 * 2, 2 * 56 + 2)
    assert grid(images(1, 8, 8)).size == (64, 64)
    assert grid(images(1, 3, 200, 100)).size == (100, 200)


def test_every_form_of_the_same_images_gives_the_same_picture():
    x = images(6, 1, 4, 4)
    wanted = as_pixels(x)
    for same in (x[:, 0], x.reshape(6, 16), x / 255, torch.from_numpy(x), torch.from_numpy(x / 255).float()):
        np.testing.assert_array_equal(as_pixels(same), wanted)


def test_floats_are_rounded_and_clipped():
    assert as_pixels(np.array([[[-1.0, 0.0, 0.499 / 255, 0.501 / 255, 1.0, 7.0]]])).ravel().tolist() == [
        0, 0, 0, 1, 255, 255,
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(3, 10), (2, 2, 4, 4), (4,), (0, 1, 4, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"images of shape .*expected"):
        grid(np.zeros(shape))


def test_pairs_stand_one_above_another():
    above, below = images(3, 1, 4, 4), images(3, 4, 4)[::-1]
    sheet = np.asarray(pairs(above, below / 255, pad=1, scale=1))
    assert sheet.shape == (9, 14)
    for k in range(3):
        np.testing.assert_array_equal(sheet[:4, 5 * k : 5 * k + 4], above[k, 0])
        np.testing.assert_array_equal(sheet[5:, 5 * k : 5 * k + 4], below[k])
    with pytest.raises(ValueError, match="expected the same shape"):
        pairs(above, above[:2])


def test_a_weight_picture_is_white_at_0_red_above_and_blue_below():
    W = np.array([[2.0, -0.1], [-4.0, 0.0], [0.0, 0.0], [4.0, 0.2]])
    sheet = np.asarray(filters(W, (2, 2), columns=2, pad=0, scale=1)).astype(int)
    white, red, blue = [255, 255, 255], [178, 24, 43], [33, 102, 172]
    assert sheet[1, 0].tolist() == white
    assert sheet[1, 1].tolist() == red
    assert sheet[0, 1].tolist() == blue
    np.testing.assert_allclose(sheet[0, 0], (np.array(white) + red) / 2, atol=0.5)  # half of the unit's largest
    np.testing.assert_allclose(sheet[0, 2], (np.array(white) + blue) / 2, atol=0.5)
    assert sheet[1, 3].tolist() == red
    grey = np.asarray(filters(torch.from_numpy(W), (1, 2, 2), columns=2, pad=0, scale=1, colour=False))
    assert grey.tolist() == [[191, 0, 64, 128], [128, 255, 128, 255]]


def test_weights_of_three_channels_and_of_nothing():
    W = np.array([[1.0, 0], [-1.0, 0], [0.0, 0]])
    assert np.asarray(filters(W, (3, 1, 1), columns=2, pad=0, scale=1)).tolist() == [[[255, 0, 128], [128] * 3]]
    with pytest.raises(ValueError, match=r"weights of shape \(3, 2\), expected \[4, n\]"):
        filters(W, (2, 2))
