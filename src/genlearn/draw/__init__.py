"""Arrays -> pictures; they know no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .images import as_pixels, filters, grid, pairs, png, titled

if TYPE_CHECKING:
    from .charts import bars, clouds, curves, curves_png, heat, scatter, scatters

__all__ = [
    "as_pixels",
    "bars",
    "clouds",
    "curves",
    "curves_png",
    "filters",
    "grid",
    "heat",
    "pairs",
    "png",
    "scatter",
    "scatters",
    "titled",
]


def __getattr__(name: str) -> Any:
    # Charts are drawn by matplotlib, which takes a third of a second to load: who draws none does not wait.
    if name in __all__:
        from . import charts

        return getattr(charts, name)
    raise AttributeError(f"module 'genlearn.draw' has no attribute {name!r}")
