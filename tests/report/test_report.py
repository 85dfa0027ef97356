"""The page: self-contained, complete, and safe against hostile names."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from browser import BINARY, Browser
from genlearn.metrics import Result, likelihood_result, nearest
from genlearn.report import write
from genlearn.report.page import flat, number, tables
from genlearn.report.view import about, charts, flow, spread, twins, view
from genlearn.run import Run
from genlearn.train import Journal

SMALL = {
    "rbm": {"n_hidden": 9, "n_gibbs": 2, "epochs": 20},  # long enough for two sheets of samples
    "vae": {"hidden": (16,), "n_latent": 2, "epochs": 2},
    "gan": {"hidden": (16,), "hidden_d": (16,), "epochs": 2},
    "autoencoder": {"hidden": (16,), "n_latent": 2, "n_components": 3, "epochs": 20},
}


class Page(HTMLParser):
    """The tags, resources and alternative texts of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags, self.resources, self.images = [], [], []
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.resources += [
            value for name, value in attrs.items() if name in ("src", "href", "srcset", "data", "action")
        ]
        if tag == "img":
            self.images.append(attrs["alt"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    made = []
    for name, parameters in SMALL.items():
        run = Run.create(folder / name, name, "digits", {**parameters, "random_state": 0}, {})
        run.train()
        run.evaluate(n_samples=100)
        made.append(Run.open(run.path))
    return made


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    return Page(write(runs, tmp_path_factory.mktemp("page") / "deep" / "report.html"))


def test_self_contained(page):
    assert page.resources
    assert all(resource.startswith("data:image/") for resource in page.resources)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert "url(" not in page.text
    assert "@import" not in page.text


@pytest.mark.skipif(BINARY is None, reason="Chromium is not installed")
def test_tables_of_scores_fit_every_screen(runs, tmp_path):
    shutil.copytree(runs[0].path, tmp_path / "a run of a rather long name")
    run = Run.open(tmp_path / "a run of a rather long name")
    ends = {"floor": {"mean image": -43210.99, "20 principal components, clipped": -1.0}}
    ends |= {"ceiling": {"real training images": -9228.21}, "interval": [-123500.25, -112200.5], "value": -112345.6}
    wide = [r.to_json() | ends for r in run.results()]
    (run.path / "evaluation.json").write_text(json.dumps(wide))
    page, browser = write([run], tmp_path / "report.html"), Browser(tmp_path / "profile")
    over = "[...document.querySelectorAll('.scores :is(caption, th, td), .scroll, body')]"
    over += ".filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText)"
    try:
        for width in (360, 390, 768, 801, 1024, 1200, 1600):
            browser.open(f"file://{page}", width)
            assert browser.js(over) == []
            assert browser.js("document.querySelectorAll('.scores').length") == len(wide)
    finally:
        browser.close()


def test_every_picture_says_what_it_shows(page):
    assert all(page.images)
    for name in SMALL:
        assert f"64 samples of {name}" in page.images
        assert any(alt.startswith("12 samples of") and name in alt for alt in page.images)
    assert "64 training examples of digits" in page.images
    assert "weights of hidden units of rbm" in page.images
    assert {alt for alt in page.images if "their reconstructions" in alt} == {
        f"12 test images above, their reconstructions by {name} below" for name in ("rbm", "vae", "autoencoder")
    }
    assert any(alt.startswith("reconstructions of autoencoder after ") for alt in page.images)
    assert not any(alt.startswith("samples of autoencoder after ") for alt in page.images)
    assert "drawn from a mixture of 3 Gaussians that was fitted to the codes" in page.text
    assert any("D/loss, G/loss against images seen" in alt for alt in page.images)


def test_every_score_with_its_n_interval_floor_and_ceiling(page, runs):
    text = re.sub(r"<[^>]+>", " ", page.text)
    text = re.sub(r"\s+", " ", text)
    for run in runs:
        assert run.results()
        for r in run.results():
            low, high = r.interval
            row = f"{run.name} {number(r.value)} "
            assert row in text
            at = text[text.index(r.name) :]
            at = at[at.index(row) :][:300]
            assert f"{number(low)} to {number(high)} {r.n:,} {r.kind or chr(0x2013)} " in at
            assert r.floor
            assert r.kind or r.unit != "nats"
            for ends in (r.floor, r.ceiling):
                for name, value in ends.items():
                    assert f"{number(value)} {name}" in at
    assert "not a goal" in text


def test_a_bound_less_an_estimate_says_how_far_log_z_is_known(runs, tmp_path):
    shutil.copytree(runs[0].path, tmp_path / "rbm")
    verdict = "log Z is uncertain by about 2.9 nats."
    score = likelihood_result("s", torch.arange(10.0) - 90, "lower bound", (-2.9, 0.4), notes=(verdict,))
    (tmp_path / "rbm" / "evaluation.json").write_text(json.dumps([score.to_json()]))
    page = Page(write([Run.open(tmp_path / "rbm")], tmp_path / "report.html"))
    assert "<td>estimate of a bound</td>" in page.text
    assert f"<td>{score.interval[0]:.2f} to {score.interval[1]:.2f}</td>" in page.text
    assert f'<p class="note">{verdict}</p>' in page.text
    assert '<p class="note">The interval includes [-0.40, +2.90] nats' in page.text


def test_curves_say_what_a_validation_score_is(page):
    for kind in ("exact", "lower bound"):
        assert f"<figcaption>Log-likelihood of validation images in nats: {kind}.</figcaption>" in page.text
    assert about("error") == about("parzen") == "On validation images."


def test_each_part_of_the_data_is_shown_as_what_it_is(runs, monkeypatch):
    """Beside samples the nearest training images; what is reconstructed are test images."""
    data, shown = runs[0].data(), []

    def pairs(above, below):
        shown.append((torch.as_tensor(above), torch.as_tensor(below)))
        return Image.new("L", (8, 8))

    monkeypatch.setattr("genlearn.report.view.pairs", pairs)
    seen = view(runs[0])
    (samples, near), (images, _) = shown
    assert (near == data.train.x[nearest(samples, data.train.x)[1][:, 0]]).all()
    assert (images == data.test.x[torch.linspace(0, len(data.test) - 1, 12).long()].numpy()).all()  # of all classes
    assert seen.data_hash == data.test.hash
    assert ("training images", f"{len(data.train):,}") in seen.facts
    assert any("(20 epochs)" in value for _, value in seen.facts)


def test_the_record_is_complete(page, runs):
    for run in runs:
        for value in (*run.record["data"]["hash"].values(), run.record["hardware"]["torch"]):
            assert value in page.text


def scored(name: str, result: Result, data_hash: str = "a") -> SimpleNamespace:
    """What the tables of scores see of a run."""
    return SimpleNamespace(name=name, data="digits", data_hash=data_hash, results=[result])


def test_scores_meet_only_where_they_may_be_compared():
    def groups(*results, hashes=("a", "a")):
        return len(tables([scored("run", r, data_hash) for r, data_hash in zip(results, hashes, strict=True)]))

    scores = [Result("s", 1.0, 10, "nats"), Result("s", 2.0, 10, "nats")]
    assert groups(*scores) == 1
    assert groups(*scores, hashes=("a", "b")) == 2
    assert groups(scores[0], Result("s", 2.0, 11, "nats")) == 2
    assert groups(scores[0], Result("t", 2.0, 10, "nats")) == 2
    assert groups(scores[0], Result("s", 2.0, 10, "nats", extractor="other")) == 2


def test_notes_are_given_once_and_the_others_with_the_name_of_their_run():
    views = [scored(own, Result("s", 1.0, 10, "nats", notes=("both", f"of {own}"))) for own in "ab"]
    (scores,) = tables(views)
    assert scores.notes() == ["both", "a: of a", "b: of b"]


def test_hostile_name_and_note(runs, tmp_path):
    name = "<script>alert(1)<"
    shutil.copytree(runs[1].path, tmp_path / name)
    run = Run.open(tmp_path / name)
    scores = [r.to_json() | {"notes": ["<b onclick=x>&"], "name": "<i>"} for r in run.results()]
    (run.path / "evaluation.json").write_text(json.dumps(scores))
    page = Page(write([run], tmp_path / "report.html"))
    assert "script" not in page.tags
    assert "i" not in page.tags
    assert "<b onclick" not in page.text
    assert "&lt;script&gt;alert(1)&lt;" in page.text


def test_a_run_without_scores_or_without_a_model(runs, tmp_path):
    for name in ("unscored", "killed"):
        shutil.copytree(runs[0].path, tmp_path / name)
        (tmp_path / name / "evaluation.json").unlink()
    shutil.rmtree(tmp_path / "killed" / "model")
    record = json.loads((tmp_path / "killed" / "run.json").read_text()) | {"status": "running"}
    for key in ("images", "seconds"):
        del record[key]
    (tmp_path / "killed" / "run.json").write_text(json.dumps(record))
    page = Page(write([Run.open(tmp_path / name) for name in ("unscored", "killed")], tmp_path / "report.html"))
    assert "64 samples of unscored" in page.images
    assert "64 samples of killed" not in page.images
    assert "This run is running" in page.text
    assert "<h2>Scores</h2>" not in page.text
    assert any(alt.startswith("samples of killed after") for alt in page.images)


def test_points_in_the_plane(tmp_path):
    parameters = {"hidden": (8,), "hidden_d": (8,), "output": "linear", "images": 2000, "epochs": None}
    run = Run.create(tmp_path / "ring", "gan", "ring", parameters, {})
    run.train()
    page = Page(write([run], tmp_path / "report.html"))
    assert "1000 samples of ring" in page.images
    assert not any("nearest" in alt for alt in page.images)


def test_colour_folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path / "images" / f"{i}.png")
    run = Run.create(tmp_path / "run", "rbm", str(tmp_path / "images"), {"n_hidden": 4, "n_gibbs": 1, "epochs": 1}, {})
    run.train()
    page = Page(write([run], tmp_path / "report.html"))
    assert "64 samples of run" in page.images
    assert "weights of hidden units of run" in page.images


def test_twins_are_found_in_every_block(monkeypatch):
    monkeypatch.setattr("genlearn.report.view.BLOCK", 4)
    train = torch.randint(0, 256, (11, 1, 3, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    order = [10, 0, 5, 4]
    assert (twins(train[order].numpy(), train) == train[order].numpy()).all()


def test_flat():
    assert list(flat({"a": {"b": [1, 2], "c": None}})) == [("a · b", "1, 2"), ("a · c", "None")]


def test_the_flow_of_the_gradient_is_one_picture_a_player():
    journal = Journal()
    for images in (100, 200):
        layers = {f"{p}/gradient of {p}.hidden.{i}": 0.1 ** (i + 1) for p in "GD" for i in range(3)}
        journal.log(images, 1.0, {"D/loss": 1.0, "D/gradient": 0.2, **layers})
    assert [picture.alt.partition(" by ")[0] for picture in flow(journal)] == [
        "norms of the gradients of G",
        "norms of the gradients of D",
    ]
    shown = [picture.alt for picture in charts(journal)]
    assert len(shown) == 4  # the two, the loss, the whole norm
    assert not any("hidden" in alt for alt in shown)


def test_parameters_in_a_list_are_no_matrix_of_weights(tmp_path):
    parameters = {"hidden": (6,), "n_gibbs": 2, "images": 200, "epochs": None, "random_state": 0}
    run = Run.create(tmp_path / "gsn", "gsn", "digits", parameters, {})
    run.train()
    assert write([run], tmp_path / "page.html").exists()


def test_training_images_of_folders_are_of_all_classes():
    assert spread(torch.arange(1000), 5).tolist() == [0, 249, 499, 749, 999]
    assert spread(torch.arange(3), 5).tolist() == [0, 1, 2]
