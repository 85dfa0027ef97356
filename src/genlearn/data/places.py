"""Where data is looked for and kept, and files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def data_folder() -> Path | None:
    """The user's folder of data sets, named by GENLEARN_DATA."""
    name = os.environ.get("GENLEARN_DATA")
    return Path(name).expanduser() if name else None


def cache_folder() -> Path:
    """Where downloads and prepared images are kept: GENLEARN_CACHE, or ~/.cache/genlearn."""
    return Path(os.environ.get("GENLEARN_CACHE") or "~/.cache/genlearn").expanduser()


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path` by a rename, so that no reader and no crash ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".part-{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def no_room(what: str, error: OSError) -> OSError:
    """The one-line error for a cache that cannot be written (full disk, read-only folder)."""
    fix = "free some room there, or name another folder by GENLEARN_CACHE"
    return OSError(error.errno, f"cannot keep {what} in {cache_folder()}: {error.strerror}; {fix}")
