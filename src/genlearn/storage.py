"""A saved model: `weights.safetensors` and `model.json`; reading them never runs code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from genlearn import __version__
from genlearn._types import Nets
from genlearn.files import write_atomically

FORMAT = 1


def write_model(folder: Path, about: Mapping[str, Any], groups: Mapping[str, Nets | None]) -> Path:
    """Write what is to be known `about` a model, and the states of its groups of nets."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{group}/{name}": t.detach().cpu().contiguous().clone()
        for group, nets in groups.items()
        if nets is not None
        for name, t in nets.state_dict().items()
    }
    about = {"format": FORMAT, "version": __version__, **about}
    # Both contents are made before either is written; numpy's numbers become Python's.
    text, weights = json.dumps(about, indent=2, default=lambda number: number.item()) + "\n", save(tensors)
    write_atomically(folder / "weights.safetensors", weights)
    write_atomically(folder / "model.json", text.encode())
    return folder


def read_states(folder: Path, groups: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """The state of every group, empty where none was written; a one-line ValueError for a damaged file."""
    try:
        tensors = load_file(folder / "weights.safetensors")
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(
            f"{folder}/weights.safetensors is damaged or missing ({error}); the usual fix is to save the model again"
        ) from None
    for group in groups:
        yield {name.partition("/")[2]: t for name, t in tensors.items() if name.startswith(group + "/")}


def read_about(folder: Path) -> dict[str, Any]:
    """The `model.json` of a saved model; a one-line ValueError if there is none or it is of another format."""
    try:
        about: dict[str, Any] = json.loads((folder / "model.json").read_text())
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no model.json, expected the folder of a saved model") from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{folder}/model.json is damaged ({error}); the usual fix is to save the model again"
        ) from None
    if about.get("format") != FORMAT:
        raise ValueError(
            f"{folder} was saved in format {about.get('format')} by genlearn {about.get('version')}, this is "
            f"genlearn {__version__} with format {FORMAT}; the usual fix is to load it with the version that wrote it"
        )
    return about
