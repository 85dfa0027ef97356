"""N processes with batch B / N give the parameters that one process with batch B gives."""

from __future__ import annotations

import socket

import pytest
import torch
import worker
from safetensors.torch import load_file

from processes import CONTEXT


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Of one process, and of two that find each other as torchrun would have it."""
    folder = tmp_path_factory.mktemp("processes")
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    alone, together = str(folder / "one.safetensors"), str(folder / "two.safetensors")
    starts = [(alone, {}), *((together, group | {"RANK": str(r), "LOCAL_RANK": str(r)}) for r in range(2))]
    processes = [CONTEXT.Process(target=worker.main, args=start) for start in starts]
    for process in processes:
        process.start()
    for process in processes:
        process.join(500)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    return load_file(alone), load_file(together)


def test_two_processes_equal_one(states):
    one, two = states
    assert one.keys() == two.keys()
    games = {name.split(".")[0] for name in one}
    assert len(games) == 42
    for name, tensor in one.items():
        assert torch.allclose(tensor, two[name], rtol=1e-12, atol=1e-12), (
            f"{name} differs by {(tensor - two[name]).abs().max():.2e}"
        )
