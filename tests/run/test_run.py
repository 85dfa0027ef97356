"""A run: what it plays after a resume, what it checks, what it hands to the metrics, what it writes down."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from genlearn.cli import app
from genlearn.data import load
from genlearn.maths.rng import spawn
from genlearn.metrics import parzen
from genlearn.metrics.protocol import Seeds
from genlearn.models.vae import VAE
from genlearn.record import code
from genlearn.report import write
from genlearn.run import Run
from genlearn.train import Journal, Keeper

TINY = {"hidden": (8,), "n_latent": 2, "batch_size": 50, "random_state": 0, "device": "cpu", "epochs": None}


def make(path: Path, images: int = 300, model: str = "vae", **changes) -> Run:
    return Run.create(path, model, "digits", {**TINY, "images": images, **changes}, {})


@pytest.fixture
def batches(monkeypatch) -> list[int]:
    """The clock of every batch that a VAE learns from."""
    seen, loss = [], VAE._loss
    monkeypatch.setattr(VAE, "_loss", lambda s, nets, batch, rng: seen.append(batch.seen) or loss(s, nets, batch, rng))
    return seen


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Run:
    """A run with an average that lags far behind."""
    run = make(tmp_path_factory.mktemp("runs") / "vae", images=400, ema=1e5, learning_rate=0.01)
    run.train()
    return run


# --- resume


def test_a_resumed_run_plays_only_what_is_left(tmp_path, batches):
    make(tmp_path / "run", 300).train()
    assert batches == list(range(0, 300, 50))
    batches.clear()
    run = Run.open(tmp_path / "run")
    with (run.path / "journal.jsonl").open("a") as file:
        file.write('{"images": 400, "seconds": 1, "vae/loss": 1e6}\n')  # as if killed between two checkpoints
    run.train(resume=True, budget={"images": 500})
    assert batches == list(range(300, 500, 50))
    assert (run.record["images"], run.record["players"], run.record["status"]) == (500, {"learn/vae": 500}, "finished")
    assert run.record["parameters"]["images"] == 500
    images = [row["images"] for row in run.journal().rows if "vae/loss" in row]
    assert images == [300, 500]
    batches.clear()
    Run.open(tmp_path / "run").train(resume=True)
    assert batches == []


def test_a_resumed_run_plays_only_what_is_left_on_the_command_line_too(tmp_path, batches):
    def train(*arguments) -> dict[str, Any]:
        settings = [f"--set={name}={value}" for name, value in {"hidden": 8, "n_latent": 2, "batch_size": 50}.items()]
        first = ["vae", "--data", "digits", "--seed", "0", "--out", str(tmp_path / "run"), *settings]
        answer = CliRunner().invoke(app, ["train", *(first if "--resume" not in arguments else []), *arguments])
        assert answer.exit_code == 0, answer.stderr
        return json.loads(answer.stdout)

    assert train("--images", "200", "--json")["images"] == 200
    batches.clear()
    assert train("--resume", str(tmp_path / "run"), "--images", "350", "--json")["images"] == 350
    assert batches == [200, 250, 300]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_a_resume_ends_with_the_same_bits(number, tmp_path, batches, monkeypatch):
    log = Journal.log

    def signalled(journal, images, *rest):
        log(journal, images, *rest)
        if images == 1450:
            os.kill(os.getpid(), number)

    long = make(tmp_path / "long", 3000)
    long.train()
    batches.clear()
    run, before = make(tmp_path / "cut", 3000), signal.getsignal(number)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "log", signalled)
        run.train()
    assert (run.signal, run.record["status"]) == (number, "stopped")
    assert signal.getsignal(number) == before
    played = len(batches)
    assert 50 * played == run.record["images"] < 3000
    again = Run.open(run.path)
    again.train(resume=True)
    assert batches[played:] == list(range(50 * played, 3000, 50))
    files = [(r.path / "model" / "weights.safetensors").read_bytes() for r in (long, again)]
    assert files[0] == files[1]
    rows = [[row for row in r.journal().rows if "vae/loss" in row] for r in (long, again)]
    assert {row["images"] for row in rows[0]} <= {row["images"] for row in rows[1]}


def test_training_anew_starts_anew(tmp_path, batches):
    run = make(tmp_path / "run", 100)
    run.train()
    run.train()
    assert batches == [0, 50, 0, 50]
    assert [row["images"] for row in run.journal().rows if "vae/loss" in row] == [100]
    assert len(Keeper(run.path / "checkpoints").paths()) == 1


def test_the_average_goes_on_after_a_resume(tmp_path):
    for name, budgets in (("whole", [400]), ("steps", [200, 400])):
        for images in budgets:
            run = make(tmp_path / name, images, ema=500.0) if images == budgets[0] else Run.open(tmp_path / name)
            run.train(resume=images != budgets[0], budget={"images": images})
    whole, steps = (Run.open(tmp_path / name).model() for name in ("whole", "steps"))
    pairs = zip(whole.averaged_nets_.parameters(), steps.averaged_nets_.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(whole.nets_.parameters()), next(whole.averaged_nets_.parameters()))


# --- the data


@pytest.mark.parametrize("side", ["train", "valid", "test"])
def test_changed_data_are_noticed(side, finished, tmp_path, monkeypatch):
    data = load("digits")
    part = getattr(data, side)
    changed = dataclasses.replace(data, **{side: dataclasses.replace(part, hash="0" * 64)})
    run = Run.open(finished.path)
    assert run.data().train.hash == data.train.hash
    monkeypatch.setattr("genlearn.run.load", lambda source, **options: changed)
    told = rf"the data set digits has changed since .* \({side} other images\)"
    for use in (lambda: run.data(to_train=True), lambda: run.train(resume=True), lambda: run.train()):
        with pytest.raises(ValueError, match=f"{told}; the usual fix is to restore it") as error:
            use()
        assert "\n" not in str(error.value)
    kept = dict(run.record["data"])
    for use in (lambda: run.evaluate(["nearest"], 50, record=False), lambda: write([run], tmp_path / "report.html")):
        with pytest.warns(UserWarning, match=f"{told}; what follows is of the images as they are now"):
            use()
    assert run.record["data"] == kept


def test_the_record_describes_data_and_recipe(finished):
    data, record = load("digits"), Run.open(finished.path).record
    about = record["data"]
    assert about["hash"] == {side: getattr(data, side).hash for side in ("train", "valid", "test")}
    assert about["n"] == {side: len(getattr(data, side)) for side in ("train", "valid", "test")}
    assert (about["name"], about["source"], about["shape"]) == ("digits", "digits", [1, 8, 8])
    assert record["model"] == "vae"
    assert record["code"] == code()
    assert record["parameters"]["hidden"] == [8]
    assert (record["images"], record["players"], record["status"]) == (400, {"learn/vae": 400}, "finished")
    assert record["seconds"] == pytest.approx(sum(record["spent"].values()), abs=0.01)
    assert set(record["spent"]) == {"start", "play", "monitors", "saving", "files"}
    assert record["cost"]["device_hours"] == pytest.approx(record["seconds"] / 3600, abs=1e-5)


def test_options_of_the_data_are_kept(tmp_path, monkeypatch):
    asked: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr("genlearn.run.load", lambda source, **given: asked.append((source, given)) or load("digits"))
    run = Run.create(tmp_path / "run", "vae", "somewhere", {**TINY, "images": 50}, {"size": 8, "grey": True})
    run.train()
    Run.open(run.path).data()
    assert asked == [("somewhere", {"size": 8, "grey": True})] * 2


# --- create


def test_a_run_is_not_overwritten_unless_it_holds_nothing(finished, tmp_path):
    with pytest.raises(FileExistsError, match="already holds a run"):
        make(finished.path)
    run = make(tmp_path / "run", network="conv")
    run.record["status"] = "failed"
    run.path.mkdir()
    run.write()
    make(run.path)
    Keeper(run.path / "checkpoints").save(1, {})
    with pytest.raises(FileExistsError, match="already holds a run"):
        make(run.path)


def test_what_only_the_nets_can_refuse_is_refused_before_anything_is_written(tmp_path):
    """Convolutions need images: rows of 2 are none."""
    run = Run.create(tmp_path / "run", "vae", "ring", {**TINY, "images": 50, "network": "conv"}, {})
    with pytest.raises(ValueError, match="the usual fix"):
        run.train()
    assert not run.path.exists()


def test_a_device_that_is_not_there_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = make(tmp_path / "run", device="cuda")
    with pytest.raises(ValueError, match="torch sees no CUDA device"):
        run.train()
    assert not run.path.exists()


def test_a_failed_training_says_so(tmp_path):
    run = make(tmp_path / "run", learning_rate=1e38, optimizer="sgd")
    with pytest.raises(FloatingPointError, match="usual fix is a smaller learning rate"):
        run.train()
    assert Run.open(run.path).record["status"] == "failed"
    with pytest.raises(ValueError, match=r"holds no trained model \(the run is failed\)"):
        run.model()


def test_a_seed_is_drawn_where_none_is_given_and_kept(tmp_path):
    drawn = {make(tmp_path / "run", random_state=None).record["parameters"]["random_state"] for _ in range(3)}
    assert len(drawn) == 3
    assert make(tmp_path / "run", random_state=7).record["parameters"]["random_state"] == 7
    with pytest.raises(ValueError, match="n_latent is 0"):
        make(tmp_path / "run", n_latent=0)
    assert not (tmp_path / "run").exists()


# --- evaluate


def test_the_metrics_get_the_three_parts_and_the_averaged_model(finished, monkeypatch):
    got: dict[str, Any] = {}
    monkeypatch.setattr("genlearn.run.evaluate", lambda **given: got.update(given) or [])
    run = Run.open(finished.path)
    run.evaluate(["parzen"], 17, seed=5, record=False)
    data, model = load("digits"), run.model()
    assert all(torch.equal(got[side], getattr(data, side).x) for side in ("train", "valid", "test"))
    assert all(torch.equal(a, b) for a, b in zip(got["labels"], (data.train.y, data.test.y), strict=True))
    assert (got["metrics"], got["n_samples"], got["seed"], got["predict"]) == (["parzen"], 17, 5, None)
    averaged = model.sample(3, random_state=9, nets=model.averaged_nets_)
    assert np.array_equal(got["sample"](3, 9), averaged)
    assert not np.array_equal(averaged, model.sample(3, random_state=9, nets=model.nets_))
    expected = model.log_likelihoods(data.test.x[:9], random_state=9, nets=model.averaged_nets_)["ELBO"].values
    assert torch.equal(got["likelihoods"](data.test.x[:9], 9)["ELBO"].values, expected)


def test_more_samples_than_memory_holds_are_refused_before_any_score(finished, monkeypatch):
    monkeypatch.setattr("genlearn.run.evaluate", lambda **given: pytest.fail("scores were begun"))
    with pytest.raises(MemoryError, match="n is 1,000,000,000,000,000, whose images take more memory"):
        finished.evaluate(n_samples=10**15, record=False)


def test_a_score_depends_on_the_seed_that_is_asked_for(finished):
    metrics, data, model = ["parzen", "likelihood"], load("digits"), finished.model()
    first, again, other = (finished.evaluate(metrics, 60, seed, record=False) for seed in (0, 0, 1))
    assert [r.value for r in first] == [r.value for r in again]
    assert not {r.value for r in first} & {r.value for r in other}
    for seed, results in ((0, first), (1, other)):
        own = Seeds(*(s % 2**32 for s in spawn(seed, 3)))
        samples = model.sample(60, random_state=own.samples)
        parts = {"valid": data.valid.x, "test": data.test.x, "train": data.train.x}
        assert results[0].value == parzen(samples, **parts, seed=own.metrics).value
        elbo = model.log_likelihoods(data.test.x, random_state=own.likelihoods)["ELBO"].values
        assert results[1].value == pytest.approx(elbo.double().mean().item())


def test_scores_are_kept_by_name_and_only_where_asked(finished):
    path = finished.path / "evaluation.json"
    path.unlink(missing_ok=True)
    finished.evaluate(["nearest"], 50, record=False)
    assert finished.results() == []
    finished.evaluate(["nearest"], 50)
    finished.evaluate(["parzen"], 50, seed=1)
    (latest,) = finished.evaluate(["nearest"], 60, seed=1)
    kept = {r.name: r for r in finished.results()}
    assert list(kept) == ["nearest", "parzen"]
    assert kept["nearest"].value == latest.value
    assert kept["nearest"].n == 60


# --- what is watched while it trains


def test_monitors_of_a_run_see_the_average_and_the_validation_images(finished):
    data, model = load("digits"), finished.model()
    score = model.score_samples(data.valid.x[:200], nets=model.averaged_nets_).mean()
    images, values = finished.journal().curve("valid/lower bound")
    assert images[-1] == 400
    assert values[-1] == pytest.approx(float(score))
    assert abs(values[-1] - model.score_samples(data.valid.x[:200], nets=model.nets_).mean()) > 0.01
    assert [p.name for p in sorted((finished.path / "samples").iterdir())] == ["images-000000000400.png"]


def test_asked_for_monitors_and_gradients(tmp_path):
    run = make(tmp_path / "run", 100)
    run.train(monitors=["gradients"])
    names = run.journal().names
    assert "vae/gradient of encoder.out" in names
    assert "valid/parzen" not in names
    with pytest.raises(ValueError, match="unknown monitor 'parzn': did you mean 'parzen'"):
        make(tmp_path / "other").train(monitors=["parzn"])
    assert not (tmp_path / "other").exists()


def test_a_resumed_run_keeps_its_monitors(tmp_path):
    make(tmp_path / "run", 100).train(monitors=["gradients"])
    run = Run.open(tmp_path / "run")
    run.train(resume=True, monitors=["parzen"], budget={"images": 3000})
    images, _ = run.journal().curve("vae/gradient of encoder.out")
    assert max(images) > 2000
    assert "valid/parzen" in run.journal().names
    assert Run.open(tmp_path / "run").record["monitors"] == ["gradients", "parzen"]


def test_checkpoints_come_at_ticks(tmp_path, monkeypatch):
    saved: list[int] = []
    save = Keeper.save
    monkeypatch.setattr(Keeper, "save", lambda self, images, tree: saved.append(images) or save(self, images, tree))
    make(tmp_path / "often", 4500).train(keep_every=0)
    assert saved == [1450, 2850, 4250, 4500]
    saved.clear()
    make(tmp_path / "rare", 4500).train(keep_every=1e9)
    assert saved == [4500]


def test_the_commit_of_a_checkout_and_none_elsewhere(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=tmp_path, check=True)

    monkeypatch.setattr("genlearn.record.__file__", str(tmp_path / "run.py"))
    (tmp_path / "run.py").touch()
    assert code() == {"commit": None, "dirty": None}
    git("init", "-q")
    assert code() == {"commit": None, "dirty": None}  # a checkout of something else
    git("add", "run.py")
    git("commit", "-qm", "first")
    assert (len(code()["commit"]), code()["dirty"]) == (40, False)
    (tmp_path / "run.py").write_text("changed")
    assert code()["dirty"] is True
    monkeypatch.setenv("PATH", "")
    assert code() == {"commit": None, "dirty": None}
