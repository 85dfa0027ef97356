"""Many processes: torch.distributed under torchrun, no engine of our own; a single process is the identity."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> tuple[int, int]:
    """(rank, number of processes); (0, 1) where no process group runs."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # The objective is the sum of the processes' losses: the gradient is summed as well, and stays differentiable.
        return all_sum(grads[0])


def all_sum(x: Tensor) -> Tensor:
    """sum over processes of x [...]; gradients flow through."""
    return x if world()[1] == 1 else _AllReduce.apply(x)  # type: ignore[no-untyped-call]


def all_rows(x: Tensor) -> Tensor:
    """The rows of every process, in order of rank: [B, ...] -> [N B, ...]; gradients flow through."""
    rank, n = world()
    if n == 1:
        return x
    before, after = (x.new_zeros(m * len(x), *x.shape[1:]) for m in (rank, n - rank - 1))
    return all_sum(torch.cat([before, x, after]))


@torch.no_grad()
def average(tensors: list[Tensor]) -> list[Tensor]:
    """The mean over processes of every tensor, by one flat all-reduce."""
    _, n = world()
    if n == 1:
        return tensors
    flat = torch.cat([t.reshape(-1) for t in tensors])
    dist.all_reduce(flat)
    flat /= n
    return [part.view_as(t) for part, t in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True)]


@torch.no_grad()
def gather_rows(x: Tensor) -> Tensor:
    """The rows of every process, in order of rank: [B, ...] -> [N B, ...]."""
    _, n = world()
    if n == 1:
        return x
    out = x.new_empty((n * x.shape[0], *x.shape[1:]))
    dist.all_gather(list(out.chunk(n)), x.contiguous())
    return out


def agreed(number: int, device: torch.device) -> int:
    """The first process's number, in every process."""
    if world()[1] == 1:
        return number
    t = torch.tensor(number, device=device)
    dist.broadcast(t, 0)
    return int(t.item())


def agree(flag: bool, device: torch.device) -> bool:
    """True in every process if `flag` is true in any."""
    _, n = world()
    if n == 1:
        return flag
    t = torch.tensor(float(flag), device=device)
    dist.all_reduce(t, op=dist.ReduceOp.MAX)
    return bool(t.item())


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
