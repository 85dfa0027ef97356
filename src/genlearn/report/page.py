"""The page: runs side by side, their scores in one table where they may be compared, their records."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from genlearn import __version__
from genlearn.files import made, write_atomically
from genlearn.metrics import Result
from genlearn.progress import track
from genlearn.report.view import View, view
from genlearn.run import Run


@dataclass(frozen=True)
class Scores:
    """Scores that may stand in one table: one metric, one test set, one N, one extractor."""

    about: Result
    data: str
    rows: list[tuple[View, Result]]

    def notes(self) -> list[str]:
        """The notes of the scores; where runs differ, with the name of the run."""
        shared = [note for note in self.about.notes if all(note in r.notes for _, r in self.rows)]
        return shared + [f"{v.name}: {note}" for v, r in self.rows for note in r.notes if note not in shared]


def write(runs: Sequence[Run], out: Path) -> Path:
    """Write the page of one or more runs to `out`: inline pictures, no script, nothing from outside.

    A run without a trained model or without an evaluation shows what it has. Raises ValueError in one line if a data
    set cannot be found or has changed, OSError if `out` cannot be written.
    """
    views = [view(run) for run in track(runs, "pages of runs", len(runs), even=False)]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "flat": flat}
    html = environment.get_template("page.html.j2").render(
        title=title(views),
        views=views,
        groups=by_data(views),
        scores=tables(views),
        version=__version__,
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    )
    made(out.parent)
    write_atomically(out, html.encode())
    return out


def title(views: Sequence[View]) -> str:
    """What the page is about."""
    data = " and ".join(dict.fromkeys(v.data for v in views))
    models = [v.model for v in views]
    names = models[0] if len(models) == 1 else f"{', '.join(models[:-1])} and {models[-1]}"
    return f"{names} on {data}"


def by_data(views: Sequence[View]) -> list[list[View]]:
    """The runs, those of one data set together: they share its training images."""
    groups: dict[str, list[View]] = {}
    for v in views:
        groups.setdefault(v.data_hash, []).append(v)
    return list(groups.values())


def tables(views: Sequence[View]) -> list[Scores]:
    """The scores, together where data, split, N and extractor agree."""
    groups: dict[tuple[Any, ...], Scores] = {}
    for v in views:
        for r in v.results:
            key = (r.name, v.data_hash, r.n, r.extractor)
            groups.setdefault(key, Scores(r, v.data, [])).rows.append((v, r))
    return sorted(groups.values(), key=lambda group: group.about.name)


def number(value: float) -> str:
    """A score to two decimals, a small one to three figures."""
    return f"{value:,.2f}" if abs(value) >= 10 else f"{value:.3g}"


def flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A nested record as rows of (path, value)."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key} · ")
        else:
            yield f"{prefix}{key}", ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
