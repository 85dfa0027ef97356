"""Bars are as high as their numbers, side by side in the order of their groups; charts as PNG are those as SVG."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from genlearn.draw import bars, curves, curves_png

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def boxes(png: bytes, colour: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """(left, right, height) of each bar of a colour, from left to right, the legend's strip left out."""
    x = pixels(png)
    mask = abs(x - colour).sum(2) < 30
    mask[: len(mask) // 8] = False
    columns = np.flatnonzero(mask.sum(0) > 5)
    runs = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    return [(run[0], run[-1], int(mask[:, run[len(run) // 2]].sum())) for run in runs]


def test_bars_are_as_high_as_their_numbers_and_stand_side_by_side():
    png = bars({"exact": [1, 2, 4], "seen": [4, 2, 1]}, ["a", "b", "c"], "probability")
    blue, orange = boxes(png, BLUE), boxes(png, ORANGE)
    assert len(blue) == len(orange) == 3
    np.testing.assert_allclose(np.array([b[2] for b in blue]) / blue[2][2], [0.25, 0.5, 1], atol=0.02)
    np.testing.assert_allclose(np.array([b[2] for b in orange]) / blue[2][2], [1, 0.5, 0.25], atol=0.02)
    for here, there, following in zip(blue, orange, [*blue[1:], None], strict=True):
        assert abs(there[0] - here[1]) <= 2
        assert following is None or following[0] - there[1] > 10


def test_groups_of_other_lengths_than_the_names_are_refused():
    with pytest.raises(ValueError, match="shape"):
        bars({"exact": [1, 2]}, ["a", "b", "c"], "probability")


def test_a_chart_as_png_has_the_colours_of_its_lines():
    lines = {"loss": ([0, 1], [3.0, 1.0]), "score": ([0, 1], [1.0, 2.0])}
    x = pixels(curves_png(lines, ylabel="nats"))
    for colour in (BLUE, ORANGE):
        assert (abs(x - colour).sum(2) < 30).sum() > 300
    assert curves(lines, ylabel="nats").startswith("<svg")
