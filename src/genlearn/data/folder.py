"""A folder or zip archive of images: which files there are, and what their names say of label and side."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISLNK, S_ISREG
from typing import IO, NamedTuple, TypeAlias

from .images import SUFFIXES
from .split import TEST, TRAIN, VALID

SIDE_NAMES = {"train": TRAIN, "valid": VALID, "val": VALID, "test": TEST}
Opener: TypeAlias = Callable[[str], IO[bytes]]


class Listing(NamedTuple):
    """Images by relative name (held-out sides first, then by name), with label (-1 = none) and official side."""

    names: list[str]
    labels: list[int]
    sides: list[int]
    classes: tuple[str, ...]
    official: bool
    other: tuple[str, ...]


def fingerprint(root: Path) -> list[tuple[str, int, int]]:
    """Relative name, size and time of change (ns) of every file: if they are the same, so are the images."""
    if root.is_file():
        stat = root.stat()
        return [("", stat.st_size, stat.st_mtime_ns)]
    return sorted(_walk(root))


def _walk(root: Path) -> Iterator[tuple[str, int, int]]:
    top = os.path.realpath(root)
    seen: set[str] = set()
    for folder, below, names in os.walk(root, followlinks=True, onerror=_refuse):
        for d in sorted(below):
            path, link = os.path.realpath(os.path.join(folder, d)), os.path.islink(os.path.join(folder, d))
            # A link to what is walked anyway would take a class its images, one back up would never end.
            if d.startswith(".") or path in seen or (link and _walked(path, top)):
                below.remove(d)
            else:
                seen.add(path)
        below.sort()
        for name in names:
            if not name.startswith("."):
                path = os.path.join(folder, name)
                stat = os.stat(path, follow_symlinks=os.path.exists(path))  # a dangling link is reported, not fatal
                if not (S_ISREG(stat.st_mode) or S_ISLNK(stat.st_mode)):
                    continue  # to open a pipe would wait for ever
                yield os.path.relpath(path, root).replace(os.sep, "/"), stat.st_size, stat.st_mtime_ns


def _walked(path: str, top: str) -> bool:
    """Whether a real folder lies within another, and nothing on the way is hidden."""
    inner = os.path.relpath(path, top)
    return inner == "." or not _hidden(inner.replace(os.sep, "/"))


def _refuse(error: OSError) -> None:
    raise error


@contextmanager
def opened(root: Path) -> Iterator[tuple[list[str], Opener]]:
    """The names of all files in `root`, and how to open one of them; nothing is extracted from an archive.

    Raises ValueError if `root` is a file, but no zip archive.
    """
    if not root.is_file():
        yield [name for name, _, _ in fingerprint(root)], lambda name: open(root / name, "rb")
        return
    try:
        archive = zipfile.ZipFile(root)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{root} is no zip archive ({error}): expected a folder or a .zip of images") from error
    with archive:
        names = [i.filename for i in archive.infolist() if not i.is_dir() and not _hidden(i.filename)]
        yield sorted(names), lambda name: io.BytesIO(archive.read(name))  # decoders read in tiny pieces


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def listing(names: list[str]) -> Listing:
    """Labels and sides from relative names: CLASS/.../file, or SIDE/CLASS/.../file with sides train, val(id), test.

    Sides are official when every image lies below such a folder, `train` and another among them.
    """
    images = [name for name in names if name.lower().endswith(SUFFIXES)]
    paths = {name: name.split("/") for name in images}
    wrapped = len({p[0] for p in paths.values()}) == 1 and all(len(p) > 2 for p in paths.values())
    if wrapped and next(iter(paths.values()))[0] not in SIDE_NAMES:  # an archive of one folder that holds the classes
        paths = {name: p[1:] for name, p in paths.items()}
    tops = {p[0] for p in paths.values()}
    official = "train" in tops and len(tops) > 1 and tops <= SIDE_NAMES.keys()
    sides = {name: SIDE_NAMES[p[0]] if official else TRAIN for name, p in paths.items()}
    below = {name: p[1:] if official else p for name, p in paths.items()}
    classes = tuple(sorted({p[0] for p in below.values() if len(p) > 1}))
    number = {c: k for k, c in enumerate(classes)}
    order = sorted(images, key=lambda name: (-sides[name], name))
    labels = [number[below[name][0]] if len(below[name]) > 1 else -1 for name in order]
    other = tuple(name for name in names if name not in paths)
    return Listing(order, labels, [sides[name] for name in order], classes, official, other)
