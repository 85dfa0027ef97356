"""The laws of the split."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from genlearn.data import load
from genlearn.data.split import DROPPED, TEST, TRAIN, VALID, digests, part_hash, parts, sides


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 12), dtype=np.uint8)


laws = settings(max_examples=60, derandomize=True, deadline=None)
Given = NDArray[np.int8]


@st.composite
def sets(draw: st.DrawFn, official: bool = True) -> tuple[NDArray[np.uint8], Given | None]:
    """Rows, few of them or many, many of them equal or few, and the official side of each (None: there is none)."""
    n, rng = draw(st.integers(1, 300)), np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.integers(0, draw(st.integers(1, 1000)), n).astype("<u2").view(np.uint8).reshape(n, 2)
    held_out = draw(st.sampled_from([(), (VALID,), (TEST,), (VALID, TEST)])) if official else ()
    return x, rng.choice([TRAIN, TRAIN, TRAIN, *held_out], n).astype(np.int8) if held_out else None


@laws
@given(sets(), st.randoms(use_true_random=False))
def test_permuting_the_rows_permutes_the_sides(rows_and_sides, shuffle) -> None:
    x, official = rows_and_sides
    order = np.array(shuffle.sample(range(len(x)), len(x)))
    side = sides(digests(x), official)
    assert np.array_equal(sides(digests(x[order]), None if official is None else official[order]), side[order])


@laws
@given(sets())
def test_equal_rows_never_lie_on_two_sides_and_no_content_is_lost(rows_and_sides) -> None:
    where: dict[bytes, set[int]] = {}
    for row, s in zip(rows_and_sides[0], sides(digests(rows_and_sides[0]), rows_and_sides[1]).tolist(), strict=True):
        where.setdefault(row.tobytes(), set()).add(s)
    assert all(len(found - {DROPPED}) == 1 for found in where.values())


@laws
@given(sets())
def test_official_sides_are_kept_and_the_others_cut_out_of_train(rows_and_sides) -> None:
    x, official = rows_and_sides
    side = sides(digests(x), official)
    if official is None:
        assert (side != DROPPED).all()
        return
    held_out = set(official.tolist()) - {TRAIN}
    for s in held_out:
        assert set(side[official == s].tolist()) <= {s, DROPPED}
    assert (side[official == TEST] == TEST).all()
    assert not held_out & set(side[official == TRAIN].tolist())
    kept = {row.tobytes() for row in x[side > TRAIN]}
    assert all(row.tobytes() in kept for row in x[side == DROPPED])


@laws
@given(sets(official=False))
def test_with_three_different_rows_no_side_is_empty(rows_and_sides) -> None:
    """Of fewer than a hundred, where chance could leave one empty, each held-out side gets the tenth, rounded down."""
    x, _ = rows_and_sides
    m, side = len(np.unique(x, axis=0)), sides(digests(x))
    sizes = [len(np.unique(x[side == s], axis=0)) for s in (TRAIN, VALID, TEST)]
    if m < 100:
        share = max(m // 10, 1) if m > 2 else 0
        assert sizes == [m - 2 * share, share, share]
    else:
        assert min(sizes) > 0


@laws
@given(sets(), st.data())
def test_a_change_anywhere_changes_the_hash_of_its_side(rows_and_sides, data) -> None:
    """A label, a bit of a pixel with the side kept, and the order of two rows that differ; other sides keep theirs."""
    x, official = rows_and_sides
    y, keys = np.arange(len(x)) % 3, digests(x)
    side = sides(keys, official)
    before = [part.hash for part in parts(x, y, keys, side)]
    i = data.draw(st.sampled_from(np.flatnonzero(side != DROPPED).tolist()))
    bit, label = x.copy(), y.copy()
    bit[i, 1] ^= 128
    label[i] = -1
    variants = [(x, label), (bit, y)]
    mates = [j for j in np.flatnonzero(side == side[i]) if y[j] != y[i] or (x[j] != x[i]).any()]
    if mates:
        order = np.arange(len(x))
        order[[i, mates[0]]] = order[[mates[0], i]]
        variants.append((x[order], y[order]))
    for rows_, labels in variants:
        after = [part.hash for part in parts(rows_, labels, digests(rows_), side)]
        assert [s for s in (TRAIN, VALID, TEST) if after[s] != before[s]] == [side[i]]


def test_test_rows_stay_and_their_copies_leave_train() -> None:
    x = rows(300)
    x[7] = x[250]
    official = np.repeat(np.array([TRAIN, TEST], np.int8), [200, 100])
    side = sides(digests(x), official)
    assert (side[200:] == TEST).all()
    assert np.flatnonzero(side == DROPPED).tolist() == [7]


@pytest.mark.parametrize("n", [100, 1000])
def test_the_rule_is_the_documented_one(n: int) -> None:
    """Frozen: (first 8 bytes of the sha256) mod 10, 0 validation, 1 test. A change here breaks every record."""
    x = rows(n)
    tenth = [int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:8], "big") % 10 for row in x]
    side = np.array([{0: VALID, 1: TEST}.get(t, TRAIN) for t in tenth])
    assert np.array_equal(sides(digests(x)), side)
    data = load(x)
    for s, part in enumerate((data.train, data.valid, data.test)):
        assert np.array_equal(part.x, x[side == s])


def test_adding_rows_moves_no_row() -> None:
    x = rows(3000)
    assert np.array_equal(sides(digests(x))[:1000], sides(digests(x[:1000])))


@pytest.mark.parametrize(("n", "expected"), [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (99, (81, 9, 9))])
def test_small_sets_leave_no_side_empty_where_they_can(n: int, expected: tuple[int, int, int]) -> None:
    side = sides(digests(rows(n)))
    assert tuple((side == s).sum() for s in (TRAIN, VALID, TEST)) == expected


def test_the_shares_are_tenths() -> None:
    side = sides(digests(rows(20_000)))
    for s in (VALID, TEST):
        assert abs((side == s).mean() - 0.1) < 5 * (0.09 / 20_000) ** 0.5


def test_minus_zero_is_zero() -> None:
    zero = np.zeros((2, 3), np.float32)
    zero[1] *= -1
    assert np.signbit(zero[1]).all()
    a, b = digests(zero)
    assert np.array_equal(a, b)


def test_part_hashes_see_pixels_labels_order_shape_and_type() -> None:
    x, y = rows(40), np.arange(40) % 4
    changed = x.copy()
    changed[:, 0] ^= 1
    variants = [(x, y), (changed, y), (x, (y + 1) % 4), (x, None), (x[::-1], y[::-1]), (x.astype(np.float32), y)]
    variants.append((x.reshape(40, 3, 4), y))
    hashes = [load(a, b).train.hash for a, b in variants]
    assert len(set(hashes)) == len(hashes)
    keys = digests(x)
    assert part_hash(keys, None, x.shape, "uint8") != part_hash(keys, None, x.shape, "float32")
    assert load(x, y).train.hash == hashes[0]
