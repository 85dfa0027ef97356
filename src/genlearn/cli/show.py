"""What there is: models with their parameters, data sets."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from genlearn.cli.console import Json, show, stdout


def models(
    name: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Show the parameters of this model.")] = None,
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
    show(content, as_json, ("model", "family", "capabilities", "paper"), rows)


def _model(name: str, as_json: bool) -> None:
    from genlearn import registry
    from genlearn.parameters import table

    model = registry.model(name)
    parameters: list[dict[str, Any]] = [
        {"name": p.name, "default": p.default, "expected": p.expected, "help": p.help} for p in table(model).values()
    ]
    content = {"name": name, "paper": model.paper, "parameters": parameters, "presets": model.presets}
    rows = [(p["name"], text(p["default"]), p["expected"], p["help"]) for p in parameters]
    show(content, as_json, ("parameter", "default", "expected", "meaning"), rows)
    if not as_json:
        for preset, values in model.presets.items():
            settings = " ".join(f"{key}={text(value)}" for key, value in values.items())
            stdout().print(f"\npreset {preset}: {settings}", markup=False)


def text(value: Any) -> str:
    """A value as `--set` reads it."""
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value).replace("None", "none")


def datasets(as_json: Json = False) -> None:
    """List the data sets that have a name, and where each is found now."""
    from genlearn.data import catalogue

    entries = catalogue()
    rows = [(e.name, e.what, "x".join(map(str, e.shape)), f"{e.n:,}", e.licence, e.where) for e in entries]
    show([e._asdict() for e in entries], as_json, ("data set", "what", "shape", "images", "licence", "where"), rows)
    if not as_json:
        stdout().print("\nAny folder or zip of images is a data set too: --data path/to/folder", markup=False)
