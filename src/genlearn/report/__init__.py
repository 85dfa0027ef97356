"""Run folders, and pictures before and after, -> one self-contained HTML page."""

from __future__ import annotations

from genlearn.report.changes import side_by_side, write_changes
from genlearn.report.page import write
from genlearn.report.pictures import Picture

__all__ = ["Picture", "side_by_side", "write", "write_changes"]
