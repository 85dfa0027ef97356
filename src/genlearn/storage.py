"""A saved model: `weights.safetensors` and `model.json`; reading them never runs code."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from torch import Tensor

from genlearn import __version__
from genlearn._types import Nets
from genlearn.files import checksum, pack, read_json, unpack, write_atomically
from genlearn.train import Keeper

FORMAT = 3


def write_model(folder: Path, about: Mapping[str, Any], nets: Nets, averaged: Nets | None) -> Path:
    """Write what is to be known `about` a model, its nets, and of the averaged ones what stands apart."""
    folder.mkdir(parents=True, exist_ok=True)
    state = nets.state_dict()
    tensors = {f"nets/{name}": t for name, t in state.items()}
    if averaged is not None:
        apart = {name: t for name, t in averaged.state_dict().items() if t.data_ptr() != state[name].data_ptr()}
        tensors |= {f"averaged/{name}": t for name, t in apart.items()}
    # Both contents are made before either is written; numpy's numbers become Python's, an object its name.
    about = json.loads(json.dumps({"format": FORMAT, "version": __version__, **about}, default=_plain))
    text = json.dumps({**about, "sha256": checksum(about)}, indent=2) + "\n"
    weights = pack(tensors, {"format": str(FORMAT)})
    write_atomically(folder / "weights.safetensors", weights)
    write_atomically(folder / "model.json", text.encode())
    return folder


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else {"object": getattr(value, "__name__", type(value).__name__)}


def read_states(folder: Path, nets: Nets) -> tuple[Nets, Nets | None]:
    """The weights into `nets`; and the averaged nets, if there are any, which share all else with them.

    Raises a one-line ValueError for a damaged file, or one of other nets.
    """
    try:
        tensors, _ = unpack(folder / "weights.safetensors")
    except ValueError as error:
        raise ValueError(f"{folder}/weights.safetensors is damaged or missing ({error}); {_fix(folder)}") from None
    groups: dict[str, dict[str, Tensor]] = {"nets": {}, "averaged": {}}
    for name, t in tensors.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = t
    try:
        nets.load_state_dict(groups["nets"])
    except RuntimeError as error:
        raise ValueError(f"the nets do not fit the weights in {folder}: {' '.join(str(error).split())}") from None
    apart = groups["averaged"]
    if not apart:
        return nets, None
    memo = {id(t): t for name, t in nets.state_dict(keep_vars=True).items() if name not in apart}
    averaged = copy.deepcopy(nets, memo)
    averaged.load_state_dict(apart, strict=False)
    return nets, averaged


def model_folder(folder: str | Path) -> Path:
    """Where a model is saved: `folder`, or within the folder of a run its `model`."""
    folder = Path(folder)
    inner = folder / "model"
    return inner if (inner / "model.json").exists() and not (folder / "model.json").exists() else folder


def _fix(folder: Path) -> str:
    """What helps where a saved model is damaged: its run, if there is one with a checkpoint, saves it again."""
    run = folder.parent
    if folder.name == "model" and (run / "run.json").exists() and Keeper(run / "checkpoints").paths():
        return f"the usual fix is genlearn train --resume {quote(str(run))}, which saves it again"
    return "the usual fix is to save the model again"


def read_about(folder: Path) -> dict[str, Any]:
    """The `model.json` of a saved model; a one-line ValueError if there is none or it is of another format."""
    try:
        about = read_json(folder / "model.json")
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no model.json, expected the folder of a saved model") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}/model.json is damaged ({error}); {_fix(folder)}") from None
    if not isinstance(about, dict):
        raise ValueError(f"{folder}/model.json is damaged (it holds no record); {_fix(folder)}")
    if about.get("format") != FORMAT:
        raise ValueError(
            f"{folder} was saved in format {about.get('format')} by genlearn {about.get('version')}, this is "
            f"genlearn {__version__} with format {FORMAT}; the usual fix is to load it with the version that wrote it"
        )
    kept = about.pop("sha256", None)
    if kept != checksum(about):  # also before memory is asked for, for nets of whatever size it says
        raise ValueError(f"{folder}/model.json was changed since it was saved (the checksums differ); {_fix(folder)}")
    return dict(about)
