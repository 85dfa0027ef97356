"""Noise that depends on the content of a row is noise all the same."""

from __future__ import annotations

import torch

from genlearn.maths.rng import bernoulli_by_content, make_rng


def test_draws_of_different_rows_and_pixels_are_independent():
    """Bernoulli(p) in every pixel, and no two pixels alike, though the rows are nearly the same."""
    p = 0.4 + 0.2 * torch.rand(8000, 5, generator=make_rng(0), dtype=torch.float64)
    x = bernoulli_by_content(p)
    assert (x.mean(0) - 0.5).abs().max() < 0.03  # 5.4 standard deviations
    assert (torch.corrcoef(x.T) - torch.eye(5)).abs().max() < 0.06
