"""kill -9 at a random moment, resume, finish: bitwise equal to the run that was never killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from genlearn.train.checkpoint import read

MODELS = {
    "rbm": ["--set", "n_hidden=64", "--set", "algorithm=pcd", "--epochs", "60"],
    "gan": ["--set", "hidden=64", "--set", "hidden_d=64", "--set", "ema=5000", "--epochs", "40"],
    "proof": ["--set", "hidden=64", "--set", "ema=5000", "--epochs", "20"],
}
COMMAND = Path(__file__).with_name("with_proof.py")


def command(model: str, out: Path, *more: str) -> list[str]:
    base = [sys.executable, str(COMMAND), "train", model, "--data", "digits", "--out", str(out), "--seed", "5"]
    return [*base, "--device", "cpu", "--keep-every", "0", *MODELS[model], *more]


@pytest.mark.parametrize("model", MODELS)
def test_killed_at_a_random_moment(model, tmp_path):
    whole = tmp_path / "whole"
    subprocess.run(command(model, whole), check=True, capture_output=True)
    moments = random.Random(model)
    out, kills = tmp_path / "killed", 0
    for attempt in range(3):
        process = subprocess.Popen(
            command(model, out, *(["--resume"] if attempt else [])),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = len(list((out / "checkpoints").glob("*.safetensors")))
        while process.poll() is None and len(list((out / "checkpoints").glob("*.safetensors"))) <= before % 2:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 1
    subprocess.run(command(model, out, "--resume"), check=True, capture_output=True)
    expected, got = (load_file(folder / "model" / "weights.safetensors") for folder in (whole, out))
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    states = [read(max((folder / "checkpoints").glob("*.safetensors"))) for folder in (whole, out)]
    assert states[0]["rng"]["player"].equal(states[1]["rng"]["player"])
