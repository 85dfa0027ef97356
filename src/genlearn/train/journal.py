"""Where the curves go: memory always, `journal.jsonl` and TensorBoard events where a folder is given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlearn.files import write_atomically


class Journal:
    """Rows of numbers by images seen. `rows` keeps them all; with a folder they are also written as they come."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self._path = None if folder is None else Path(folder) / "journal.jsonl"
        self._writer: Any = None

    def log(self, images: int, seconds: float, values: Mapping[str, float | str]) -> None:
        """Add one row of numbers, or of sentences; OSError, in one line, where it cannot be written."""
        row = {"images": images, "seconds": round(seconds, 3), **values}
        self.rows.append(row)
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OSError(
                error.errno,
                f"could not write {self._path}: {error.strerror}; put that right and resume, nothing is lost",
            ) from None
        if self._writer is None:
            # Imported here: a library call without a folder should not pay for it.
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._path.parent / "tensorboard"), flush_secs=10)
        for name, value in values.items():
            add = self._writer.add_text if isinstance(value, str) else self._writer.add_scalar
            add(name, value, images)

    def read(self) -> None:
        """Take the rows of the folder, as far as they are whole."""
        if self._path is not None and self._path.exists():
            self.rows = [row for line in self._path.read_bytes().splitlines() if (row := _row(line)) is not None]

    def rewind(self, images: int) -> None:
        """Take the rows of a killed run up to `images`; those after it will be played, and written, again."""
        self.read()
        self.rows = [row for row in self.rows if row["images"] <= images]
        if self._path is not None and self._path.exists():
            write_atomically(self._path, "".join(json.dumps(row) + "\n" for row in self.rows).encode())

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """(images seen, value) of one quantity; where it was looked at twice, the later look."""
        points = {row["images"]: row[name] for row in self.rows if name in row}
        return list(points), list(points.values())

    @property
    def sentences(self) -> dict[str, str]:
        """The last sentence of each monitor that said one."""
        return {key: value for row in self.rows for key, value in row.items() if isinstance(value, str)}

    @property
    def names(self) -> list[str]:
        """The quantities, in order of appearance."""
        keys = (key for row in self.rows for key, value in row.items() if not isinstance(value, str))
        return list(dict.fromkeys(key for key in keys if key not in ("images", "seconds")))

    @property
    def losses(self) -> str:
        """The latest losses, in words."""
        latest = {k: v for row in self.rows[-5:] for k, v in row.items() if k.endswith("/loss")}
        return "".join(f" {name} {value:.4g}" for name, value in latest.items())

    def close(self) -> None:
        """Flush the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _row(line: bytes) -> dict[str, Any] | None:
    """A row, or None: a kill may cut the last line short, a disk may damage one."""
    try:
        row = json.loads(line)
        whole = isinstance(row, dict) and not isinstance(row["images"], str) and not isinstance(row["seconds"], str)
        return row if whole and all(isinstance(v, str) or float(v) == v or v != v for v in row.values()) else None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
