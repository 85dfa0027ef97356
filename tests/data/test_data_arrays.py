"""Arrays: shapes, types, labels, and one-line refusals."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import torch

from genlearn.data import PrepareReport, load
from genlearn.data.arrays import as_labels, as_rows


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (PrepareReport(), ""),
        (PrepareReport(overlap=1234), "training rows left out as held-out rows equal them: 1,234"),
        (PrepareReport(2000, mode="grey", size=8), "2,000 files read, 2,000 used as 8x8 grey"),
        (
            PrepareReport(9, tuple("abcd"), ("b", "c"), ("d: 2x2, expected 8",), ("e", "f"), "RGB", 16),
            "9 files read, 2 used as 16x16 RGB: 2 duplicates, 4 corrupt (a, b, c ...), 1 too small (d), "
            "2 not images (e, f)",
        ),
    ],
)
def test_a_report_in_words(report: PrepareReport, words: str) -> None:
    assert str(report) == words


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 7), (5, 7)),
        ((5, 6, 7), (5, 1, 6, 7)),
        ((5, 3, 6, 7), (5, 3, 6, 7)),
        ((5, 6, 7, 3), (5, 3, 6, 7)),
        ((5, 6, 7, 4), (5, 4, 6, 7)),
        ((5, 6, 7, 1), (5, 1, 6, 7)),
        ((5, 3, 6, 3), (5, 3, 6, 3)),
    ],
)
def test_shapes(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert as_rows(np.zeros(shape, np.uint8)).shape == expected


def test_channels_last_moves_the_pixels() -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    assert as_rows(x)[1, 2, 3, 4] == x[1, 3, 4, 2]


def test_floats_are_never_taken_for_channels_last() -> None:
    assert as_rows(np.zeros((2, 8, 4, 4))).shape == (2, 8, 4, 4)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, np.uint16, bool])
def test_other_types_become_float32_with_their_values(dtype: type) -> None:
    x = np.array([[0, 1], [1, 0]], dtype)
    assert as_rows(x).dtype == np.float32 and np.array_equal(as_rows(x), x)


def test_tensors_are_arrays_and_data_is_data() -> None:
    x = torch.arange(40, dtype=torch.uint8).reshape(10, 4).requires_grad_(False)
    data = load(x, torch.arange(10) % 2)
    assert data.train.x.dtype == torch.uint8 and data.shape == (4,)
    assert data.train.hash == load(x.numpy(), np.arange(10) % 2).train.hash
    assert load(data) is data


def test_labels_stay_with_their_rows() -> None:
    x = np.random.default_rng(0).integers(0, 100, (500, 3), dtype=np.uint8)
    data = load(x, x[:, 0] % 5)
    for part in (data.train, data.valid, data.test):
        assert part.y is not None and torch.equal(part.x[:, 0] % 5, part.y.to(torch.uint8))
    assert len(data.train) + len(data.valid) + len(data.test) == 500
    assert data.split == "content hash 80/10/10"


@pytest.mark.parametrize(
    ("y", "labels", "classes"),
    [
        ([0, 2, 1, -1], [0, 2, 1, -1], ("0", "1", "2")),
        ([10, 30, -1, 10], [0, 1, -1, 0], ("10", "30")),
        ([1.0, 0.0, -1.0, 1.0], [1, 0, -1, 1], ("0.0", "1.0")),
        (["b", "a", "b", "a"], [1, 0, 1, 0], ("a", "b")),
        ([True, False, True, True], [1, 0, 1, 1], ("False", "True")),
        ([-1, -1, -1, -1], [-1, -1, -1, -1], ()),
    ],
)
def test_labels(y: list[object], labels: list[int], classes: tuple[str, ...]) -> None:
    got, names = as_labels(y, 4)
    assert got.dtype == np.int64 and got.tolist() == labels and names == classes


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 2)), [0, 1], r"y has shape \(2,\): expected \(3,\), one label for each row"),
        (np.zeros((3, 2)), [[0], [1], [1]], r"y has shape \(3, 1\): expected \(3,\)"),
        (np.zeros((2, 2)), [0.0, np.nan], "y has NaN or infinite labels"),
        (np.array([[0.0, 1.0], [np.nan, np.inf]]), None, r"X has 2 NaN or infinite values .* first at index \(1, 0\)"),
        (np.array([[1e300, 0.0]]), None, r"X has 1 NaN or infinite values in float32"),
        (np.zeros(3), None, r"X has shape \(3,\): expected \(n, d\)"),
        (np.zeros((0, 3)), None, r"X has shape \(0, 3\)"),
        (np.zeros((1, 1, 1, 1, 1)), None, "expected .n, d., .n, H, W. or .n, C, H, W."),
        (np.array([["a"]]), None, "X has dtype <U1: expected uint8 or float"),
        (np.zeros((2, 2), complex), None, "X has dtype complex128"),
    ],
)
def test_bad_arrays_are_one_line(x: np.ndarray, y: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as info:
        load(x, y)
    assert "\n" not in str(info.value)


def test_options_that_would_be_ignored_are_refused() -> None:
    x = np.zeros((3, 2))
    for options in ({"size": 8}, {"grey": True}, {"alpha": "keep"}, {"n": 5}, {"split": "parzen-2014"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            load(x, **options)
    with pytest.raises(ValueError, match="expected 'hash'"):
        load(x, split="random")
    with pytest.raises(TypeError, match="data of type list: expected a name, a folder, a numpy array"):
        load([[1, 2]])


def test_a_table_is_an_array() -> None:
    X = np.random.default_rng(0).random((30, 4))
    table, array = load(pandas.DataFrame(X), pandas.Series(np.arange(30) % 3)), load(X, np.arange(30) % 3)
    assert table.train.hash == array.train.hash
    first, second, third = repr(table).splitlines()
    assert first == "Data of torch.float32, 3 classes, split by content hash 80/10/10"
    assert (
        second
        == f"  array: {len(table.train)} training, {len(table.valid)} validation, {len(table.test)} test rows of 4"
    )
    assert third == "  from given as an array, licence unknown"
    assert repr(table.train) == f"Part: torch.float32 of shape ({len(table.train)}, 4), labels"
