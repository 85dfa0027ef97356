"""Differentiable augmentation: what it changes, by how much, and that it is differentiable and seeded."""

from __future__ import annotations

import pytest
import torch

from genlearn.maths.augment import Augmentation, color, cutout, translation
from genlearn.maths.rng import make_rng


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=make_rng(seed), dtype=torch.float64)


def test_shifts_are_whole_images_with_zeros():
    """Every result is the image at one of the (2 m + 1)^2 shifts, m an eighth of the side; all of them come."""
    x = 0.5 + 0.5 * images(1, 2, 8, 16)
    m = (1, 2)
    padded = torch.nn.functional.pad(x[0], (2, 2, 1, 1))
    expected = {(dy, dx): padded[:, 1 + dy : 9 + dy, 2 + dx : 18 + dx] for dy in range(-1, 2) for dx in range(-2, 3)}
    y = translation(x.expand(400, -1, -1, -1), make_rng(0))
    found = [next(shift for shift, image in expected.items() if torch.equal(row, image)) for row in y]
    assert set(found) == set(expected), m
    assert max(found.count(shift) for shift in expected) < 80


def test_colours():
    """Brightness moves the mean, saturation the distance from grey, contrast that from the mean."""
    x = images(1, 3, 5, 5).expand(2000, -1, -1, -1)
    y = color(x, make_rng(0))
    shift = y.mean((1, 2, 3)) - x.mean((1, 2, 3))
    assert shift.abs().max() <= 0.25
    assert shift.std().item() == pytest.approx(0.5 / 12**0.5, rel=0.05)
    grey, before = (v.mean(1) - v.mean((1, 2, 3)).view(-1, 1, 1) for v in (y, x))
    contrast = (grey / before).flatten(1)
    torch.testing.assert_close(contrast, contrast[:, :1].expand_as(contrast))  # one factor an image
    assert 0.5 <= contrast.min() < 0.51
    assert 1.49 < contrast.max() <= 1.5
    spread, before = (v - v.mean(1, keepdim=True) for v in (y, x))
    saturation = (spread / before).flatten(1)[:, 0] / contrast[:, 0]
    assert 0 <= saturation.min() < 0.02
    assert 1.98 < saturation.max() <= 2


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_opacity_stays(channels):
    x = images(6, channels, 4, 4)
    y = color(x, make_rng(0))
    opaque = channels % 2 == 0
    assert torch.equal(y[:, -1], x[:, -1]) == opaque
    assert (y[:, 0] != x[:, 0]).all()


def test_cutout_takes_a_rectangle_of_half_the_sides():
    y = cutout(torch.ones(3000, 1, 8, 12), make_rng(0))
    assert set(y.unique().tolist()) == {0.0, 1.0}
    hidden = (y == 0)[:, 0]
    assert hidden.any(2).sum(1).max() == 4
    assert hidden.any(1).sum(1).max() == 6
    assert (hidden.flatten(1).sum(1) == hidden.any(2).sum(1) * hidden.any(1).sum(1)).all()
    assert hidden.any(0).all()


def test_every_kind_is_differentiable_and_each_image_has_its_own_change():
    x = images(3, 3, 8, 8).requires_grad_()
    augment = Augmentation.parse("color,translation,cutout")
    assert torch.autograd.gradcheck(lambda v: augment(v, make_rng(1)), x)
    same = images(1, 3, 8, 8).expand(4, -1, -1, -1)
    for kind, f in Augmentation.KINDS.items():
        y = f(same, make_rng(0))
        assert not torch.equal(y[0], y[1]), kind
        assert torch.equal(y, f(same, make_rng(0))), kind


@pytest.mark.parametrize("text", ["", "colour", "color,color", "color+cutout"])
def test_text_that_is_none(text):
    with pytest.raises(ValueError, match="is no augmentation, expected augmentations among color, translation"):
        Augmentation.parse(text)
