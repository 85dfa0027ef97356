"""Observers of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from genlearn._types import Nets
from genlearn.progress import work

WATCHING = 0.1  # the share of the time of play that one monitor may take
FREE = 0.5  # seconds that it may take anyway


@dataclass
class Monitor:
    """A named observer, separate from the losses: run(nets, images) -> numbers, or sentences, for the journal.

    They go into the journal under the keys that `run` gives them.

    It is due every `every` images seen, rarer where that would take more than a tenth of the time of play (the first
    look tells what one costs), and once at the very end. `nets` are the averaged ones where an average is kept, in
    evaluation mode. It has random numbers of its own: watching changes nothing, and a stop breaks it off.
    """

    name: str
    every: int
    run: Callable[[Nets, int], Mapping[str, float | str]]
    last: float = 0.0
    total: float = 0.0

    def affordable(self, played: float) -> bool:
        """Whether one more look keeps it within its share of the seconds of play."""
        return self.total + self.last <= max(WATCHING * played, FREE)

    def look(self, nets: Nets, images: int) -> Mapping[str, float | str]:
        """`run`, under its name for whoever watches: one look may take longer than the training before it."""
        with work(self.name, even=False):
            return self.run(nets, images)
