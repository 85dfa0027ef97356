"""kill -9 at a random moment, resume, finish: bitwise equal to the run that was never killed."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from genlearn.train.checkpoint import read
from processes import Command

MODELS = {
    "rbm": ["--set", "n_hidden=64", "--set", "algorithm=pcd", "--epochs", "60"],
    "gan": ["--set", "hidden=64", "--set", "hidden_d=64", "--set", "ema=5000", "--epochs", "40"],
    "flow": ["--set", "network=mlp", "--set", "hidden=64", "--epochs", "20"],
    "rnn": ["--set", "n_hidden=32", "--set", "n_units=4", "--epochs", "40"],
    "autoencoder": ["--set", "hidden=64", "--set", "n_latent=4", "--set", "ema=5000", "--epochs", "40"],
    "cae": ["--set", "hidden=64", "--set", "n_latent=32", "--set", "ema=5000", "--epochs", "20"],
    "gsn": ["--set", "hidden=64,32", "--set", "ema=5000", "--epochs", "20"],
    "proof": ["--set", "hidden=64", "--set", "ema=5000", "--epochs", "20"],
}


def start(model: str, out: Path, *more: str) -> Command:
    common = ["--data", "digits", "--out", out, "--seed", "5", "--device", "cpu", "--keep-every", "0"]
    return Command("train", model, *common, *MODELS[model], *more)


@pytest.mark.parametrize(
    "model", [m if m in ("rbm", "gan", "proof") else pytest.param(m, marks=pytest.mark.slow) for m in MODELS]
)
def test_killed_at_a_random_moment(model, tmp_path):
    whole, moments = tmp_path / "whole", random.Random(model)
    assert start(model, whole).end()[0] == 0
    out, kills = tmp_path / "killed", 0
    for attempt in range(3):
        command = start(model, out, *(["--resume"] if attempt else []))
        before = len(list((out / "checkpoints").glob("*.safetensors")))
        while command.running() and len(list((out / "checkpoints").glob("*.safetensors"))) <= before % 2:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.3))
        if command.running():
            command.signal(signal.SIGKILL)
        kills += command.end()[0] == -signal.SIGKILL
    assert kills >= 1
    assert start(model, out, "--resume").end()[0] == 0
    expected, got = (load_file(folder / "model" / "weights.safetensors") for folder in (whole, out))
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    states = [read(max((folder / "checkpoints").glob("*.safetensors"))) for folder in (whole, out)]
    assert states[0]["rng"]["player"].equal(states[1]["rng"]["player"])
