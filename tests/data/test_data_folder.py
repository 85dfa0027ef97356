"""Folders and archives: labels, sides, what is left out and named, and the cache."""

from __future__ import annotations

import os
import resource
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from time import time as now

import numpy as np
import pytest
import torch
from PIL import Image

from genlearn.data import Data, cache, load
from genlearn.data import cache as cache_room
from genlearn.data.folder import listing
from genlearn.data.split import TEST, TRAIN, VALID, digests, part_hash

Save = Callable[..., Path]


def named(data: Data) -> dict[int, int]:
    """How many images of each label."""
    y = torch.cat([p.y for p in (data.train, data.valid, data.test) if p.y is not None])
    return {int(k): int((y == k).sum()) for k in y.unique()}


def total(data: Data) -> int:
    return len(data.train) + len(data.valid) + len(data.test)


def test_class_folders_are_labels_however_deep(photos: Path, save: Save) -> None:
    for name in ("cat/1.png", "cat/deep/er/2.png", "dog/1.png", "loose.png"):
        save(name)
    data = load(str(photos))
    assert data.classes == ("cat", "dog")
    assert named(data) == {-1: 1, 0: 2, 1: 1}
    assert data.name == "photos"


def test_images_in_the_root_have_no_labels(photos: Path, save: Save) -> None:
    save("1.png")
    data = load(photos)
    assert data.classes == () and data.train.y is None


def test_labels_stay_with_their_images(photos: Path, save: Save) -> None:
    for k in range(5):
        for i in range(30):
            save(f"{k}/{i:02}.png", np.full((4, 4), 50 * k + i, np.uint8))
    data = load(photos)
    assert total(data) == 150
    for part in (data.train, data.valid, data.test):
        assert part.y is not None and len(part) == len(part.y) > 0
        assert part.hash == part_hash(digests(part.x.numpy()), part.y.numpy(), tuple(part.x.shape), "uint8")
        value = part.x[:, 0, 0, 0].long()
        assert all(50 * int(k) <= v < 50 * int(k) + 30 for v, k in zip(value.tolist(), part.y.tolist(), strict=True))


def test_train_and_test_folders_are_an_official_split(photos: Path, save: Save) -> None:
    for i in range(20):
        save(f"train/{'ab'[i % 2]}/{i}.png", np.full((4, 4), i, np.uint8))
    for i in range(5):
        save(f"test/{'ab'[i % 2]}/{i}.png", np.full((4, 4), 100 + i, np.uint8))
    data = load(photos)
    assert data.classes == ("a", "b")
    assert data.split == "official test, validation 10 % by content hash"
    assert sorted(data.test.x[:, 0, 0, 0].tolist()) == [100, 101, 102, 103, 104]
    assert (len(data.train), len(data.valid)) == (18, 2)


def test_a_validation_folder_is_kept_too(photos: Path, save: Save) -> None:
    for i, side in enumerate(("train", "train", "train", "val", "test")):
        save(f"{side}/a/{i}.png", np.full((4, 4), i, np.uint8))
    data = load(photos)
    assert data.split == "official validation and test"
    assert [p.x[:, 0, 0, 0].tolist() for p in (data.train, data.valid, data.test)] == [[0, 1, 2], [3], [4]]


@pytest.mark.parametrize(("tops", "expected"), [
    (("train", "test"), [TRAIN, TEST]),
    (("train", "val"), [TRAIN, VALID]),
    (("train", "valid"), [TRAIN, VALID]),
    (("train", "valid", "test"), [TRAIN, VALID, TEST]),
    (("train", "other"), None),
    (("valid", "test"), None),
    (("train",), None),
])  # fmt: skip
def test_sides_are_official_where_train_and_another_hold_everything(
    tops: tuple[str, ...], expected: list | None
) -> None:
    found = listing([f"{top}/{k}/{i}.png" for top in tops for k in "ab" for i in range(2)])
    assert found.official == (expected is not None)
    side = {name.split("/")[0]: s for name, s in zip(found.names, found.sides, strict=True)}
    assert [side[top] for top in tops] == (expected or [TRAIN] * len(tops))
    assert found.classes == (tuple("ab") if expected else tuple(sorted(tops)))


def test_corrupt_duplicate_small_and_foreign_files_are_named_and_nothing_else_is_lost(photos: Path, save: Save) -> None:
    good = [save(f"good{i}.png", 32) for i in range(4)]
    (photos / "copy.bmp").parent.mkdir(exist_ok=True)
    Image.open(good[0]).save(photos / "copy.bmp")
    save("tiny.png", 8)
    whole = save("cut.png", 32).read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    jpeg = save("cut.jpg", 32).read_bytes()
    (photos / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (photos / "noise.png").write_bytes(b"this is no image")
    (photos / "empty.gif").touch()
    (photos / "gone.png").symlink_to(photos / "nowhere")
    (photos / "notes.txt").write_text("hello")
    data = load(photos, size=32)
    report = data.report
    assert [line.split(":")[0] for line in report.corrupt] == [
        "cut.jpg",
        "cut.png",
        "empty.gif",
        "gone.png",
        "noise.png",
    ]
    assert report.duplicates == ("good0.png: same pixels as copy.bmp",)
    assert report.small == ("tiny.png: 8x8, expected at least 16 a side",)
    assert report.other == ("notes.txt",)
    assert report.read == 11 and total(data) == 4
    assert str(report) == (
        "11 files read, 4 used as 32x32 RGB: 1 duplicate, 5 corrupt (cut.jpg, cut.png, empty.gif ...), "
        "1 too small (tiny.png), 1 not images (notes.txt)"
    )
    kept = {p.numpy().tobytes() for p in torch.cat([data.train.x, data.valid.x, data.test.x])}
    assert kept == {np.asarray(Image.open(g)).transpose(2, 0, 1).tobytes() for g in good}


def test_a_decompression_bomb_is_reported(photos: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    save("bomb.png", 64)
    save("ok.png", 16)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    data = load(photos)
    assert len(data.report.corrupt) == 1 and "bomb.png: DecompressionBombError" in data.report.corrupt[0]
    assert total(data) == 1


def test_a_training_image_that_test_has_too_is_left_out_of_train(photos: Path, save: Save) -> None:
    for i in range(6):
        save(f"train/a/{i}.png", np.full((4, 4), i, np.uint8))
    save("test/a/9.png", np.full((4, 4), 3, np.uint8))
    data = load(photos)
    assert data.report.duplicates == ("train/a/3.png: same pixels as test/a/9.png",)
    assert data.test.x[:, 0, 0, 0].tolist() == [3]
    assert 3 not in data.train.x and 3 not in data.valid.x


def test_grey_or_colour_is_decided_by_all_images_or_by_the_user(photos: Path, save: Save) -> None:
    save("a.png", np.full((8, 8), 1, np.uint8))
    save("b.png", np.full((8, 8), 2, np.uint8))
    assert (load(photos).shape, load(photos).report.mode) == ((1, 8, 8), "grey")
    assert load(photos, grey=False).shape == (3, 8, 8)
    save("c.png", 8)
    assert (load(photos).shape, load(photos).report.mode) == ((3, 8, 8), "RGB")
    assert load(photos, grey=True).shape == (1, 8, 8)


def test_size_is_the_median_shorter_side_but_at_most_64(photos: Path, save: Save) -> None:
    for i, side in enumerate((20, 24, 40)):
        save(f"{i}.png", side)
    assert load(photos).shape == (3, 24, 24)
    assert load(photos, size=12).shape == (3, 12, 12)
    for i in range(5):
        save(f"big{i}.png", 100)
    assert load(photos).shape == (3, 64, 64)


def test_links_to_folders_are_followed_but_not_in_circles(photos: Path, save: Save, tmp_path: Path) -> None:
    save("a/1.png", 8)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.new("RGB", (8, 8)).save(elsewhere / "2.png")
    (photos / "b").symlink_to(elsewhere)
    (photos / "a" / "back").symlink_to(photos)
    data = load(photos)
    assert data.classes == ("a", "b") and data.report.read == 2


def test_a_link_to_a_class_takes_it_no_images(photos: Path, save: Save) -> None:
    for i in range(4):
        save(f"b/{i}.png", 8)
    save(".store/hidden/4.png", 8)
    for link, target in (("a", "b"), ("c/linked", "b"), ("d", ".store/hidden"), ("e", "."), ("f", "d")):
        (photos / link).parent.mkdir(exist_ok=True)
        (photos / link).symlink_to(photos / target)
    data = load(photos)
    assert data.classes == ("b", "d") and (data.report.read, data.report.duplicates) == (5, ())


@pytest.mark.parametrize("wrapper", ["", "photos/"])
def test_a_zip_is_read_like_its_folder(photos: Path, save: Save, tmp_path: Path, wrapper: str) -> None:
    names = [f"{side}/{k}/{i}.png" for side in ("train", "test") for k in ("a", "b") for i in range(3)]
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in names:
            archive.write(save(name), wrapper + name)
        archive.writestr("__MACOSX/._x.png", b"junk")
    folder, zipped = load(photos), load(tmp_path / "photos.zip")
    assert zipped.classes == folder.classes == ("a", "b")
    assert [p.hash for p in (zipped.train, zipped.valid, zipped.test)] == [
        p.hash for p in (folder.train, folder.valid, folder.test)
    ]
    assert zipped.report.corrupt == ()


def test_the_second_load_decodes_nothing(photos: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(5):
        save(f"a/{i}.png")
    first = load(photos)

    def decode(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(cache, "_make", decode)
    second = load(photos)
    assert (first.train.hash, first.report, first.split) == (second.train.hash, second.report, second.split)
    assert torch.equal(first.train.x, second.train.x)
    with pytest.raises(AssertionError, match="decoded again"):
        load(photos, size=8)
    save("a/new.png")
    with pytest.raises(AssertionError, match="decoded again"):
        load(photos)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_folder_that_changed_is_read_again(photos: Path, save: Save, tmp_path: Path, zipped: bool) -> None:
    """Other pixels in as many bytes, at another time; and other bytes at the same time."""
    root = tmp_path / "photos.zip" if zipped else photos
    seen = []
    for grey, time, mode in ((10, 1, "L"), (20, 2, "L"), (20, 2, "RGB")):
        path = save("a.bmp", Image.new(mode, (8, 8), (grey,) * len(mode)))
        if zipped:
            with zipfile.ZipFile(root, "w") as archive:
                archive.write(path, "a.bmp")
        os.utime(path, ns=(0, time))
        os.utime(root, ns=(0, time))
        data = load(root)
        seen.append((int(data.train.x[0, 0, 0, 0]), data.shape[0], data.train.hash))
    assert [s[:2] for s in seen] == [(10, 1), (20, 1), (20, 3)]
    assert len({s[2] for s in seen}) == 3


def test_the_cache_knows_names_places_and_options(photos: Path, save: Save, tmp_path: Path) -> None:
    """Sizes and times are all the same: a file that moved to another class, and another folder of the same names."""
    for name, grey in (("a/1.bmp", 1), ("a/2.bmp", 2), ("b/3.bmp", 3)):
        os.utime(save(name, np.full((8, 8), grey, np.uint8)), ns=(0, 0))
    first = load(photos)
    (photos / "a/2.bmp").rename(photos / "b/2.bmp")
    assert named(first) == {0: 2, 1: 1} and named(load(photos)) == {0: 1, 1: 2}
    (photos / "b/2.bmp").rename(photos / "a/2.bmp")
    shutil.copytree(photos, tmp_path / "other")
    os.utime(save("a/1.bmp", np.full((8, 8), 9, np.uint8)), ns=(0, 0))
    (photos / "a/1.bmp").replace(tmp_path / "other/a/1.bmp")
    assert 9 in torch.cat([p.x for p in (load(tmp_path / "other").train, load(tmp_path / "other").valid,
                                         load(tmp_path / "other").test)])  # fmt: skip
    assert load(tmp_path / "other", alpha="keep").shape == (4, 8, 8)


@pytest.mark.filterwarnings("error")
def test_images_are_mapped_not_read_and_writing_does_not_reach_the_cache(photos: Path, save: Save) -> None:
    save("a.png")
    x = load(photos).train.x
    before = x.clone()
    x.zero_()
    assert torch.equal(load(photos).train.x, before)


@pytest.mark.parametrize("harm", ["images.npy", "labels.npy", "manifest.json", "sides", "report", "labels"])
def test_a_damaged_cache_is_made_again(photos: Path, save: Save, cache: Path, harm: str) -> None:
    for i in range(5):
        save(f"a/{i}.png")
    digest = load(photos).train.hash
    (folder,) = cache.iterdir()
    if harm == "labels":
        np.save(folder / "labels.npy", np.load(folder / "labels.npy")[:-1])
    elif harm in ("sides", "report"):
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace(f'"{harm}"', '"gone"'))
    else:
        whole = (folder / harm).read_bytes()
        (folder / harm).write_bytes(whole[: len(whole) // 2])
    again = load(photos)
    assert again.train.hash == digest and total(again) == sum(named(again).values()) == 5
    assert [p.name for p in cache.iterdir()] == [folder.name]


def test_the_content_of_a_cache_is_looked_at_once_a_version(
    photos: Path, save: Save, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(20):
        save(f"{i}.png", 8)
    whole = load(photos)
    kept = whole.test.x.clone()
    (folder,) = cache.iterdir()
    hashed: list[int] = []
    real = cache_room.digests
    monkeypatch.setattr(cache_room, "digests", lambda x: hashed.append(len(x)) or real(x))
    load(photos)
    assert hashed == []  # it was looked at when it was made
    content = bytearray((folder / "images.npy").read_bytes())
    os.utime(folder / "images.npy")  # another version of the file, of the same content
    for _ in range(2):
        load(photos)
    assert hashed == [len(whole.train), len(whole.valid), len(whole.test)]
    content[-5] ^= 1
    (folder / "images.npy").write_bytes(content)
    again = load(photos)
    assert again.test.hash == whole.test.hash and torch.equal(again.test.x, kept)


def test_what_killed_builds_left_is_removed_after_a_day(photos: Path, save: Save, cache: Path) -> None:
    save("a.png", 8), save("b.png", 8), save("c.png", 8)
    for name, age in (("old", 90_000), ("new", 80_000)):
        (cache / f".part-{name}").mkdir(parents=True)
        (cache / f".part-{name}" / "raw").touch()
        for path in (cache / f".part-{name}" / "raw", cache / f".part-{name}"):
            os.utime(path, (now() - age, now() - age))
    load(photos)
    assert [path.name for path in cache.glob(".part-*")] == [".part-new"]


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(photos: Path, save: Save, cache: Path) -> None:
    for i in range(20):
        save(f"{i}.png", 64)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot keep the prepared images of .*GENLEARN_CACHE") as info:
            load(photos)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(info.value)
    assert list(cache.iterdir()) == []
    assert total(load(photos)) == 20


def test_a_cache_that_cannot_be_made_is_one_line(photos: Path, save: Save, cache: Path) -> None:
    save("a.png")
    cache.write_text("a file is in the way")
    with pytest.raises(OSError, match=r"cannot keep .*GENLEARN_CACHE"):
        load(photos)


def test_an_empty_folder_and_a_folder_of_ruins_are_one_line_each(photos: Path, cache: Path) -> None:
    with pytest.raises(ValueError, match=r"has no images: found nothing, expected files ending in \.png"):
        load(photos)
    (photos / "a.txt").touch()
    with pytest.raises(ValueError, match="found 1 other files"):
        load(photos)
    (photos / "a.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no usable image .* 0 used .*the first left out: a\.png") as info:
        load(photos)
    assert "\n" not in str(info.value)
    assert list(cache.iterdir()) == []


def test_a_test_set_alone_is_nothing_to_train_on(photos: Path, save: Save) -> None:
    save("test/a/1.png")
    (photos / "train").mkdir()
    (photos / "train/2.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no usable image to train on: 2 .*first left out: train/2\.png"):
        load(photos)


def test_a_file_that_is_no_zip_and_odd_options_are_refused(photos: Path, save: Save) -> None:
    path = save("a.png")
    with pytest.raises(ValueError, match="is no zip archive"):
        load(path)
    with pytest.raises(ValueError, match="size = 0: expected at least 1 pixel"):
        load(photos, size=0)
    with pytest.raises(ValueError, match="expected only one of them"):
        load(photos, grey=True, alpha="keep")
    with pytest.raises(ValueError, match=r"labels of .* come with it"):
        load(photos, [1])


def test_blocks_and_threads_keep_the_order(photos: Path, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(40):
        save(f"{i:02}.png", 65)
    plain = load(photos, size=32)
    os.utime(photos / "00.png")  # another key: prepare once more
    monkeypatch.setattr(cache, "BLOCK", 7)
    monkeypatch.setattr(cache, "WORTH_A_THREAD", 1000)
    blocks = load(photos, size=32)
    assert [p.hash for p in (plain.train, plain.valid, plain.test)] == [
        p.hash for p in (blocks.train, blocks.valid, blocks.test)
    ]
