"""One's own pictures without noise, and completed: by their names, in their sizes, nothing else touched."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

import genlearn
from genlearn.data import pictures
from genlearn.data.images import changed


def content(array: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return io.BytesIO(file.getvalue())


def paint(folder, n: int = 40) -> None:
    """Bright disks on dark grounds, in colour, 16 x 12; one in a folder of its own, and a file that is none."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:12, :16]
    (folder / "more").mkdir(parents=True)
    for i in range(n):
        centre, colour = rng.uniform(3, 9, 2), rng.uniform(100, 255, 3)
        disk = np.square(y - centre[0]) + np.square(x - centre[1] - 2) < 9
        image = (disk[..., None] * colour + rng.uniform(0, 40, (12, 16, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / ("more" if i == 0 else ".") / f"{i}.png")
    (folder / "bad.png").write_bytes(b"none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("change")
    paint(place / "photos")
    return place


@pytest.fixture(scope="module")
def runs(cli, folder):
    for model, *more in (
        ("dae", "hidden=16", "n_latent=4", "n_components=2"),
        ("gsn", "hidden=16", "n_gibbs=5"),
        ("rnn", "n_hidden=8", "n_units=2"),
    ):
        settings = [argument for s in more for argument in ("--set", s)]
        arguments = [model, "--data", folder / "photos", "--size", 8, *settings, "--epochs", 3, "--seed", 0]
        answer = cli("train", *arguments, "--out", folder / model)
        assert answer.code == 0, answer.err
        assert ("output='logistics'" in answer.err) == (model == "rnn")  # pictures in colour
    return {model: folder / model for model in ("dae", "gsn", "rnn")}


def test_a_change_of_nothing_changes_nothing():
    rng = np.random.default_rng(0)
    for shape, mode in (((9, 14), "L"), ((9, 14, 3), "RGB"), ((14, 9, 4), "RGBA")):
        image = rng.integers(0, 256, shape).astype(np.uint8)
        before, after = changed(content(image), np.zeros((1, 4, 4), np.float32))
        assert before.mode == after.mode == mode
        assert np.array_equal(np.asarray(before), image) and np.array_equal(np.asarray(after), image)


def test_the_middle_square_is_changed_and_nothing_else():
    """One channel is added to every colour, three to each its own; never to what is transparent."""
    image = np.full((8, 14, 4), 100, np.uint8)
    _, after = changed(content(image), np.full((1, 4, 4), 30, np.float32))
    expected = image.copy()
    expected[:, 3:11, :3] += 30
    assert np.array_equal(np.asarray(after), expected)
    change = np.stack([np.full((4, 4), k, np.float32) for k in (-200, 0, 200)])
    _, after = changed(content(image[..., 0]), change)  # grey gets colours
    assert np.asarray(after)[4, 7].tolist() == [0, 100, 255]
    assert np.asarray(after)[4, 0].tolist() == [100, 100, 100]


def test_where_it_is_put_the_old_goes_and_the_rest_stays():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    where = np.zeros((4, 4), np.float32)
    where[:, :2] = 1
    _, after = changed(content(image), np.full((3, 4, 4), 77, np.float32), where)
    assert (np.asarray(after)[:, :4] == 77).all()
    assert np.array_equal(np.asarray(after)[:, 4:], image[:, 4:])


def test_noise_goes_from_every_picture_by_its_own_name(cli, runs, folder, tmp_path):
    answer = cli("denoise", runs["dae"], folder / "photos", "--out", tmp_path / "clean")
    assert answer.code == 0, answer.err
    assert "left out: bad.png: " in answer.err
    assert answer.out.startswith("40 pictures in ")
    model, asked = genlearn.load_model(runs["dae"]), pictures(folder / "photos", (3, 8, 8))
    change = model.denoise(asked.x.numpy()).astype(np.float32) - asked.x.numpy()
    for row, name in enumerate(asked.names):
        old, new = (np.asarray(Image.open(place / name)) for place in (folder / "photos", tmp_path / "clean"))
        assert np.array_equal(old[:, :2], new[:, :2]) and np.array_equal(old[:, 14:], new[:, 14:])
        planes = [Image.fromarray(plane).resize((12, 12), Image.Resampling.BICUBIC) for plane in change[row]]
        expected = (old[:, 2:14] + np.stack(planes, 2)).round().clip(0, 255)
        assert np.abs(new[:, 2:14] - expected).max() <= 1
    assert (tmp_path / "clean" / "more" / "0.png").exists()
    alone = cli("denoise", runs["dae"], folder / "photos" / asked.names[0], "--out", tmp_path / "alone")
    assert alone.out.startswith("1 picture in ")
    page = (tmp_path / "clean" / "before-after.html").read_text()
    assert page.count("data:image/png") == 40
    assert "more/0.png, before at the left and after at the right" in page


@pytest.mark.parametrize("by_file", [False, True])
def test_what_is_missing_is_drawn_and_the_rest_kept(by_file, cli, runs, folder, tmp_path):
    """The left half of the middle square, by name and by a picture of it that is white there."""
    mask = "left"
    if by_file:
        mask = tmp_path / "mask.png"
        Image.fromarray((255 * (np.mgrid[:16, :16][1] < 8)).astype(np.uint8)).save(mask)
    arguments = ("complete", runs["gsn"], folder / "photos", "--mask", mask, "--seed", 1, "--json")
    answer = cli(*arguments, "--out", tmp_path / "whole")
    assert answer.code == 0, answer.err
    written = json.loads(answer.out)["pictures"]
    assert len(written) == 40
    model, asked = genlearn.load_model(runs["gsn"]), pictures(folder / "photos", (3, 8, 8))
    known = np.broadcast_to(np.arange(8) >= 4, (3, 8, 8))
    drawn = model.complete(asked.x.numpy(), known, random_state=1)
    for row, name in enumerate(asked.names):
        old, new = (np.asarray(Image.open(place / name)) for place in (folder / "photos", tmp_path / "whole"))
        assert np.array_equal(old[:, :2], new[:, :2]) and np.array_equal(old[:, 8:], new[:, 8:])
        planes = [Image.fromarray(plane.astype(np.float32)).resize((12, 12), Image.Resampling.BICUBIC)
                  for plane in drawn[row]]  # fmt: skip
        assert np.abs(new[:, 2:8] - np.stack(planes, 2)[:, :6].round().clip(0, 255)).max() <= 1


def test_a_net_in_raster_order_draws_the_lower_half(cli, runs, folder, tmp_path):
    answer = cli("complete", runs["rnn"], folder / "photos", "--mask", "bottom", "--out", tmp_path / "whole")
    assert answer.code == 0, answer.err
    old, new = (np.asarray(Image.open(place / "1.png")) for place in (folder / "photos", tmp_path / "whole"))
    assert np.array_equal(old[:6], new[:6])
    assert np.unique(new[6:, 2:14]).size > 30  # 256 levels, not two


def test_what_of_a_mask_lies_outside_the_square_is_said(cli, runs, folder, tmp_path):
    """Three columns of eight are white; the square holds one of them."""
    mask = tmp_path / "wide.png"
    Image.fromarray((255 * (np.mgrid[:8, :12][1] < 3)).astype(np.uint8)).save(mask)
    answer = cli("complete", runs["gsn"], folder / "photos", "--mask", mask, "--out", tmp_path / "out")
    assert answer.code == 0
    assert f"67% of the white of {mask} lies outside" in answer.err


def test_what_cannot_be_is_said_in_one_line(cli, runs, folder, tmp_path):
    photos, out = folder / "photos", tmp_path / "out"
    one = next(path for path in sorted(photos.rglob("*")) if path.is_file())
    Image.fromarray((255 * (np.mgrid[:8, :12][1] < 2)).astype(np.uint8)).save(tmp_path / "black.png")
    Image.new("RGBA", (8, 8)).save(tmp_path / "clear.png")
    cases = {
        ("complete", runs["gsn"], photos, "--mask", tmp_path / "clear.png", "--out", out): "is transparent in parts",
        ("denoise", runs["gsn"], photos, "--out", out): "GSN does not denoise; the usual fix is a run of dae",
        ("complete", runs["dae"], photos, "--mask", "left", "--out", out): "DenoisingAutoencoder does not complete",
        ("complete", runs["gsn"], photos, "--mask", "lefft", "--out", out): "expected a picture, or one of left, right",
        ("complete", runs["gsn"], photos, "--mask", tmp_path / "black.png", "--out", out): "is nowhere white",
        ("complete", runs["rnn"], photos, "--mask", "left", "--out", out): "or --mask bottom",
        ("denoise", runs["dae"], photos, "--out", photos): "expected another one",
        ("denoise", runs["dae"], photos, "--out", photos / "clean"): "expected another one",
        ("denoise", runs["dae"], one, "--out", photos): "they would be overwritten",
        ("complete", runs["gsn"], one, "--mask", "left", "--out", photos): "they would be overwritten",
        ("denoise", runs["dae"], tmp_path / "none", "--out", out): "there is no ",
    }
    for arguments, message in cases.items():
        answer = cli(*arguments)
        assert answer.code == 1
        assert message in answer.err
        assert answer.err.startswith("error: ") and answer.err.count("\n") == 1
    assert not out.exists()
