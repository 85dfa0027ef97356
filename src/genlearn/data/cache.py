"""The preparation cache: every image of a folder is decoded once, into one memory-mapped file with a manifest."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from genlearn.files import read_json, write_atomically
from genlearn.progress import track
from genlearn.words import shown

from .folder import Listing, Opener, fingerprint, listing, opened
from .images import FORMATS, SUFFIXES, Flaw, Header, Mode, header, prepare
from .part import Data, Part, PrepareReport
from .places import cache_folder, no_room
from .split import TRAIN, describe, digests, part_hash, sides

FORMAT = 1  # of the cache and of the rules that fill it; part of the key
LARGEST = 64  # pixels a side, unless asked for
BLOCK = 512  # images decoded between two writes
WORTH_A_THREAD = 64  # pixels a side; below, decoding is mostly Python and two threads are slower than one
MODES: dict[Mode, str] = {"L": "grey", "RGB": "RGB", "RGBA": "RGBA"}
T = TypeVar("T")


class Options(NamedTuple):
    """How images are prepared; None: decided from what is there."""

    size: int | None = None
    grey: bool | None = None
    alpha: Literal["white", "keep"] = "white"


class Prepared(NamedTuple):
    """What a cache holds; the images of the parts are slices of one memory map."""

    parts: tuple[Part, Part, Part]
    classes: tuple[str, ...]
    split: str
    report: PrepareReport


def load_folder(root: Path, options: Options, name: str, licence: str, source: str) -> Data:
    """The images below `root` (a folder or a .zip), prepared now or taken from the cache.

    The cache is keyed by place, names, sizes, times of change and options; a damaged one is made again.
    Raises ValueError if there is no usable image, or none to train on; OSError if the cache cannot be written.
    """
    if options.size is not None and options.size < 1:
        raise ValueError(f"size = {options.size}: expected at least 1 pixel; leave it out to have it chosen")
    if options.alpha == "keep" and options.grey:
        raise ValueError("alpha='keep' gives RGBA and grey=True gives one channel: expected only one of them")
    root = root.resolve()
    key = json.dumps([FORMAT, str(root), options, fingerprint(root)])
    folder = cache_folder() / f"images-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    prepared = _open(folder) or _prepared(root, options, folder)
    train, valid, test = prepared.parts
    return Data(name, train, valid, test, prepared.classes, prepared.split, licence, source, prepared.report)


def _read(folder: Path) -> Prepared:
    """What the cache in `folder` holds; raises OSError, ValueError, KeyError or TypeError if it is not whole."""
    manifest = read_json(folder / "manifest.json")
    images = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)  # "c": torch wants writable memory
    labels = np.load(folder / "labels.npy", allow_pickle=False)
    ends = np.cumsum([0, *manifest["sides"]])
    if images.shape != tuple(manifest["shape"]) or labels.shape != (ends[-1],) or len(images) != ends[-1]:
        raise ValueError(f"{folder} is damaged")
    x, y = torch.from_numpy(images), torch.from_numpy(labels) if manifest["classes"] else None
    train, valid, test = (
        Part(x[a:b], None if y is None else y[a:b], digest)
        for a, b, digest in zip(ends[:-1], ends[1:], manifest["hashes"], strict=True)
    )
    report: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in manifest["report"].items()}
    return Prepared((train, valid, test), tuple(manifest["classes"]), manifest["split"], PrepareReport(**report))


def _open(folder: Path) -> Prepared | None:
    """The cache in `folder`; None where it is missing or damaged: it is then made (again)."""
    try:
        prepared = _read(folder)
        return prepared if _checked(folder, prepared) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checked(folder: Path, prepared: Prepared) -> bool:
    """Whether the images have the hashes of the manifest; looked at once for each version of the files."""
    stamp, kept = _stamp(folder), folder / "checked.json"
    if kept.exists() and read_json(kept) == stamp:
        return True
    for part in prepared.parts:
        y = None if part.y is None else part.y.numpy()
        keys = digests(part.x.numpy())
        if part_hash(keys, y, tuple(part.x.shape), "uint8") != part.hash:
            return False
    write_atomically(kept, json.dumps(stamp).encode())
    return True


def _stamp(folder: Path) -> list[list[int]]:
    """Size and time of change of the files with images and labels."""
    stats = [(folder / name).stat() for name in ("images.npy", "labels.npy")]
    return [[stat.st_size, stat.st_mtime_ns] for stat in stats]


def _prepared(root: Path, options: Options, folder: Path) -> Prepared:
    """Make the cache of `root` beside `folder`, and rename it into place when it is whole."""
    work = cache_folder() / f".part-{uuid.uuid4().hex}"
    _sweep()
    with opened(root) as (names, open_file):
        try:
            work.mkdir(parents=True)
            _make(root, names, open_file, options, work)
            _publish(work, folder)
        except OSError as error:
            raise no_room(f"the prepared images of {root}", error) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)  # gone already when all went well
    return _read(folder)


def _sweep() -> None:
    """Remove what builds that were killed left behind: parts in which nothing was written for a day."""
    for part in cache_folder().glob(".part-*"):
        newest = max((path.stat().st_mtime for path in [part, *part.glob("*")]), default=0.0)
        if time.time() - newest > 24 * 3600:
            shutil.rmtree(part, ignore_errors=True)


def _publish(work: Path, folder: Path) -> None:
    """Rename a finished cache into place: a damaged one goes, a whole one of another process stays."""
    if _open(folder) is None:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            work.rename(folder)
        except OSError:
            if _open(folder) is None:  # not just another process that was faster
                raise


def _make(root: Path, names: list[str], open_file: Opener, options: Options, work: Path) -> None:
    """Decode every image below `root` and write images.npy, labels.npy and manifest.json into `work`."""
    files = listing(names)
    if not files.names:
        found = f"{len(files.other)} other files" if files.other else "nothing"
        raise ValueError(f"{root} has no images: found {found}, expected files ending in {' '.join(SUFFIXES)}")
    heads = [h for h in each(map, header, files.names, open_file, "reading headers") if isinstance(h, Header)]
    typical = int(np.median([h.shorter for h in heads])) if heads else LARGEST
    size, mode = options.size or min(LARGEST, typical), _mode(heads, options)
    with ThreadPoolExecutor() as pool:
        spread = map if typical < WORTH_A_THREAD else pool.map
        images = each(spread, lambda f: prepare(f, size, mode), files.names, open_file, "decoding")
        kept, keys, flaws = _write_raw(work / "raw", files.names, images)
    corrupt, duplicates, small = (tuple(map(shown, flaws[kind])) for kind in ("corrupt", "duplicate", "small"))
    other = tuple(map(shown, files.other))
    report = PrepareReport(len(files.names), corrupt, duplicates, small, other, MODES[mode], size)
    if not any(files.sides[i] == TRAIN for i in kept):
        first = (corrupt + small + duplicates)[0]
        raise ValueError(f"{root} has no usable image to train on: {report}; the first left out: {first}")
    _write_cache(work, files, kept, keys, report)


def each(
    spread: Callable[[Callable[[str], T | Flaw], list[str]], Iterable[T | Flaw]],
    work: Callable[[IO[bytes]], T],
    names: list[str],
    open_file: Opener,
    what: str,
) -> Iterator[T | Flaw]:
    """work(file) of every file, in order, by `map` or a pool's."""

    def one(name: str) -> T | Flaw:
        try:
            with open_file(name) as file:
                return work(file)
        except UnidentifiedImageError:
            return Flaw("corrupt", f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} inside")
        except Exception as error:  # decoders raise almost anything on damaged bytes; the reason goes into the report
            kind = "" if type(error) is ValueError else f"{type(error).__name__}: "  # our own says enough
            return Flaw("corrupt", " ".join(f"{kind}{error}".split()))

    # Blocks: results never pile up before a slow disk.
    for start in track(range(0, len(names), BLOCK), what, -(-len(names) // BLOCK)):
        yield from spread(one, names[start : start + BLOCK])


def _mode(heads: list[Header], options: Options) -> Mode:
    """RGBA if alpha is kept; else grey if asked for, or if nothing was asked for and every image is."""
    grey = all(h.grey for h in heads) if options.grey is None else options.grey
    return "RGBA" if options.alpha == "keep" else "L" if grey else "RGB"


def _write_raw(
    path: Path, names: list[str], images: Iterator[NDArray[np.uint8] | Flaw]
) -> tuple[list[int], NDArray[np.uint8], dict[str, list[str]]]:
    """Append the pixels of every usable, new image to `path`: their indices, their digests, and what was left out.

    Plain writes, since writing to a memory map kills the process on a full disk.
    """
    first: dict[bytes, int] = {}
    flaws: dict[str, list[str]] = {"corrupt": [], "duplicate": [], "small": []}
    with open(path, "wb") as raw:
        for i, image in enumerate(images):
            if isinstance(image, Flaw):
                flaws[image.kind].append(f"{names[i]}: {image.reason}")
                continue
            key = digests(image[None]).tobytes()
            if key in first:
                flaws["duplicate"].append(f"{names[i]}: same pixels as {names[first[key]]}")
                continue
            first[key] = i
            raw.write(image.data)
    return list(first.values()), np.frombuffer(b"".join(first), np.uint8).reshape(-1, 32), flaws


def _write_cache(work: Path, files: Listing, kept: list[int], keys: NDArray[np.uint8], report: PrepareReport) -> None:
    """Order the raw images by side, so that each part is one slice of the memory map, and write the manifest."""
    given = np.array(files.sides, np.int8)[kept] if files.official else None
    side = sides(keys, given)
    order = np.argsort(side, kind="stable")
    labels = np.array(files.labels, np.int64)[kept][order]
    shape = (len(kept), {"grey": 1, "RGB": 3, "RGBA": 4}[report.mode], report.size, report.size)
    raw = np.memmap(work / "raw", np.uint8, "r", shape=shape)
    with open(work / "images.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in range(0, len(order), BLOCK):
            file.write(raw[order[start : start + BLOCK]].data)
    (work / "raw").unlink()
    np.save(work / "labels.npy", labels)
    y = labels if files.classes else None
    sizes = [int((side == s).sum()) for s in range(3)]
    cuts = np.split(np.arange(len(order)), np.cumsum(sizes)[:-1])
    hashes = [part_hash(keys[order[c]], None if y is None else y[c], (len(c), *shape[1:]), "uint8") for c in cuts]
    manifest = {
        "format": FORMAT,
        "shape": shape,
        "sides": sizes,
        "hashes": hashes,
        "classes": [*map(shown, files.classes)],
    }
    manifest |= {"split": describe(given), "report": asdict(report)}
    (work / "manifest.json").write_text(json.dumps(manifest, indent=1))
    (work / "checked.json").write_text(json.dumps(_stamp(work)))
