"""The command line in processes of its own, which need not load torch each: they are forked from a server that has."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

from genlearn import models

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["genlearn.cli", "genlearn.run", "genlearn.report", "torch._dynamo"])


class Command:
    """`genlearn ARGUMENTS`, started; of a registry that holds the model of `laws/proof.py` too."""

    def __init__(self, *arguments: object) -> None:
        self.folder = Path(tempfile.mkdtemp())
        for name in ("out", "err"):  # it may be killed before it has opened them
            (self.folder / name).touch()
        self.process = CONTEXT.Process(target=_main, args=([str(a) for a in arguments], self.folder))
        self.process.start()

    def running(self) -> bool:
        return self.process.is_alive()

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self, timeout: float = 240) -> tuple[int, str, str]:
        """The exit code (minus the signal that killed it), what it printed, and its errors."""
        self.process.join(timeout)
        assert self.process.exitcode is not None, "still running"
        return self.process.exitcode, *((self.folder / name).read_text() for name in ("out", "err"))


def run(*arguments: object) -> tuple[int, str, str]:
    return Command(*arguments).end()


def _main(arguments: list[str], folder: Path) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_CREAT | os.O_WRONLY), number)
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)
    sys.argv = ["genlearn", *arguments]
    models._MODELS["proof"] = "proof:Proof"
    import torch

    from genlearn.cli import main

    torch.set_num_threads(1)
    try:
        main()
    finally:
        sys.stdout.flush()


def count_of_test_tools() -> None:
    """Exit with the number of the tests' own tools that the models and the command line have loaded."""
    import genlearn

    genlearn.VAE()
    sys.exit(len({"jaxtyping", "beartype", "hypothesis"} & {*sys.modules}))
