"""What becomes of one odd image."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genlearn.data import load
from genlearn.data.images import _eight_bit, opaque

Save = Callable[..., Path]
RED, WHITE = (255, 0, 0), (255, 255, 255)


def only(photos: Path, **options: object) -> np.ndarray:
    """The one image of the folder, HWC."""
    data = load(photos, **options)
    assert (len(data.train), len(data.valid), len(data.test)) == (1, 0, 0)
    return data.train.x[0].numpy().transpose(1, 2, 0)


def test_rgb_pixels_are_kept_when_nothing_needs_resizing(photos: Path, save: Save) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    save("a.png", pixels)
    assert np.array_equal(only(photos), pixels)


def test_palette_gives_its_colours(photos: Path, save: Save) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *RED])
    save("a.png", image)
    assert np.array_equal(only(photos), np.full((8, 8, 3), RED))


def test_palette_with_transparent_entry_is_composited_on_white(photos: Path, save: Save) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *RED])
    image.paste(0, (0, 0, 8, 4))
    save("a.png", image, transparency=0)
    pixels = only(photos)
    assert np.array_equal(pixels[:4], np.full((4, 8, 3), WHITE))
    assert np.array_equal(pixels[4:], np.full((4, 8, 3), RED))


def test_grey_palette_counts_as_grey(photos: Path, save: Save) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 90, 90, 90])
    save("a.png", image)
    assert np.array_equal(only(photos), np.full((8, 8, 1), 90))


def test_alpha_on_white_or_kept(photos: Path, save: Save) -> None:
    pixels = np.full((8, 8, 4), (255, 0, 0, 0), np.uint8)
    pixels[4:, :, 3] = 51
    save("a.png", pixels)
    white = only(photos)
    assert np.array_equal(white[:4], np.full((4, 8, 3), WHITE))
    assert np.array_equal(white[4:], np.full((4, 8, 3), (255, 204, 204)))
    assert np.array_equal(only(photos, alpha="keep"), pixels)


def test_alpha_keep_makes_opaque_images_rgba(photos: Path, save: Save) -> None:
    save("a.png", np.full((8, 8), 7, np.uint8))
    assert np.array_equal(only(photos, alpha="keep"), np.full((8, 8, 4), (7, 7, 7, 255)))


def test_exif_rotation_is_applied(photos: Path, save: Save) -> None:
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8, :8] = 255  # top left on file; orientation 6: turn clockwise by 90 degrees, then top right
    exif = Image.Exif()
    exif[0x0112] = 6
    save("a.png", pixels, exif=exif)
    assert np.array_equal(only(photos)[..., 0], np.rot90(pixels, -1))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled(photos: Path, save: Save, suffix: str) -> None:
    save(f"a.{suffix}", np.repeat(np.array([[0, 257, 32896, 65535]], np.uint16), 4, axis=0))
    assert only(photos)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_float_grey_beyond_1_is_reported_not_guessed(photos: Path, save: Save) -> None:
    save("bad.tif", np.full((8, 8), 2.0, np.float32))
    save("good.tif", np.full((8, 8), 0.2, np.float32))
    data = load(photos)
    assert data.report.corrupt == ("bad.tif: grey values 2 to 2, expected 0 to 1",)
    assert data.train.x.unique().tolist() == [51]


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animation_gives_its_first_frame(photos: Path, save: Save, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in (RED, (0, 0, 255))]
    save(
        f"a.{suffix}",
        frames[0],
        save_all=True,
        append_images=frames[1:],
        **({"lossless": True} if suffix == "webp" else {}),
    )
    assert np.array_equal(only(photos), np.full((8, 8, 3), RED))


@pytest.mark.parametrize("suffix", ["bmp", "jpg", "JPEG", "tiff"])
def test_other_formats_are_read(photos: Path, save: Save, suffix: str) -> None:
    save(f"a.{suffix}", Image.new("RGB", (8, 8), (200, 100, 50)))
    assert np.abs(only(photos).astype(int) - (200, 100, 50)).max() <= 2


def test_cmyk_becomes_rgb(photos: Path, save: Save) -> None:
    save("a.tif", Image.new("CMYK", (8, 8), (0, 255, 255, 0)))
    assert np.array_equal(only(photos), np.full((8, 8, 3), RED))


def test_the_middle_square_is_kept_and_scaled(photos: Path, save: Save) -> None:
    path = save("a.png", np.random.default_rng(0).integers(0, 256, (32, 64), dtype=np.uint8))
    whole = Image.open(path).resize((32, 16), Image.Resampling.LANCZOS)
    assert np.abs(only(photos, size=16)[..., 0].astype(int) - np.asarray(whole)[:, 8:24]).max() <= 1


def test_resizing_is_antialiased(photos: Path, save: Save) -> None:
    save("a.png", np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255)
    assert np.abs(only(photos, size=8).astype(int) - 127).max() < 16  # a chequerboard is grey from afar


def test_a_large_jpeg_looks_as_if_decoded_in_full(photos: Path, save: Save) -> None:
    texture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    path = save("a.jpg", texture.resize((256, 256), Image.Resampling.BICUBIC), quality=95)
    full = Image.open(path).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.abs(only(photos, size=32)[..., 0].astype(int) - np.asarray(full)).mean() < 1.5


@pytest.mark.parametrize(("side", "kept"), [(16, 1), (15, 0)])
def test_an_image_of_half_the_size_is_enlarged_and_a_smaller_one_left_out(
    photos: Path, save: Save, side: int, kept: int
) -> None:
    save("a.png", 40)
    save("b.png", side)
    data = load(photos, size=32)
    assert sum(map(len, (data.train, data.valid, data.test))) == 1 + kept
    assert len(data.report.small) == 1 - kept


def test_deep_grey_takes_little_memory(photos: Path) -> None:
    """As doubles, all at once, 16 million pixels took half a gigabyte."""
    path = photos / "deep.png"
    photos.mkdir(exist_ok=True)
    values = np.arange(4000 * 4000, dtype=np.uint32).reshape(4000, 4000).astype(np.uint16)
    Image.fromarray(values).save(path)
    tracemalloc.start()
    try:
        with Image.open(path) as image:
            grey = np.asarray(_eight_bit(image))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(grey, np.rint(values * (255 / 65535)).astype(np.uint8))
    assert peak < 150e6


def test_which_images_are_opaque():
    grey, clear, solid = Image.new("L", (2, 2)), Image.new("RGBA", (2, 2)), Image.new("RGBA", (2, 2), "white")
    for image, expected in ((grey, True), (clear, False), (solid, True)):
        file = io.BytesIO()
        image.save(file, "PNG")
        assert opaque(file) == expected
