"""Arrays -> pictures inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from genlearn import draw


@dataclass(frozen=True)
class Picture:
    """A PNG as a data URI, with what it shows in words."""

    uri: str
    alt: str
    caption: str = ""


def picture(image: Image.Image, alt: str, caption: str = "") -> Picture:
    """An image of PIL as a picture."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return Picture(f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}", alt, caption)
