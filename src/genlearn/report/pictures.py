"""Arrays and files -> pictures inside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, with what it shows in words."""

    uri: str
    alt: str
    caption: str = ""


def embed(content: Image.Image | bytes | str, alt: str, caption: str = "") -> Picture:
    """An image of PIL, the bytes of a PNG or the text of an SVG, as a picture."""
    if isinstance(content, Image.Image):
        buffer = io.BytesIO()
        content.save(buffer, "PNG", optimize=True)
        content = buffer.getvalue()
    kind, raw = ("svg+xml", content.encode()) if isinstance(content, str) else ("png", content)
    return Picture(f"data:image/{kind};base64,{base64.b64encode(raw).decode()}", alt, caption)


def corner(path: Path, share: float) -> Image.Image:
    """The upper left corner of a picture, `share` of its width and height."""
    with Image.open(path) as image:
        return image.crop((0, 0, round(image.width * share), round(image.height * share)))
