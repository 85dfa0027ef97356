"""Files that appear whole or not at all, and that tell when they are damaged."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, uint8

FULL = (errno.ENOSPC, errno.EDQUOT)


def made(folder: Path) -> Path:
    """A folder, made where it is not there; raises OSError in one line with the usual fix."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            error.errno, f"could not make the folder {folder}: {error.strerror}; the usual fix is another place"
        ) from None
    return folder


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
            f"could not write {path}: {error.strerror}; what was there before is untouched, the usual fix is "
            + ("to free space and resume" if error.errno in FULL else "another place"),
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed writers of `write_atomically` left in a folder; a minute old, so that none is at work."""
    for path in folder.glob(f".*.{8 * '[0-9a-f]'}"):
        if time.time() - path.lstat().st_mtime > 60:
            path.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises FileNotFoundError, and ValueError with the reason alone where it is damaged."""
    return _json(path.read_bytes())


def _json(content: str | bytes) -> Any:
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def pack(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> bytes:
    """A safetensors file of tensors and of texts `about` them, with the sha256 of both."""
    # Shared memory (tied weights, views) would be refused: every tensor is written by itself.
    own = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    # One text: several would be written in an order that changes from process to process.
    return save(own, {"genlearn": json.dumps({**about, "sha256": _digest(own, about)})})


def unpack(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `pack` made. Raises ValueError, with the reason alone, where the file is damaged or missing."""
    try:
        with safe_open(str(path), "pt") as file:
            about = _json((file.metadata() or {}).get("genlearn", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    if not isinstance(about, dict) or about.pop("sha256", None) != _digest(tensors, about):
        raise ValueError("its content is not what was written: the checksums differ")
    return tensors, about


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        t = tensors[name]
        digest.update(f"{name} {t.dtype} {tuple(t.shape)}".encode())
        if t.numel():
            digest.update(t.reshape(-1).view(uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def held(folder: Path, by: str) -> Iterator[None]:
    """Hold a folder, so that no other process does; a dead holder's is free.

    Raises BlockingIOError in one line, with what the holder said of itself.
    """
    note, lock = folder / ".holder", FileLock(str(folder / ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = note.read_text() if note.exists() else "another process"
        raise BlockingIOError(f"{folder} is held by {holder}; the usual fix is to wait for it, or to stop it") from None
    try:
        write_atomically(note, by.encode())
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def checksum(content: Any) -> str:
    """The sha256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
