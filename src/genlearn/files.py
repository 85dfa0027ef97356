"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a neighbour of a name of its own, fsync, rename.

    Raises OSError in one line; what was there before is then untouched, and nothing half-written is left.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"could not write {path}: {error.strerror}; what was there before is untouched, "
            "the usual fix is to free space (or choose another folder) and resume",
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
