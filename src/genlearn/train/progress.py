"""Where training is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Progress:
    """Where training is: images are those seen by the first player of each stage, `players` what each one saw.

    seconds are those of the wall; spent says on what: play, start (and finish), monitors, saving. precision is the one
    that training began with, on whatever machine it goes on.
    """

    stage: int = 0
    round: int = 0
    images: int = 0
    seconds: float = 0.0
    stage_images: int = 0
    stage_seconds: float = 0.0
    rounds: int = 0
    finished: bool = False
    precision: str = ""
    players: dict[str, int] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
