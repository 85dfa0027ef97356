"""The disk is full at twenty places: one line, nothing lost, and once there is room the same command goes through."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from served import Served, command, contents, faults, verdict
from test_kills import TRAIN, photos, same_bits

PLACES = 20
COMMANDS = ("load", "train", "train, one write", "resume", "evaluate", "report", "sample")
WRITTEN = {"evaluate": "evaluation.json", "report": "report.html", "sample": "samples-0.png"}


class Disk:
    """Of the writes below a folder, the n-th and all later ones (or it alone: `once`) find no room."""

    def __init__(self, root: Path, n: int, once: bool) -> None:
        self.root, self.n, self.once, self.count = str(root), n, once, 0

    def take(self) -> None:
        self.count += 1
        if self.count == self.n or (self.count > self.n and not self.once):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Full:
    """A file on a `Disk`."""

    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: Any) -> int:
        self._disk.take()
        return self._file.write(content)

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        return iter(self._file)


def on_a_full_disk(root: Path, n: int, once: bool, call: Any, argument: Any) -> dict[str, Any]:
    """call(argument) while the disk is full from the n-th write on; n = 0: never."""
    disk, opened, written, synced = Disk(root, n or 10**9, once), io.open, os.write, os.fsync

    def open_there(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
        real = opened(file, mode, *more, **options)
        ours = isinstance(file, (str, os.PathLike)) and str(file).startswith(disk.root)
        return Full(real, disk) if ours and set(mode) & set("wxa+") else real

    def ours(number: int) -> bool:
        try:
            return os.readlink(f"/proc/self/fd/{number}").startswith(disk.root)
        except OSError:
            return False

    def write(number: int, content: Any) -> int:
        if ours(number):
            disk.take()
        return written(number, content)

    def fsync(number: int) -> None:
        if ours(number):
            disk.take()
        synced(number)

    builtins.open = io.open = open_there
    os.write, os.fsync = write, fsync
    try:
        answer = call(argument)
    finally:
        builtins.open = io.open = opened
        os.write, os.fsync = written, synced
    return {**answer, "writes": disk.count}


def load_there(folder: Path) -> dict[str, Any]:
    """`genlearn.data.load`, in the words of a command."""
    from genlearn.cli.console import describe
    from genlearn.data import load

    try:
        data = load(folder)
    except Exception as error:
        return {"code": 1, "out": "", "err": f"error: {describe(error)}\n"}
    return {"code": 0, "out": " ".join(part.hash for part in (data.train, data.valid, data.test)), "err": ""}


def train(out: Path) -> list[str]:
    return ["train", "vae", "--data", "digits", "--images", "4000", "--out", str(out), *TRAIN]


def go_on(out: Path) -> list[str]:
    return ["train", "--resume", str(out), "--images", "4000", "--keep-every", "0"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run that ended well, one that ended early, and images."""
    base, served = tmp_path_factory.mktemp("whole"), Served()
    photos(base / "photos")
    for arguments in (train(base / "run"), [*train(base / "early"), "--images", "2000"]):
        assert served.ask(command, arguments)["code"] == 0
    shutil.copytree(base / "early", base / "late")
    assert served.ask(command, go_on(base / "late"))["code"] == 0
    for arguments in (["evaluate", "--n", "50"], ["report"], ["sample"]):
        assert served.ask(command, [arguments[0], str(base / "run"), *arguments[1:]])["code"] == 0
    served.close()
    return base


def one(kind: str, n: int, whole: Path, folder: Path) -> tuple[int, list[str], str]:
    """A command that finds the disk full at its n-th write: its exit code, what is wrong, and what it said."""
    served, out, found = Served(environment={"GENLEARN_CACHE": str(folder / "cache")}), folder / "run", []
    kind, once = kind.partition(",")[0], "one write" in kind
    if kind not in ("load", "train"):
        shutil.copytree(whole / ("early" if kind == "resume" else "run"), out)
    asked: Any = {
        "load": whole / "photos",
        "train": train(out),
        "resume": go_on(out),
        "evaluate": ["evaluate", str(out), "--n", "60"],
        "report": ["report", str(out)],
        "sample": ["sample", str(out), "--n", "9"],
    }[kind]
    call = load_there if kind == "load" else command
    before = contents(out)
    answer = served.ask(on_a_full_disk, folder, n, once, call, asked)
    found += faults(answer)
    if isinstance(answer, str):
        return -1, found, answer
    if answer["code"] not in (0, 1):
        found.append(f"exit code {answer['code']}")
    if answer["code"] == 0 and answer["writes"] >= n and not once:
        found.append(f"exit code 0, though {answer['writes'] - n + 1} writes failed")
    after = contents(out)
    # A score is kept as soon as it is there; the two files of a model are written one after the other.
    mutable: tuple[str, ...] = ("evaluation.json",) if kind == "evaluate" else ()
    if kind == "resume":
        mutable = ("run.json", "journal.jsonl", "tensorboard/", "samples/", "checkpoints/", "model/")
        drawn = served.ask(command, ["sample", str(out), "--out", str(folder / "drawn.npy")])
        found += [f"the model is lost: {line}" for line in faults(drawn)] + ["the model is lost"] * bool(drawn["code"])
    if kind == "evaluate":
        json.loads((out / "evaluation.json").read_text())
    if answer["code"]:
        lost = [name for name, content in before.items() if after.get(name) != content and not name.startswith(mutable)]
        found += [f"changed: {lost}"] * bool(lost)
        cut = [p for p in after if p.endswith(".png") and p not in before and not after[p].endswith(b"IEND\xaeB`\x82")]
        found += [f"half written: {cut}"] * bool(cut)
    left = [p for p in contents(folder) if p.split("/")[-1].startswith(".") and not p.endswith(".lock")]
    left += [p.name for p in (folder / "cache").glob(".*")]
    found += [f"left: {left}"] * bool(left)
    again = [*asked, "--resume"] if kind == "train" else asked
    final = served.ask(on_a_full_disk, folder, 0, False, call, again)
    served.close()
    if isinstance(final, str) or final["code"]:
        return answer["code"], [*found, f"again: {final}"], answer["err"]
    found += [f"again: {line}" for line in faults(final)]
    if kind in ("train", "resume"):
        found += [f"again: {line}" for line in same_bits(whole / ("late" if kind == "resume" else "run"), out)]
    elif kind == "load":
        clean = Served(environment={"GENLEARN_CACHE": str(folder / "clean")})
        found += ["again: other images"] * (clean.ask(load_there, asked)["out"] != final["out"])
        clean.close()
    return answer["code"], found, answer["err"]


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", COMMANDS)
def test_full(kind, whole, tmp_path):
    began, failed, codes, said = time.perf_counter(), [], [], {}
    for n in range(1, PLACES + 1):
        folder = tmp_path / str(n)
        folder.mkdir()
        code, found, words = one(kind, n, whole, folder)
        codes.append(code)
        said[words.replace(str(folder), "")[-300:]] = n
        if found:
            failed.append(f"{kind}, full at write {n}: {'; '.join(found)}")
        shutil.rmtree(folder)
    print(f"\n{kind}: exit codes {codes}; said: {list(said)}")
    verdict(f"full disks of {kind}", PLACES, failed, began)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-s"]))
