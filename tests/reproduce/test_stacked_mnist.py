"""Stacked MNIST: the set, the judge, and the command from end to end on a few images."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from genlearn.cli import app
from genlearn.data import load
from genlearn.data.stacked import stacked
from genlearn.metrics import class_coverage
from genlearn.reproduce import judge as judges
from genlearn.reproduce import stacked_mnist
from genlearn.reproduce.judge import accuracy, judge
from genlearn.reproduce.stacked_mnist import StackedMNIST


@pytest.fixture(scope="module")
def mini():
    return load("mnist-mini")


@pytest.fixture
def small(mini, monkeypatch):
    """The set from the digits inside the package, and a judge after a tenth of its training."""
    monkeypatch.setattr(judges, "ENOUGH", 0.8)
    monkeypatch.setattr(judges, "EPOCHS", 1)
    monkeypatch.setattr(
        stacked_mnist, "load", lambda name, n=0, seed=0: mini if name == "mnist" else stacked(mini, n // 500, seed)
    )


def test_an_image_is_three_digits_and_its_label_their_number(mini):
    data = stacked(mini, 200, seed=1)
    assert data.train.x.shape == (200, 3, 28, 28) and data.train.x.dtype == torch.uint8
    assert (len(data.valid), len(data.test), len(data.classes), data.classes[42]) == (20, 20, 1000, "042")
    for part, source in ((data.train, mini.train), (data.valid, mini.valid), (data.test, mini.test)):
        known = {image.tobytes(): int(y) for image, y in zip(source.x.numpy(), source.y, strict=True)}
        for x, y in zip(part.x.numpy()[:10], part.y, strict=False):
            assert int(y) == sum(w * known[channel.tobytes()] for w, channel in zip((100, 10, 1), x, strict=True))
    again, other = stacked(mini, 200, seed=1), stacked(mini, 200, seed=2)
    assert data.train.hash == again.train.hash != other.train.hash
    with pytest.raises(ValueError, match="expected at least 1 image"):
        stacked(mini, 0)


def test_modes_that_a_judge_reads():
    """Of 5 modes 3 are hit; KL(2/4, 1/4, 1/4 || 1/5 each) = log 5 - 1.5 log 2."""
    found = class_coverage([0, 0, 3, 4], 5, [True, False, True, True])
    assert (found.hit, found.high_quality) == (3, 0.75)
    assert found.counts.tolist() == [2, 0, 0, 1, 1]
    assert found.reverse_kl == pytest.approx(np.log(5) - 1.5 * np.log(2))
    assert class_coverage(np.arange(7), 7).reverse_kl == pytest.approx(0, abs=1e-12)
    for classes, good in (([], None), ([5], None), ([-1], None), ([1, 2], [True])):
        with pytest.raises(ValueError, match=r"expected \[n\] in 0 \.\. 4"):
            class_coverage(classes, 5, good)


def test_the_judge_is_trained_once_and_must_be_good_enough(small, mini, tmp_path, monkeypatch):
    first = judge(mini, tmp_path / "judge.safetensors")
    assert accuracy(first, mini) > 0.8
    monkeypatch.setattr(judges.Training, "run", None)  # not again
    again = judge(mini, tmp_path / "judge.safetensors")
    assert torch.equal(again.read(mini.test.x[:50]), first.read(mini.test.x[:50]))
    monkeypatch.undo()
    monkeypatch.setattr(judges, "EPOCHS", 0.05)
    with pytest.raises(ValueError, match=r"of mnist-mini's test digits, expected 99% at least"):
        judge(mini, tmp_path / "bad.safetensors")
    assert not (tmp_path / "bad.safetensors").exists()


def test_the_modes_of_real_images_are_their_labels(small, mini, tmp_path):
    protocol = StackedMNIST.quick()
    protocol.ready(tmp_path)
    data = stacked(mini, 1000, seed=0)
    found = protocol.coverage("stacked-mnist", data.train.x.numpy(), tmp_path)
    right = data.train.y.bincount(minlength=1000)
    assert (found.counts - right).abs().sum() < 0.7 * 2 * 1000  # at .8 a digit, .49 of the images lie in another mode
    assert found.counts.sum() == 1000
    assert found.hit > 500


def test_from_end_to_end(small, tmp_path, monkeypatch):
    monkeypatch.setattr(StackedMNIST, "METHODS", {k: StackedMNIST.METHODS[k] for k in ("DCGAN", "packing by 2")})
    monkeypatch.setattr(StackedMNIST, "SAMPLES", 100)
    monkeypatch.setattr("genlearn.train.monitor.FREE", 1e9)  # every look, however busy the machine is
    command = [
        "reproduce",
        "stacked-mnist",
        "--epochs",
        "4",
        "--seeds",
        "2",
        "--set",
        "width=4",
        "--out",
        str(tmp_path),
    ]
    answer = CliRunner().invoke(app, [*command, "--json"], prog_name="genlearn")
    assert answer.exit_code == 0, answer.stderr
    told = json.loads(answer.stdout)
    for method, runs in told["runs"]["stacked-mnist"].items():
        assert [run["seed"] for run in runs] == [0, 1]
        assert all(sum(run["looks"][-1]["counts"]) == 100 and len(run["looks"]) == 4 for run in runs), method
        assert runs[0]["looks"][-1]["images"] == {"DCGAN": 1024, "packing by 2": 2048}[method]
    assert told["shortened"] == "4 epochs for 50, width=4 for 64, 2 seeds for 3"
    for name in ("stacked-mnist-end", "stacked-mnist-modes"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 150
    again = CliRunner().invoke(app, ["reproduce", "stacked-mnist", "--table", "--out", str(tmp_path)])
    assert again.exit_code == 0 and "99.0; ; 3.40" in again.stdout
