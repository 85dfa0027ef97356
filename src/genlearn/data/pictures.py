"""Images to be asked about: those of a folder, prepared for a trained model, without split and without cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple
from zipfile import is_zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from genlearn.progress import track
from genlearn.words import shown

from .cache import each
from .folder import Opener, opened
from .images import SUFFIXES, Flaw, Mode, changed, prepare

CHANNELS: dict[int, Mode] = {1: "L", 3: "RGB", 4: "RGBA"}


class Pictures(NamedTuple):
    """Images [n, C, H, H] uint8, their names, and "name: reason" of those that were left out."""

    names: list[str]
    x: Tensor
    left_out: list[str]


def pictures(source: str | Path, shape: tuple[int, ...]) -> Pictures:
    """Every image of a folder or zip, or one image, prepared as squares of `shape` (C, H, H) or (H, H).

    Raises ValueError where no square images are wanted, or none can be read.
    """
    path = Path(source).expanduser()
    channels, height, width = shape if len(shape) == 3 else (1, *shape) if len(shape) == 2 else (0, 0, 1)
    if height != width or channels not in CHANNELS:
        raise ValueError(f"the model knows rows of shape {shape}, expected one of square images")
    with _files(path) as (names, open_file):
        images = list(each(map, lambda f: prepare(f, height, CHANNELS[channels]), names, open_file, "decoding"))
    left_out, kept, chosen = list[str](), list[str](), list[NDArray[np.uint8]]()
    for name, image in zip(map(shown, names), images, strict=True):
        if isinstance(image, Flaw):
            left_out.append(f"{name}: {image.reason}")
        else:
            kept.append(name)
            chosen.append(image)
    if not kept:
        why = f"the first left out: {left_out[0]}" if left_out else f"expected files ending in {' '.join(SUFFIXES)}"
        raise ValueError(f"{path} has no usable image; {why}")
    return Pictures(kept, torch.from_numpy(np.stack(chosen)), left_out)


def changed_pictures(
    source: str | Path, asked: Pictures, change: NDArray[np.float32], where: NDArray[np.float32] | None = None
) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """(name, before, after) of the images that were asked about, in their own sizes: see `images.changed`.

    change: [n, C, s, s] in grey levels, of images prepared by `pictures`; where: [s, s].
    """
    with _files(Path(source).expanduser()) as (names, open_file):
        rows = {name: row for row, name in enumerate(asked.names)}
        for name in track(names, "pictures", len(names)):
            if shown(name) in rows:
                with open_file(name) as file:
                    yield name, *changed(file, change[rows[shown(name)]], where)


@contextmanager
def _files(path: Path) -> Iterator[tuple[list[str], Opener]]:
    """The names of the images of a folder or zip, or of one image, and how to open them."""
    if not path.exists():
        raise ValueError(f"there is no {path}, expected a folder or zip of images, or an image")
    one = path.is_file() and path.suffix.lower() in SUFFIXES
    if path.is_file() and not one and not is_zipfile(path):
        raise ValueError(f"{path} is no image ({' '.join(SUFFIXES)}), expected one, or a folder or .zip of them")
    with nullcontext(([path.name], lambda name: path.open("rb"))) if one else opened(path) as (found, open_file):
        yield [name for name in found if name.lower().endswith(SUFFIXES)], open_file
