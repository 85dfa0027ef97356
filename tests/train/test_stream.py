from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from genlearn.maths.rng import make_rng
from genlearn.train import Stream

N, B = 23, 5


def stream(**options) -> Stream:
    x = torch.arange(N, dtype=torch.uint8)[:, None]
    return Stream(x, torch.arange(N), options.pop("batch_size", B), seed=7, dtype=torch.float64, **options)


def rows(s: Stream, steps: int) -> list[int]:
    return [int(y) for _ in range(steps) for y in next(s).y]


def test_every_image_once_an_epoch_and_batches_of_one_size():
    seen = rows(stream(), N)
    assert len(seen) == N * B
    epochs = [sorted(seen[i * N : (i + 1) * N]) for i in range(B)]
    assert epochs == [list(range(N))] * B
    assert seen[:N] != seen[N : 2 * N]


def test_the_seed_decides():
    assert rows(stream(), 9) == rows(stream(), 9)
    x = torch.arange(N)[:, None]
    assert rows(Stream(x, x[:, 0], B, seed=1), 9) != rows(Stream(x, x[:, 0], B, seed=2), 9)


def test_small_sets_live_on_the_device_and_batches_always_do(monkeypatch):
    """The device `meta` stands for any."""
    assert stream(device="meta").x.device.type == "meta"
    monkeypatch.setattr("genlearn.train.stream.RESIDENT_BYTES", N - 1)
    large = stream(device="meta")
    assert (large.x.device.type, large.y.device.type) == ("cpu", "cpu")
    assert next(large).x.device.type == "meta"


def test_pixels_are_scaled_and_go_with_their_labels():
    batch = next(stream())
    assert batch.x.dtype == torch.float64
    assert torch.allclose(batch.x[:, 0] * 255, batch.y.double())


def test_it_resumes_at_its_position():
    s = stream()
    rows(s, 3)
    state = {k: v.clone() for k, v in s.state().items()}
    expected = rows(s, 12)
    other = stream()
    rows(other, 1)
    other.load_state(state)
    assert rows(other, 12) == expected


def test_processes_share_a_batch():
    whole = rows(stream(batch_size=6), 10)
    parts = [stream(batch_size=6, rank=r, world=2) for r in range(2)]
    together = [y for _ in range(10) for part in parts for y in rows(part, 1)]
    assert together == whole
    with pytest.raises(ValueError, match="multiple of the 2 processes"):
        stream(batch_size=5, world=2)


def partly_labelled(**options) -> Stream:
    """Image i shows i; every third has a label, which is i as well."""
    x = torch.arange(N, dtype=torch.float64)[:, None]
    y = torch.where(torch.arange(N) % 3 == 0, torch.arange(N), -1)
    return Stream(x, y, options.pop("batch_size", B), seed=7, dtype=torch.float64, **options)


def test_only_labelled_rows_are_served_and_then_all_again():
    s, known = partly_labelled(), list(range(0, N, 3))
    next(s)
    s.select(True)
    assert s.n == len(known)
    batches = [next(s) for _ in range(len(known))]
    assert all(torch.equal(b.x[:, 0].long(), b.y) for b in batches)
    seen = torch.cat([b.y for b in batches]).tolist()
    assert [sorted(seen[i * len(known) : (i + 1) * len(known)]) for i in range(B)] == [known] * B
    s.select(False)
    assert s.n == N
    images = torch.cat([next(s).x for _ in range(N)])[:, 0].long().tolist()
    assert [sorted(images[i * N : (i + 1) * N]) for i in range(B)] == [list(range(N))] * B


def test_selecting_what_is_selected_changes_nothing():
    s, other = partly_labelled(), partly_labelled()
    next(s), next(other)
    s.select(False)
    assert torch.equal(next(s).x, next(other).x)
    s.select(True), other.select(True)
    next(s), next(other)
    s.select(True)
    assert torch.equal(next(s).x, next(other).x)


def test_fewer_labels_than_a_batch_holds():
    """Each known row two or three times in 20."""
    s = partly_labelled(batch_size=20)
    s.select(True)
    assert set(next(s).y.bincount()[::3].tolist()) == {2, 3}


def test_a_selection_resumes_at_its_position():
    s = partly_labelled()
    s.select(True)
    rows(s, 3)
    state = {k: v.clone() for k, v in s.state().items()}
    other = partly_labelled()
    other.select(True)
    other.load_state(state)
    assert rows(other, 12) == rows(s, 12)


def test_processes_share_a_batch_of_labelled_rows():
    whole = partly_labelled(batch_size=6)
    parts = [partly_labelled(batch_size=6, rank=r, world=2) for r in range(2)]
    for s in (whole, *parts):
        s.select(True)
    assert [y for _ in range(10) for part in parts for y in rows(part, 1)] == rows(whole, 10)


@pytest.mark.parametrize("y", [None, torch.full((N,), -1)])
def test_there_must_be_a_label(y):
    s = Stream(torch.zeros(N, 1), y, B, 0)
    with pytest.raises(ValueError, match="no image has a known label, expected some"):
        s.select(True)


def test_the_mean_is_that_of_all_images_whatever_is_selected():
    s = partly_labelled()
    s.select(True)
    assert s.mean().item() == pytest.approx((N - 1) / 2)


def test_moments():
    x = torch.randn(2500, 3, generator=make_rng(0), dtype=torch.float64)
    s = Stream(x, None, 10, 0, dtype=torch.float64)
    assert torch.allclose(s.mean(), x.mean(0))
    assert torch.allclose(s.variance(), x.var(0, correction=0))


@st.composite
def streams(draw: st.DrawFn) -> tuple[int, int, Tensor, float, int, int]:
    """Rows, processes, labels (-1: unknown), share of labelled rows, size of a batch, a position."""
    n, world = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    y = torch.tensor(draw(st.lists(st.booleans(), min_size=n, max_size=n))).long() * (1 + torch.arange(n)) - 1
    labelled = draw(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))) if bool((y >= 0).any()) else 0.0
    return n, world, y, labelled, world * draw(st.integers(1, 6)), draw(st.integers(0, 9))


def those(n: int, y: Tensor, labelled: float, batch_size: int, rank: int = 0, world: int = 1) -> Stream:
    s = Stream(torch.arange(n)[:, None].double(), y, batch_size, 7, dtype=torch.float64, rank=rank, world=world)
    s.select(labelled)
    return s


def images(s: Stream, steps: int) -> Tensor:
    """The rows of so many batches [steps, B]."""
    return torch.stack([next(s).x[:, 0].long() for _ in range(steps)])


def once_an_epoch(rows: Tensor, kind: Tensor) -> bool:
    """Whether rows [m] are a series of permutations of `kind`, the last of which may be cut short."""
    epochs = rows.split(len(kind))
    whole = [e for e in epochs if len(e) == len(kind)]
    return all(torch.equal(e.sort().values, kind) for e in whole) and len(epochs[-1].unique()) == len(epochs[-1])


few = settings(derandomize=True, deadline=None, max_examples=40)


@few
@given(streams())
def test_any_share_is_exact_even_and_every_row_of_a_kind_comes_once_an_epoch(case):
    n, world, y, labelled, B, _ = case
    batches, count = images(those(n, y, labelled, B), 9), round(labelled * B)
    assert batches.shape == (9, B)
    if count in (0, B):
        assert once_an_epoch(batches.flatten(), (y >= 0).nonzero()[:, 0] if count else torch.arange(n))
    elif bool((y < 0).any()):  # else rows of the two kinds look the same
        known = y[batches] >= 0
        assert (known.sum(1) == count).all()
        counts = torch.stack([part.sum(1) for part in known.chunk(world, 1)])
        assert (counts.amax(0) - counts.amin(0) <= 1).all()
        for kind in (True, False):
            assert once_an_epoch(batches[known == kind], ((y >= 0) == kind).nonzero()[:, 0])


@few
@given(streams())
def test_any_stream_resumes_at_any_position(case):
    n, _, y, labelled, B, position = case
    s, other = those(n, y, labelled, B), those(n, y, labelled, B)
    for _ in range(position):
        next(s)
    state = {name: t.clone() for name, t in s.state().items()}
    expected = images(s, 5)
    next(other)
    other.load_state(state)
    assert torch.equal(images(other, 5), expected)


@few
@given(streams())
def test_any_processes_serve_the_batches_of_one(case):
    n, world, y, labelled, B, _ = case
    parts = [images(those(n, y, labelled, B, rank, world), 5) for rank in range(world)]
    assert torch.equal(torch.cat(parts, 1), images(those(n, y, labelled, B), 5))


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ((torch.zeros(0, 1), None, 5), "0 images, None labels and batch_size 5"),
        ((torch.zeros(3, 1), torch.zeros(2), 5), "3 images, 2 labels and batch_size 5"),
        ((torch.zeros(3, 1), None, 0), "3 images, None labels and batch_size 0"),
    ],
)
def test_a_stream_of_nothing_is_refused(given_, message):
    with pytest.raises(ValueError, match=f"{message}, expected"):
        Stream(*given_, 0)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(ValueError, match=f"labelled is {share}, expected a share between 0 and 1"):
        partly_labelled().select(share)
