"""Where the curves go: memory always, `journal.jsonl` and TensorBoard events where a folder is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Journal:
    """Rows of numbers by images seen. `rows` keeps them all; with a folder they are also written as they come."""

    def __init__(self, folder: Path | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self._path = None if folder is None else folder / "journal.jsonl"
        self._writer: Any = None

    def log(self, images: int, seconds: float, values: dict[str, float]) -> None:
        """Add one row; equal `images` (a tick and its monitors) are joined into one by `curve`."""
        row = {"images": images, "seconds": round(seconds, 3), **values}
        self.rows.append(row)
        if self._path is None:
            return
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._writer is None:
            # Imported here: a library call without a folder should not pay for it.
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._path.parent / "tensorboard"), flush_secs=10)
        for name, value in values.items():
            self._writer.add_scalar(name, value, images)

    def rewind(self, images: int) -> None:
        """Read what a killed run wrote and drop the rows after `images`, which will be played again."""
        if self._path is None or not self._path.exists():
            return
        self.rows = []
        for line in self._path.read_text().splitlines():
            if line.endswith("}"):  # a line cut short by the kill is after the checkpoint
                row = json.loads(line)
                if row["images"] <= images:
                    self.rows.append(row)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        temporary.replace(self._path)

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """(images seen, value) of one quantity."""
        rows = [row for row in self.rows if name in row]
        return [row["images"] for row in rows], [row[name] for row in rows]

    @property
    def names(self) -> list[str]:
        """The quantities, in order of appearance."""
        return list(dict.fromkeys(key for row in self.rows for key in row if key not in ("images", "seconds")))

    def close(self) -> None:
        """Flush the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
