"""Noise that depends on the content of a row is noise all the same."""

from __future__ import annotations

import pytest
import torch

from genlearn.maths import rng
from genlearn.maths.rng import bernoulli_by_content, make_rng


def test_draws_of_different_rows_and_pixels_are_independent():
    """Bernoulli(p) in every pixel, and no two pixels alike, though the rows are nearly the same."""
    p = 0.4 + 0.2 * torch.rand(8000, 5, generator=make_rng(0), dtype=torch.float64)
    x = bernoulli_by_content(p)
    assert (x.mean(0) - 0.5).abs().max() < 0.03  # 5.4 standard deviations
    assert (torch.corrcoef(x.T) - torch.eye(5)).abs().max() < 0.06


def test_every_mean_has_its_share_of_ones():
    p = torch.tensor([0.05, 0.2, 0.4, 0.7, 0.9]).double().expand(200, 20_000, 5)[0].clone()
    p = torch.cat([p, torch.rand(len(p), 3, generator=make_rng(0)).double()], 1)  # so that rows differ
    assert (bernoulli_by_content(p).mean(0)[:5] - p[0, :5]).abs().max() < 5 * 0.5 / len(p) ** 0.5


def test_a_row_in_another_order_has_other_noise():
    n = 10_000
    p = (127 + torch.arange(n).fmod(2)[None]).double() / 255
    same = bernoulli_by_content(p) == bernoulli_by_content(p.flip(1))
    assert abs(same.double().mean().item() - 0.5) < 5 * 0.5 / n**0.5


def test_less_than_half_a_grey_level_leaves_the_noise():
    """The same noise under a larger p: ones stay ones."""
    p = torch.randint(1, 255, (50, 200), generator=make_rng(0)).double() / 255
    less, more = (bernoulli_by_content(p + shift / 255) for shift in (-0.3, 0.3))
    assert (less <= more).all()


@pytest.mark.parametrize("bits", [0, -1])
def test_the_ends_are_exact_whatever_is_drawn(bits, monkeypatch):
    monkeypatch.setattr(rng, "_mix", lambda z: torch.full_like(z, bits))
    assert bernoulli_by_content(torch.tensor([[0.0, 1.0]])).tolist() == [[0, 1]]


def test_the_numbers_of_splitmix64():
    """Those that its authors' program prints for the seed 1234567."""
    words = rng._mix(1234567 + torch.arange(1, 6) * rng._GOLDEN)
    assert [word % 2**64 for word in words.tolist()] == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip
