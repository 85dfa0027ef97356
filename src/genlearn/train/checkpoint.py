"""Checkpoints: one safetensors file each, written whole or not at all; loading never runs code."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genlearn.files import pack, unpack, write_atomically

FORMAT = 3


def flatten(tree: dict[str, Any], prefix: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split a nested dict into its tensors, by path, and everything else (JSON)."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Tensor):
            tensors[f"{prefix}{key}"] = value
        elif isinstance(value, dict):
            inner, rest[str(key)] = flatten(value, f"{prefix}{key}/")
            tensors |= inner
        else:
            rest[str(key)] = value
    return tensors, rest


def unflatten(tensors: dict[str, Tensor], rest: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten` (keys come back as text)."""
    tree: dict[str, Any] = json.loads(json.dumps(rest))
    for path, value in tensors.items():
        *parents, key = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[key] = value
    return tree


def write(path: Path, tree: dict[str, Any]) -> None:
    """Write a nested dict of tensors and JSON values to `path`, atomically."""
    tensors, rest = flatten(tree)
    write_atomically(path, pack(tensors, {"format": str(FORMAT), "state": json.dumps(rest)}))


def read(path: Path) -> dict[str, Any]:
    """Read what `write` wrote; a one-line ValueError if the file is damaged or of another version."""
    try:
        tensors, about = unpack(path)
        state = json.loads(about["state"])
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is no readable checkpoint ({error}); the usual fix is an older one, or a new run"
        ) from None
    if about.get("format") != str(FORMAT):
        raise ValueError(
            f"{path} has checkpoint format {about.get('format')}, expected {FORMAT}; "
            "the usual fix is to resume with the version that wrote it"
        )
    return unflatten(tensors, state)


class Keeper:
    """A folder of checkpoints, the last `keep` of them, named by the images seen."""

    def __init__(self, folder: str | Path, keep: int = 2) -> None:
        self.folder, self.keep = Path(folder), keep

    def paths(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(self.folder.glob("images-*.safetensors"))

    def save(self, images: int, tree: dict[str, Any]) -> Path:
        """Write one and forget the oldest beyond `keep`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"images-{images:012d}.safetensors"
        write(path, tree)
        for old in self.paths()[: -self.keep]:
            old.unlink()
        return path

    def clear(self) -> None:
        """Forget them all: a run that starts anew must not be resumed from an older one's."""
        for path in self.paths():
            path.unlink()

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read, or None; a warning for each newer one, which is damaged.

        Raises ValueError where there are some and none can be read.
        """
        damaged: list[str] = []
        for path in reversed(self.paths()):
            try:
                state = read(path)
            except ValueError as error:
                damaged.append(str(error))
                continue
            for line in damaged:
                flaw = line.rpartition("; the usual fix")[0]
                warnings.warn(f"{flaw}; {path.name}, an older one, is used", stacklevel=2)
            return state
        if damaged:
            raise ValueError(damaged[0])
        return None


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Momenta and counts by parameter index; rates come from the schedules and are not state."""
    state = optimizer.state_dict()["state"]
    return {str(i): {k: v for k, v in s.items() if v is not None} for i, s in state.items()}


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """The inverse of `optimizer_state`."""
    inner = optimizer.state_dict()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    inner["state"] = {
        # Fused kernels want a momentum with the strides (channels_last) of its parameter.
        int(i): {k: torch.empty_like(parameters[int(i)]).copy_(v) if v.ndim else v for k, v in s.items()}
        for i, s in state.items()
    }
    optimizer.load_state_dict(inner)
    for i, s in state.items():
        if "mu_product" in s:  # NAdam's float32 product, which load_state_dict would cast
            optimizer.state[parameters[int(i)]]["mu_product"] = s["mu_product"]
