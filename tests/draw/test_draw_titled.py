"""Names stand over the middle of their columns and beside the middle of their rows."""

from __future__ import annotations

import numpy as np

from genlearn.draw import grid, titled


def dark(x: np.ndarray, axis: int) -> list[float]:
    """The middles of the dark runs of a strip along an axis."""
    index = np.flatnonzero((x < 128).any(1 - axis))
    return [run.mean() for run in np.split(index, np.flatnonzero(np.diff(index) > 15) + 1)]


def test_names_stand_at_the_middle_of_their_share_and_the_picture_is_kept():
    picture = grid(np.random.default_rng(0).integers(0, 256, (6, 40, 60), dtype=np.uint8), 3, pad=0, scale=1)
    sheet = titled(picture, columns=[0, 0, 0], rows=["-", "-"], size=10)
    x, n = np.asarray(sheet.convert("L")), np.asarray(picture)
    left, top = x.shape[1] - n.shape[1], x.shape[0] - n.shape[0]
    assert left > 10 and top == 20
    np.testing.assert_array_equal(x[top:, left:], n)
    np.testing.assert_allclose(dark(x[:top, left:], 1), [30, 90, 150], atol=2)
    np.testing.assert_allclose(dark(x[top:, :left], 0), [20, 60], atol=3)
    assert (x[:top, :left] == 255).all()


def test_without_names_nothing_is_added():
    picture = grid(np.zeros((4, 8, 8), np.uint8))
    assert titled(picture).size == picture.size
    assert titled(picture, columns="ab", size=7).size == (picture.width, picture.height + 14)
