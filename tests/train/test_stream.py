from __future__ import annotations

import pytest
import torch

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


def test_moments():
    x = torch.randn(2500, 3, generator=make_rng(0), dtype=torch.float64)
    s = Stream(x, None, 10, 0, dtype=torch.float64)
    assert torch.allclose(s.mean(), x.mean(0))
    assert torch.allclose(s.variance(), x.var(0, correction=0))
