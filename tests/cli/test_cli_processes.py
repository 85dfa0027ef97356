"""Real processes: signals, several processes, python -m genlearn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from processes import Command, run

SMALL = ["--data", "digits", "--set", "hidden=16", "--set", "n_latent=2", "--seed", "0", "--device", "cpu"]


@pytest.mark.parametrize(
    ("number", "code", "processes"),
    [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 1), pytest.param(signal.SIGINT, 130, 2, marks=pytest.mark.slow)],
)
def test_a_signal_checkpoints_and_says_how_to_go_on(tmp_path, number, code, processes):
    folder = tmp_path / "run"
    command = Command("train", "vae", *SMALL, "--minutes", 5, "--out", folder, "--processes", processes)
    for _ in range(600):
        if list(folder.glob("samples/*.png")):
            break
        time.sleep(0.1)
    command.signal(number)
    ended, out, err = command.end()
    assert ended == code, err
    assert f"continue with: genlearn train --resume {folder}" in err.splitlines()[-1]
    assert "Traceback" not in err
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "stopped"
    images = record["images"] + 200
    code, out, err = run("train", "--resume", folder, "--images", images, "--json")
    assert code == 0, err
    assert json.loads(out)["images"] >= images


def test_two_processes_equal_one(tmp_path):
    # Convolutional: batch statistics are shared while the first process alone draws samples and scores.
    recipe = [*SMALL, "--set", "network=conv", "--set", "width=4", "--precision", "float64", "--images", 500, "--json"]
    code, out, err = run("train", "vae", *recipe, "--out", tmp_path / "two", "--processes", 2)
    assert code == 0, err
    assert json.loads(out)["images"] == 500
    assert run("train", "vae", *recipe, "--out", tmp_path / "one")[0] == 0
    from genlearn.run import Run

    one, two = (Run.open(tmp_path / name).model() for name in ("one", "two"))
    for a, b in zip(one.nets_.state_dict().values(), two.nets_.state_dict().values(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=1e-9)


def test_an_error_in_a_process_is_one_line(tmp_path):
    code, _, err = run("train", "vae", *SMALL, "--set", "batch_size=99", "--out", tmp_path / "run", "--processes", 2)
    assert code == 1
    assert err.splitlines() == ["error: batch_size is 99, expected a multiple of the 2 processes; the usual fix is 98"]


@pytest.mark.slow
def test_torchrun_agrees_on_folder_and_seed(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "genlearn"]
    recipe = ["train", "vae", *SMALL[:-4], "--device", "cpu", "--images", "300", "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *recipe], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == "runs/vae-digits"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["vae-digits"]


def test_a_failed_start_leaves_one_line_each_and_room_for_the_corrected_command(tmp_path):
    start = ["train", "vae", "--data", "ring", "--images", 200, "--device", "cpu", "--out", tmp_path / "run"]
    code, _, err = run(*start, "--set", "network=conv")
    assert code == 1
    warning, error = err.splitlines()
    assert warning.startswith("warning: pixels lie in [")
    assert error.startswith("error: rows of 2 numbers are no square images")
    assert run(*start)[0] == 0
    code, _, err = run(*start)
    assert code == 1
    assert "already holds a run" in err
