"""What charts show: colours where points are, names and numbers in the SVG."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
from PIL import Image

from genlearn.draw import clouds, curves, curves_png, heat, scatter, scatters

ORANGE = np.array([213, 94, 0])
SVG = "{http://www.w3.org/2000/svg}"


def inked(png: bytes) -> np.ndarray:
    """The (row, column) of pixels that are nearer to orange than to white or grey, the legend's strip left out."""
    rgb = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    mask = (rgb[..., 0] - rgb[..., 2]) > 60
    mask[: len(mask) // 8] = False
    return np.argwhere(mask)


def corners() -> np.ndarray:
    return np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])


def test_points_are_drawn_where_they_are():
    lower_left = inked(scatter(np.tile([[0.1, 0.1]], (50, 1)), corners())).mean(0)
    lower_right = inked(scatter(np.tile([[0.9, 0.1]], (50, 1)), corners())).mean(0)
    upper_left = inked(scatter(np.tile([[0.1, 0.9]], (50, 1)), corners())).mean(0)
    assert lower_right[1] - lower_left[1] > 200
    assert abs(lower_right[0] - lower_left[0]) < 2
    assert lower_left[0] - upper_left[0] > 200
    assert abs(lower_left[1] - upper_left[1]) < 2
    # Both axes have the same scale.
    assert abs((lower_right - lower_left)[1] - (lower_left - upper_left)[0]) < 3


def test_points_outside_do_not_move_the_axes():
    inside = inked(scatter(np.tile([[0.1, 0.1]], (50, 1)), corners())).mean(0)
    with_stray = inked(scatter(np.concatenate([np.tile([[0.1, 0.1]], (50, 1)), [[1e6, 0]]]), corners())).mean(0)
    assert abs(inside - with_stray).max() < 30
    assert scatter(corners(), corners()).startswith(b"\x89PNG")


def lines_of(svg: str) -> list[np.ndarray]:
    """The points of every coloured line, in the order drawn."""
    paths = re.findall(r'<path d="([^"]+)" clip-path[^>]*style="fill: none; stroke: #(?:0072b2|d55e00)', svg)
    return [np.array(re.findall(r"[ML] ([\d.]+) ([\d.]+)", d), float) for d in paths]


def test_a_line_goes_through_its_points():
    svg = curves({"loss": ([0, 1, 2, 4], [3.0, 1.0, 2.0, 0.0])}, ylabel="nats")
    (line,) = lines_of(svg)
    assert len(line) == 4
    x, y = line.T
    np.testing.assert_allclose((x - x[0]) / (x[-1] - x[0]), [0, 0.25, 0.5, 1], atol=1e-4)
    np.testing.assert_allclose((y[-1] - y) / (y[-1] - y[0]), [1, 1 / 3, 2 / 3, 0], atol=1e-4)


def test_names_are_shown_and_escaped():
    svg = curves({"a<b": ([0, 1], [1, 2]), "c & d": ([0, 1], [2, 1])}, ylabel="log p(x) > 0")
    assert svg.startswith("<svg")
    texts = [t.text.strip() for t in ET.fromstring(svg).iter(f"{SVG}text")]
    assert {"a<b", "c & d", "log p(x) > 0", "images seen"} <= set(texts)
    assert len(lines_of(svg)) == 2


def test_the_same_input_gives_the_same_bytes_and_no_global_state_changes():
    before = dict(matplotlib.rcParams)
    lines = {"loss": (np.arange(50), np.sin(np.arange(50)))}
    assert curves(lines, ylabel="loss") == curves(lines, ylabel="loss")
    assert scatter(corners(), corners()) == scatter(corners(), corners())
    assert dict(matplotlib.rcParams) == before


def test_what_is_not_finite_leaves_a_gap():
    (line,) = lines_of(curves({"loss": (np.arange(6), [0, 1, np.nan, 3, np.inf, 5.0])}, ylabel="loss"))
    assert len(line) == 4


def test_rows_of_colours_are_where_their_names_are_and_on_a_logarithmic_scale():
    """A tenth is as far from 1 as from a hundredth; rows run from the top, what is not positive stays white."""
    t = [100, 200, 300]
    picture = Image.open(
        io.BytesIO(heat({"one": (t, [1, 1, 1]), "two": (t, [0.1, 0.1, 0]), "three": (t, [0.01] * 3)}, "norm"))
    ).convert("RGB")
    rgb = np.asarray(picture).astype(int)
    left = rgb[:, rgb.shape[1] // 3]
    light = left.sum(1)[(np.ptp(left, axis=1) > 40)]  # cividis is yellow, grey, blue
    assert light[0] > light[-1] + 200
    right = rgb[:, int(0.72 * rgb.shape[1])]
    white = (left.sum(1) < 700) & (right.sum(1) > 750)
    assert 20 < white.sum() < len(left) / 2  # the row that ends in 0, and it alone


def test_classes_have_colours_and_names_where_their_points_are():
    """Class 0 is blue, class 1 orange: each in its corner, in either panel as its points are there."""
    y = np.repeat([0, 1], 500)
    points = y[:, None] + 0.3 * np.random.default_rng(0).random((1000, 2))
    png = clouds({"one": points, "two": points[::-1]}, y, ["a", "b"])
    rgb = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    blue, orange = rgb[..., 2] - rgb[..., 0] > 80, rgb[..., 0] - rgb[..., 2] > 80
    middle = rgb.shape[1] // 2
    for half, sign in ((slice(0, middle), 1), (slice(middle, None), -1)):
        places = [np.argwhere(mask[:, half]).mean(0) for mask in (blue, orange)]
        assert sign * (places[1] - places[0])[1] > 100  # to the right
        assert sign * (places[0] - places[1])[0] > 100  # and up
    assert len({clouds({"one": points}, y), *(clouds({"one": points}, y, names) for names in ("ab", "ac"))}) == 3


def test_the_share_of_points_beyond_a_square_stands_below_it():
    """What is drawn inside is the same: only the words below tell one stray in two hundred from every second."""
    inside = np.random.default_rng(0).random((100, 2))
    few, many, elsewhere = (
        scatters({"a": {"end": np.concatenate([inside, far])}}, {"a": corners()})
        for far in (np.full((1, 2), 50.0), np.full((100, 2), 50.0), np.full((100, 2), -70.0))
    )
    none = scatters({"a": {"end": inside}}, {"a": corners()})
    assert few == none != many == elsewhere


def test_a_legend_of_long_names_is_not_cut_off():
    names = [f"flow/t 0.{i}0-0.{i + 1}0" for i in range(4)]
    wide = curves_png({name: ([0, 1], [1, 2]) for name in names}, ylabel="")
    many = clouds({"codes": np.tile(corners(), (3, 1))}, np.arange(12) % 3, ["mimetypes" * 2] * 3)
    for png in (wide, many):
        x = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
        assert x[:, -5:].min() > 250
