"""What a model makes of one's own pictures: noise removed, missing parts drawn; each by its own name and size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genlearn.cli.console import Json, answer
from genlearn.cli.use import LAST_SEED, model_of
from genlearn.progress import say, watched

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from genlearn.data import Pictures

Option = typer.Option
SHOWN = 60  # pictures on the page
PAGE = "before-after.html"
HALVES = ("left", "right", "top", "bottom", "middle")
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run or of a saved model.")]
Images = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder or zip of images, or an image.")]
Out = Annotated[Path, Option(help="A folder for the pictures (PNG) and the page before-after.html.")]


def denoise(run: RunFolder, images: Images, out: Out, as_json: Json = False) -> None:
    """Remove noise from one's own pictures.

    Every picture is prepared as in training; what the model changes there is resized and added to the picture, in its
    own size. Pixels outside the middle square stay as they are.
    """
    from genlearn.data import pictures

    model = model_of(run)
    if not hasattr(model, "denoise"):
        raise ValueError(f"{type(model).__name__} does not denoise; the usual fix is a run of dae")
    _check_place(images, out)
    with watched():
        asked = pictures(images, model.border_.shape)
        x = asked.x.numpy()
        change = _levels(model.denoise(x.reshape(-1, *model.border_.shape)), x) - x
        _write(images, asked, change, None, out, "Without noise", as_json)


def complete(
    run: RunFolder,
    images: Images,
    mask: Annotated[
        str, Option(help=f"What is missing: a picture, white where it is, or the half {', '.join(HALVES)}.")
    ],
    out: Out,
    seed: Annotated[int, Option(min=0, max=LAST_SEED, help="Image i depends on the seed and on i alone.")] = 0,
    as_json: Json = False,
) -> None:
    """Draw the missing parts of one's own pictures.

    Every picture, and a mask that is a picture, is prepared as in training: its middle square is what the model sees.
    What it draws where the mask is white is resized and put into the picture, in its own size. All other pixels stay.
    """
    from genlearn.data import pictures

    model = model_of(run)
    if not hasattr(model, "complete"):
        raise ValueError(f"{type(model).__name__} does not complete; the usual fix is a run of gsn, rbm, flow or rnn")
    _check_place(images, out)
    with watched():
        asked = pictures(images, model.border_.shape)
        x = asked.x.numpy()
        missing = _missing(mask, x.shape[-1])
        known = (~missing)[None].repeat(x.shape[1], 0).reshape(model.border_.shape)
        drawn = model.complete(x.reshape(-1, *model.border_.shape), known, random_state=seed)
        _write(images, asked, _levels(drawn, x), missing.astype("float32"), out, "Completed", as_json)


def _levels(images: NDArray[np.generic], x: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images of a model as grey levels of the shape of x."""
    scale = 1 if images.dtype == x.dtype else 255
    return images.reshape(x.shape).astype("float32") * scale


def _missing(mask: str, size: int) -> NDArray[np.bool_]:
    """Where pixels are missing [size, size]: a half by name, or where a picture is white."""
    import numpy as np

    from genlearn.data import pictures
    from genlearn.data.images import opaque, white_outside

    if mask not in HALVES:
        if not Path(mask).is_file():
            raise ValueError(f"mask is {mask!r}, which is no file, expected a picture, or one of {', '.join(HALVES)}")
        missing = pictures(mask, (size, size)).x[0, 0].numpy() >= 128
        with open(mask, "rb") as file:
            if not opaque(file):
                raise ValueError(f"mask {mask} is transparent in parts, expected white on black, without transparency")
            if missing.any() and (white := white_outside(file)):
                say(f"{white:.0%} of the white of {mask} lies outside its middle square and is left as it is")
    else:
        middle, quarter = size // 2, size // 4
        sides: dict[str, Any] = {
            "left": np.s_[:, :middle],
            "right": np.s_[:, middle:],
            "top": np.s_[:middle],
            "bottom": np.s_[middle:],
        }
        missing = np.zeros((size, size), bool)
        missing[sides.get(mask, np.s_[quarter : size - quarter, quarter : size - quarter])] = True
    if not missing.any():
        raise ValueError(
            f"mask {mask} is nowhere white in its middle square, expected white (128 and above) where pixels are "
            "missing"
        )
    return missing


def _check_place(images: Path, out: Path) -> None:
    """Pictures stay as they are: `out` is new, or a folder that this command made, and not inside that of pictures."""
    source, place = images.expanduser().resolve(), out.resolve()
    if place == source or (source.is_dir() and source in place.parents):
        raise ValueError(f"--out is {out}, in the folder of the pictures, which stay as they are; expected another one")
    if place.is_dir() and any(place.iterdir()) and not (place / PAGE).exists():
        raise ValueError(f"--out is {out}, which holds other files, expected a new folder: they would be overwritten")


def _write(
    images: Path,
    asked: Pictures,
    change: NDArray[np.float32],
    where: NDArray[np.float32] | None,
    out: Path,
    what: str,
    as_json: bool,
) -> None:
    """Every changed picture under its own name, and the page."""
    from genlearn.data import changed_pictures
    from genlearn.draw import png
    from genlearn.files import made, write_atomically
    from genlearn.report import Picture, side_by_side, write_changes

    written, rows = list[str](), list[Picture]()
    for name, before, after in changed_pictures(images, asked, change, where):
        path = out.joinpath(*(part for part in Path(name).parts if part not in ("/", "..")))
        path = path.with_suffix(".png")
        if str(path) in written:  # a.jpg beside a.png
            path = path.with_name(f"{Path(name).name}.png")
        made(path.parent)
        write_atomically(path, png(after))
        written.append(str(path))
        if len(rows) < SHOWN:
            rows.append(side_by_side(asked.names[len(written) - 1], before, after))
    for line in asked.left_out:
        say(f"left out: {line}")
    n = f"{len(written):,} picture{'s'[: len(written) != 1]}"
    about = f"{n}; before at the left, after at the right."
    if len(rows) < len(written):
        about += f" The first {SHOWN} are shown."
    page = write_changes(f"{what}: {images.name}", about, rows, out / PAGE)
    content = {"pictures": written, "page": str(page), "left_out": asked.left_out}
    answer(as_json, content, f"{n} in {out}, side by side in {page}")
