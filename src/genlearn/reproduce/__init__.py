"""Published experiments, run anew."""

from __future__ import annotations

from collections.abc import Mapping

from .mode_collapse import ModeCollapse
from .protocol import Protocol
from .stacked_mnist import StackedMNIST

PROTOCOLS: Mapping[str, type[Protocol]] = {"mode-collapse": ModeCollapse, "stacked-mnist": StackedMNIST}
