"""Every option of the command line reaches what it is for."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from genlearn.cli.train import _agreed
from genlearn.models.vae import VAE
from genlearn.run import Run


def test_options_of_a_recipe(cli, tmp_path):
    data = ["--split", "hash", "--size", 16, "--grey", "--alpha", "keep"]
    flags = ["--device", "cpu", "--precision", "float64", "--seed", 3]
    arguments = ["train", "rbm", "--data", "digits", "--out", tmp_path, "--dry-run", "--json", *data, *flags]
    recipe = json.loads(cli(*arguments).out)
    assert recipe["run"] == str(tmp_path)
    assert recipe["data"]["options"] == {"split": "hash", "size": 16, "grey": True, "alpha": "keep"}
    chosen = recipe["parameters"]
    assert (chosen["device"], chosen["precision"], chosen["random_state"]) == ("cpu", "float64", 3)
    colour = json.loads(cli(*arguments, "--color").out)
    assert colour["data"]["options"]["grey"] is False


def test_a_flag_is_stronger_than_set_and_set_than_a_preset(cli, tmp_path):
    chosen = ["--preset", "mnist-500", "--set", " k = 2", "--set", "epochs=2", "--epochs", 3]
    answer = cli("train", "rbm", "--data", "digits", "--out", tmp_path, *chosen, "--dry-run", "--json")
    recipe = json.loads(answer.out)["parameters"]
    assert (recipe["k"], recipe["epochs"], recipe["centred"]) == (2, 3, True)


def test_a_preset_says_what_a_resumed_run_is_and_not_how_long_it_goes_on(cli, tmp_path):
    run = ["train", "vae", "--data", "digits", "--preset", "tiny", "--out", tmp_path / "run"]
    assert cli(*run, "--epochs", 1).code == 0
    recipe = json.loads(cli(*run, "--resume", "--dry-run", "--json").out)["parameters"]
    assert (recipe["epochs"], recipe["images"]) == (1, None)
    assert VAE.presets["tiny"]["epochs"] != 1
    other = cli(*run[:4], "--set", "n_latent=7", *run[4:], "--resume", "--dry-run")
    assert other.code == 1 and "not 7" in other.err


@pytest.mark.parametrize("budget", [{"epochs": 5.0}, {"images": 4000.0}, {"minutes": 2.0}, {"device": "auto"}])
def test_budgets_and_the_device_of_a_run_may_change(cli, trained, budget):
    ((name, value),) = budget.items()
    recipe = json.loads(cli("train", "--resume", trained, f"--{name}", value, "--dry-run", "--json").out)
    assert recipe["parameters"][name] == value


def test_what_is_watched_and_how_often_it_is_kept(cli, small, tmp_path, monkeypatch):
    seen = []

    def train(self, resume, monitors=(), keep_every=None):
        seen.append((resume, list(monitors), keep_every))
        self.record |= {"status": "finished", "images": 0, "seconds": 0.0}

    monkeypatch.setattr(Run, "train", train)
    options = ["--monitor", "score", "--monitor", "parzen", "--keep-every", 5]
    assert cli("train", *small, "--out", tmp_path / "run", *options).code == 0
    assert seen == [(False, ["score", "parzen"], 5.0)]


def test_the_end_of_a_training_is_told_whenever_the_last_line_was(cli, small, tmp_path):
    answer = cli("train", *small, "--epochs", 2, "--out", tmp_path / "run")
    assert answer.err.splitlines()[-1].startswith("vae on digits: 100%, ")


def test_processes_are_told_what_was_asked(cli, small, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("genlearn.cli.launch.launch", lambda n, arguments: told.append((n, arguments)) or 0)
    options = ["--monitor", "score", "--keep-every", 5, "--processes", 2, "--json"]
    assert cli("train", *small, "--out", tmp_path / "run", *options).code == 0
    resume = ["train", "--resume", str(tmp_path / "run"), "--keep-every", "5.0", "--device", "cpu"]
    assert told == [(2, [*resume, "--monitor", "score", "--json"])]
    assert Run.open(tmp_path / "run").record["parameters"]["random_state"] == 0


def test_the_first_process_alone_looks_at_the_folder(monkeypatch):
    """What it found is told to the others."""
    monkeypatch.setattr("torch.distributed.broadcast_object_list", lambda box: box.__setitem__(0, box[0] or "told"))
    recipe = SimpleNamespace(run=lambda: "found")
    assert [_agreed(recipe, *of) for of in ((0, 1), (0, 2), (1, 2))] == ["found", "found", "told"]


def test_samples_follow_their_seed(cli, trained, tmp_path):
    drawn = {}
    for seed in (1, 2):
        out = tmp_path / "new" / f"{seed}.npy"
        assert cli("sample", trained, "--n", 3, "--seed", seed, "--out", out).code == 0
        drawn[seed] = np.load(out)
    assert len(drawn[1]) == 3
    assert not np.array_equal(drawn[1], drawn[2])
    assert json.loads(cli("sample", trained, "--seed", 2, "--json").out)["samples"].endswith("samples-2.png")


def test_what_is_scored(cli, trained, monkeypatch):
    asked = []
    monkeypatch.setattr(Run, "evaluate", lambda self, *arguments: asked.append((self.path, *arguments)) or [])
    assert cli("evaluate", trained, trained, "--metrics", "nearest, parzen", "--n", 50, "--seed", 4).code == 0
    assert asked == [(trained, ["nearest", "parzen"], 50, 4)] * 2
    asked.clear()
    assert cli("evaluate", trained).code == 0
    assert asked == [(trained, None, 10_000, 0)]


def test_pages_of_one_run_and_of_several(cli, trained, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("genlearn.report.write", lambda runs, out: written.append((len(runs), str(out))))
    for arguments in ([trained], [trained, trained], [trained, "--out", "x.html"]):
        assert cli("report", *arguments).code == 0
    assert written == [(1, str(trained / "report.html")), (2, "report.html"), (1, "x.html")]


def test_a_folder_is_kept_by_its_full_path_and_a_data_set_by_its_name(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("mine", "digits"):
        (tmp_path / name).mkdir()
    source = lambda name: json.loads(cli("train", "rbm", "--data", name, "--dry-run", "--json").out)["data"]["source"]  # noqa: E731
    assert source("mine") == source("~/mine") == str(tmp_path.resolve() / "mine")
    assert source("digits") == "digits"


def test_a_changed_budget_is_checked(cli, trained):
    answer = cli("train", "--resume", trained, "--epochs", -1, "--dry-run")
    assert answer.code == 1
    assert "epochs is -1" in answer.err
