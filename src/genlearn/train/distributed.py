"""Many processes: torch.distributed under torchrun, no engine of our own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist


@contextmanager
def process_group(device: str = "auto") -> Iterator[tuple[int, int]]:
    """(rank, number of processes) of the group that torchrun describes; (0, 1) where it does not run.

    One CUDA device a process (nccl) where there is one and `device` allows it, else gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield 0, 1
        return
    cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    if cuda:
        local, devices = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= devices:
            raise ValueError(f"there are more processes than the {devices} CUDA devices; the usual fix is --device cpu")
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield dist.get_rank(), dist.get_world_size()
        dist.barrier()  # nobody leaves while another still talks
    finally:
        dist.destroy_process_group()
