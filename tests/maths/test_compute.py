"""How a CPU computes: each setting on its own, where it counts, and put back."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from genlearn import compute
from genlearn.compute import computing, faster, keeping, resolved

LARGE, SMALL = nn.Linear(784, 500), nn.Linear(64, 64)
CONVOLUTIONS = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(4, 4))


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def settings():
    return torch.get_num_threads(), torch.backends.mkldnn.matmul.fp32_precision


def inside(nets, rows, library):
    with computing(nets, rows, library):
        return settings()


def test_large_products_have_their_library_and_all_threads():
    before = settings()
    assert inside(LARGE, 100, "onednn") == (2, "bf16")
    assert inside(LARGE, 100, "torch") == before
    assert settings() == before


def test_small_products_have_one_thread_and_the_library_that_they_have():
    before = settings()
    assert inside(SMALL, 100, "onednn") == (1, before[1])
    assert inside(LARGE, 4, "onednn") == (1, before[1])
    assert settings() == before


def test_convolutions_are_worth_all_threads():
    assert inside(CONVOLUTIONS, 1, "torch")[0] == 2


def test_settings_are_put_back_after_an_error():
    before = settings()
    for nets in (LARGE, SMALL):
        with pytest.raises(KeyError), computing(nets, 100, "onednn"):
            raise KeyError
    assert settings() == before


def test_one_within_another():
    with computing(LARGE, 100, "onednn"):
        assert inside(SMALL, 1, "onednn") == (1, "bf16")
        assert settings() == (2, "bf16")


def test_either_library_is_of_float32():
    x = torch.rand(100, 784, generator=torch.Generator().manual_seed(1))
    exact = torch.nn.functional.linear(x.double(), LARGE.weight.double(), LARGE.bias.double())
    with torch.no_grad(), computing(LARGE, 100):  # what the probe found
        assert (LARGE(x) - exact).abs().max() < 1e-5


@pytest.fixture
def probe(monkeypatch):
    """The probe with times of our own, in seconds."""

    def answer(torch_, onednn):
        monkeypatch.setattr(compute, "_seconds", lambda x, W: onednn if settings()[1] == "bf16" else torch_)
        return faster.__wrapped__()

    return answer


def test_the_probe_takes_the_faster_one_and_leaves_no_trace(probe, monkeypatch):
    before = settings()
    monkeypatch.setattr(compute, "_error", lambda x, W: 1e-6)
    assert probe(1.0, 0.5) == "onednn"
    assert probe(1.0, 0.9) == "torch"  # too near to be the same next time
    assert probe(0.5, 1.0) == "torch"
    assert settings() == before


def test_the_probe_refuses_what_is_not_float32(probe, monkeypatch):
    monkeypatch.setattr(compute, "_error", lambda x, W: 1e-3)
    assert probe(1.0, 0.5) == "torch"


def test_the_error_tells_bf16_from_float32():
    x, W = torch.rand(50, 300), torch.randn(300, 40)
    assert compute._error(x, W) < 1e-5
    exact = x.double() @ W.double()
    low = (x.bfloat16() @ W.bfloat16()).double()
    assert (low - exact).abs().max() / exact.abs().max() > 1e-5


@pytest.mark.parametrize(("units", "expected"), [({"avx512_bf16": True}, "bf16"), ({"avx512_f": True}, "float32")])
def test_auto_is_bf16_for_convolutions_on_a_processor_with_units_for_it(units, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units, raising=False)
    assert resolved("auto", CONVOLUTIONS) == expected
    assert resolved("auto", LARGE) == "float32"
    assert resolved("float64", CONVOLUTIONS) == "float64"


def test_auto_is_answered_by_a_process_alone(monkeypatch):
    """The first process draws samples for a monitor while the others wait in the next round."""
    asked = []
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    monkeypatch.setattr("genlearn.parallel.world", lambda: (0, 2))
    for name in ("broadcast", "all_reduce", "all_gather_into_tensor", "broadcast_object_list"):
        monkeypatch.setattr(f"torch.distributed.{name}", lambda *a, name=name, **k: asked.append(name))
    assert resolved("auto", CONVOLUTIONS) == "bf16"
    assert not asked


@pytest.mark.parametrize(
    ("platform", "setting", "library", "asked"),
    [
        ("linux", None, "glibc", [(-3, 2**28), (-1, 2**29)]),
        ("linux", None, "old glibc", [(-3, 2**28), (-3, 2**25), (-1, 2**29)]),
        ("linux", "MALLOC_ARENA_MAX", "glibc", []),
        ("linux", "GLIBC_TUNABLES", "glibc", []),
        ("linux", None, "musl", []),
        ("darwin", None, "glibc", []),
    ],
)
def test_freed_memory_is_kept_where_the_library_can_and_nobody_has_said_how(
    platform, setting, library, asked, monkeypatch
):
    seen = []

    def mallopt(name: int, value: int) -> bool:
        seen.append((name, value))
        return name == -1 or value <= 2**25 or library == "glibc"

    c = SimpleNamespace() if library == "musl" else SimpleNamespace(mallopt=mallopt)
    monkeypatch.setattr(compute.ctypes, "CDLL", lambda name: c)
    monkeypatch.setattr(compute.sys, "platform", platform)
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    if setting:
        monkeypatch.setenv(setting, "1")
    keeping.cache_clear()
    with computing(SMALL, 1), computing(SMALL, 1):  # once a process
        assert seen == asked
    assert keeping() == bool(asked)
    keeping.cache_clear()
