"""Every error: exit code, one line on stderr, and the fix in it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from PIL import Image
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from genlearn.__main__ import main
from genlearn.cli.console import _leave, describe
from genlearn.cli.launch import launch
from genlearn.run import Run


def one_line(answer, code, *words):
    assert answer.code == code, answer.err
    assert answer.out == ""
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
        (["train", "rbm", "--epochs", "many"], 2, ["--epochs", "'many'", "genlearn train --help"]),
        (["train", "rbm", "--processes", "0"], 2, ["--processes", "0", "1", "genlearn train --help"]),
        (["sample", "x", "--seed", "-1"], 2, ["--seed", "-1", "genlearn sample --help"]),
        (["train", "rbm", "--data", "digits", "--seed", "-3"], 1, ["is -3", "between 0 and 4294967295"]),
        (["train", "rbm", "--data", "digits", "--set", "learning_rate=0"], 1, ["is 0.0, expected a number above 0"]),
        (["train", "vae", "--data", "digits", "--set", "hidden=8,0"], 1, ["is '8,0'", "each at least 1"]),
        (["train", "rbm", "--size", "30x21"], 2, ["'30x21'", "one number", "squares"]),
        (["sample"], 2, ["RUN", "genlearn sample --help"]),
        (["evaluate", "nowhere"], 1, ["there is no nowhere/run.json"]),
    ],
    ids=lambda value: " ".join(value[:5]) if isinstance(value, list) and len(value) > 2 else None,
)
def test_bad_input_is_one_line_with_the_fix(cli, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    one_line(cli(*arguments), code, *words)


def test_a_run_among_its_own_images(cli, tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "a" / "0.png")
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--out", tmp_path], ["--out", "a/run"]):
        one_line(cli("train", "rbm", "--data", ".", *more), 1, "in the folder of the images", "expected another one")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["0.png", "a"]


@pytest.mark.parametrize("command", ["sample", "evaluate", "report"])
def test_folders_that_are_no_runs(cli, tmp_path, command):
    (tmp_path / "a.txt").touch()
    one_line(cli(command, tmp_path / "a.txt"), 1, "there is no ", "a.txt/run.json", "expected the folder of a run")
    one_line(cli(command, tmp_path / "missing"), 1, "missing/run.json", "expected the folder of a run")
    one_line(cli(command, tmp_path), 1, "there is no ", "run.json")


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


@pytest.mark.parametrize("command", ["sample", "report", "train"])
def test_a_place_that_cannot_be(cli, trained, tmp_path, command):
    (tmp_path / "file").write_text("mine")
    out = ["--out", tmp_path / "file" / {"sample": "x.png", "report": "x.html", "train": "run"}[command]]
    more = ["vae", "--data", "digits", "--images", 100] if command == "train" else [trained]
    words = (f"could not make the folder {tmp_path / 'file'}", "the usual fix is another place")
    one_line(cli(command, *more, *out), 1, *words)
    where = f"could not write {tmp_path}: Is a directory"
    one_line(cli("report", trained, "--out", tmp_path), 1, where, "another place")


def test_a_class_that_there_is_not(cli, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    for i, image in enumerate(images):
        folder = tmp_path / "photos" / ("red cats", "-7", "😀")[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    small = ["--set", "hidden=4", "--images", 100, "--out", tmp_path / "run"]
    assert cli("train", "conditional-vae", "--data", tmp_path / "photos", *small).code == 0
    for wrong in ("99", "-1", "red cat", "²"):
        one_line(
            cli("sample", tmp_path / "run", "--class", wrong),
            1,
            f"unknown class {wrong!r}, expected one of",
            "red cats",
        )
    for right in ("😀", "-7", "red cats", "1"):
        assert cli("sample", tmp_path / "run", "--n", 2, "--class", right).code == 0


def test_scores_of_hardly_any_images(cli, tmp_path):
    rng = np.random.default_rng(0)
    for n in (1, 3):
        (tmp_path / f"{n}").mkdir()
        for i in range(n):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / f"{n}" / f"{i}.png")
        train = ["train", "vae", "--data", tmp_path / f"{n}", "--set", "network=mlp", "--set", "hidden=4"]
        assert cli(*train, "--images", 200, "--out", tmp_path / f"run{n}").code == 0
    words = ("no score is possible: there are 1 training, 0 validation and 0 test images", "more images")
    one_line(cli("evaluate", tmp_path / "run1", "--n", 20), 1, *words)
    answer = cli("evaluate", tmp_path / "run3", "--n", 20)
    assert (answer.code, answer.err) == (0, "") and "nan" not in answer.out


def test_divergence_is_one_line(cli, tmp_path):
    settings = ["--set", "visible=gaussian", "--set", "learning_rate=1e9", "--set", "n_hidden=8"]
    answer = cli("train", "rbm", "--data", "gaussians", *settings, "--epochs", 1, "--out", tmp_path / "run")
    assert answer.code == 1
    assert answer.err.splitlines()[-1].startswith("error: ")
    assert "NaN or infinite in round" in answer.err
    assert "a smaller learning rate" in answer.err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


def test_a_program_error_says_so_and_debug_shows_where(cli, trained, monkeypatch):
    monkeypatch.setattr(Run, "model", lambda self: [][1])
    one_line(cli("sample", trained), 1, "IndexError", "unexpected", "GENLEARN_DEBUG=1")
    monkeypatch.setenv("GENLEARN_DEBUG", "1")
    assert "Traceback" in cli("sample", trained).err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\n  two"), "one two"),
        (FileNotFoundError(2, "No such file or directory", "a\nb"), "No such file or directory: a b"),
        (OSError("no space"), "no space"),
        (MemoryError(), "out of memory"),
        (OSError(36, "File name too long", 2000 * "y"), f"File name too long: {977 * 'y'}..."),
        (KeyError("k"), "KeyError: 'k' (unexpected; GENLEARN_DEBUG=1 shows where it happened)"),
    ],
    ids=repr,
)
def test_an_error_is_told_in_one_line(cli, trained, monkeypatch, error, line):
    def fail(self):
        raise error

    monkeypatch.setattr(Run, "model", fail)
    answer = cli("sample", trained)
    assert (answer.code, answer.out, answer.err) == (1, "", f"error: {line}\n")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, typer.Abort])
def test_an_interrupted_command(cli, trained, monkeypatch, interrupt):
    def fail(self):
        raise interrupt

    monkeypatch.setattr(Run, "model", fail)
    answer = cli("sample", trained, "--json")
    assert (answer.code, answer.out, answer.err) == (130, "", "error: interrupted\n")


def test_interrupted_while_it_loads(monkeypatch, capsys):
    def fail():
        raise KeyboardInterrupt

    monkeypatch.setattr("genlearn.cli.main", fail)
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "error: interrupted\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (0, 143)])
def test_a_stopped_training_has_the_code_of_its_signal(cli, small, tmp_path, monkeypatch, number, code):
    """143 in a process that was asked by the others, and had no signal of its own."""

    def train(self, *arguments):
        self.record |= {"status": "stopped", "images": 1200, "seconds": 0.0}
        self.signal = int(number)

    monkeypatch.setattr(Run, "train", train)
    answer = cli("train", *small, "--out", tmp_path / "run", "--json")
    assert answer.code == code
    assert json.loads(answer.out)["status"] == "stopped"
    assert answer.err == f"stopped after 1,200 images; continue with: genlearn train --resume {tmp_path / 'run'}\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_demo_says_how_to_go_on(cli, tmp_path, monkeypatch, number, code):
    monkeypatch.setattr(Run, "train", lambda self, *arguments: setattr(self, "signal", int(number)))
    answer = cli("demo", "--out", tmp_path, "--json")
    assert (answer.code, answer.out) == (code, "")
    assert answer.err == f"stopped; continue with: genlearn demo --out {tmp_path}\n"


def test_launched_processes_that_fail_or_are_stopped(monkeypatch):
    """Exit codes of stopped processes are kept; another is an error that says whose."""
    monkeypatch.setenv("GENLEARN_LAUNCHED", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def end(error: Exception) -> int:
        def run(arguments):
            raise error

        monkeypatch.setattr("torch.distributed.run.run", run)
        return launch(2, ["train"])

    failed = lambda code: ChildFailedError("genlearn", {1: ProcessFailure(1, 99, code, "no file")})  # noqa: E731
    assert [end(failed(code)) for code in (130, 143)] == [130, 143]
    assert [end(SignalException("stopped", number)) for number in (signal.SIGINT, signal.SIGTERM)] == [130, 143]
    with pytest.raises(ValueError, match="process 1 of 2 ended with code 7") as error:
        end(failed(7))
    assert "\n" not in describe(error.value)


def test_what_several_processes_would_refuse_is_refused_before_they_start(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("genlearn.cli.launch.launch", lambda n, arguments: pytest.fail("processes were started"))
    folder = tmp_path / "run"
    answer = cli("train", "vae", "--data", "ring", "--set", "network=conv", "--processes", 2, "--out", folder)
    assert (answer.code, answer.err.splitlines()[-1].startswith("error: rows of 2 numbers")) == (1, True), answer.err
    assert not folder.exists()


@pytest.mark.parametrize("n", ["1e18", "1e30"])
def test_a_size_beyond_all_memory_is_one_short_line(cli, tmp_path, n):
    answer = cli("train", "rbm", "--data", "digits", "--set", f"n_hidden={n}", "--out", tmp_path / "run")
    one_line(answer, 1, "error: out of memory: ", "the usual fix is a smaller model or batch")
    assert "c10" not in answer.err


def test_a_process_of_many_flushes_before_it_leaves(monkeypatch):
    done: list[object] = []
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, SimpleNamespace(flush=lambda name=name: done.append(name)))
    monkeypatch.setattr("os._exit", done.append)
    monkeypatch.setattr("sys.exit", done.append)
    monkeypatch.setenv("WORLD_SIZE", "2")
    _leave(143)
    assert done[:3] == ["stdout", "stderr", 143]


@pytest.mark.parametrize(("file", "launched"), [(False, False), (True, False), (True, True)])
def test_a_process_of_torchrun_leaves_its_error_to_its_parent(cli, tmp_path, monkeypatch, file, launched):
    path = tmp_path / "error.json"
    if file:
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(path))
    if launched:
        monkeypatch.setenv("GENLEARN_LAUNCHED", "1")
    answer = cli("sample", tmp_path)
    assert answer.code == 1
    assert answer.err.count("\n") == (0 if launched else 1)
    if file:
        assert "run.json, expected the folder of a run" in json.loads(path.read_text())["message"]["message"]


def test_help_needs_no_torch():
    code = "import sys, genlearn.cli; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
