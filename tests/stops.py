"""Stops that come at a known moment."""

from __future__ import annotations

from genlearn.train import Stop


class After(Stop):
    """Asked to stop after n rounds."""

    def __init__(self, n: int):
        super().__init__()
        self.left = n

    def asked(self) -> bool:
        self.left -= 1
        return self.left < 0
