"""Commands from end to end, on small data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from genlearn import __version__
from genlearn.cli import EXAMPLES
from genlearn.cli.demo import DATA, SETTINGS
from genlearn.cli.recipe import Recipe
from genlearn.data import load
from genlearn.run import Run
from genlearn.train import Schedule


@pytest.mark.parametrize("command", [f.__name__ for f in EXAMPLES])
def test_every_command_has_help_with_an_example(cli, command):
    answer = cli(command, "--help")
    assert answer.code == 0
    assert f"Example: genlearn {command}" in answer.out


def test_the_version(cli):
    answer = cli("--version")
    assert (answer.code, answer.out, answer.err) == (0, f"genlearn {__version__}\n", "")


def test_models(cli):
    names = [model["name"] for model in json.loads(cli("models", "--json").out)]
    assert {"rbm", "vae", "gan"} <= set(names)
    assert "Goodfellow et al. 2014" in cli("models").out
    gan = json.loads(cli("models", "gan", "--json").out)
    assert {p["name"]: p["default"] for p in gan["parameters"]}["n_latent"] == 100
    assert "goodfellow-2014" in gan["presets"]
    assert "linear pieces of a maxout unit" in cli("models", "gan").out


def test_datasets(cli):
    entries = {entry["name"]: entry for entry in json.loads(cli("datasets", "--json").out)}
    assert entries["digits"]["n"] == 1797
    assert "mnist-mini" in cli("datasets").out


def test_train_sample_evaluate_report(cli, trained, tmp_path):
    assert Run.open(trained).record["status"] == "finished"

    for name, count in (("a.npy", 5), ("b.npy", 3)):
        assert cli("sample", trained, "--n", count, "--seed", 7, "--out", tmp_path / name).code == 0
    a, b = np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy")
    assert a.shape == (5, 1, 8, 8)
    assert a.dtype == np.uint8
    np.testing.assert_array_equal(a[:3], b)
    assert json.loads(cli("sample", trained, "--json").out)["samples"] == str(trained / "samples-0.png")
    assert Image.open(trained / "samples-0.png").width > 8 * 8
    assert cli("sample", trained / "model", "--n", 2, "--seed", 7, "--out", tmp_path / "folder").code == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "folder" / "000001.png")), a[1, 0])

    answer = cli("evaluate", trained, "--n", 200, "--json")
    assert answer.code == 0, answer.err
    scores = {row["name"]: row for row in json.loads(answer.out)[str(trained)]}
    assert {"log-likelihood (ELBO)", "parzen", "nearest"} <= set(scores)
    assert scores["nearest"]["n"] == 200
    assert json.loads((trained / "evaluation.json").read_text()) == list(scores.values())
    table = cli("evaluate", trained, "--n", 200, "--metrics", "nearest")
    assert "held-out images" in table.out

    answer = cli("report", trained, "--json")
    assert json.loads(answer.out) == {"report": str(trained / "report.html")}
    assert "<!DOCTYPE html>" in (trained / "report.html").read_text()


def test_a_model_that_knows_labels(cli, tmp_path):
    run = tmp_path / "labels"
    tiny = ["--set", "n_hidden=40", "--set", "n_gibbs=5", "--set", "batch_size=10", "--epochs", 8, "--seed", 0]
    assert cli("train", "conditional-rbm", "--data", "digits", *tiny, "--out", run).code == 0
    curve = [row["valid/error"] for row in Run.open(run).journal().rows if "valid/error" in row]
    assert 0 < curve[-1] < 60
    (score,) = json.loads(cli("evaluate", run, "--metrics", "error", "--json").out)[str(run)]
    assert score["value"] < 60 < score["floor"]["most frequent label"]
    for label in (3, 8):
        out = tmp_path / f"{label}.npy"
        assert cli("sample", run, "--n", 4, "--class", label, "--out", out).code == 0
    assert not np.array_equal(np.load(tmp_path / "3.npy"), np.load(tmp_path / "8.npy"))
    assert json.loads(cli("sample", run, "--class", 3, "--json").out)["samples"] == str(run / "samples-3-0.png")
    answer = cli("sample", run, "--class", 12)
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert "unknown class '12', expected one of 0, 1, 2" in answer.err


def test_points_in_the_plane(cli, tmp_path):
    run = tmp_path / "ring"
    tiny = ["--set", "hidden=8", "--set", "hidden_d=8", "--set", "output=linear", "--images", 2000]
    assert cli("train", "gan", "--data", "ring", *tiny, "--out", run).code == 0
    assert cli("sample", run).code == 0
    assert Image.open(run / "samples-0.png").size[0] > 100
    answer = cli("sample", run, "--out", tmp_path / "folder")
    assert answer.code == 1
    assert ".npy" in answer.err


def test_dry_run_resolves_and_writes_nothing(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--set", "learning_rate=linear(0.1, 0, over=3e5)", "--set", "n_hidden=7", "--seed", 3]
    recipe = json.loads(cli("train", "RBM", "--data", "digits", *options, "--dry-run", "--json").out)
    assert recipe["run"] == "runs/rbm-digits"
    assert recipe["model"] == "rbm"
    assert recipe["data"] == {"source": "digits", "options": {}}
    chosen = recipe["parameters"]
    assert (chosen["n_hidden"], chosen["random_state"], chosen["epochs"]) == (7, 3, 10)
    assert chosen["learning_rate"] == "linear(0.1, 0, over=3e5)"
    assert "default 500" in cli("train", "rbm", "--data", "digits", *options, "--dry-run").out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "budget"),
    [
        ([], (10, None, None)),
        (["--minutes", 3], (None, None, 3)),
        (["--images", 1e4], (None, 1e4, None)),
        (["--minutes", 3, "--epochs", 2], (2, None, 3)),
        (["--set", "minutes=3"], (None, None, 3)),
    ],
)
def test_a_budget_alone_lifts_the_default(cli, tmp_path, options, budget):
    arguments = ["train", "rbm", "--data", "digits", *options, "--out", tmp_path / "run", "--dry-run", "--json"]
    chosen = json.loads(cli(*arguments).out)["parameters"]
    assert (chosen["epochs"], chosen["images"], chosen["minutes"]) == budget


def test_preset_and_changes(cli, tmp_path):
    arguments = ["--preset", "goodfellow-2014", "--set", "pieces=2", "--out", tmp_path / "run", "--dry-run", "--json"]
    chosen = json.loads(cli("train", "gan", "--data", "digits", *arguments).out)["parameters"]
    assert (chosen["network"], chosen["pieces"], chosen["hidden"]) == ("maxout", [2], [1200, 1200])


def test_default_folder_never_meets_a_run(cli, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("vae-digits", "vae-digits-2"):
        answer = cli("train", *small, "--images", 100, "--json")
        assert json.loads(answer.out)["run"] == f"runs/{name}"


def test_resume_in_two_steps_is_one_long_run(cli, small, tmp_path):
    assert cli("train", *small, "--epochs", 2, "--out", tmp_path / "long").code == 0
    assert cli("train", *small, "--epochs", 1, "--out", tmp_path / "steps").code == 0
    answer = cli("train", "--resume", tmp_path / "steps", "--epochs", 2, "--json")
    assert json.loads(answer.out)["status"] == "finished"
    weights = [(tmp_path / name / "model" / "weights.safetensors").read_bytes() for name in ("long", "steps")]
    assert weights[0] == weights[1]


def test_resume_with_out_starts_what_is_not_there(cli, small, tmp_path):
    arguments = ["train", *small, "--images", 300, "--out", tmp_path / "run", "--resume", "--json"]
    first, again = (json.loads(cli(*arguments).out) for _ in range(2))
    assert first["images"] == again["images"] == 300


@pytest.mark.parametrize("name", SETTINGS)
def test_the_demo_trains_until_rates_have_fallen_and_averages_forgotten_their_start(name, tmp_path):
    run, _ = Recipe(name, DATA, settings=SETTINGS[name], out=tmp_path).run()
    model, images = run.estimator, run.estimator.epochs * len(load(DATA).train)
    model.check_parameters()
    rate = Schedule.parse(model.learning_rate)
    assert rate.name == "constant" or rate.scale == pytest.approx(images, rel=0.01)
    assert model.ema < images / 5
