"""Where data is looked for and kept."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path | None:
    """The user's folder of data sets, named by GENLEARN_DATA."""
    name = os.environ.get("GENLEARN_DATA")
    return Path(name).expanduser() if name else None


def cache_folder() -> Path:
    """Where downloads and prepared images are kept: GENLEARN_CACHE, or ~/.cache/genlearn."""
    return Path(os.environ.get("GENLEARN_CACHE") or "~/.cache/genlearn").expanduser()


def no_room(what: str, error: OSError) -> OSError:
    """The one-line error for a cache that cannot be written (full disk, read-only folder)."""
    fix = "free some room there, or name another folder by GENLEARN_CACHE"
    return OSError(error.errno, f"cannot keep {what} in {cache_folder()}: {os.strerror(error.errno or 0)}; {fix}")
