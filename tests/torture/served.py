"""A process of our own that answers calls, so that a hang, a crash or a flood of memory is seen and not shared."""

from __future__ import annotations

import io
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from processes import CONTEXT, Command, _main

# What would start a process, or call what a pickle names.
FORBIDDEN = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pickle.find_class"}
GIB = 1 << 30


class Served:
    """The process; it is made anew where a call has killed it. `memory`: bytes beyond those it begins with."""

    def __init__(self, memory: int = 4 * GIB, environment: Mapping[str, str] = {}) -> None:
        self.memory, self.environment = memory, dict(environment)
        self.process: Any = None

    def ask(self, call: Callable[..., Any], *arguments: Any, seconds: float = 60) -> Any:
        """What call(*arguments) gives there; a text that begins with 'HANG' or 'CRASH' where it gives nothing."""
        if self.process is None or not self.process.is_alive():
            self._start()
        self.pipe.send((call, arguments))
        try:
            if self.pipe.poll(seconds):
                return self.pipe.recv()
            what = f"HANG: still at it after {seconds:g} s"
        except EOFError:
            what = "CRASH:"
        self.close()
        return f"{what} exit code {self.process.exitcode}, {Path(self.errors).read_text()[-3000:]}"

    def close(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.kill()
            self.process.join()

    def _start(self) -> None:
        self.errors = tempfile.mkstemp()[1]
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=_serve, args=(theirs, self.memory, self.environment, self.errors))
        self.process.daemon = True
        self.process.start()
        theirs.close()


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in FORBIDDEN and arguments[:1] != ("git",):  # which tells a record the commit of the code
        EVENTS.append(f"{event} {arguments!r:.80}")


def _serve(pipe: Any, memory: int, environment: Mapping[str, str], errors: str) -> None:
    import torch

    os.environ |= {"OMP_NUM_THREADS": "1", **environment}
    torch.set_num_threads(1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND), 2)
    sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0, closefd=False), write_through=True)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    sys.addaudithook(_watch)
    while True:
        try:
            call, arguments = pipe.recv()
        except EOFError:
            return
        EVENTS.clear()
        before = os.path.getsize(errors)
        began = time.perf_counter()
        answer = call(*arguments)
        with open(errors) as file:
            file.seek(before)
            leaked = file.read()
        seconds, peak = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        pipe.send({**answer, "events": EVENTS[:], "leaked": leaked, "seconds": seconds, "peak": peak})


EVENTS: list[str] = []


def command(arguments: list[str]) -> dict[str, Any]:
    """`genlearn ARGUMENTS` in this process: its exit code and what it printed."""
    from typer.testing import CliRunner

    from genlearn.cli import app

    result = CliRunner().invoke(app, arguments, prog_name="genlearn")
    escaped = "" if result.exception is None or isinstance(result.exception, SystemExit) else repr(result.exception)
    return {"code": result.exit_code, "out": result.stdout, "err": result.stderr, "escaped": escaped}


def faults(answer: Any) -> list[str]:
    """What is wrong with how a command ended: [] where it did its work, or said in one line why not."""
    if isinstance(answer, str):
        return [answer]
    found, lines = [], answer["err"].splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    text = answer["err"] + answer["out"] + answer.get("leaked", "")
    if answer["code"] not in (0, 1, 2, 130):
        found.append(f"exit code {answer['code']}")
    if answer.get("escaped"):
        found.append(f"escaped: {answer['escaped']}")
    if "Traceback" in text or 'File "' in text:
        found.append("a traceback")
    if len(errors) != (answer["code"] != 0):
        found.append(f"{len(errors)} lines of error at exit code {answer['code']}")
    if errors and lines[-1] != errors[-1]:
        found.append("lines after that of the error")
    if "(unexpected" in text:
        found.append("unexpected")
    if any(len(line) > 2000 for line in lines):
        found.append("a line of more than 2,000 characters")
    if answer.get("events"):
        found.append(f"forbidden: {answer['events']}")
    return [f"{', '.join(found)}: {text[-1500:]}"] if found else []


class Started(Command):
    """`genlearn ARGUMENTS` in a real process, with additions to its environment."""

    def __init__(self, environment: Mapping[str, str], *arguments: object) -> None:
        self.folder = Path(tempfile.mkdtemp())
        for name in ("out", "err"):
            (self.folder / name).touch()
        texts = [str(a) for a in arguments]
        self.process = CONTEXT.Process(target=_in, args=(dict(environment), texts, self.folder))
        self.process.start()

    def killed_after(self, seconds: float) -> bool:
        """Whether it was still at work then, and was killed."""
        self.process.join(max(seconds, 0))
        if self.running():
            self.signal(signal.SIGKILL)
        return self.end()[0] == -signal.SIGKILL

    def answer(self) -> dict[str, Any]:
        code, out, err = self.end()
        return {"code": code, "out": out, "err": err}


def _in(environment: Mapping[str, str], arguments: list[str], folder: Path) -> None:
    os.environ.update(environment)
    _main(arguments, folder)


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def verdict(what: str, cases: int, failed: list[str], began: float) -> None:
    """Say how many failed, and fail if any did."""
    print(f"\n{what}: {cases} cases, {len(failed)} failed, {time.perf_counter() - began:.0f} s")
    print("".join(f"- {line}\n" for line in failed), flush=True)
    assert not failed, f"{len(failed)} of {cases} {what}:\n\n" + "\n\n".join(failed)
