"""Every error: exit code, one line on stderr, and the fix in it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def one_line(answer, code, *words):
    assert answer.code == code, answer.err
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("error: ")
    for word in words:
        assert word in answer.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["models", "rmb"], 1, ["unknown model 'rmb'", "did you mean 'rbm'?"]),
        (["train", "gam", "--data", "digits"], 1, ["unknown model 'gam'", "did you mean 'gan'?"]),
        (["train", "rbm", "--data", "digist"], 1, ["'digist'", "did you mean 'digits'?"]),
        (["train", "rbm", "--data", "digits", "--set", "n_hiden=5"], 1, ["'n_hiden'", "did you mean 'n_hidden'?"]),
        (["train", "rbm", "--data", "digits", "--set", "n_hidden=0"], 1, ["n_hidden", "an integer at least 1"]),
        (["train", "rbm", "--data", "digits", "--set", "n_hidden"], 1, ["'n_hidden'", "expected name=value"]),
        (["train", "rbm", "--data", "digits", "--set", "=5"], 1, ["'=5'", "expected name=value"]),
        (["train", "rbm", "--data", "digits", "--set", "algorithm=cdd"], 1, ["'cdd'", "did you mean 'cd'?"]),
        (["train", "rbm", "--data", "digits", "--epochs", "-1"], 1, ["epochs is -1", "above 0"]),
        (["train", "rbm", "--data", "digits", "--device", "tpu"], 1, ["device is 'tpu'", "cuda"]),
        (["train", "gan", "--data", "digits", "--preset", "goodfelow-2014"], 1, ["did you mean 'goodfellow-2014'?"]),
        (["train", "rbm", "--data", "digits", "--split", "parzen-2014"], 1, ["parzen-2014", "'mnist'"]),
        (["train", "vae", "--data", "digits", "--monitor", "fid", "--epochs", "1"], 1, ["unknown monitor 'fid'"]),
        (["trian"], 2, ["trian", "train", "genlearn --help"]),
        (["train"], 2, ["no model given", "genlearn train --help"]),
        (["train", "rbm"], 2, ["no --data given", "genlearn train --help"]),
        (["train", "--resume"], 2, ["--resume needs the folder of a run"]),
        (["train", "rbm", "--epochs", "many"], 2, ["--epochs", "genlearn train --help"]),
        (["sample"], 2, ["RUN", "genlearn sample --help"]),
        (["evaluate", "nowhere"], 1, ["nowhere holds no run.json"]),
    ],
    ids=lambda value: " ".join(value[:5]) if isinstance(value, list) and len(value) > 2 else None,
)
def test_bad_input_is_one_line_with_the_fix(cli, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    one_line(cli(*arguments), code, *words)


@pytest.mark.parametrize("command", ["sample", "evaluate", "report"])
def test_folders_that_are_no_runs(cli, tmp_path, command):
    one_line(cli(command, tmp_path / "missing"), 1, "missing holds no run.json", "expected the folder of a run")
    one_line(cli(command, tmp_path), 1, "holds no run.json")


def test_a_run_is_not_overwritten(cli, trained):
    before = (trained / "run.json").read_bytes()
    one_line(cli("train", "vae", "--data", "digits", "--out", trained), 1, "already holds a run", "another --out")
    assert (trained / "run.json").read_bytes() == before


def test_resuming_another_recipe(cli, trained):
    answer = cli("train", "vae", "--data", "digits", "--out", trained, "--resume", "--set", "n_latent=3")
    one_line(answer, 1, "made with n_latent=2, not 3", "another --out")
    one_line(cli("train", "gan", "--data", "digits", "--out", trained, "--resume"), 1, "model='vae', not 'gan'")


def test_run_of_another_format(cli, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"format": 99, "version": "9.9"}))
    one_line(cli("evaluate", tmp_path), 1, "format 99", "9.9", "the version that wrote it")


def test_run_without_a_model(cli, tmp_path, trained):
    record = json.loads((trained / "run.json").read_text()) | {"status": "running"}
    (tmp_path / "run.json").write_text(json.dumps(record))
    one_line(cli("sample", tmp_path), 1, "no trained model", f"genlearn train --resume {tmp_path}")


def test_folder_without_images(cli, tmp_path):
    (tmp_path / "empty").mkdir()
    answer = cli("train", "vae", "--data", tmp_path / "empty", "--out", tmp_path / "run", "--epochs", 1)
    one_line(answer, 1, "no images", ".png")


def test_metric_that_is_not_possible_or_not_known(cli, trained):
    one_line(cli("evaluate", trained, "--metrics", "parzn"), 1, "unknown metric 'parzn'", "did you mean 'parzen'?")


def test_out_that_is_no_picture(cli, trained, tmp_path):
    one_line(cli("sample", trained, "--out", tmp_path / "x.gif"), 1, "x.gif", ".png or .npy")


def test_divergence_is_one_line(cli, tmp_path):
    settings = ["--set", "visible=gaussian", "--set", "learning_rate=1e9", "--set", "n_hidden=8"]
    answer = cli("train", "rbm", "--data", "gaussians", *settings, "--epochs", 1, "--out", tmp_path / "run")
    assert answer.code == 1
    assert answer.err.splitlines()[-1].startswith("error: ")
    assert "NaN or infinite in round" in answer.err
    assert "a smaller learning rate" in answer.err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


def test_a_program_error_says_so_and_debug_shows_where(cli, trained, monkeypatch):
    from genlearn.run import Run

    monkeypatch.setattr(Run, "model", lambda self: [][1])
    one_line(cli("sample", trained), 1, "IndexError", "unexpected", "GENLEARN_DEBUG=1")
    monkeypatch.setenv("GENLEARN_DEBUG", "1")
    assert "Traceback" in cli("sample", trained).err


def test_help_needs_no_torch():
    code = "import sys, genlearn.cli; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
