"""MNIST and its kin: four IDX files (LeCun et al. 1998), found in a folder or downloaded, always checked by sha256."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import sys
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rich.progress
from numpy.typing import NDArray
from rich.console import Console

from genlearn.files import write_atomically

from .part import Data, PrepareReport
from .places import cache_folder, data_folder, no_room
from .split import DROPPED, TEST, TRAIN, VALID, describe, digests, parts, sides

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
PARZEN = "parzen-2014"  # Goodfellow et al. 2014: train[0:50000], validation train[50000:60000], the official test set


@dataclass(frozen=True)
class IdxSet:
    """A data set in four IDX files; `sha256` is that of each decompressed file, in the order of FILES."""

    name: str
    what: str
    licence: str
    source: str
    n: int
    classes: tuple[str, ...]
    sha256: tuple[str, str, str, str]
    folders: tuple[Path, ...] = ()
    mirrors: tuple[str, ...] = ()
    megabytes: int = 0

    def places(self) -> list[Path]:
        """The folders to look in: the user's own, the system's, the cache."""
        own = data_folder()
        return [*([own / self.name] if own else []), *self.folders, cache_folder() / self.name]

    def found(self) -> Path | None:
        """The first place that holds all four files, gzipped or plain."""
        holds = (p for p in self.places() if all((p / f).is_file() or (p / f"{f}.gz").is_file() for f in FILES))
        return next(holds, None)

    def where(self) -> str:
        """For the catalogue: where the files are now."""
        folder = self.found()
        if folder is None:
            return f"download ({self.megabytes} MB)"
        return "inside the package" if folder.parent == Path(__file__).parent else f"folder {folder}"


def load_idx(s: IdxSet, split: str) -> Data:
    """The official test set, and a validation part cut from the training file by content hash or by the 2014 protocol.

    Raises ValueError for a damaged file, FileNotFoundError if the set is in no folder and on no mirror.
    """
    folder = s.found() or download(s)
    x, y, x_test, y_test = (_parse(_read(folder, f, sha)) for f, sha in zip(FILES, s.sha256, strict=True))
    side = np.repeat(np.array([TRAIN, TEST], np.int8), [len(x), len(x_test)])
    rows, labels = np.concatenate([x, x_test])[:, None], np.concatenate([y, y_test]).astype(np.int64)
    keys = digests(rows)
    if split == PARZEN:
        words = split
        side[50_000:60_000] = VALID
    else:
        words = describe(side)
        side = sides(keys, side)
    train, valid, test = parts(rows, labels, keys, side)
    report = PrepareReport(overlap=int((side == DROPPED).sum()))
    return Data(s.name, train, valid, test, s.classes, words, s.licence, s.source, report)


def download(s: IdxSet) -> Path:
    """Fetch the four files into the cache, each from the first mirror that has it right; returns their folder."""
    folder = cache_folder() / s.name
    for f, sha in zip(FILES, s.sha256, strict=True):
        if not (folder / f"{f}.gz").is_file():
            content = _fetch(s, f"{f}.gz", sha)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_atomically(folder / f"{f}.gz", content)
            except OSError as error:
                raise no_room(s.name, error) from error
    return folder


def _fetch(s: IdxSet, file: str, sha: str) -> bytes:
    """`file` from the first mirror where it can be had with the right content, still gzipped."""
    tried = []
    for mirror in s.mirrors:
        try:
            with urllib.request.urlopen(mirror + file, timeout=30) as answer:
                length = int(answer.headers.get("Content-Length") or 0)
                quiet, title = not sys.stderr.isatty(), f"{s.name}/{file}"
                with rich.progress.wrap_file(
                    answer, length, description=title, console=Console(stderr=True), disable=quiet
                ) as stream:
                    content: bytes = stream.read()
            if _sha256(gzip.decompress(content)) == sha:
                return content
            tried.append(f"{mirror}{file} (wrong sha256)")
        except (OSError, EOFError, zlib.error, http.client.HTTPException) as error:
            tried.append(f"{mirror}{file} ({error})")
    looked = ", ".join(str(p) for p in s.places())
    raise FileNotFoundError(
        f"{s.name} is neither in {looked} nor on a mirror: {'; '.join(tried)}; "
        f"put its four IDX files into the folder {s.name} of the folder that GENLEARN_DATA names"
    )


def _read(folder: Path, file: str, sha: str) -> bytes:
    path = folder / file if (folder / file).is_file() else folder / f"{file}.gz"
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        got = _sha256(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        got = str(error)
    if got != sha:
        raise ValueError(f"{path} is damaged: got sha256 {got}, expected {sha}; delete it and load again")
    return content


def _parse(content: bytes) -> NDArray[np.uint8]:
    """IDX of unsigned bytes: 0 0 8 ndim, the sizes as big-endian uint32, the values. Known good by its sha256."""
    ndim = content[3]
    shape = np.frombuffer(content, ">u4", ndim, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
