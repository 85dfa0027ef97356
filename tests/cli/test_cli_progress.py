"""Progress: silent unless somebody watches, and then every long work says how far it is."""

from __future__ import annotations

import io
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from genlearn import progress
from genlearn.maths import ais, make_rng, schedule
from genlearn.models.flow import FlowMatching
from genlearn.models.rbm import RBM
from genlearn.run import Run
from genlearn.train import Monitor
from genlearn.words import took


@pytest.fixture
def at_once(monkeypatch):
    for name in ("SILENT", "EVERY", "DRAWN"):
        monkeypatch.setattr(progress, name, -1)


def test_fit_is_silent_unless_asked(digits, capfd, at_once):
    model = RBM(epochs=2, n_hidden=4, random_state=0).fit(digits[:200])
    model.sample(3)
    model.score_samples(digits[:5])
    assert capfd.readouterr() == ("", "")
    model.fit(digits[:200], verbose=1)
    out, err = capfd.readouterr()
    assert out == ""
    first, *_, last = err.splitlines()
    assert first.startswith("RBM: 50%, 200 images rbm/loss ")
    assert last.startswith("RBM: 100%, 400 images rbm/loss ")


def test_work_within_work_is_one_line(capfd, at_once):
    def inner():
        return list(progress.track("xy", "inner", 2))

    assert inner() == ["x", "y"]
    with progress.watched(), progress.work("outer") as step:
        step(0.25, "so far")
        inner()
        with progress.watched():  # the same watcher
            inner()
    inner()
    shown = capfd.readouterr().err.splitlines()
    assert shown == ["outer: 25%, so far", *2 * ["outer: inner: 0%", "outer: inner: 50%"]]


@pytest.mark.parametrize("solver", ["heun", "adaptive"])
def test_the_steps_of_one_slow_block_are_told(solver, digits, capfd, at_once):
    flow = FlowMatching.from_preset("tiny", network="mlp", solver=solver, epochs=0.1, random_state=0).fit(digits[:200])
    known = np.arange(64) < 32
    with progress.watched():
        flow.sample(3)
        flow.complete(digits[:2], known)
    told = capfd.readouterr().err
    assert "samples: steps: 0%" in told or solver == "adaptive"
    assert re.search("samples: steps: [1-9][0-9]%", told)
    assert "completion: rounds: 50%" in told


def test_short_work_says_nothing(capfd):
    with progress.watched():
        assert list(progress.track(range(1000), "quick", 1000)) == list(range(1000))
    assert capfd.readouterr().err == ""


def test_bars_on_a_terminal(at_once):
    screen = io.StringIO()
    watcher = progress.Watcher(Console(file=screen, force_terminal=True, width=100))
    assert watcher.live
    with watcher.bars, watcher.work("outer"), watcher.work("inner") as step:
        step(0.4, "words")
        watcher.bars.refresh()
    assert "inner" in screen.getvalue() and " 40% words" in screen.getvalue()
    assert not watcher.bars.tasks


def test_an_error_leaves_nothing_behind(capfd, at_once):
    with pytest.raises(KeyError), progress.watched(), progress.work("bad"):
        raise KeyError
    progress.tell("nobody hears")
    assert capfd.readouterr().err == ""
    with progress.watched():
        progress.tell("somebody does")
    assert capfd.readouterr().err == "somebody does\n"


def test_slow_work_is_told_beforehand_once_and_lines_say_what_is_left(capfd, monkeypatch):
    now = 0.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    with progress.watched("buy a faster one"):
        for _ in progress.track("ab", "uneven", 2, even=False):
            for _ in progress.track(range(4), "slow", 4):
                for _ in progress.track("xy", "inner", 2):  # is no measure of the work around it
                    now += 30.0
        with progress.work("resumed") as step:
            for done in (0.8, 0.9, 1.0):
                step(done)
                now += 60.0
    told = capfd.readouterr().err.splitlines()
    passes = [f"uneven: slow: {done} left" for done in ("25%, 3 min", "50%, 2 min", "75%, 60 s")]
    slow = [line for line in told if line.startswith("uneven: slow: ") and "inner" not in line]
    assert slow == ["uneven: slow: about 3 min; buy a faster one", *passes, *passes]
    assert "uneven: slow: inner: 50%, 2 min left" in told
    assert told[-3:] == ["resumed: 80%", "resumed: 90%, 60 s left", "resumed: 100%"]
    assert progress._span(90) == "2 min" and progress._span(89) == "89 s" and progress._span(7200) == "2 h"


def test_a_slow_evaluation_says_what_would_take_less(cli, trained, tmp_path, monkeypatch, at_once):
    assert "vae: scores: likelihood: 0%" in cli("evaluate", trained, "--metrics", "likelihood").err
    small, flow = ["--set", "hidden=8", "--set", "network=mlp", "--set", "n_steps=2"], tmp_path / "flow"
    assert cli("train", "flow", "--data", "digits", *small, "--images", 200, "--out", flow).code == 0
    monkeypatch.setattr(progress, "SLOW", 0.0)
    for metrics in ("likelihood", "nearest"):  # blocks of images, and of samples
        said = cli("evaluate", flow, "--metrics", metrics, "--n", 200).err.splitlines()
        assert sum(line.endswith("; fewer samples (--n) or scores (--metrics) take less") for line in said) == 1
    assert "; fewer images (--n) take less" in cli("sample", flow, "--n", 200).err


def test_log_z_tells_how_far_it_is(capfd, at_once):
    with progress.watched():
        ais(torch.zeros(5, 3), torch.zeros(5), torch.zeros(3), betas=schedule(5), n_chains=2, rng=make_rng(0))
    assert capfd.readouterr().err.splitlines() == [f"log Z: {done}%" for done in (0, 25, 50, 75)]


def test_a_start_says_what_became_of_the_files(tmp_path, cli):
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for i in range(30):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(photos / f"{i:02d}.png")
    (photos / "30.png").write_bytes((photos / "00.png").read_bytes())
    (photos / "bad.png").write_bytes(b"no image")
    answer = cli("train", "rbm", "--data", photos, "--epochs", 1, "--out", tmp_path / "run")
    words = "32 files read, 30 used as 8x8 grey: 1 duplicate, 1 corrupt (bad.png)"
    assert f"photos: 24 training, 3 validation, 3 test images of 1x8x8; {words}" in answer.err.splitlines()
    files = Run.open(tmp_path / "run").record["data"]["files"]
    assert files["words"] == words and files["left_out"] == {"corrupt": 1, "duplicates": 1}
    assert files["first"]["duplicates"] == ["30.png: same pixels as 00.png"]
    assert cli("report", tmp_path / "run").code == 0
    assert words in (tmp_path / "run" / "report.html").read_text()


def test_scores_are_kept_as_they_come(cli, trained, monkeypatch, tmp_path):
    from genlearn.metrics import protocol

    def interrupted(subject):
        raise KeyboardInterrupt

    metrics = protocol.METRICS
    monkeypatch.setitem(metrics, "parzen", metrics["parzen"]._replace(score=interrupted))
    run = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation.json"))
    assert cli("evaluate", run, "--n", 100).code == 130
    names = [row["name"] for row in json.loads((run / "evaluation.json").read_text())]
    assert [name.split()[0] for name in names] == ["log-likelihood", "log-likelihood", "reconstruction"]


def test_the_time_of_a_run_names_that_of_its_monitors_where_it_is_much():
    assert took(1234.5, {"monitors": 100.0}) == "1,234.5 s"
    assert took(171.0, {"play": 93.0, "monitors": 77.0}).startswith("171.0 s, 77.0 s of them for samples and scores")
    assert took(0.0, {}) == "0.0 s"


def test_a_slow_look_is_told_by_the_name_of_its_monitor(capfd, at_once):
    def slow(nets, images):
        return {"score": float(sum(progress.track(range(3), "images", 3)))}

    with progress.watched(), progress.work("rbm"):
        assert Monitor("error", 10, slow).look({}, 10) == {"score": 3.0}
    assert capfd.readouterr().err.splitlines()[-1] == "rbm: error: images: 67%"
