"""`genlearn reproduce`: published experiments, beside their figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from genlearn.cli.console import Json, answer, listing
from genlearn.cli.recipe import Recipe
from genlearn.progress import say, watched
from genlearn.words import unknown

EXPERIMENTS = ("mode-collapse", "stacked-mnist")


def reproduce(
    what: Annotated[str, typer.Argument(metavar="EXPERIMENT", help=f"One of: {', '.join(EXPERIMENTS)}.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the results [default: runs/EXPERIMENT].")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A few minutes: one set, small nets, few steps.")] = False,
    epochs: Annotated[
        float | None, typer.Option(min=0.001, help="Passes over the data [default: as published].")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each method [default: 5].")] = None,
    data: Annotated[list[str], typer.Option(help="Only this set of mode-collapse: ring, grid.")] = [],  # noqa: B006
    method: Annotated[
        list[str], typer.Option(help="Only this method now, such as 'packing by 4'; the others keep what they have.")
    ] = [],  # noqa: B006
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter of all models (genlearn models gan, or dcgan)."),
    ] = [],  # noqa: B006
    table: Annotated[bool, typer.Option("--table", help="Train nothing: what is there, also while it trains.")] = False,
    as_json: Json = False,
) -> int:
    """Run a published experiment anew; its table beside the published figures.

    mode-collapse: the plain GAN, packing, WGAN-GP, relativistic + R1 + R2, feature matching, minibatch discrimination
    and historical averaging on a ring and a grid of Gaussians; what each remedy brings, with its interval over seeds.
    stacked-mnist: DCGAN, packing, R1 + R2 on images of three digits, 1,000 modes that a judge of 99 % tells apart.
    The whole takes weeks of one core, --quick minutes. Stopped or killed, the same command goes on; pictures and a JSON
    of all numbers lie in the folder.
    """
    if what not in EXPERIMENTS:
        raise ValueError(unknown("experiment", what, EXPERIMENTS))
    from genlearn.files import write_atomically
    from genlearn.metrics import Mean
    from genlearn.reproduce import PROTOCOLS
    from genlearn.reproduce.pictures import draw_all
    from genlearn.reproduce.protocol import recorded, results, train
    from genlearn.reproduce.table import HEADS, rows, summary, words

    kind, folder, signal = PROTOCOLS[what], out or Path("runs") / what, 0
    if table:
        protocol = recorded(kind, folder)
    else:
        chosen = {"epochs": epochs, "seeds": seeds, "sets": tuple(data) or None}
        given: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
        protocol = kind.quick() if quick else kind.whole()
        given["settings"] = {**protocol.settings, **Recipe(settings=settings).changes(kind.MODEL)}
        protocol = replace(protocol, **given)
        with watched():
            signal = train(protocol, folder, method)
    runs = results(protocol, folder)
    found = summary(protocol, runs)
    said, pictures = words(protocol, found), [str(path) for path in draw_all(runs, folder)]
    about = {"shortened": protocol.shortened, "words": said, "published": protocol.PUBLISHED}
    text = json.dumps(about | {"summary": found, "runs": runs}, default=Mean.to_json)
    write_atomically(folder / "results.json", (text + "\n").encode())
    table_rows = listing(HEADS, rows(protocol, found))
    answer(as_json, json.loads(text), table_rows, *said, *pictures)
    if signal:
        say(f"stopped; the same command goes on, in {folder}")
    return 128 + signal if signal else 0
