"""Arrays -> pictures; they know no model."""

from __future__ import annotations

from .charts import bars, curves, curves_png, scatter
from .images import as_pixels, filters, grid, pairs, titled

__all__ = ["as_pixels", "bars", "curves", "curves_png", "filters", "grid", "pairs", "scatter", "titled"]
