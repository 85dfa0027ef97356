"""What can be done with a run: draw samples, score it, write its page."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genlearn.cli.console import Json, answer, listing
from genlearn.progress import say, watched
from genlearn.words import did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genlearn.estimator import GenerativeEstimator
    from genlearn.metrics import Result
    from genlearn.run import Run

Option = typer.Option
LAST_SEED = 2**32 - 1
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")]


def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run or of a saved model.")],
    n: Annotated[int, Option("--n", min=1, help="How many.")] = 64,
    seed: Annotated[int, Option(min=0, max=LAST_SEED, help="Image i depends on the seed and on i alone.")] = 0,
    y: Annotated[str | None, Option("--class", help="The class to draw, by name or label.")] = None,
    truncation: Annotated[
        float | None, Option(help="Largest coordinate of z, where its law is normal: better, less varied images.")
    ] = None,
    guidance: Annotated[
        float | None,
        Option(help="How far a flow pulls its classes apart, in place of its own guidance (1: not)."),
    ] = None,
    out: Annotated[
        Path | None,
        Option(help="A grid (.png), the array (.npy) or a folder of PNGs [default: RUN/samples-[CLASS-]SEED.png]."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw samples."""
    from genlearn.run import Run

    saved = (run / "model.json").exists()
    model = model_of(run)
    if not hasattr(model, "sample"):
        raise ValueError(f"{type(model).__name__} has no sampler; genlearn models lists what each model can do")
    if y is not None and not getattr(model, "class_names_", ()):
        raise ValueError(
            f"--class is {y}, but this {type(model).__name__} knows no class; the usual fix is to leave it out, or to "
            "train a model that uses labels on a folder with a sub-folder for each class"
        )
    if guidance is not None and (not hasattr(type(model), "guidance") or not getattr(model, "class_names_", ())):
        raise ValueError(
            f"--guidance is {guidance:g}, but this {type(model).__name__} has none; the usual fix is to leave it "
            "out, or to train a flow on a folder with a sub-folder for each class"
        )
    out = out or run / f"samples-{seed if y is None else f'{y}-{seed}'}.png"
    with watched("fewer images (--n) take less"):
        label = None if y is None else _label(model, y)
        more: dict[str, Any] = {} if guidance is None else {"guidance": guidance}
        x = model.sample(n, y=label, truncation=truncation, random_state=seed, **more)
        reference = Run.open(run).data().train.x[:1000].numpy() if x.ndim == 2 and not saved else None
        _write(x, out, reference)
    answer(as_json, {"samples": str(out), "n": n, "seed": seed}, f"{n:,} samples in {out}")


def model_of(run: Path) -> GenerativeEstimator:
    """The model of a run, or one that was saved."""
    from genlearn import registry
    from genlearn.run import Run

    return registry.load(run) if (run / "model.json").exists() else Run.open(run).model()


def _label(model: GenerativeEstimator, text: str) -> str | int:
    """A class by name, or else by its label; a one-line ValueError for neither."""
    names: tuple[str, ...] = getattr(model, "class_names_", ())
    if text in names:
        return text
    if text.removeprefix("-").isdecimal() and int(text) in model.classes_.tolist():
        return int(text)
    hint = did_you_mean(text, names)
    raise ValueError(f"unknown class {text!r}, expected one of {', '.join(names)}{hint and f'; {hint}'}")


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run or of a saved model.")],
    images: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder or zip of images, or an image.")],
    out: Annotated[Path | None, Option(help="A file for the CSV [default: stdout].")] = None,
    as_json: Json = False,
) -> None:
    """Classify images.

    One line an image: its name, the class, and the probability that the model gives it.
    """
    from genlearn.data import pictures
    from genlearn.files import write_atomically

    model = model_of(run)
    if not hasattr(model, "predict"):
        raise ValueError(
            f"{type(model).__name__} does not classify; the usual fix is a run of stacked-rbm, conditional-vae or rnn"
        )
    with watched():
        asked = pictures(images, model.border_.shape)
        probabilities = model.predict_proba(asked.x.reshape(-1, *model.border_.shape))
    for line in asked.left_out:
        say(f"left out: {line}")
    named = [model.class_names_[k] for k in probabilities.argmax(1)]
    rows = list(zip(asked.names, named, probabilities.max(1).tolist(), strict=True))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("file", "class", "probability"), *rows])
    if out is not None:
        write_atomically(out, table.getvalue().encode())
    content = [{"file": name, "class": label, "probability": p} for name, label, p in rows]
    answer(as_json, content, table.getvalue().rstrip("\n") if out is None else str(out))


def _write(x: NDArray[Any], out: Path, reference: NDArray[Any] | None) -> None:
    """Samples as the ending of `out` says; points in the plane are drawn over `reference`."""
    import numpy as np

    from genlearn.draw import grid, png, scatter
    from genlearn.files import made, write_atomically

    made(out.parent)
    if out.suffix == ".npy":
        array = io.BytesIO()
        np.save(array, x, allow_pickle=False)
        write_atomically(out, array.getvalue())
    elif out.suffix == ".png" and reference is not None and x.shape[1] == 2:
        write_atomically(out, scatter(x, reference))
    elif out.suffix == ".png":
        write_atomically(out, png(grid(x)))
    elif out.suffix or x.ndim == 2:
        raise ValueError(f"--out is {out}, expected a file ending in .png or .npy, or a folder for images")
    else:
        made(out)
        for i, image in enumerate(x):
            write_atomically(out / f"{i:06d}.png", png(grid(image[None], scale=1)))


def evaluate(
    runs: Runs,
    metrics: Annotated[
        str | None, Option(help="Comma separated: error, likelihood, reconstruction, parzen, nearest [default: all].")
    ] = None,
    n: Annotated[int, Option("--n", min=1, help="Samples to draw for metrics of samples.")] = 10_000,
    seed: Annotated[int, Option(min=0, max=LAST_SEED, help="Seed of samples and of every resampling.")] = 0,
    as_json: Json = False,
) -> None:
    """Score runs on test images.

    The scores are kept in evaluation.json of each run.
    """
    from genlearn.run import Run

    names = None if metrics is None else [name.strip() for name in metrics.split(",")]
    opened = [Run.open(path) for path in runs]
    scores = {}
    for run in opened:
        with watched("fewer samples (--n) or scores (--metrics) take less"):
            scores[str(run.path)] = run.evaluate(names, n, seed)
    content = {path: [r.to_json() for r in results] for path, results in scores.items()}
    rows = [row(Path(path).name, r) for path, results in scores.items() for r in results]
    heads = ("run", "score", "value", "95 % interval", "N", "kind", "floor", "ceiling")
    notes = dict.fromkeys(f"{r.name}: {note}" for results in scores.values() for r in results for note in r.notes)
    answer(as_json, content, listing(heads, rows), *notes)


def row(run: str, r: Result) -> tuple[str, ...]:
    """A score as a row of the table."""
    se = "" if r.se is None else f" ± {r.se:.2g}"
    interval = "" if r.interval is None else f"{r.interval[0]:.4g} to {r.interval[1]:.4g}"
    ends = (", ".join(f"{value:.4g} ({name})" for name, value in end.items()) for end in (r.floor, r.ceiling))
    return (run, r.name, f"{r.value:.5g}{se} {r.unit}", interval, f"{r.n:,}", r.kind or "", *ends)


def report(
    runs: Runs,
    out: Annotated[
        Path | None, Option(help="The page [default: RUN/report.html; of several runs, report.html].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one HTML page of a run, or of several.

    It shows them side by side and needs nothing from outside: one file to send or to print.
    """
    from genlearn.report import write
    from genlearn.run import Run

    opened: list[Run] = [Run.open(path) for path in runs]
    out = out or (runs[0] / "report.html" if len(runs) == 1 else Path("report.html"))
    with watched():
        write(opened, out)
    answer(as_json, {"report": str(out)}, str(out))
