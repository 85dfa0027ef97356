"""What the page shows of one run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from numpy.typing import NDArray
from torch import Tensor

from genlearn._types import ScoreKind
from genlearn.data import Data
from genlearn.draw import curves, filters, grid, heat, pairs, scatter
from genlearn.estimator import GenerativeEstimator
from genlearn.metrics import Result, nearest
from genlearn.report.pictures import Picture, corner, embed
from genlearn.run import Run
from genlearn.train import Journal
from genlearn.words import took

SAMPLES, POINTS = 64, 1000
PAIRS = 12
PATHS, TIMES = 4, 9
STEPS = 5
SEED = 0
BLOCK = 10_000
TOGETHER: tuple[tuple[Callable[[str], bool], str, str], ...] = (
    (lambda name: name.endswith("/loss"), "loss", "What training descends: a surrogate, no score."),
    (lambda name: name.endswith("/perplexity"), "codes", "Perplexity of the codebook: as many codes, used equally."),
    (lambda name: "/gradient" in name, "norm", "Norms of the gradients."),
    (lambda name: name.startswith("D on "), "output of D", "Validation images below training ones: known by heart."),
    (lambda name: "/right on " in name, "share", "Verdicts of D that are right."),
)


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
    curves: list[Picture]
    said: list[str]
    progress: list[Picture]
    training: Picture
    samples: Picture | None = None
    pairs: Picture | None = None
    reconstructions: Picture | None = None
    weights: Picture | None = None
    paths: Picture | None = None
    expected: Picture | None = None


def view(run: Run) -> View:
    """Read a run, and draw what its model can do."""
    data, estimator, status = run.data(), run.estimator, run.record["status"]
    model = run.model() if (run.path / "model" / "model.json").exists() else None
    train = spread(data.train.x, POINTS if is_plane(data) else SAMPLES)
    drawn = {} if model is None else pictures(run.name, model, data)
    return View(
        name=run.name,
        model=type(estimator).__name__,
        paper=estimator.paper,
        data=data.name,
        data_hash=data.test.hash,
        facts=facts(run, data, model),
        problem="" if status == "finished" else f"This run is {status}: the page shows what it has so far.",
        record=run.record,
        results=run.results(),
        curves=charts(run.journal()),
        said=list(run.journal().sentences.values()),
        progress=progress(run, 1.0 if is_plane(data) else 0.5),
        training=sheet(train, f"{len(train)} training examples of {data.name}", train),
        **drawn,
    )


def is_plane(data: Data) -> bool:
    """Whether the data are points in the plane."""
    return data.shape == (2,)


def spread(x: Tensor, n: int) -> NDArray[Any]:
    """n images, evenly spread: folders come class by class."""
    return x[torch.linspace(0, len(x) - 1, min(n, len(x))).long()].numpy()


def sheet(x: NDArray[Any], alt: str, reference: NDArray[Any]) -> Picture:
    """Images in a grid; points in the plane scattered over `reference`."""
    return embed(scatter(x, reference) if x.shape[1:] == (2,) else grid(x, columns=8), alt)


def facts(run: Run, data: Data, model: GenerativeEstimator | None) -> list[tuple[str, str]]:
    """The run in a few lines."""
    record = run.record
    rows = [("data", data.name), ("training images", f"{len(data.train):,}")]
    if str(data.report):
        rows.append(("files", str(data.report)))
    if "images" in record:
        epochs = record["images"] / max(len(data.train), 1)
        rows.append(("images seen", f"{record['images']:,} ({epochs:.3g} epochs)"))
        rows.append(("training time", took(record["seconds"], record.get("spent", {}))))
    if model is not None:
        rows.append(("parameters", f"{sum(p.numel() for p in model.nets_.parameters()):,}"))
        if model._remark:
            rows.append(("samples", model._remark))
    hardware = record.get("hardware")
    if hardware:
        rows.append(("hardware", hardware["gpu"] or f"{hardware['machine']} CPU, threads: {hardware['threads']}"))
    return [*rows, ("seed", str(record["parameters"]["random_state"]))]


def pictures(name: str, model: GenerativeEstimator, data: Data) -> dict[str, Picture | None]:
    """What can be drawn with the capabilities of a model."""
    drawn: dict[str, Picture | None] = {"weights": weights(name, model)}
    train, images = data.train.x, not is_plane(data)
    if hasattr(model, "sample"):
        x = model.sample(SAMPLES if images else POINTS, random_state=SEED)
        drawn["samples"] = sheet(x, f"{len(x)} samples of {name}", train[:POINTS].numpy())
        if images:
            alt = f"{PAIRS} samples of {name} above, the nearest training image of each below"
            drawn["pairs"] = embed(pairs(x[:PAIRS], twins(x[:PAIRS], train)), alt)
    if images and hasattr(model, "paths"):
        frames = model.paths(PATHS, TIMES, random_state=SEED).swapaxes(0, 1)
        alt = f"{PATHS} samples of {name} on their way, finished at the right"
        drawn["paths"] = embed(grid(frames.reshape(-1, *frames.shape[2:]), columns=TIMES), alt)
    if images and hasattr(model, "conditionals"):
        alt = f"{PAIRS} samples of {name} above, below what it expected of each pixel given those before it"
        drawn["expected"] = embed(pairs(x[:PAIRS], model.conditionals(x[:PAIRS])), alt)
    if images and hasattr(model, "transform") and hasattr(model, "inverse_transform") and len(data.test):
        x = spread(data.test.x, PAIRS)
        alt = f"{len(x)} test images above, their reconstructions by {name} below"
        drawn["reconstructions"] = embed(pairs(x, model.inverse_transform(model.transform(x))), alt)
    return drawn


def twins(x: NDArray[Any], train: Tensor) -> NDArray[Any]:
    """The training image nearest to each of x; a block at a time, since `train` may be a memory map."""
    blocks = [nearest(x, rows) for rows in train.split(BLOCK)]
    distances = torch.cat([d for d, _ in blocks], 1)
    rows = torch.cat([index + BLOCK * i for i, (_, index) in enumerate(blocks)], 1)
    return train[rows.gather(1, distances.argmin(1, keepdim=True)).flatten()].numpy()


def weights(name: str, model: GenerativeEstimator) -> Picture | None:
    """The weights W [pixels, units] of the first net that has such a matrix, as pictures."""
    shape = model.border_.shape
    if len(shape) < 2 or (len(shape) == 3 and shape[0] not in (1, 3)):
        return None
    for net in model.nets_.values():
        W = getattr(net, "W", None)
        if isinstance(W, Tensor) and W.ndim == 2 and len(W) == math.prod(shape):
            return embed(filters(W[:, :SAMPLES], shape, columns=8), f"weights of hidden units of {name}")
    return None


def progress(run: Run, share: float) -> list[Picture]:
    """A few of the sample sheets that training left behind, evenly spread; of each a corner."""
    paths = sorted((run.path / "samples").glob("*-*.png"))
    if len(paths) < 2:
        return []
    steps = sorted({round(k * (len(paths) - 1) / (STEPS - 1)) for k in range(STEPS)})
    shown = []
    for path in (paths[i] for i in steps):
        kind, _, number = path.stem.partition("-")
        seen, what = f"{int(number):,} images", "samples" if kind == "images" else kind
        shown.append(embed(corner(path, share), f"{what} of {run.name} after {seen}", seen))
    return shown


def charts(journal: Journal) -> list[Picture]:
    """What belongs together in one chart, other values of monitors in one each, other values of players in one."""
    names, plan = [name for name in journal.names if "/gradient of " not in name], []
    for belongs, label, caption in TOGETHER:
        group = [name for name in names if belongs(name)]
        names = [name for name in names if name not in group]
        plan.append((group, label, caption))
    plan += [([name], name.partition("/")[2], about(name.partition("/")[2])) for name in names if "valid/" in name]
    plan += [([name], name, "Watched now and then.") for name in names if "/" not in name]
    rest = [name for name in names if "/" in name and "valid/" not in name]
    plan.append((rest, "", "Watched beside the loss."))
    charted = flow(journal)
    for names, label, caption in plan:
        lines = {name: journal.curve(name) for name in names}
        if lines:
            charted.append(
                embed(
                    curves(lines, ylabel=label or (names[0] if len(names) == 1 else "")),
                    f"{', '.join(lines)} against images seen",
                    caption,
                )
            )
    return charted


def flow(journal: Journal) -> list[Picture]:
    """The norms of every layer's gradient, where they were asked for, a picture a player."""
    players: dict[str, dict[str, tuple[Any, Any]]] = {}
    for name in journal.names:
        player, kind, layer = name.partition("/gradient of ")
        if kind:
            players.setdefault(player, {})[layer] = journal.curve(name)
    return [
        embed(
            heat(layers, f"gradient of {player}"),
            f"norms of the gradients of {player} by layer against images seen",
            "How far the gradient reaches: a layer a row, from the input down to the output.",
        )
        for player, layers in players.items()
    ]


def about(score: str) -> str:
    """What a validation score is: a kind of log-likelihood, or what its name says."""
    kinds = get_args(ScoreKind)
    return f"Log-likelihood of validation images in nats: {score}." if score in kinds else "On validation images."
