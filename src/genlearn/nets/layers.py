"""Layers of one type, bottom up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar, cast

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


class Layers(nn.Module, Generic[Layer]):
    """As nn.ModuleList, names included, but of items whose type is known."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        super().__init__()
        for i, layer in enumerate(layers):
            self.add_module(str(i), layer)

    def __len__(self) -> int:
        return len(self._modules)

    def __getitem__(self, i: int) -> Layer:
        return cast(Layer, self._modules[str(i)])

    def __iter__(self) -> Iterator[Layer]:
        return (self[i] for i in range(len(self)))
