"""Classes by name, from a folder of images to predictions."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import genlearn
from genlearn.models.conditional_rbm import ConditionalRBM
from genlearn.models.rbm import RBM
from genlearn.run import Run

NAMES = ("dark", "light")


def paint(folder, n: int = 40) -> None:
    """Two classes that one tells apart at a glance, 6 x 6."""
    rng = np.random.default_rng(0)
    for k, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 60, (6, 6)) + 190 * k
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def run(cli, tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    paint(folder / "photos")
    settings = [argument for s in ("n_hidden=4", "learning_rate=0.5") for argument in ("--set", s)]
    arguments = ["conditional-rbm", "--data", folder / "photos", *settings, "--epochs", 20, "--seed", 0]
    answer = cli("train", *arguments, "--out", folder / "run")
    assert answer.code == 0, answer.err
    return folder / "run"


def test_names_are_kept(run):
    assert Run.open(run).record["data"]["classes"] == list(NAMES)
    model = genlearn.load_model(run)
    assert type(model) is ConditionalRBM
    assert model.class_names_ == NAMES
    assert ConditionalRBM.load(run).class_names_ == ConditionalRBM.load(run / "model").class_names_ == NAMES


def test_predictions_by_name(cli, run, tmp_path):
    paint(tmp_path / "new", 3)
    (tmp_path / "new" / "bad.png").write_bytes(b"none")
    answer = cli("predict", run, tmp_path / "new")
    assert answer.code == 0, answer.err
    assert answer.err.startswith("left out: bad.png: no PNG, JPEG")
    head, *rows = csv.reader(io.StringIO(answer.out))
    assert head == ["file", "class", "probability"]
    assert [(name, label) for name, label, _ in rows] == [(f"{c}/{i}.png", c) for c in NAMES for i in range(3)]
    assert all(0.5 < float(p) <= 1 for *_, p in rows)
    listed = json.loads(cli("predict", run, tmp_path / "new", "--json").out)
    assert [[row["file"], row["class"], str(row["probability"])] for row in listed] == rows
    assert cli("predict", run, tmp_path / "new", "--out", tmp_path / "a.csv").out.strip() == str(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == answer.out
    (alone,) = json.loads(cli("predict", run, tmp_path / "new" / "light" / "1.png", "--json").out)
    assert alone | {"file": "light/1.png"} == listed[4]
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "new")).rename(tmp_path / "new.cbz")
    assert json.loads(cli("predict", run, packed, "--json").out) == listed  # a zip by its content, not by its name


def test_samples_of_a_class_by_name(cli, run, tmp_path):
    for k, name in enumerate(NAMES):
        for given in (name, k):
            answer = cli("sample", run, "--class", given, "--n", 20, "--out", tmp_path / f"{given}.npy")
            assert answer.code == 0, answer.err
        x = np.load(tmp_path / f"{name}.npy")
        np.testing.assert_array_equal(x, np.load(tmp_path / f"{k}.npy"))
        assert (x.mean() > 128) == bool(k)
    said = cli("sample", run, "--class", "lihgt").err
    assert "unknown class 'lihgt', expected one of dark, light; did you mean 'light'?" in said
    model = genlearn.load_model(run)
    drawn = model.sample(2, y=["light", "dark"], random_state=0)
    np.testing.assert_array_equal(drawn, model.sample(2, y=[1, 0], random_state=0))


def test_guidance_of_a_flow_in_place_of_its_own(cli, run, tmp_path):
    paint(tmp_path / "photos", 20)
    arguments = ["flow", "--data", tmp_path / "photos", "--preset", "tiny", "--set", "network=mlp", "--seed", 0]
    assert cli("train", *arguments, "--out", tmp_path / "flow").code == 0
    for name in ("1", "4", None):
        more = ["--guidance", name] if name else []
        assert cli("sample", tmp_path / "flow", "--class", "light", "--out", tmp_path / f"{name}.npy", *more).code == 0
    own, one, four = (np.load(tmp_path / f"{name}.npy") for name in (None, "1", "4"))
    assert np.array_equal(own, one) and not np.array_equal(own, four)
    for place, given, words in [
        (run, 2, "--guidance is 2, but this ConditionalRBM has none; the usual fix is to leave it out"),
        (tmp_path / "flow", -1, "guidance is -1.0, expected a number at least 0"),
    ]:
        answer = cli("sample", place, "--guidance", given)
        assert answer.code == 1 and words in answer.err and answer.err.count("\n") == 1


def test_what_cannot_be_predicted_is_one_line(cli, run, trained, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, words in [
        ((trained, tmp_path), "error: VAE does not classify"),
        ((run, tmp_path / "nowhere"), "nowhere, expected a folder or zip of images, or an image"),
        ((run, tmp_path / "empty"), "empty has no usable image; expected files ending in .png .jpg"),
        ((run, Path(__file__)), "test_cli_predict.py is no image (.png .jpg .jpeg"),
    ]:
        answer = cli("predict", *arguments)
        assert answer.code == 1
        assert words in answer.err and answer.err.count("\n") == 1
    rows = ConditionalRBM(n_hidden=2, epochs=1).fit(np.eye(9), np.arange(9) % 2)
    rows.save(tmp_path / "rows")
    assert "the model knows rows of shape (9,), expected" in cli("predict", tmp_path / "rows", tmp_path).err


def test_the_models_are_found(digits):
    everything: dict = {}
    exec("from genlearn import *", everything)
    assert everything["RBM"] is RBM
    assert {"RBM", "VAE", "EnergyModel", "load_model"} <= {*dir(genlearn)} & {*everything}
    with pytest.raises(ValueError, match="holds no model"):
        genlearn.load_model("nowhere")
