"""`genlearn demo`: one model of each family on real digits, and one page with all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genlearn.cli.console import Json, answer
from genlearn.cli.recipe import Recipe
from genlearn.progress import say, watched

DATA = "mnist-mini"
# Found by looking: the cheapest settings whose samples are digits.
SETTINGS = {
    "rbm": ("n_hidden=128", "learning_rate=linear(0.05, 0.001, over=180000)", "n_gibbs=100", "epochs=20"),
    "vae": ("learning_rate=linear(2e-3, 1e-4, over=145000)", "epochs=16"),
    "gan": ("ema=20000", "epochs=15"),
}


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the three runs and the page.")] = Path("runs/demo"),
    as_json: Json = False,
) -> None:
    """Train three models on digits and write their page.

    An RBM, a VAE and a GAN, their samples and their scores side by side. Takes a minute;
    what is there already is used again.
    """
    from genlearn.report import write
    from genlearn.run import Run

    runs: list[Run] = []
    for name, settings in SETTINGS.items():
        recipe = Recipe(name, DATA, settings=settings, flags={"random_state": 0}, out=out / name, resume=True)
        run, resume = recipe.run()
        runs.append(run)
        if run.record["status"] != "finished":
            with watched():
                run.train(resume)
            if run.signal:
                say(f"stopped; continue with: genlearn demo --out {out}")
                raise typer.Exit(128 + run.signal)
        if not run.results():
            with watched():
                run.evaluate(n_samples=2_000)
    with watched():
        page = write(runs, out / "report.html")
    answer(as_json, {"report": str(page), "runs": [str(run.path) for run in runs]}, str(page))
