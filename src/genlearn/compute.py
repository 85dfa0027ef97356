"""How a CPU computes: products by the faster of its libraries, by no more threads than the work is worth."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

Library: TypeAlias = Literal["torch", "onednn"]
Precision: TypeAlias = Literal["auto", "float32", "float64", "bf16"]
SMALL = 2**23  # multiply-adds of the largest product: below, a second thread costs more than it brings
FASTER = 1.4  # so clearly that one machine answers the same each time: the two round differently


@contextmanager
def computing(nets: nn.Module, rows: int, library: Library | None = None) -> Iterator[None]:
    """Set torch for float32 products of `rows` rows with these nets, as this machine does them best; and set it back.

    The settings are those of the process, and freed memory is kept from then on (`keeping`). library: that of a run
    which is resumed (by default, what the probe found).
    """
    keeping()
    largest = max((p.numel() for p in nets.parameters() if p.ndim <= 2), default=0) * rows
    small = largest < SMALL and not _convolutions(nets)  # whose work the size of a kernel does not tell
    threads = torch.get_num_threads()
    on_cpu = next((p.device.type == "cpu" for p in nets.parameters()), False)
    onednn = on_cpu and not small and (library or faster()) == "onednn"
    try:
        if small:
            torch.set_num_threads(1)
        with _onednn() if onednn else nullcontext():
            yield
    finally:
        if small:
            torch.set_num_threads(threads)


@cache
def keeping() -> bool:
    """Have glibc keep what is freed, up to 512 MB, for the next step; whether it does.

    By itself it hands tensors of some 100 kB back to the system and gets them anew, page by page: at worst, which
    depends on what the process did before, a quarter of the time of convolutions. It is left alone where the
    environment has settings of its own (MALLOC_.., GLIBC_TUNABLES).
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt is None:
        return False
    mmap_threshold, trim_threshold = -3, -1
    larger = mallopt(mmap_threshold, 2**28) or mallopt(mmap_threshold, 2**25)  # the most that older ones take
    return bool(larger and mallopt(trim_threshold, 2**29))


@cache
def faster() -> Library:
    """The library for float32 products: oneDNN where it takes less than 1 / 1.4 of the time of torch's own (MKL), as
    exactly; a probe of 30 ms, once a process.

    Processors with matrix tiles (AMX) compute in bf16 when asked for what takes others to oneDNN: the error tells.
    """
    if not hasattr(torch.backends.mkldnn, "matmul"):
        return "torch"
    g = torch.Generator().manual_seed(0)
    x, W = torch.rand(100, 784, generator=g), torch.randn(784, 500, generator=g)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with _onednn():
            if _error(x, W) > 1e-5:
                return "torch"
        best = {"torch": float("inf"), "onednn": float("inf")}
        for _ in range(15):  # in turns, so that a slow moment hits both
            best["torch"] = min(best["torch"], _seconds(x, W))
            with _onednn():
                best["onednn"] = min(best["onednn"], _seconds(x, W))
    finally:
        torch.set_num_threads(threads)
    return "onednn" if FASTER * best["onednn"] < best["torch"] else "torch"


def resolved(precision: Precision, nets: nn.Module) -> Precision:
    """What "auto" is: bf16 for convolutions on a device with units for it, where they take half the time, else float32.

    It rests on what the device can do and not on a clock, so that one machine answers the same each time. No
    process asks another: one that draws samples while others wait must not wait for them.
    """
    if precision != "auto":
        return precision
    device = next(nets.parameters()).device
    units: Mapping[str, object] = {}
    if device.type == "cpu":
        units = getattr(torch.cpu, "get_capabilities", dict)()
    fast = any(units.get(name) for name in ("avx512_bf16", "amx_bf16")) or (
        device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return "bf16" if fast and _convolutions(nets) else "float32"


def _convolutions(nets: nn.Module) -> bool:
    return any(p.ndim > 2 for p in nets.parameters())


def _error(x: Tensor, W: Tensor) -> float:
    exact = x.double() @ W.double()
    return float((x @ W - exact).abs().max() / exact.abs().max())


def _seconds(x: Tensor, W: Tensor) -> float:
    start = time.perf_counter()
    torch.mm(x, W)
    return time.perf_counter() - start


@contextmanager
def _onednn() -> Iterator[None]:
    """Products of float32 by oneDNN: it is where torch sends them when they may be of lower precision."""
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before
