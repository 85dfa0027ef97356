"""An endless, seeded, resumable stream of batches; small sets live on the device as uint8 and are indexed there."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genlearn._types import Batch
from genlearn.maths.pixels import unit

RESIDENT_BYTES = 2 << 30


class Stream:
    """Batches of `batch_size` rows, each image once per epoch, in an order that depends on the seed alone.

    x [n, ...] is uint8 (served as float in [0, 1]) or float (served as it is); y [n] are labels or None. Batches run
    across the end of an epoch, so that all have one size. With `world` processes each serves its own
    batch_size / world rows of the same batch. Sets above 2 GiB stay where they are (a memory map, say).
    Attributes: x and y as they were given, batch_size, n (the images of an epoch). Raises ValueError where there are no
    images, other labels than images, or batches that the processes cannot share evenly.
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
        if not len(x) or batch_size < 1 or (y is not None and len(y) != len(x)):
            raise ValueError(
                f"got {len(x)} images, {None if y is None else len(y)} labels and batch_size {batch_size}, expected "
                "at least one image, as many labels (or none), and a positive batch_size"
            )
        if batch_size % world:
            raise ValueError(
                f"batch_size is {batch_size}, expected a multiple of the {world} processes; "
                f"the usual fix is {max(1, batch_size // world) * world}"
            )
        self.batch_size, self.dtype = batch_size, dtype
        self.device = torch.device(device)
        resident = x.numel() * x.element_size() <= RESIDENT_BYTES
        self.x = x.to(self.device) if resident else x
        self.y = None if y is None else y.to(self.x.device)
        self._rank, self._world = rank, world
        self._generator = torch.Generator().manual_seed(seed)
        self._share = -1.0
        self.select(0.0)

    def select(self, labelled: float) -> None:
        """Choose what a batch is made of; another choice than before begins a fresh order.

        labelled: the share of its rows that show a known label, spread evenly over it; the others come from the images
        without one, or from all where there are none. 0: all images as they come; 1: the labelled ones only, which an
        epoch is then a pass over. It is rounded to whole rows of a batch. Raises ValueError where no label is known.
        """
        if labelled == self._share:
            return
        if not 0 <= labelled <= 1:
            raise ValueError(f"labelled is {labelled}, expected a share between 0 and 1")
        if labelled and (self.y is None or not bool((self.y >= 0).any())):
            raise ValueError("no image has a known label, expected some; the usual fix is to give y to fit")
        count = round(labelled * self.batch_size)
        self._share, self._count = labelled, count
        place = torch.arange(self.batch_size, device=self.x.device)
        self._labelled = (place + 1) * count // self.batch_size > place * count // self.batch_size
        everything = torch.arange(len(self.x), device=self.x.device)
        known = everything if self.y is None or not count else (self.y >= 0).nonzero()[:, 0]
        unknown = everything if self.y is None or not count else (self.y < 0).nonzero()[:, 0]
        self._rows = {"labelled": known, "others": unknown if len(unknown) else everything}
        self._ahead = {name: rows[:0] for name, rows in self._rows.items()}
        self.n = len(known if count == self.batch_size else everything)

    def _take(self, name: str, count: int) -> Tensor:
        """The next rows of an endless series of permutations."""
        rows, ahead = self._rows[name], self._ahead[name]
        while len(ahead) < count:
            ahead = torch.cat([ahead, rows[torch.randperm(len(rows), generator=self._generator).to(rows.device)]])
        self._ahead[name] = ahead[count:]
        return ahead[:count]

    def __next__(self) -> Batch:
        count = self._count
        if count in (0, self.batch_size):
            rows = self._take("labelled" if count else "others", self.batch_size)
        else:
            rows = torch.empty_like(self._labelled, dtype=torch.int64)
            rows[self._labelled] = self._take("labelled", count)
            rows[~self._labelled] = self._take("others", self.batch_size - count)
        rows = rows.chunk(self._world)[self._rank]
        return Batch(self.serve(self.x.index_select(0, rows)), None if self.y is None else self.y.index_select(0, rows))

    def state(self) -> dict[str, Tensor]:
        """The position: the rows still to come in this epoch and the state of the generator."""
        return {name: rows.cpu() for name, rows in self._ahead.items()} | {"generator": self._generator.get_state()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a position taken by `state`."""
        self._ahead = {name: state[name].to(self.x.device) for name in self._rows}
        self._generator.set_state(state["generator"])

    def serve(self, x: Tensor) -> Tensor:
        """Rows of the set as the losses see them: on the device, floating, uint8 scaled to [0, 1]."""
        return unit(x.to(self.device, non_blocking=True), self.dtype)

    def mean(self, f: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
        """The mean of f over the whole set, f mapping images [B, ...] to [B, *k]; of every pixel, by default."""
        return torch.stack([f(self.serve(rows)).sum(0) for rows in self.x.split(1000)]).sum(0) / len(self.x)

    def variance(self) -> Tensor:
        """The variance of every pixel over the whole set, of the shape of one image."""
        mean = self.mean()
        return self.mean(lambda x: (x - mean).square())
