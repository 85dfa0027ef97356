"""What there is: models with their parameters, data sets."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from genlearn.cli.console import Json, answer, listing


def models(
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="Show the parameters of this model.")] = None,
    as_json: Json = False,
) -> None:
    """List the models, or the parameters and presets of one."""
    from genlearn import registry

    if name is not None:
        _model(name, as_json)
        return
    content = [
        {"name": e.name, "family": e.load().family, "capabilities": e.capabilities, "paper": e.load().paper}
        for e in registry.models()
    ]
    rows = [(m["name"], m["family"], ", ".join(m["capabilities"]), m["paper"]) for m in content]
    answer(as_json, content, listing(("model", "family", "capabilities", "paper"), rows))


def _model(name: str, as_json: bool) -> None:
    from genlearn import parameters, registry

    model = registry.model(name)
    rows = parameters.table(model).values()
    content = {
        "name": name,
        "paper": model.paper,
        "parameters": [{"name": p.name, "default": p.default, "expected": p.expected, "help": p.help} for p in rows],
        "presets": model.presets,
    }
    presets = [
        f"\npreset {preset}: {' '.join(f'{key}={text(value)}' for key, value in values.items())}"
        for preset, values in model.presets.items()
    ]
    cells = [(p.name, text(p.default), p.expected, p.help) for p in rows]
    answer(as_json, content, listing(("parameter", "default", "expected", "meaning"), cells), *presets)


def text(value: Any) -> str:
    """A value as `--set` reads it."""
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value).replace("None", "none")


def datasets(as_json: Json = False) -> None:
    """List the data sets, and where each is found now."""
    from genlearn.data import catalogue

    entries = catalogue()
    rows = [(e.name, e.what, "x".join(map(str, e.shape)), f"{e.n:,}", e.licence, e.where) for e in entries]
    heads = ("data set", "what", "shape", "images", "licence", "where")
    folder = "\nAny folder or zip of images is a data set too: --data path/to/folder"
    answer(as_json, [e._asdict() for e in entries], listing(heads, rows), folder)
