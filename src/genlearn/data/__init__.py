"""Data sources, the preparation cache and the frozen split; the borders are NCHW or rows, uint8 or float32."""

from __future__ import annotations

from .load import load
from .part import Data, Entry, Part, PrepareReport
from .pictures import Pictures, changed_pictures, pictures
from .sources import catalogue
from .toys import modes

__all__ = [
    "Data",
    "Entry",
    "Part",
    "Pictures",
    "PrepareReport",
    "catalogue",
    "changed_pictures",
    "load",
    "modes",
    "pictures",
]
