"""The way in and out: shapes, types, ranges and labels, for any images that hypothesis thinks of."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genlearn import border
from genlearn.border import Border
from genlearn.data import load

few = settings(derandomize=True, deadline=None, max_examples=40)
shapes = st.one_of(
    hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=4),
    st.tuples(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(1, 4), st.integers(2, 2)),
)


@st.composite
def pictures(draw) -> np.ndarray:
    """Bytes, or floats of any precision and range."""
    dtype = draw(st.sampled_from([np.uint8, np.float16, np.float32, np.float64]))
    if dtype == np.uint8:
        return draw(hnp.arrays(dtype, shapes))
    low, width = draw(st.sampled_from([(0.0, 1.0), (-1.0, 2.0), (0.0, 255.0), (-3.0, 1.5), (5.0, 0.0)]))
    part = st.integers(0, 64).map(lambda k: low + width * k / 64)
    return draw(hnp.arrays(dtype, shapes, elements=part)).astype(dtype)


def known(X: np.ndarray, pixels: bool = True, y: np.ndarray | None = None) -> tuple[np.ndarray, Border]:
    array, given_type = border.images(X, torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return array, Border.of(array, given_type, pixels, y)


def inside(b: Border, x: torch.Tensor) -> torch.Tensor:
    return x / 255 if x.dtype == torch.uint8 else x


@few
@given(pictures(), st.booleans())
def test_what_goes_in_comes_out(X, pixels):
    """In the same shape, type and range; inside there are floats or bytes, one channel at least, pixels in [0, 1]."""
    array, b = known(X, pixels)
    x = b.inward(array)
    assert tuple(x.shape) == (len(X), *b.inner_shape)
    assert x.ndim in (2, 4)
    assert x.dtype == (torch.uint8 if X.dtype == np.uint8 else torch.float32)
    if pixels:
        values = inside(b, x)
        assert values.min() >= 0
        assert values.max() <= 1
    back = b.outward(inside(b, x).flatten(1))
    assert back.shape == X.shape
    assert back.dtype == X.dtype
    np.testing.assert_allclose(back.astype(float), X.astype(float), atol=2e-3 if X.dtype == np.float16 else 3e-5)


@few
@given(pictures(), st.booleans(), st.sampled_from([None, [3, -1, 9], ["b", "a"], [0.5, -1.0]]))
def test_json_keeps_all_of_it(X, pixels, labels):
    _, b = known(X, pixels, None if labels is None else np.asarray(labels))
    twin = Border.from_json(json.loads(json.dumps(b.to_json())))
    assert (twin.shape, twin.dtype, twin.range, twin.seen) == (b.shape, b.dtype, b.range, b.seen)
    assert twin.classes.tolist() == b.classes.tolist()
    assert twin.classes.dtype.kind == b.classes.dtype.kind


@pytest.mark.parametrize(
    ("X", "pixels", "ends"),
    [
        (np.array([[-1.0, 3.0]]), True, (-1.0, 3.0)),
        (np.array([[0.25, 3.0]]), True, (0.25, 3.0)),
        (np.array([[-1.0, 3.0]]), False, (0.0, 1.0)),
        (np.array([[0.25, 0.75]]), True, (0.0, 1.0)),
        (np.array([[7.0, 7.0]]), True, (7.0, 8.0)),
        (np.array([[3, 9]], np.uint8), True, (0.0, 255.0)),
        (np.array([[3, 9]], np.uint8), False, (0.0, 255.0)),
    ],
)
def test_what_means_0_and_1_inside(X, pixels, ends):
    _, b = known(X, pixels)
    assert b.range == ends
    assert b.seen == (X.min(), X.max())
    whole = b.outward(torch.tensor([[0.0, 1.0]]))
    assert whole.tolist() == [[round(e) if X.dtype == np.uint8 else e for e in ends]]
    if X.dtype != np.uint8:
        assert b.inward(whole).tolist() == [[0.0, 1.0]]


def test_bytes_are_rounded_and_kept_in_their_range():
    _, b = known(np.zeros((1, 4), np.uint8))
    assert b.outward(torch.tensor([[-0.1, 0.4999 / 255, 0.5001 / 255, 1.7]])).tolist() == [[0, 0, 1, 255]]


@few
@given(st.lists(st.sampled_from([-1, 0, 4, 7]), min_size=1, max_size=9), st.sampled_from([np.int64, np.int8, float]))
def test_labels_become_indices_and_minus_one_stays(labels, dtype):
    y = np.array(labels, dtype)
    _, b = known(np.zeros((len(y), 2), np.float32), y=y)
    distinct = sorted(set(labels) - {-1})
    assert b.classes.tolist() == distinct
    assert b.index(y).tolist() == [-1 if label == -1 else distinct.index(label) for label in labels]
    assert b.index(y).dtype == torch.int64
    with pytest.raises(ValueError, match=r"y has the label 5\.?0?, expected one of"):
        b.index(np.array([5], dtype))


def test_texts_are_labels_too():
    _, b = known(np.zeros((3, 2), np.float32), y=np.array(["no", "yes", "no"]))
    assert b.index(np.array(["yes", "no"])).tolist() == [1, 0]
    with pytest.raises(ValueError, match="y has the label 'maybe', expected one of"):
        b.index(np.array(["maybe"]))
    assert Border.from_json(b.to_json()).index(np.array(["yes", "no"])).tolist() == [1, 0]


def test_labels_are_as_many_as_images_and_name_classes():
    assert border.labels([1, 2], 2).tolist() == [1, 2]
    with pytest.raises(ValueError, match="y has 3 labels, expected 2"):
        border.labels([1, 2, 3], 2)
    with pytest.raises(ValueError, match="y has no labels, expected 2"):
        border.labels(1, 2)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        border.classes(np.array([0.5, 1.25]))


@pytest.mark.parametrize(
    ("shape", "block"),
    [((64,), 64), ((28, 28), 64), ((3, 64, 64), 21), ((3, 600, 600), 1), ((4096,), 64), ((4097,), 63)],
)
def test_the_block_follows_from_the_shape(shape, block):
    """At most 64 images, and at most 2^18 values where that is more than one."""
    b = Border(shape, np.dtype(np.float32), (0.0, 1.0), (0.0, 1.0), np.empty(0), ())
    assert b.block == block


def fitted(low: float, high: float, dtype=np.float64) -> Border:
    return known(np.array([[low, high]], dtype))[1]


@pytest.mark.parametrize(
    ("b", "values", "warned"),
    [
        (fitted(0, 1), [0, 255], True),
        (fitted(0, 1), [-1, 1], True),
        (fitted(0, 1), [-0.4, 1.4], False),
        (fitted(0, 255), [0.0, 1.0], True),
        (fitted(0, 255), [0.0, 200.0], False),
        (fitted(-1, 1), [0.0, 1.0], False),
        (fitted(-1, 1), [0.0, 255.0], True),
        (fitted(0, 255, np.uint8), [0.0, 1.0], True),
    ],
)
def test_another_scale_is_told_in_both_directions(b, values, warned):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        b.check(np.array([values], np.float32))
    assert [str(w.message).startswith(f"X lies in [{values[0]:g}, {values[1]:g}]") for w in told] == [True] * warned


def test_another_shape_is_told_with_both():
    b = known(np.zeros((2, 8, 8), np.float32))[1]
    with pytest.raises(ValueError, match=r"X has images of shape \(64,\), expected \(8, 8\) .* X.reshape\(-1, 8, 8\)"):
        b.check(np.zeros((2, 64), np.float32))


def test_answers_have_the_type_of_the_images():
    values = torch.tensor([1.5, 2.5], dtype=torch.float64)
    for given_type, answered in ((np.float16, np.float16), (np.float32, np.float32), (np.uint8, np.float64)):
        assert known(np.zeros((2, 2), given_type))[1].answer(values).dtype == answered


def test_images_of_the_models_precision():
    """What is given in integers or in double is computed in the model's type, and comes back in its own."""
    x = np.array([[0.1, 1 / 3]])
    for precision, inner in ((torch.float32, np.float32), (torch.float64, np.float64)):
        array, own = border.images(x, precision)
        assert (array.dtype, own) == (inner, np.float64)
    array, own = border.images(np.array([[0, 1]]), torch.float32)
    assert (array.dtype, own) == (np.float32, np.int64)
    assert border.images(torch.tensor([[3, 9]], dtype=torch.uint8), torch.float64)[0].dtype == np.uint8


def test_a_part_is_images_and_a_set_of_three_is_not(tmp_path):
    data = load(np.random.default_rng(0).integers(0, 255, (60, 1, 4, 4)).astype(np.uint8))
    assert np.array_equal(border.images(data.test, torch.float32)[0], data.test.x.numpy())
    for X, what in ((data, "the data set "), (str(tmp_path), "the text "), (tmp_path, "the text ")):
        with pytest.raises(ValueError, match="expected images, or one part of a data set") as error:
            border.images(X, torch.float32)
        assert what in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_here(name, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    assert border.pick_device("auto") == border.pick_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match=f"device is '{name}', but torch sees no .* device='auto'"):
        border.pick_device(name)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert border.pick_device("auto") == torch.device("mps")


def test_another_shape_of_as_many_values_is_reshaped_and_any_other_is_not():
    border = Border.of(np.zeros((3, 4, 6), np.uint8), np.dtype(np.uint8), True, None)
    with pytest.raises(ValueError, match=r"expected \(4, 6\) as in fit; the usual fix is X.reshape\(-1, 4, 6\)"):
        border.check(np.zeros((3, 24), np.uint8))
    with pytest.raises(ValueError, match=r"shape \(5, 5\), expected \(4, 6\) as in fit; .* images of that size"):
        border.check(np.zeros((3, 5, 5), np.uint8))


@pytest.mark.parametrize("shape", [(9,), (3, 3), (1, 3, 3), (3, 3, 3)])
def test_images_of_one_colour_are_told_in_one_line(shape):
    flat = np.broadcast_to(np.arange(4, dtype=np.uint8).reshape(-1, *[1] * len(shape)), (4, *shape)).copy()
    if shape == (3, 3, 3):
        flat[:, 1] += 7  # not grey
    words = r"^the training images \(4\) are plain, each of one colour, values 0 to .*; the usual fix is a look at the"
    with pytest.warns(UserWarning, match=words):
        Border.of(flat, flat.dtype, True, None)
    flat[3].flat[-1] += 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Border.of(flat, flat.dtype, True, None)
        Border.of(flat[:, :1].reshape(len(flat), -1)[:, :1], flat.dtype, True, None)  # of one number each
