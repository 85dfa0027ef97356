"""Pure functions on tensors; the names here are those around log Z."""

from __future__ import annotations

from genlearn.maths.ais import AIS, ais, log_z_exact, reverse_ais, salakhutdinov, schedule
from genlearn.maths.partition import Bracket, LogZ, bracket, log_partition

__all__ = [
    "AIS",
    "Bracket",
    "LogZ",
    "ais",
    "bracket",
    "log_partition",
    "log_z_exact",
    "reverse_ais",
    "salakhutdinov",
    "schedule",
]
