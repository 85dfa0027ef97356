"""`genlearn lab`: the theory one can see."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genlearn.cli.console import Json, answer
from genlearn.progress import watched


def lab(
    name: Annotated[str | None, typer.Argument(metavar="TOPIC", help="One topic [default: all].")] = None,
    out: Annotated[Path | None, typer.Option(help="The page [default: lab.html], or the picture [TOPIC.png].")] = None,
    png: Annotated[bool, typer.Option("--png", help="A still picture of TOPIC.")] = False,
    settings: Annotated[
        list[str], typer.Option("--set", metavar="NAME=VALUE", help="A control of the picture (--png).")
    ] = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Write the theory lab, one page.

    Divergences, the best discriminator, saturation, W1 and critics, the Dirac-GAN, a GAN on a line, mode collapse, the
    bias of CD-k, vanishing gradients: sliders over what was computed beforehand, in one file that needs nothing from
    outside. Takes a minute or two; one topic seconds.
    """
    from genlearn.files import write_atomically
    from genlearn.lab import TOPICS, lab_picture, topic, write_lab

    topics = [*TOPICS.values()] if name is None else [topic(name)]
    if png or settings:
        if name is None or not png:
            raise ValueError(
                "--set and --png are for the picture of one topic: genlearn lab dirac --png --set steps=240"
            )
        pairs = dict(text.partition("=")[::2] for text in settings)
        out = out or Path(f"{name}.png")
        out.parent.mkdir(parents=True, exist_ok=True)
        with watched():
            write_atomically(out, lab_picture(name, **pairs))
        answer(as_json, {"picture": str(out), "topic": name}, str(out))
        return
    with watched():
        page = write_lab(out or Path("lab.html"), topics)
    answer(as_json, {"page": str(page), "topics": [t.name for t in topics]}, str(page))
