"""One image file to size x size bytes: orientation, bit depth, palette, alpha, colour, crop, scale."""

from __future__ import annotations

from typing import IO, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # others may start programs (EPS), whatever the file's name
STRIP = 256  # rows
Mode: TypeAlias = Literal["L", "RGB", "RGBA"]


class Header(NamedTuple):
    """What is known of an image before its pixels are decoded."""

    shorter: int
    grey: bool


class Flaw(NamedTuple):
    """Why an image is left out."""

    kind: Literal["corrupt", "small"]
    reason: str


def header(file: IO[bytes]) -> Header:
    """Shorter side in pixels, and whether the image is grey by its mode or by its palette."""
    with Image.open(file, formats=FORMATS) as image:
        palette = image.getpalette() if image.mode in ("P", "PA") else None
        grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
        return Header(min(image.size), grey or (palette is not None and _is_grey(palette)))


def prepare(file: IO[bytes], size: int, mode: Mode) -> NDArray[np.uint8] | Flaw:
    """The image (of an animation: the first frame) as [C, size, size] uint8.

    Turned as EXIF says; 16-bit grey 0..65535 and float grey 0..1 scaled to 8 bit; alpha composited on white unless
    mode is RGBA; the shorter side resized to `size` (Lanczos, antialiased) and the middle cropped.
    An image whose shorter side is below size / 2 is a Flaw "small". Raises whatever the decoder does on damaged bytes.
    """
    with Image.open(file, formats=FORMATS) as image:
        if 2 * min(image.size) < size:
            return Flaw("small", f"{image.width}x{image.height}, expected at least {(size + 1) // 2} a side")
        image.draft(None, (2 * size, 2 * size))  # a JPEG far larger than asked is decoded at a half, a quarter ...
        square = ImageOps.fit(_colour(image, mode), (size, size), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(square).reshape(size, size, -1).transpose(2, 0, 1))


def opaque(file: IO[bytes]) -> bool:
    """Whether no pixel of an image is transparent, or partly so."""
    with Image.open(file, formats=FORMATS) as image:
        clear = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa")
        return not clear or image.convert("RGBA").getchannel("A").getextrema() == (255, 255)


def white_outside(file: IO[bytes]) -> float:
    """The share of the white (128 and above) of an image that lies outside the middle square that `prepare` keeps."""
    with Image.open(file, formats=FORMATS) as image:
        white = np.asarray(_colour(image, "L")) >= 128
    side = min(white.shape)
    top, left = ((n - side) // 2 for n in white.shape)
    inside, everywhere = white[top : top + side, left : left + side].sum(), white.sum()
    return float((everywhere - inside) / max(1, everywhere))


def _colour(image: Image.Image, mode: Mode) -> Image.Image:
    """Upright, 8 bit, in `mode`."""
    upright = _eight_bit(ImageOps.exif_transpose(image))
    if "transparency" in upright.info or upright.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        upright = upright.convert("RGBA")
        if mode != "RGBA":
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    return upright.convert(mode)


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    values, top = np.asarray(image), 1 if image.mode == "F" else 65535
    if not (values.min() >= 0 and values.max() <= top):  # NaN fails too
        raise ValueError(f"grey values {values.min():g} to {values.max():g}, expected 0 to {top}")
    grey = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), STRIP):  # as doubles, a strip at a time
        rows = slice(start, start + STRIP)
        grey[rows] = np.rint(values[rows].astype(np.float64) * (255 / top))
    return Image.fromarray(grey)


def _is_grey(palette: list[int]) -> bool:
    red, green, blue = palette[0::3], palette[1::3], palette[2::3]
    return red == green == blue


def changed(
    file: IO[bytes], change: NDArray[np.float32], where: NDArray[np.float32] | None = None
) -> tuple[Image.Image, Image.Image]:
    """The image as it is, 8 bit and upright, and with a change of its middle square, as `prepare` cuts it.

    change [C, s, s] is in grey levels, and resized to the square (bicubic). It is added, a single channel to every
    colour; or, where `where` [s, s] is 1, put in the place of what is there. A grey image that gets colours becomes
    RGB; transparency stays unless the change has four channels; what lies outside stays as it is.
    """
    with Image.open(file, formats=FORMATS) as image:
        upright = _eight_bit(ImageOps.exif_transpose(image))
        clear = "transparency" in upright.info or upright.mode in ("RGBA", "LA", "PA", "La", "RGBa")
        grey = upright.mode in ("1", "L") and len(change) == 1
        before = upright.convert("RGBA" if clear or len(change) == 4 else "L" if grey else "RGB")
    side = min(before.size)
    left, top = (before.width - side) // 2, (before.height - side) // 2
    pixels = np.asarray(before).reshape(before.height, before.width, -1).astype(np.float32)
    square = pixels[top : top + side, left : left + side]  # a view
    channels = min(square.shape[2], 3) if len(change) < 4 else 4
    new = np.stack([_resized(plane, side) for plane in change], 2)
    old = square[..., :channels]
    if where is None:
        square[..., :channels] = old + new
    else:
        inside = _resized(where, side, Image.Resampling.NEAREST)[..., None] > 0.5
        square[..., :channels] = np.where(inside, new, old)
    after = pixels.round().clip(0, 255).astype(np.uint8)
    return before, Image.fromarray(after[..., 0] if after.shape[2] == 1 else after)


def _resized(
    plane: NDArray[np.float32], side: int, how: Image.Resampling = Image.Resampling.BICUBIC
) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(plane).resize((side, side), how))
