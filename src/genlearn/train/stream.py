"""An endless, seeded, resumable stream of batches; small sets live on the device as uint8 and are indexed there."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genlearn._types import Batch

RESIDENT_BYTES = 2 << 30


class Stream:
    """Batches of `batch_size` rows, each image once per epoch, in an order that depends on the seed alone.

    x [n, ...] is uint8 (served as float in [0, 1]) or float (served as it is); y [n] are labels or None. Batches run
    across the end of an epoch, so that all have one size. With `world` processes each serves its own
    batch_size / world rows of the same batch. Sets above 2 GiB stay where they are (a memory map, say).
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None,
        batch_size: int,
        seed: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size % world:
            raise ValueError(
                f"batch_size is {batch_size}, expected a multiple of the {world} processes; "
                f"the usual fix is {max(1, batch_size // world) * world}"
            )
        self.n, self.batch_size, self.dtype = len(x), batch_size, dtype
        self.device = torch.device(device)
        resident = x.numel() * x.element_size() <= RESIDENT_BYTES
        self.x = x.to(self.device) if resident else x
        self.y = None if y is None else y.to(self.x.device)
        self._rank, self._world = rank, world
        self._generator = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.int64, device=self.x.device)
        self._rows: Tensor | None = None

    def select(self, labelled: bool) -> None:
        """Serve the rows with a known label only, or all again; ValueError where no label is known."""
        if labelled == (self._rows is not None):
            return
        self._rows, self._order = None, self._order[:0]
        if labelled:
            rows = self._order if self.y is None else (self.y >= 0).nonzero()[:, 0]
            if not len(rows):
                raise ValueError("no image has a known label, expected some; the usual fix is to give y to fit")
            self._rows = rows
        self.n = len(self.x if self._rows is None else self._rows)

    def __next__(self) -> Batch:
        while len(self._order) < self.batch_size:
            order = torch.randperm(self.n, generator=self._generator).to(self.x.device)
            self._order = torch.cat([self._order, order if self._rows is None else self._rows[order]])
        rows = self._order[: self.batch_size].chunk(self._world)[self._rank]
        self._order = self._order[self.batch_size :]
        return Batch(self.serve(self.x.index_select(0, rows)), None if self.y is None else self.y.index_select(0, rows))

    def state(self) -> dict[str, Tensor]:
        """The position: the rows still to come in this epoch and the state of the generator."""
        return {"order": self._order.cpu(), "generator": self._generator.get_state()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a position taken by `state`."""
        self._order = state["order"].to(self.x.device)
        self._generator.set_state(state["generator"])

    def serve(self, x: Tensor) -> Tensor:
        """Rows of the set as the losses see them: on the device, floating, uint8 scaled to [0, 1]."""
        x = x.to(self.device, non_blocking=True)
        return x.to(self.dtype).mul_(1 / 255) if x.dtype == torch.uint8 else x.to(self.dtype)

    def mean(self, f: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
        """The mean of f(images) over the whole set; of every pixel, by default."""
        return torch.stack([f(self.serve(rows)).sum(0) for rows in self.x.split(1000)]).sum(0) / len(self.x)

    def variance(self) -> Tensor:
        """The variance of every pixel over the whole set, of the shape of one image."""
        mean = self.mean()
        return self.mean(lambda x: (x - mean).square())
