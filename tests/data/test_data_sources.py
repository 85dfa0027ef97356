"""The catalogue: embedded, found, downloaded and drawn data."""

from __future__ import annotations

import dataclasses
import gzip
import http.server
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from genlearn.data import catalogue, load, modes, sources
from genlearn.data.idx import FILES, IdxSet

DATA = os.environ.get("GENLEARN_DATA", "")
needs_mnist = pytest.mark.skipif(not (Path(DATA) / "mnist").is_dir(), reason="full MNIST is not in GENLEARN_DATA")
needs_cifar = pytest.mark.skipif(
    not (Path(DATA) / "cifar10-jpeg.zip").is_file(), reason="no cifar10-jpeg.zip in GENLEARN_DATA"
)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENLEARN_DATA", raising=False)


def test_digits() -> None:
    data = load("digits")
    parts = (data.train, data.valid, data.test)
    assert data.shape == (1, 8, 8) and sum(map(len, parts)) == 1797
    x = torch.cat([p.x for p in parts])
    assert x.dtype == torch.uint8 and x.unique().tolist() == [round(255 * k / 16 + 1e-9) for k in range(17)]
    assert data.classes == tuple("0123456789")
    x, y = load_digits(return_X_y=True)
    label = {row.astype(np.uint8).tobytes(): k for row, k in zip(x, y.tolist(), strict=True)}
    for part in parts:
        sixteenths = np.rint(part.x.numpy() * (16 / 255)).astype(np.uint8)
        assert [label[row.tobytes()] for row in sixteenths] == part.y.tolist()


def test_mnist_mini_is_inside_the_package(alone: None) -> None:
    data = load("mnist-mini")
    assert data.shape == (1, 28, 28) and data.train.x.dtype == torch.uint8
    assert len(data.train) + len(data.valid) + data.report.overlap == 10_000 and len(data.test) == 2000
    assert data.split == "official test, validation 10 % by content hash"
    assert data.test.y is not None and data.test.y[:5].tolist() == [7, 2, 1, 0, 4]
    assert (Path(sources.__file__).parent / "mnist_mini" / "LICENCE").is_file()


@needs_mnist
def test_mnist_mini_is_the_beginning_of_mnist() -> None:
    full, mini = load("mnist", split="parzen-2014"), load("mnist-mini")
    assert torch.equal(mini.test.x, full.test.x[:2000])
    first = {row.numpy().tobytes() for row in full.train.x[:10_000]}
    assert first == {row.numpy().tobytes() for row in torch.cat([mini.train.x, mini.valid.x])}


@needs_mnist
def test_the_2014_protocol() -> None:
    data = load("mnist", split="parzen-2014")
    assert (len(data.train), len(data.valid), len(data.test)) == (50_000, 10_000, 10_000)
    assert data.train.y is not None and data.valid.y is not None
    assert data.train.y[:5].tolist() == [5, 0, 4, 1, 9] and data.valid.y[:5].tolist() == [3, 8, 6, 9, 6]
    assert data.split == "parzen-2014"
    assert load("mnist").train.hash != data.train.hash


@needs_cifar
def test_cifar10_entry_names_its_file() -> None:
    (entry,) = (e for e in catalogue() if e.name == "cifar10")
    assert "lossy JPEG" in entry.what and entry.where.endswith("cifar10-jpeg.zip")


def test_cifar10_missing_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GENLEARN_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"cifar10 not found, looked in {tmp_path}: put cifar10-jpeg.zip"):
        load("cifar10")


def test_unknown_names_are_answered_with_the_nearest(alone: None) -> None:
    with pytest.raises(ValueError, match=r"'minst'; did you mean 'mnist'\? Known: digits, mnist-mini") as info:
        load("minst")
    assert "\n" not in str(info.value)
    with pytest.raises(ValueError, match="no data set, folder or zip archive '/no/such/place'; known: digits"):
        load("/no/such/place")


def test_catalogue_lists_what_can_be_loaded(alone: None) -> None:
    entries = {e.name: e for e in catalogue()}
    assert list(entries) == sources.names()
    assert entries["mnist-mini"].where == "inside the package" and entries["mnist"].where == "download (11 MB)"
    for name in ("digits", "mnist-mini", "ring", "grid", "gaussians"):
        data = load(name)
        assert (data.shape, sum(map(len, (data.train, data.valid, data.test)))) == (
            entries[name].shape,
            entries[name].n,
        )


# -- the toy densities


@pytest.mark.parametrize(("name", "k", "sd"), [("ring", 8, 0.01), ("grid", 25, 0.05), ("gaussians", 2, 0.2)])
def test_toys_have_their_modes_and_spread(name: str, k: int, sd: float) -> None:
    centres, spread = modes(name)
    assert centres.shape == (k, 2) and spread == sd
    data = load(name, n=20_000, seed=1)
    assert [len(p) for p in (data.train, data.valid, data.test)] == [20_000, 2000, 2000]
    x, y = data.train.x.double(), data.train.y
    assert y is not None and data.train.x.dtype == torch.float32 and len(data.classes) == k
    residual = (x - torch.from_numpy(centres).double()[y]) / sd
    assert residual.mean(0).abs().max() < 5 / 20_000**0.5
    assert (residual.var(0) - 1).abs().max() < 5 * (2 / 20_000) ** 0.5
    expected = 20_000 / k
    assert (torch.bincount(y, minlength=k) - expected).abs().max() < 5 * expected**0.5


def test_ring_and_grid_geometry() -> None:
    ring, grid = modes("ring")[0], modes("grid")[0]
    assert np.allclose(np.linalg.norm(ring, axis=1), 1) and np.allclose(
        np.linalg.norm(ring[1] - ring[0]), 2 * np.sin(np.pi / 8)
    )
    assert sorted(set(grid[:, 0].tolist())) == [-4, -2, 0, 2, 4] and len(np.unique(grid, axis=0)) == 25
    with pytest.raises(ValueError, match="unknown toy density 'circle': expected one of ring, grid"):
        modes("circle")


def test_toys_are_seeded_and_their_parts_are_apart() -> None:
    a, b, other = load("ring", n=500), load("ring", n=500), load("ring", n=500, seed=1)
    assert a.train.hash == b.train.hash != other.train.hash
    assert [len(p) for p in (load("ring", n=5).train, load("ring", n=5).valid, load("ring", n=5).test)] == [5, 1, 1]
    assert not torch.equal(a.valid.x, a.test.x) and not torch.equal(a.train.x[:50], a.valid.x)
    with pytest.raises(ValueError, match="n = 0"):
        load("ring", n=0)


# -- found and downloaded files


@pytest.fixture
def quick(alone: None, monkeypatch: pytest.MonkeyPatch) -> IdxSet:
    """mnist, with the files of mnist-mini, no mirror, and nowhere to be found."""
    mini = sources.IDX["mnist-mini"]
    small = dataclasses.replace(sources.IDX["mnist"], sha256=mini.sha256, mirrors=())
    monkeypatch.setitem(sources.IDX, "mnist", small)
    return small


@pytest.fixture
def serve() -> Iterator[object]:
    """serve(folder) -> the address of a web server on this machine."""
    servers: list[http.server.ThreadingHTTPServer] = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    def start(folder: Path) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


MINI = Path(sources.__file__).parent / "mnist_mini"


def use(monkeypatch: pytest.MonkeyPatch, quick: IdxSet, *mirrors: str) -> None:
    monkeypatch.setitem(sources.IDX, "mnist", dataclasses.replace(quick, mirrors=mirrors))


def test_download_takes_the_next_mirror_after_a_bad_one(
    quick: IdxSet, serve, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / f"{FILES[0]}.gz").write_bytes(gzip.compress(b"something else"))
    (wrong / f"{FILES[1]}.gz").write_bytes(b"not even gzip")  # and the other two are missing
    use(monkeypatch, quick, serve(wrong), serve(MINI))
    data = load("mnist")
    assert len(data.test) == 2000 and data.train.hash == load("mnist-mini").train.hash
    assert sorted(p.name for p in (cache / "mnist").iterdir()) == sorted(f"{f}.gz" for f in FILES)
    use(monkeypatch, quick)  # no mirror any more: the cache serves
    assert load("mnist").train.hash == data.train.hash
    assert next(e for e in catalogue() if e.name == "mnist").where == f"folder {cache / 'mnist'}"


def test_download_that_fails_everywhere_is_one_line_and_leaves_nothing(
    quick: IdxSet, serve, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{FILES[0]}.gz").write_bytes(gzip.compress(b"something else"))
    mirrors = (serve(tmp_path), "http://127.0.0.1:9/")  # the second refuses connections
    use(monkeypatch, quick, *mirrors)
    monkeypatch.setenv("GENLEARN_DATA", str(tmp_path / "mine"))
    with pytest.raises(FileNotFoundError) as info:
        load("mnist")
    message = str(info.value)
    assert "\n" not in message and "GENLEARN_DATA" in message and "wrong sha256" in message
    for part in (*mirrors, str(tmp_path / "mine" / "mnist"), str(cache / "mnist")):
        assert part in message
    assert not [p for p in cache.rglob("*") if p.is_file()]


def test_download_onto_a_full_disk_is_one_line_and_leaves_nothing(
    quick: IdxSet, serve, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, quick, serve(MINI))
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot keep mnist in .*GENLEARN_CACHE"):
            load("mnist")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [p for p in cache.rglob("*") if p.is_file()]


@pytest.mark.parametrize("plain", [False, True])
def test_the_users_folder_comes_first_gzipped_or_plain(
    quick: IdxSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    folder = tmp_path / "mine" / "mnist"
    folder.mkdir(parents=True)
    for f in FILES:
        content = gzip.decompress((MINI / f"{f}.gz").read_bytes())
        (folder / (f if plain else f"{f}.gz")).write_bytes(content if plain else gzip.compress(content, 1))
    monkeypatch.setenv("GENLEARN_DATA", str(tmp_path / "mine"))
    assert load("mnist").train.hash == load("mnist-mini").train.hash
    damaged = folder / (FILES[1] if plain else f"{FILES[1]}.gz")
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(ValueError, match=f"{damaged} is damaged: got .*, expected .*; delete it"):
        load("mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_sets_are_complete_where_they_are_found(name: str) -> None:
    if sources.IDX[name].found() is None:
        pytest.skip(f"{name} is not on this machine")
    data = load(name)
    assert len(data.train) + len(data.valid) + data.report.overlap == 60_000 and len(data.test) == 10_000
