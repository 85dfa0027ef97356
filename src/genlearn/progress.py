"""Progress of long work: silent, unless somebody watches (the command line, `fit(verbose=1)`)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

SILENT = 2.0  # seconds of work that need no word
EVERY = 5.0  # seconds between two lines where there is no terminal
DRAWN = 0.1  # seconds between two states of a bar
LEFT = 10.0  # seconds to go that a line names
SLOW = 60.0  # seconds to go at the start that deserve a line of advice

T = TypeVar("T")
Step: TypeAlias = Callable[[float, str], None]
"""step(share that is done, a few words more)."""


class Watcher:
    """Bars on a terminal or in a notebook, the outer work above the inner; elsewhere a line every few seconds.

    advice: what makes slow work shorter, said once, as soon as the first of its steps have been timed.
    """

    def __init__(self, console: Console, advice: str = "") -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[words]}", markup=False), TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        self.live = console.is_terminal or console.is_jupyter
        # What is printed to stdout meanwhile belongs there.
        self.bars = Progress(*columns, console=console, disable=not self.live, transient=True, redirect_stdout=False)
        self._under_way: dict[TaskID, str] = {}
        self._said = time.monotonic() - EVERY + SILENT
        self._advice = advice
        self._timed: TaskID | None = None  # the outermost work of even steps, and when it will end
        self._end = 0.0

    @contextmanager
    def work(self, name: str, even: bool = True) -> Iterator[Step]:
        """Work within what is under way already; its bar appears when it has taken a moment. even: so are its steps."""
        began = drawn = time.monotonic()
        task = self.bars.add_task(name, total=None, visible=False, words="")
        self._under_way[task] = name
        first: tuple[float, float] | None = None
        if even and self._timed is None:
            self._timed, self._end = task, began

        def step(done: float, words: str = "") -> None:
            nonlocal drawn, first
            now = time.monotonic()
            if self._timed == task:
                first = first or (now, done)
                if done > first[1]:
                    self._end = now + (now - first[0]) * (1 - done) / (done - first[1])
                if self._advice and self._end - now > SLOW:
                    say(f"{self._names}: about {_span(self._end - now)}; {self._advice}")
                    self._advice = ""
            if now - drawn > DRAWN and now - began > SILENT / 4:
                drawn = now
                for outer in self._under_way:
                    self.bars.update(outer, visible=True)
                self.bars.update(task, total=1.0, completed=done, words=words)
            if not self.live and (now - self._said > EVERY or (done == 1 and words)):
                self._said = now
                left = f", {_span(self._end - now)} left" if self._end - now > LEFT else ""
                say(f"{self._names}: {done:.0%}{words and f', {words}'}{left}")

        try:
            yield step
        finally:
            if self._timed == task:
                self._timed, self._end = None, 0.0
            del self._under_way[task]
            self.bars.remove_task(task)

    @property
    def _names(self) -> str:
        return ": ".join(self._under_way.values())


def _span(seconds: float) -> str:
    """A time in words, roughly."""
    sizes = ((3600, "h"), (60, "min"), (1, "s"))
    size, unit = next((size, unit) for size, unit in sizes if seconds >= 1.5 * size or size == 1)
    return f"{seconds / size:.0f} {unit}"


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(advice: str = "") -> Iterator[None]:
    """Show the progress of all work within, on stderr; within `watched` already: no change. advice: see `Watcher`."""
    if _watcher.get() is not None:
        yield
        return
    from rich.console import Console

    watcher = Watcher(Console(stderr=True), advice)
    token = _watcher.set(watcher)
    try:
        with watcher.bars:
            yield
    finally:
        _watcher.reset(token)


def say(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr, flush=True)


def _nothing(done: float, words: str = "") -> None:
    pass


def tell(line: str) -> None:
    """One line for whoever watches."""
    if _watcher.get() is not None and line:
        say(line)


@contextmanager
def work(name: str, even: bool = True) -> Iterator[Step]:
    """Work whose progress the caller reports: `with work("training") as step: ... step(share, words)`.

    even: its steps take about as long each, so that the first ones tell how long all will take.
    """
    watcher = _watcher.get()
    if watcher is None:
        yield _nothing
        return
    with watcher.work(name, even) as step:
        yield step


def track(items: Iterable[T], name: str, n: int, even: bool = True) -> Iterator[T]:
    """The n items, one by one, while the share that is done is shown; even: see `work`."""
    if _watcher.get() is None:
        yield from items
        return
    with work(name, even) as step:
        for done, item in enumerate(items):
            step(done / n, "")
            yield item
