"""The laws of the split."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from genlearn.data import load
from genlearn.data.split import DROPPED, TEST, TRAIN, VALID, digests, sides


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 12), dtype=np.uint8)


@pytest.mark.parametrize("n", [1, 2, 3, 30, 99, 100, 2000])
@pytest.mark.parametrize("official", [False, True])
def test_permuting_the_rows_permutes_the_sides(n: int, official: bool) -> None:
    x, order = rows(n), np.random.default_rng(1).permutation(n)
    given = np.where(np.arange(n) % 5 == 4, TEST, TRAIN).astype(np.int8) if official else None
    side = sides(digests(x), given)
    assert np.array_equal(sides(digests(x[order]), None if given is None else given[order]), side[order])


@pytest.mark.parametrize("n", [6, 60, 600])
@pytest.mark.parametrize("official", [False, True])
def test_equal_rows_never_lie_on_two_sides(n: int, official: bool) -> None:
    x = np.random.default_rng(2).integers(0, 2, (n, 6), dtype=np.uint8)  # 64 different rows at most
    given = (np.random.default_rng(3).integers(0, 10, n) == 0).astype(np.int8) * TEST if official else None
    side = sides(digests(x), given)
    where: dict[bytes, set[int]] = {}
    for row, s in zip(x, side.tolist(), strict=True):
        where.setdefault(row.tobytes(), set()).add(s)
    assert all(len(found - {DROPPED}) == 1 for found in where.values())


def test_test_rows_stay_and_their_copies_leave_train() -> None:
    x = rows(300)
    x[7] = x[250]
    given = np.repeat(np.array([TRAIN, TEST], np.int8), [200, 100])
    side = sides(digests(x), given)
    assert (side[200:] == TEST).all()
    assert np.flatnonzero(side == DROPPED).tolist() == [7]


def test_the_rule_is_the_documented_one() -> None:
    """Frozen: (first 8 bytes of the sha256) mod 10, 0 validation, 1 test. A change here breaks every record."""
    x = rows(1000)
    tenth = [int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:8], "big") % 10 for row in x]
    assert sides(digests(x)).tolist() == [{0: VALID, 1: TEST}.get(t, TRAIN) for t in tenth]


def test_adding_rows_moves_no_row() -> None:
    x = rows(3000)
    assert np.array_equal(sides(digests(x))[:1000], sides(digests(x[:1000])))


@pytest.mark.parametrize(
    ("n", "expected"), [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (10, (8, 1, 1)), (29, (25, 2, 2))]
)
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
    assert load(x, y).train.hash == hashes[0]
