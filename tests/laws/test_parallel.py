"""What processes tell each other, in numbers."""

from __future__ import annotations

import json
import os
import socket
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from genlearn import parallel
from genlearn.parallel import agree, agreed, all_sum, average, gather_rows, process_group, world
from processes import CONTEXT


def talk(folder: Path, port: int, rank: int) -> None:
    """One of two processes, as torchrun would start it: what it is told goes to a file."""
    group = {"WORLD_SIZE": 2, "RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in group.items()})
    cpu, told = torch.device("cpu"), {}
    with process_group("cpu") as told["group"]:
        own = torch.tensor([[1.0, 2.0], [3.0, 4.0]]) + 10 * rank
        told["average"] = [t.tolist() for t in average([own, own[0]])]
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # those of torch, of what it calls deprecated
            told["rows"] = gather_rows(own.T).tolist()
        told["sum"], told["own"] = all_sum(own[0]).tolist(), own.tolist()
        x = torch.tensor(1.0 + rank, requires_grad=True)
        (slope,) = torch.autograd.grad((1 + rank) * all_sum(x).square(), x, create_graph=True)
        told["slopes"] = [slope.item(), torch.autograd.grad(slope, x)[0].item()]
        told["agreed"] = agreed(5 + rank, cpu)
        told["agree"] = [agree(flag, cpu) for flag in (rank == 0, rank == 1, False)]
    told["left"] = world()
    (folder / f"{rank}.json").write_text(json.dumps(told))
    os._exit(0)  # gloo's threads sometimes abort the interpreter's own exit


def test_two_processes(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    processes = [CONTEXT.Process(target=talk, args=(tmp_path, port, rank)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == {
            "group": [rank, 2],
            "average": [[[6, 7], [8, 9]], [6, 7]],
            "rows": [[1, 3], [2, 4], [11, 13], [12, 14]],
            "sum": [12, 14],
            "own": [[1 + 10 * rank, 2 + 10 * rank], [3 + 10 * rank, 4 + 10 * rank]],
            "slopes": [18, 12],  # of s^2 + 2 s^2 at s = 3, and of twice its slope
            "agreed": 5,
            "agree": [True, True, False],
            "left": [0, 1],
        }


def test_a_group_has_a_device_for_each_process_and_is_torn_down(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    done: list[str] = []
    fake = SimpleNamespace(
        is_initialized=lambda: False, init_process_group=done.append, get_rank=lambda: 1, get_world_size=lambda: 2,
        barrier=lambda: done.append("barrier"), destroy_process_group=lambda: done.append("destroyed"),
    )  # fmt: skip
    monkeypatch.setattr(parallel, "dist", fake)
    with pytest.raises(ValueError, match="more processes than the 1 CUDA devices"), process_group():
        pass
    assert done == []
    with process_group("cpu") as group:
        assert group == (1, 2)
    assert done == ["gloo", "barrier", "destroyed"]
    done.clear()
    with pytest.raises(KeyError), process_group("cpu"):
        raise KeyError  # the others may wait for ever: no barrier
    assert done == ["gloo", "destroyed"]
