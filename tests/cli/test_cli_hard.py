"""A run folder in hard use: two starts, damaged files, an edited record."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time

import numpy as np
import pytest
from PIL import Image

from genlearn.data import load
from genlearn.models.vae import VAE
from genlearn.run import Run
from processes import Command

SMALL = {"hidden": (8,), "n_latent": 2, "batch_size": 50, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """With two checkpoints."""
    run = Run.create(tmp_path_factory.mktemp("hard") / "run", "vae", "digits", SMALL | {"images": 2000.0}, {})
    run.train(keep_every=0)
    run.evaluate(["nearest"], 50)
    return run.path


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def flip(path, place=-9):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_run_is_held_by_one_process(tmp_path):
    arguments = ["train", "vae", "--data", "digits", "--set", "hidden=8", "--device", "cpu", "--out", tmp_path / "run"]
    first = Command(*arguments, "--minutes", 5, "--keep-every", 0)
    while first.running() and not list(tmp_path.glob("run/checkpoints/*")):
        time.sleep(0.01)
    holder = rf"run is held by process {first.process.pid} on .* since 20..-..-..T.*Z; the usual fix is to wait for it"
    with pytest.raises(BlockingIOError, match=holder) as error:
        Run.open(tmp_path / "run").train(resume=True)
    assert "\n" not in str(error.value)
    first.signal(signal.SIGKILL)
    first.end()
    Run.open(tmp_path / "run").train(resume=True, budget={"images": 100.0, "minutes": None})  # a dead holder's is free
    assert Run.open(tmp_path / "run").record["status"] == "finished"
    assert not (tmp_path / "run" / ".holder").exists()


def test_of_two_starts_into_one_new_folder_one_wins(tmp_path):
    one, two = (Run.create(tmp_path / "run", "vae", "digits", SMALL | {"images": 100.0}, {}) for _ in range(2))
    one.train()
    kept = (tmp_path / "run" / "run.json").read_text()
    with pytest.raises(FileExistsError, match="already holds a run; the usual fix is another --out"):
        two.train()
    assert (tmp_path / "run" / "run.json").read_text() == kept


def test_a_flipped_bit_in_the_newest_checkpoint_falls_back_to_the_one_before(copy, finished):
    older, newest = sorted((copy / "checkpoints").glob("*.safetensors"))
    flip(newest)
    with pytest.warns(UserWarning, match=f"{newest.name} is no readable checkpoint .*checksums differ"):
        Run.open(copy).train(resume=True)
    assert older.name < newest.name
    weights = [(path / "model" / "weights.safetensors").read_bytes() for path in (copy, finished)]
    assert weights[0] == weights[1]


def test_what_no_checkpoint_can_mend_is_told_once(copy, cli):
    older, newest = sorted((copy / "checkpoints").glob("*.safetensors"))
    resume = ("train", "--resume", copy)
    flip(newest)
    first, *more = (line for line in cli(*resume, "--images", 2100).err.splitlines() if "checkpoint" in line)
    assert first.startswith(f"warning: {newest} is no readable checkpoint (its content is not what was written")
    assert first.endswith(f"; {older.name}, an older one, is used") and not more
    for path in (copy / "checkpoints").iterdir():
        path.write_bytes(b"")
    (told,) = (line for line in cli(*resume).err.splitlines() if "checkpoint" in line)
    assert told.startswith(f"error: {max((copy / 'checkpoints').iterdir())} is no readable checkpoint")


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_the_model_of_a_run_is_mended_by_what_its_refusal_says(copy, cli, name):
    whole = (copy / "model" / name).read_bytes()
    flip(copy / "model" / name)
    answer = cli("sample", copy)
    assert answer.code == 1
    *_, said = answer.err.partition("; the usual fix is genlearn ")
    assert cli(*said.partition(",")[0].split()).code == 0
    assert (copy / "model" / name).read_bytes() == whole
    flip(copy / "model" / name)
    for path in (copy / "checkpoints").iterdir():
        path.unlink()
    assert "the usual fix is to save the model again" in cli("sample", copy).err


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_a_changed_model_is_refused(copy, name):
    path = copy / "model" / name
    if name == "model.json":
        path.write_text(path.read_text().replace('"n_latent": 2', '"n_latent": 2000000000'))
    else:
        flip(path)
    with pytest.raises(ValueError, match=rf"{name} (is damaged|was changed).*; the usual fix is") as error:
        VAE.load(copy)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("change", "words"), [
    (lambda r: r.pop("model"), " was changed: model is missing"),
    (lambda r: r.update(parameters=[1]), r" was changed: parameters is \[1\], expected values by name"),
    (lambda r: r.update(images="many"), " was changed: images is 'many', expected a whole number"),
    (lambda r: r["data"].update(options=3), " was changed: data/options is 3, expected values by name"),
    (lambda r: r["data"].update(options={"size": "8"}), ", data: size='8'"),
    (lambda r: r["data"].update(options={"siz": 8}), ", data: load.. got an unexpected keyword argument 'siz'"),
    (lambda r: r["data"].update(source="/gone"), ", data: no data set, folder or zip archive '/gone'"),
    (lambda r: r.update(model="vea"), ", model: unknown model 'vea': did you mean 'vae'"),
    (lambda r: r["parameters"].update(epoch=3), ", parameters: unknown parameter 'epoch': did you mean 'epochs'"),
    (lambda r: r["parameters"].update(n_latent=-1), ", parameters: n_latent is -1, expected an integer at least 1"),
    (lambda r: r["parameters"].update(hidden="wide"), ", parameters: hidden is 'wide', expected"),
    (lambda r: r["parameters"].update(n_latent=10**400), r", parameters: n_latent is 10*\.\.\., expected"),
    (lambda r: r["parameters"].pop("hidden"), ", parameters: hidden is missing, expected numbers such as"),
    (lambda r: r["data"]["hash"].pop("valid"), "data/hash is .*, expected text for each of train, valid, test"),
    (lambda r: r["data"].pop("n"), "data/n is missing"),
    (lambda r: r.pop("seconds"), "seconds is missing"),
    (lambda r: r.update(seconds=10**400), "seconds is 10*..., expected a number"),
    (lambda r: r["spent"].update(files="long"), "spent is .*, expected a number, each with a name"),
    (lambda r: r["hardware"].pop("gpu"), "hardware/gpu is missing"),
])  # fmt: skip
def test_an_edited_record_is_checked_like_parameters(copy, cli, change, words):
    """By every command, with file and place."""
    record = json.loads((copy / "run.json").read_text())
    change(record)
    (copy / "run.json").write_text(json.dumps(record))
    for arguments in (["train", "--resume", copy], ["report", copy]):
        answer = cli(*arguments)
        assert re.match(f"error: {copy}/run.json.*{words}", answer.err), answer.err
        assert (answer.code, answer.err.count("\n")) == (1, 1)


def test_a_budget_given_in_python_is_no_flaw_of_the_record(copy):
    with pytest.raises(ValueError, match=r"^images is -1, expected"):
        Run.open(copy).train(resume=True, budget={"images": -1})


def test_a_spent_budget_says_how_to_go_on(copy, cli):
    answer = cli("train", "--resume", copy)
    assert answer.code == 0 and answer.out.startswith("finished: 2,000 images")
    spent, again = answer.err.splitlines()[-1].split("; to go on, give it more: genlearn ")
    assert spent == "its budget (epochs=10, images=2,000) is spent, nothing was trained"
    assert again == f"train --resume {copy} --epochs 20 --images 4000"
    answer = cli(*again.split())
    assert answer.out.startswith("finished: 4,000 images") and "spent" not in answer.err


def test_damaged_rows_and_scores(copy):
    rows, images = (copy / "journal.jsonl").read_bytes(), [row["images"] for row in Run.open(copy).journal().rows]
    (copy / "journal.jsonl").write_bytes(b'\xff\xfe{"images": 1}\n[1]\n{"images": "a", "seconds": 1}\n' + rows)
    assert [row["images"] for row in Run.open(copy).journal().rows] == images
    (whole,) = json.loads((copy / "evaluation.json").read_text())
    for harm in ({"floor": 3}, {"interval": [1]}, {"n": "x"}, {"value": 10**400}, {"name": []}, {"details": 0}):
        (copy / "evaluation.json").write_text(json.dumps([whole | harm]))
        with pytest.raises(ValueError, match=r"evaluation.json is damaged .*delete it and evaluate again"):
            Run.open(copy).results()


@pytest.mark.parametrize("name", ["run.json", "evaluation.json", "model/model.json"])
def test_deep_nesting_is_one_line(copy, name):
    (copy / name).write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply") as error:
        [read() for read in (lambda: Run.open(copy), Run(copy, {}).results, Run(copy, {}).model)]
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_other_nets_is_one_line(copy):
    record = json.loads((copy / "run.json").read_text())
    record["parameters"]["hidden"] = [9]
    (copy / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"the checkpoint is of another game \(.*size mismatch") as error:
        Run.open(copy).train(resume=True, budget={"images": 4000.0})
    assert "\n" not in str(error.value)


def test_what_killed_writers_left_is_removed_by_the_next_start(copy):
    left = [copy / ".run.json.0123abcd", copy / "model" / ".model.json.0123abcd", copy / "samples" / ".a.png.01234567"]
    others = [copy / ".run.json.89abcdef", copy / ".mine.anything"]  # of a writer at work, and not ours
    for path in left + others:
        path.touch()
        age = 0 if path == others[0] else 120
        os.utime(path, (time.time() - age, time.time() - age))
    Run.open(copy).train(resume=True)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in others)


def test_a_model_that_cannot_be_saved_is_a_failed_run(copy, monkeypatch):
    def full(*arguments):
        raise OSError(28, "no space")

    monkeypatch.setattr(VAE, "save", full)
    with pytest.raises(OSError, match="no space"):
        Run.open(copy).train(resume=True)
    assert Run.open(copy).record["status"] == "failed"


@pytest.mark.parametrize("ending", [".png", ".npy"])
def test_a_full_disk_leaves_the_samples_that_were_there(copy, cli, monkeypatch, ending):
    out = copy / f"x{ending}"
    assert cli("sample", copy, "--out", out).code == 0
    before = out.read_bytes()

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = cli("sample", copy, "--seed", 1, "--out", out)
    assert (answer.code, answer.err.count("\n")) == (1, 1)
    assert "could not write" in answer.err and "free space" in answer.err
    assert out.read_bytes() == before


def test_pipes_are_no_images_and_names_need_not_be_utf_8(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos, rng = tmp_path / "photos", np.random.default_rng(0)
    odd = os.fsencode(photos) + b"/caf\xe9"
    os.makedirs(odd)
    for name in [*(b"%d.png" % i for i in range(12)), b"b\xff.png"]:
        with open(odd + b"/" + name, "wb") as file:
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(file, "PNG")
    with open(odd + b"/bad\xff.png", "wb") as file:
        file.write(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")  # no program is started for it
    os.mkfifo(photos / "pipe.png")
    data = load(photos)
    assert data.report.used == 13
    assert data.classes == ("caf\ufffd",)
    (line,) = data.report.corrupt
    assert line.startswith("caf\ufffd/bad\ufffd.png: no PNG, JPEG, BMP, GIF, WEBP or TIFF inside")
