"""N processes with batch B / N give the parameters that one process with batch B gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

WORKER = Path(__file__).with_name("worker.py")


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("processes")
    alone, together = folder / "one.safetensors", folder / "two.safetensors"
    one = subprocess.Popen([sys.executable, str(WORKER), str(alone)])
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*launch, str(WORKER), str(together)], check=True, capture_output=True, text=True)
    assert one.wait() == 0
    return load_file(alone), load_file(together)


def test_two_processes_equal_one(states):
    one, two = states
    assert one.keys() == two.keys()
    games = {name.split(".")[0] for name in one}
    assert len(games) == 18
    for name, tensor in one.items():
        assert torch.allclose(tensor, two[name], rtol=1e-12, atol=1e-12), (
            f"{name} differs by {(tensor - two[name]).abs().max():.2e}"
        )
