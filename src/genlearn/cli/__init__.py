"""The command line: a thin face of the registry, the parameter table and the run folder."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer

from genlearn import __version__
from genlearn.cli.change import complete, denoise
from genlearn.cli.console import OneLine
from genlearn.cli.demo import demo
from genlearn.cli.lab import lab
from genlearn.cli.reproduce import reproduce
from genlearn.cli.show import datasets, models
from genlearn.cli.train import train
from genlearn.cli.use import evaluate, predict, report, sample

app = typer.Typer(
    name="genlearn",
    cls=OneLine,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Start with: genlearn demo",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"genlearn {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Train, compare and explore deep generative models on your images."""


EXAMPLES: dict[Callable[..., Any], str] = {
    models: "genlearn models rbm",
    datasets: "genlearn datasets --json",
    train: "genlearn train rbm --data mnist --set n_hidden=500 --epochs 5 --out runs/rbm",
    sample: "genlearn sample runs/rbm --n 64 --seed 0 --out samples.png",
    predict: "genlearn predict runs/digits photos/ --json",
    denoise: "genlearn denoise runs/dae photos/ --out clean/",
    complete: "genlearn complete runs/gsn photos/ --mask hole.png --out whole/",
    evaluate: "genlearn evaluate runs/rbm runs/vae --metrics likelihood,parzen --json",
    report: "genlearn report runs/rbm runs/vae --out report.html",
    lab: "genlearn lab --out lab.html",
    reproduce: "genlearn reproduce mode-collapse --quick",
    demo: "genlearn demo --out runs/demo",
}
for command, example in EXAMPLES.items():
    app.command(epilog=f"Example: {example}")(command)


def main() -> None:
    """The console script: this process is ours, so its threads are set for training."""
    # Read when torch is loaded: threads that wait spin for so many rounds before they sleep. An epoch of an RBM beside
    # another busy process took .8 to 1.1 s with 0 to 1,000 rounds, 9 s with 50,000, 25 s by default; on idle cores
    # .67 s with none, .42 s with 1,000 or more.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # At its end Python looks for cycles in all that torch has loaded, .6 s that nobody needs.
    atexit.register(gc.freeze)
    app(prog_name="genlearn")
