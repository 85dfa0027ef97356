"""How a training is asked to stop, and what may be broken off when it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """Raised inside `Stop.breakable` when a stop is asked for: what runs there changes nothing that is kept."""


class Diverged(FloatingPointError):
    """A loss or a parameter became NaN or infinite; the last good checkpoint is kept."""


class Stop:
    """A request to stop, made by a signal handler (or a button) and granted between two rounds."""

    def __init__(self) -> None:
        self.reason = 0
        self._breakable = False

    def ask(self, reason: int = 1) -> None:
        """Stop soon, for a reason other than 0 (the number of a signal); long work that is breakable stops now."""
        self.reason = reason
        if self._breakable:
            self._breakable = False
            raise Stopped

    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self.reason != 0

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Work that a stop breaks off, by raising `Stopped` within it."""
        self._breakable = True
        try:
            if self.asked():
                raise Stopped
            yield
        finally:
            self._breakable = False


@contextmanager
def signalled() -> Iterator[Stop]:
    """SIGINT and SIGTERM ask for a stop; in a thread other than the main one nothing is caught."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.asked() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.ask(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
