"""Images side by side."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

LEGIBLE = 64
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
BACKGROUND = 255
INK = "#444444"

BLUE, WHITE, RED = (np.array(colour) for colour in ((33, 102, 172), (255, 255, 255), (178, 24, 43)))


def as_pixels(images: Any) -> NDArray[np.uint8]:
    """Images as uint8 [n, C, H, W]: from [n, C, H, W], [n, H, W] or square grey rows [n, d], uint8 or floats in [0, 1].

    Floats outside [0, 1] are clipped. Raises ValueError for any other shape.
    """
    x = images.detach().cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
    shape, side = x.shape, math.isqrt(x.shape[1]) if x.ndim == 2 else 0
    if x.ndim == 2 and side * side == x.shape[1]:
        x = x.reshape(-1, 1, side, side)
    elif x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or x.shape[1] not in MODES or 0 in x.shape:
        raise ValueError(f"images of shape {shape}, expected [n, 1, 3 or 4, H, W], [n, H, W] or square rows [n, d]")
    return x if x.dtype == np.uint8 else (x.clip(0, 1) * 255).round().astype(np.uint8)


def png(image: Image.Image) -> bytes:
    """The content of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def grid(images: Any, columns: int | None = None, pad: int = 2, scale: int | None = None) -> Image.Image:
    """Images in rows, from left to right and top to bottom, on white.

    images: as `as_pixels` takes them. columns: by default the square root of their number, rounded up. pad: white
    pixels between images. scale: a whole factor; by default small images are enlarged to about 64 pixels. Pixel (y, x)
    of an image fills the square of side `scale` at (row (H scale + pad) + y scale, column (W scale + pad) + x scale).
    """
    x = as_pixels(images)
    n, channels, height, width = x.shape
    scale = max(1, round(LEGIBLE / max(height, width))) if scale is None else scale
    columns = math.ceil(math.sqrt(n)) if columns is None else columns
    rows = -(-n // columns)
    cell_height, cell_width = height * scale + pad, width * scale + pad
    cells = np.full((rows * columns, channels, cell_height, cell_width), BACKGROUND, np.uint8)
    cells[:n, :, : cell_height - pad, : cell_width - pad] = x.repeat(scale, 2).repeat(scale, 3)
    sheet = cells.reshape(rows, columns, channels, cell_height, cell_width).transpose(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * cell_height, columns * cell_width, channels)
    sheet = sheet[: rows * cell_height - pad, : columns * cell_width - pad]
    return Image.fromarray(np.ascontiguousarray(sheet[..., 0] if channels == 1 else sheet))


def pairs(*rows: Any, pad: int = 2, scale: int | None = None) -> Image.Image:
    """Rows of images one above another: originals over reconstructions, samples over their nearest neighbours.

    Every row holds the same number of images, as `as_pixels` takes them. Raises ValueError where the rows differ.
    """
    pixels = [as_pixels(row) for row in rows]
    if len({x.shape for x in pixels}) != 1:
        raise ValueError(f"rows of images of shapes {[x.shape for x in pixels]}, expected the same shape")
    return grid(np.concatenate(pixels), len(pixels[0]), pad, scale)


def titled(picture: Image.Image, columns: Iterable[Any] = (), rows: Iterable[Any] = (), size: int = 14) -> Image.Image:
    """A sheet of equal columns and rows with their names above it and to its left, on white.

    The picture stands as it is in the lower right corner. There may be fewer names than images: a name stands at the
    middle of its share of the sheet. size: of the letters, in pixels.
    """
    columns, rows = [str(name) for name in columns], [str(name) for name in rows]
    from matplotlib.font_manager import findfont  # slow to load, and its font is needed here only

    font = ImageFont.truetype(findfont("DejaVu Sans"), size)
    left = math.ceil(max(font.getlength(name) for name in rows)) + size if rows else 0
    top = 2 * size if columns else 0
    sheet = Image.new("RGB", (left + picture.width, top + picture.height), "white")
    sheet.paste(picture, (left, top))
    draw = ImageDraw.Draw(sheet)
    for i, name in enumerate(columns):
        draw.text((left + (i + 0.5) * picture.width / len(columns), size), name, INK, font, anchor="mm")
    for i, name in enumerate(rows):
        draw.text((left - size / 2, top + (i + 0.5) * picture.height / len(rows)), name, INK, font, anchor="rm")
    return sheet


def filters(
    W: Any,
    shape: Sequence[int],
    columns: int | None = None,
    pad: int = 2,
    scale: int | None = None,
    colour: bool = True,
) -> Image.Image:
    """The weights of hidden units as pictures, each divided by its largest size.

    W [d, n], one unit a column; shape (H, W) or (C, H, W) with C H W = d. Grey weights are blue below zero, white at
    zero and red above, or from black to white with `colour=False`; those of three channels go from 0 to 1 about .5.
    Raises ValueError if `shape` does not fit.
    """
    weights = W.detach().cpu().numpy() if isinstance(W, Tensor) else np.asarray(W)
    channels, *sides = shape if len(shape) == 3 else (1, *shape)
    if weights.ndim != 2 or math.prod(shape) != len(weights) or channels not in (1, 3):
        raise ValueError(f"weights of shape {weights.shape}, expected [{math.prod(shape)}, n] for pictures of {shape}")
    largest = np.abs(weights).max(0)
    weights = weights / np.where(largest > 0, largest, 1)
    pictures = weights.T.reshape(-1, channels, *sides)
    if channels == 3 or not colour:
        return grid((pictures + 1) / 2, columns, pad, scale)
    below, above = np.clip(-pictures, 0, 1), np.clip(pictures, 0, 1)
    tints = [WHITE[c] + below * (BLUE[c] - WHITE[c]) + above * (RED[c] - WHITE[c]) for c in range(3)]
    return grid(np.concatenate(tints, 1).round().astype(np.uint8), columns, pad, scale)
