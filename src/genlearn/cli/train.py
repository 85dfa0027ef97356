"""`genlearn train`."""

from __future__ import annotations

import math
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genlearn.cli.console import Json, answer, listing
from genlearn.cli.recipe import BUDGET, Recipe
from genlearn.cli.show import text
from genlearn.progress import say, watched
from genlearn.words import took

if TYPE_CHECKING:
    from genlearn.run import Run

Option = typer.Option


def _side(text: str) -> int:
    """Pixels a side."""
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r}, expected one number, as in --size 32: images are cut to squares")
    return int(text)


def train(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="A model; with --resume, a run.")] = None,
    data: Annotated[str | None, Option(help="Name of a data set (genlearn datasets), folder or zip of images.")] = None,
    settings: Annotated[
        list[str], Option("--set", metavar="NAME=VALUE", help="A parameter (genlearn models rbm).")
    ] = [],  # noqa: B006
    preset: Annotated[str | None, Option(help="Start from the parameters of a preset.")] = None,
    epochs: Annotated[float | None, Option(help="Budget in passes over the data.")] = None,
    images: Annotated[float | None, Option(help="Budget in images seen.")] = None,
    minutes: Annotated[float | None, Option(help="Budget in minutes of training.")] = None,
    out: Annotated[Path | None, Option(help="Folder of the run [default: runs/MODEL-DATA].")] = None,
    seed: Annotated[int | None, Option(help="Seed of everything random [default: a fresh one].")] = None,
    device: Annotated[str | None, Option(help="auto, cpu, cuda or mps.")] = None,
    precision: Annotated[str | None, Option(help="auto, float32, float64 or bf16.")] = None,
    split: Annotated[str | None, Option(help="hash, or parzen-2014 (mnist).")] = None,
    size: Annotated[int | None, Option(help="Pixels a side of the images of a folder.", parser=_side)] = None,
    grey: Annotated[bool | None, Option("--grey/--color", help="How to read a folder.")] = None,
    alpha: Annotated[str | None, Option(help="Transparency of a folder's images: white or keep.")] = None,
    monitor: Annotated[list[str], Option(help="What to watch beside the losses: score, parzen, gradients.")] = [],  # noqa: B006
    keep_every: Annotated[float, Option(min=0, help="Seconds between checkpoints.")] = 30.0,
    processes: Annotated[int, Option(min=1, help="Processes on this machine.")] = 1,
    resume: Annotated[bool, Option("--resume", help="Continue a run; budgets that are given replace its own.")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Print the resolved recipe and stop.")] = False,
    as_json: Json = False,
) -> int:
    """Train a model on images.

    Everything is kept in one folder, the run. A budget alone (--minutes 10) lifts the default one. SIGINT and SIGTERM
    checkpoint first; then, as after a crash, genlearn train --resume RUN continues to the same bits.
    """
    options = {"split": split, "size": size, "grey": grey, "alpha": alpha}
    flags: dict[str, Any] = {"epochs": epochs, "images": images, "minutes": minutes}
    flags |= {"random_state": seed, "device": device, "precision": precision}
    recipe = Recipe(model, data, options, preset, settings, flags, out, resume)
    if dry_run:
        run, resumed = recipe.run()
        if not resumed:
            run.record["parameters"]["random_state"] = seed  # a fresh one is drawn when the run is made
        _print_recipe(run, as_json)
        return 0
    if processes > 1:
        return _launch(recipe, processes, monitor, keep_every, as_json)
    return _train(recipe, monitor, keep_every, as_json)


def _print_recipe(run: Run, as_json: bool) -> None:
    from genlearn import parameters

    rows = [("model", run.record["model"], ""), ("run", str(run.path), "")]
    data = run.record["data"]
    rows += [("data", data["source"], " ".join(f"{k}={text(v)}" for k, v in data["options"].items()))]
    defaults = parameters.table(type(run.estimator))
    for name, value in run.record["parameters"].items():
        kept = text(value) == text(defaults[name].default)
        rows.append((name, text(value), "" if kept else f"default {text(defaults[name].default)}"))
    answer(as_json, {"run": str(run.path), **run.record}, listing(("", "", ""), rows))


def _launch(recipe: Recipe, n: int, monitors: list[str], keep_every: float, as_json: bool) -> int:
    """Write the run, then let n processes continue it: they share its folder, parameters and seed."""
    from genlearn.cli.launch import launch
    from genlearn.files import made

    run, _ = recipe.run()
    run.met()
    made(run.path)
    run.write()
    arguments = ["train", "--resume", str(run.path), "--keep-every", str(keep_every)]
    arguments += ["--device", run.record["parameters"]["device"]]
    for name in monitors:
        arguments += ["--monitor", name]
    return launch(n, [*arguments, *(["--json"] if as_json else [])])


def _train(recipe: Recipe, monitors: list[str], keep_every: float, as_json: bool) -> int:
    from genlearn.parallel import process_group

    with process_group(recipe.flags.get("device") or "auto") as (rank, n):
        run, resume = _agreed(recipe, rank, n)
        if rank == 0:
            before = run.record.get("images") if resume else None
            with watched():
                run.train(resume, monitors, keep_every)
            if run.record["images"] == before and run.record["status"] == "finished":
                _print_spent(run)
            _print_end(run, as_json)
        else:
            run.train(resume, monitors, keep_every)
    return 128 + (run.signal or 15) if run.record["status"] == "stopped" else 0


def _agreed(recipe: Recipe, rank: int, n: int) -> tuple[Run, bool]:
    """The run, decided by the first process: it alone looks at the folder and draws the seed."""
    if n == 1:
        return recipe.run()
    from torch.distributed import broadcast_object_list

    box: list[Any] = [recipe.run() if rank == 0 else None]
    broadcast_object_list(box)
    return box[0]  # type: ignore[no-any-return]


def _print_spent(run: Run) -> None:
    """That a resumed run had nothing left to do, and how it goes on."""
    record = run.record
    spent = {name: value for name in BUDGET if (value := record["parameters"][name]) is not None}
    seen, seconds, n = record["images"], record["seconds"], record["data"]["n"]["train"]
    used = {"epochs": math.ceil(seen / n), "images": seen, "minutes": math.ceil(seconds / 60)}
    budget = ", ".join(f"{name}={value:,g}" for name, value in spent.items())
    twice = " ".join(f"--{name} {2 * max(value, used[name]):.15g}" for name, value in spent.items())
    again = f"genlearn train --resume {quote(str(run.path))} {twice}"
    say(f"its budget ({budget}) is spent, nothing was trained; to go on, give it more: {again}")


def _print_end(run: Run, as_json: bool) -> None:
    """What became of the run, and what to do next."""
    record, journal = run.record, run.journal()
    final = {name: journal.curve(name)[1][-1] for name in journal.names}
    samples = sorted((run.path / "samples").glob("*.png"))
    content = {
        "run": str(run.path),
        "status": record["status"],
        "images": record["images"],
        "seconds": record["seconds"],
        "final": final,
        "said": journal.sentences,
        "model": str(run.path / "model"),
        "samples": str(samples[-1]) if samples else None,
    }
    stopped = record["status"] == "stopped"
    if stopped:
        say(f"stopped after {record['images']:,} images; continue with: genlearn train --resume {quote(str(run.path))}")
    lines = [f"{record['status']}: {record['images']:,} images in {took(record['seconds'], record.get('spent', {}))}"]
    lines += [f"  {name:<24}{value:.5g}" for name, value in final.items()]
    lines += [f"  {name}: {sentence}" for name, sentence in journal.sentences.items()]
    lines += [f"model    {content['model']}", f"samples  {content['samples'] or 'none'}"]
    if not stopped:
        path = quote(str(run.path))
        lines += [f"next     genlearn evaluate {path}", f"         genlearn report {path}"]
    answer(as_json, content, *lines)
