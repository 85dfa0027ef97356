"""Arrays -> pictures; they know no model."""

from __future__ import annotations

from .charts import curves, scatter
from .images import as_pixels, filters, grid, pairs

__all__ = ["as_pixels", "curves", "filters", "grid", "pairs", "scatter"]
