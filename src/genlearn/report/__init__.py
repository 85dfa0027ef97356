"""Run folders -> one self-contained HTML page."""

from __future__ import annotations

from genlearn.report.page import write

__all__ = ["write"]
