"""A thousand run folders with a damaged file or two: every command does its work, or says in one line why not."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import hurt
import numpy as np
import pytest
from PIL import Image
from served import GIB, Served, command, contents, faults, verdict

from processes import run

FOLDERS, REAL, VALUES = 1000, 40, 3
SECONDS, MEMORY = 60, 2 * GIB
SMALL = {
    "rbm": ["n_hidden=8", "batch_size=50"],
    "conditional-rbm": ["n_hidden=8", "batch_size=50"],
    "vae": ["hidden=8", "n_latent=2", "batch_size=50", "ema=500"],
}
HIDDEN = "**/.*"  # temporary files, the lock: nobody's work
MAY_CHANGE = {
    "sample": ["samples-0.png"],
    "evaluate": ["evaluation.json"],
    "report": ["report.html"],
    "predict": [],
    "dry-run": [],
    "train": ["run.json", "model/*", "checkpoints/*", "journal.jsonl", "tensorboard/*", "samples/*"],
    # The new weights are there before model.json is: where that cannot be written, they are no loss.
    "failed train": ["run.json", "journal.jsonl", "tensorboard/*", "samples/*", "checkpoints/*", "model/weights*"],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> dict[str, Path]:
    """Small finished runs with two checkpoints, scores and a page; another of each for files to swap."""
    base, served = tmp_path_factory.mktemp("finished"), Served()
    for model, settings in SMALL.items():
        for name, images in ((model, 2000), (f"{model}-other", 1000)):
            out = base / name
            arguments = ["train", model, "--data", "digits", "--seed", "0", "--device", "cpu", "--keep-every", "0"]
            arguments += ["--images", str(images), "--out", str(out), *(x for s in settings for x in ("--set", s))]
            for a in (arguments, ["evaluate", str(out), "--n", "50"], ["report", str(out)], ["sample", str(out)]):
                answer = served.ask(command, a)
                assert answer["code"] == 0, answer
    photos = base / "photos"
    photos.mkdir()
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8)).save(photos / f"{i}.png")
    served.close()
    return {p.name: p for p in base.iterdir()}


def commands(model: str, out: Path, photos: Path) -> dict[str, list[str]]:
    asked = {
        "sample": ["sample", out, "--n", "9"],
        "evaluate": ["evaluate", out, "--n", "50"],
        "report": ["report", out],
        "dry-run": ["train", "--resume", out, "--dry-run"],
        "train": ["train", "--resume", out, "--images", "2200"],
    }
    if model == "conditional-rbm":
        asked["predict"] = ["predict", out, photos]
    return {name: list(map(str, a)) for name, a in asked.items()}


def damage(rng: random.Random, finished: dict[str, Path], out: Path) -> tuple[str, str]:
    """A copy of a finished run with a damaged file or two; its model, and what was done."""
    model = rng.choice(list(SMALL))
    shutil.copytree(finished[model], out)
    done = []
    for _ in range(rng.choice([1, 1, 2])):
        files = sorted(p for p in out.rglob("*") if p.is_file() and not p.is_symlink() and ".lock" not in p.name)
        # run.json is what people edit, and alone bears no checksum
        path = rng.choice([*files, *[p for p in files if p.name == "run.json"] * 6])
        other = finished[rng.choice([f"{model}-other", rng.choice(list(SMALL))])] / path.relative_to(out)
        done.append(f"{path.relative_to(out)}: {hurt.file(rng, path, other, out / 'MARKER')}")
    for name in ("json.py", "torch.py", "sitecustomize.py", "conftest.py"):
        (out / name).write_text(f"open({str(out / 'MARKER')!r}, 'w')")
    return model, "; ".join(done)


def lost(name: str, code: int, before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """Files that the command changed, and had no business to."""
    allowed = MAY_CHANGE["failed train" if name == "train" and code else name]
    changed = [path for path, content in before.items() if after.get(path) != content]
    found = [path for path in changed if not any(fnmatch(path, pattern) for pattern in allowed)]
    here, there = ({p for p in side if p.startswith("checkpoints/images")} for side in (before, after))
    return found + (["all checkpoints"] if here and not there else [])


def check(
    answer: Callable[[list[str]], Any], rng: random.Random, finished: dict[str, Path], out: Path
) -> tuple[int, list[str], dict[str, int]]:
    """Run the commands on one damaged folder: how many, what is wrong, and the exit codes."""
    model, what = damage(rng, finished, out)
    found, codes = [], {}
    asked = commands(model, out, finished["photos"])
    for name, arguments in asked.items():
        before = contents(out)
        given = answer(arguments)
        wrong = faults(given)
        if isinstance(given, dict):
            codes[name] = given["code"]
            wrong += [f"lost: {paths}" for paths in [lost(name, given["code"], before, contents(out))] if paths]
            if given.get("peak", 0) > MEMORY:
                wrong.append(f"{given['peak'] / GIB:.1f} GiB of memory")
        if (out / "MARKER").exists():
            wrong.append("code was run")
        left = [p for p in contents(out) if p.split("/")[-1].startswith(".") and not p.endswith(".lock")]
        if left:
            wrong.append(f"left: {left}")
        found += [f"{model} {name} after [{what}]: {w}" for w in wrong]
    for line in found:
        print(f"- {line}", flush=True)
    shutil.rmtree(out)
    return len(asked), found, codes


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_damaged_runs(finished, tmp_path):
    began, served, n = time.perf_counter(), Served(), 0
    failed: list[str] = []
    table: dict[str, int] = {}

    def asked(arguments: list[str]) -> Any:
        given = served.ask(command, arguments, seconds=SECONDS)
        if isinstance(given, dict) and given["peak"] > MEMORY:
            served.close()  # the peak of a process never falls
        return given

    for seed in range(FOLDERS):
        k, found, codes = check(asked, random.Random(f"runs {seed}"), finished, tmp_path / "run")
        n, failed = n + k, failed + [f"seed {seed}: {line}" for line in found]
        for name, code in codes.items():
            table[f"{name} {code}"] = table.get(f"{name} {code}", 0) + 1
    served.close()
    print(f"\n{FOLDERS} folders, exit codes: {dict(sorted(table.items()))}")
    verdict("commands on damaged runs", n, failed, began)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["run.json", "evaluation.json"])
def test_every_value_of_a_record(finished, tmp_path, name):
    """Each is dropped, and set to a few of the values; the two commands that read most of it are run."""
    began, served, failed, n = time.perf_counter(), Served(), [], 0
    text = (finished["vae"] / name).read_text()
    count = len(hurt.places(json.loads(text)))
    for k in range(0, count, 1 + count // 100):
        rng = random.Random(f"value {k}")
        for value in ["DROP", *rng.sample(hurt.VALUES, VALUES)]:
            tree = json.loads(text)
            node, key = hurt.places(tree)[k]
            node[key] = value
            if value == "DROP":
                del node[key]
            out = shutil.copytree(finished["vae"], tmp_path / "run", dirs_exist_ok=True)
            for command_name in ("report", "train") if name == "run.json" else ("report",):
                (out / name).write_text(json.dumps(tree))
                arguments = commands("vae", out, out)[command_name]
                given = served.ask(command, arguments, seconds=SECONDS)
                n, wrong = n + 1, faults(given)
                failed += [f"{command_name} after {name}: {k}, {key!r} = {value!r:.40}: {w}" for w in wrong]
            shutil.rmtree(out)
    served.close()
    verdict(f"edits of {name}", n, failed, began)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_damaged_runs_in_processes_of_their_own(finished, tmp_path):
    began, failed, n = time.perf_counter(), [], 0

    def asked(arguments: list[str]) -> Any:
        code, out, err = run(*arguments)
        return {"code": code, "out": out, "err": err}

    for seed in range(REAL):
        k, found, _ = check(asked, random.Random(f"real {seed}"), finished, tmp_path / "run")
        n, failed = n + k, failed + [f"seed {seed}: {line}" for line in found]
    verdict("commands on damaged runs, real processes", n, failed, began)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-s"]))
