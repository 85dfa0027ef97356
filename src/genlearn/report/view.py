"""What the page shows of one run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from genlearn.data import Data
from genlearn.draw import curves
from genlearn.estimator import GenerativeEstimator
from genlearn.metrics import Result
from genlearn.report.pictures import Picture, from_files, pairs_of, sheet, weights
from genlearn.run import Run, units
from genlearn.train import Journal

SAMPLES = 64
PAIRS = 12
STEPS = 5
SEED = 0


@dataclass(frozen=True)
class Curve:
    """An inline SVG."""

    svg: Markup
    caption: str
    alt: str


@dataclass(frozen=True)
class View:
    """One run as the page shows it; None or empty: there is nothing to show."""

    name: str
    model: str
    paper: str
    data: str
    data_hash: str
    facts: list[tuple[str, str]]
    problem: str
    record: Mapping[str, Any]
    results: list[Result]
    curves: list[Curve]
    training: Picture
    progress: Picture | None
    samples: Picture | None = None
    pairs: Picture | None = None
    reconstructions: Picture | None = None
    filters: Picture | None = None


def view(run: Run) -> View:
    """Read a run, and draw what its model can do."""
    data, estimator = run.data(), run.estimator
    train = data.train.x
    about = {
        "name": run.name,
        "model": type(estimator).__name__,
        "paper": estimator.paper,
        "data": data.name,
        "data_hash": data.test.hash,
        "record": run.record,
        "results": run.results(),
        "curves": charts(run.journal()),
        "training": sheet(train[:SAMPLES].numpy(), f"{min(SAMPLES, len(train))} training images of {data.name}", train),
        "progress": progress(run.path / "samples", run.name),
    }
    trained = (run.path / "model" / "model.json").exists()
    status = run.record["status"]
    problem = "" if status == "finished" else f"This run is {status}: what is shown is what it has so far."
    model = run.model() if trained else None
    drawn = {} if model is None else pictures(run.name, model, data)
    return View(**about, **drawn, problem=problem, facts=facts(run, data, model))


def facts(run: Run, data: Data, model: GenerativeEstimator | None) -> list[tuple[str, str]]:
    """The run in a few lines."""
    record = run.record
    rows = [("data", data.name), ("training images", f"{len(data.train):,}")]
    if "images" in record:
        epochs = record["images"] / max(len(data.train), 1)
        rows.append(("images seen", f"{record['images']:,} ({epochs:.3g} epochs)"))
        rows.append(("training time", f"{record['seconds']:,.1f} s"))
    if model is not None:
        rows.append(("parameters", f"{sum(p.numel() for p in model.nets_.parameters()):,}"))
    hardware = record.get("hardware", {})
    if hardware:
        rows.append(("hardware", hardware["gpu"] or f"{hardware['threads']} threads of a {hardware['machine']} CPU"))
    return [*rows, ("seed", str(record["parameters"]["random_state"]))]


def pictures(name: str, model: GenerativeEstimator, data: Data) -> dict[str, Picture | None]:
    """What can be drawn with the capabilities of a model."""
    drawn: dict[str, Picture | None] = {"filters": filters(name, model)}
    train, plane = data.train.x, data.shape == (2,)
    if hasattr(model, "sample"):
        x = model.sample(1000 if plane else SAMPLES, random_state=SEED)
        drawn["samples"] = sheet(x, f"{len(x)} samples of {name}", train)
        if not plane:
            x = x[:PAIRS]
            near = train.numpy()[nearest(units(x), train.numpy())]
            alt = f"{len(x)} samples of {name} above, the nearest training image of each below"
            drawn["pairs"] = pairs_of(x, near, alt)
    if hasattr(model, "transform") and hasattr(model, "inverse_transform") and not plane and len(data.test):
        x = data.test.x[:PAIRS].numpy()
        alt = f"{len(x)} test images above, their reconstructions by {name} below"
        drawn["reconstructions"] = pairs_of(x, model.inverse_transform(model.transform(x)), alt)
    return drawn


def nearest(x: NDArray[Any], train: NDArray[Any], block: int = 5000) -> NDArray[np.int64]:
    """The index of the row of `train` nearest to each of x [n, ...], by Euclidean distance."""
    x = x.reshape(len(x), -1).astype(np.float64)
    distances = []
    for start in range(0, len(train), block):
        rows = units(train[start : start + block]).reshape(-1, x.shape[1]).astype(np.float64)
        distances.append((rows**2).sum(1) - 2 * x @ rows.T)
    return np.concatenate(distances, 1).argmin(1)


def filters(name: str, model: GenerativeEstimator) -> Picture | None:
    """The weights W [pixels, units] of the first net that has such a matrix, as pictures."""
    for net in model.nets_.values():
        W = getattr(net, "W", None)
        if W is not None and W.ndim == 2 and W.shape[0] == math.prod(model.shape_) and len(model.shape_) > 1:
            return weights(W.detach().cpu().numpy()[:, :SAMPLES], model.shape_, f"weights of hidden units of {name}")
    return None


def progress(folder: Path, name: str) -> Picture | None:
    """A few of the sample sheets that training left behind, evenly spread."""
    paths = sorted(folder.glob("images-*.png"))
    if len(paths) < 2:
        return None
    chosen = [paths[i] for i in sorted({round(k * (len(paths) - 1) / (STEPS - 1)) for k in range(STEPS)})]
    seen = [int(path.stem.partition("-")[2]) for path in chosen]
    return from_files(chosen, f"after {', '.join(f'{n:,}' for n in seen)} images", f"samples of {name} as it learned")


def charts(journal: Journal) -> list[Curve]:
    """Losses in one chart, each validation score in one, the rest in one."""
    losses = [name for name in journal.names if name.endswith("/loss")]
    scores = [name for name in journal.names if name.startswith("valid/")]
    rest = [name for name in journal.names if name not in losses + scores]
    plan = [(losses, "loss (what training descends, no score)")]
    plan += [([name], f"{name.partition('/')[2]} of validation images") for name in scores]
    plan += [(rest, "quantities to watch")]
    charted = []
    for names, caption in plan:
        lines = {name: journal.curve(name) for name in names if len(journal.curve(name)[0]) > 1}
        if lines:
            svg = Markup(curves(lines, ylabel=caption.partition(" (")[0]))  # its labels are escaped where it is drawn
            charted.append(Curve(svg, caption, f"{', '.join(lines)} against images seen"))
    return charted
