"""A hundred kill -9 at random moments: the same command again succeeds, to the same bits."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from served import Started, contents, faults, verdict

KILLS = 100
KINDS = ("cache", "train", "save", "evaluate", "report")
TRAIN = ["--set", "hidden=32", "--set", "n_latent=2", "--set", "batch_size=50", "--set", "ema=500", "--seed", "3"]
TRAIN += ["--device", "cpu", "--keep-every", "0"]
TIMES = ("seconds", "started", "ended", "spent", "cost", "hardware", "id")


def photos(folder: Path) -> Path:
    """Images of which reading takes a while, and some that cannot be read."""
    folder.mkdir()
    for i in range(800):
        pixels = np.random.default_rng(i).integers(0, 256, (48, 48, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    for i in range(3):
        (folder / f"bad-{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def train(out: Path, source: object, images: int, *more: str) -> list[str]:
    return ["train", "vae", "--data", str(source), "--images", str(images), "--out", str(out), *TRAIN, *more]


def preparing(folder: Path) -> float:
    """Seconds from the first sign of a cache in a folder to the whole of it."""
    while not folder.exists():
        time.sleep(0.0005)
    began = time.perf_counter()
    while not list(folder.glob("images-*")):
        time.sleep(0.0005)
    return time.perf_counter() - began


def timed(environment: Mapping[str, str], arguments: list[str]) -> float:
    """Seconds that the command takes unkilled; it must succeed."""
    began = time.perf_counter()
    answer = Started(environment, *arguments).answer()
    assert answer["code"] == 0, answer
    return time.perf_counter() - began


def curves(path: Path) -> dict[tuple[int, str], object]:
    """What a journal says: where a run came to its end twice, the later look counts."""
    rows = map(json.loads, path.read_text().splitlines())
    return {(row["images"], name): value for row in rows for name, value in row.items() if name != "seconds"}


def same_bits(whole: Path, out: Path) -> list[str]:
    """Where two finished runs differ: weights, last checkpoint, curves, record (but for times), pictures."""
    found = []
    for name in ("model/weights.safetensors", f"checkpoints/{max(p.name for p in (whole / 'checkpoints').iterdir())}"):
        expected, got = (load_file(run / name) if (run / name).exists() else {} for run in (whole, out))
        if expected.keys() != got.keys() or any(not t.equal(got[key]) for key, t in expected.items()):
            found.append(f"{name} differs")
    rows = [curves(run / "journal.jsonl") for run in (whole, out)]
    if rows[0] != rows[1]:
        found.append(f"curves differ at {sorted({k for k, _ in rows[0].items() ^ rows[1].items()})}")
    records = [
        {k: v for k, v in json.loads((run / "run.json").read_text()).items() if k not in TIMES} for run in (whole, out)
    ]
    if records[0] != records[1]:
        found.append(f"records {records}")
    pictures = [{k: v for k, v in contents(run).items() if k.startswith("samples/images")} for run in (whole, out)]
    if pictures[0] != pictures[1]:
        found.append("sample pictures differ")
    return found


def leftovers(whole: Path, out: Path) -> list[str]:
    """Files that the unkilled run does not have (event files, whose names hold the time, apart)."""
    extra = contents(out).keys() - contents(whole).keys()
    return [name for name in extra if not name.startswith("tensorboard/")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, object]:
    """What unkilled commands leave, and how long they take."""
    base = tmp_path_factory.mktemp("whole")
    place, digits, cache = photos(base / "photos"), base / "digits", {"GENLEARN_CACHE": str(base / "cache")}
    first = Started(cache, *train(base / "photos-run", place, 400))
    seconds = {
        "cache": preparing(base / "cache"),
        "train": timed({}, train(digits, "digits", 6000)),
        "evaluate": timed({}, ["evaluate", str(digits), "--n", "50"]),
        "report": timed({}, ["report", str(digits)]),
    }
    assert first.answer()["code"] == 0
    return {"base": base, "photos": place, "digits": digits, "seconds": seconds}


def one(kind: str, rng: random.Random, whole: Mapping, folder: Path) -> tuple[bool, list[str], list[str]]:
    """Kill a command once, let it come to its end: whether it was killed, what is wrong, and what is left over."""
    base, seconds, found = whole["base"], whole["seconds"], []
    out, environment, good = folder / "run", {"GENLEARN_CACHE": str(folder / "cache")}, whole["digits"]
    before: dict[str, bytes] = {}
    if kind in ("evaluate", "report"):
        shutil.copytree(good, out)
        if rng.random() < 0.5:  # half of them write anew what is not there
            (out / {"evaluate": "evaluation.json", "report": "report.html"}[kind]).unlink()
        before = contents(out)
        asked = again = [kind, str(out), *(["--n", "50"] if kind == "evaluate" else [])]
    elif kind == "cache":
        good = base / "photos-run"
        asked = again = train(out, whole["photos"], 400)
        again = [*again, "--resume"]
    else:
        asked = train(out, "digits", 6000)
        again = [*asked, "--resume"]
    process = Started(environment, *asked)
    if kind == "save":
        last = out / "checkpoints" / max(p.name for p in (good / "checkpoints").iterdir())
        while process.running() and not last.exists():
            time.sleep(0.0005)
        killed = process.killed_after(rng.uniform(0, 0.02))
    elif kind == "cache":
        while process.running() and not (folder / "cache").exists():
            time.sleep(0.0005)
        killed = process.killed_after(rng.uniform(0, seconds["cache"]))
    else:
        killed = process.killed_after(rng.uniform(0.05, seconds[kind]))
    if kind == "evaluate" and (out / "evaluation.json").exists():
        try:
            json.loads((out / "evaluation.json").read_text())
        except ValueError as error:
            found.append(f"evaluation.json: {error}")
    if (
        kind == "report"
        and (out / "report.html").exists()
        and not (out / "report.html").read_text().rstrip().endswith("</html>")
    ):
        found.append("half a page")
    changed = [
        n for n, c in before.items() if n not in ("evaluation.json", "report.html") and contents(out).get(n) != c
    ]
    if changed:
        found.append(f"changed: {changed}")
    answer = Started(environment, *again).answer()
    if answer["code"] != 0:
        return killed, [*found, f"again: exit code {answer['code']}: {answer['err'][-1500:]}"], []
    found += faults(answer)
    if kind == "evaluate":
        names = ("evaluation.json", "model/weights.safetensors")
        found += [f"{n} differs" for n in names if (out / n).read_bytes() != (good / n).read_bytes()]
    elif kind != "report":
        found += same_bits(good, out)
    left = leftovers(good, out)
    left += [f"cache/{p.name}" for p in (folder / "cache").glob("*") if not p.name.startswith("images-")]
    found += [f"left over: {name}" for name in left if not any(part.startswith(".") for part in name.split("/"))]
    return killed, found, left


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", KINDS)
def test_killed(kind, whole, tmp_path):
    began, failed, kills, left = time.perf_counter(), [], 0, Counter()
    n = KILLS // len(KINDS)
    for seed in range(n):
        folder = tmp_path / str(seed)
        folder.mkdir()
        killed, found, rest = one(kind, random.Random(f"{kind} {seed}"), whole, folder)
        kills += killed
        left.update(
            ".".join(name.split(".")[:-1]) + ".*" if "cache/." not in name else "cache/.part-*" for name in rest
        )
        if found:
            failed.append(f"{kind}, seed {seed}: {'; '.join(found)}")
        shutil.rmtree(folder)
    print(f"\n{kind}: {kills} of {n} killed at work; hidden files left: {dict(left) or 'none'}")
    verdict(f"kills of {kind}", n, failed, began)
    assert kills >= n // 3, "too few were killed at work: the moments are wrong"


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-s"]))
