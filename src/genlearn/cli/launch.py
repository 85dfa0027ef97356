"""Many processes on this machine: torchrun underneath, one error line on top."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from genlearn.cli.console import LAUNCHED


def launch(n: int, arguments: Sequence[str]) -> int:
    """Run `genlearn ARGUMENTS` in n processes; the exit code, 128 + s after signal s.

    A signal is forwarded to every process, which checkpoints first. Raises ValueError with the line that the first
    process to fail left behind.
    """
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    os.environ[LAUNCHED] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // n)))
    # Its own account of a failure is dozens of lines; ours is the one that the failed process wrote.
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    try:
        torchrun.run(torchrun.parse_args(["--standalone", "--nproc-per-node", str(n), "-m", "genlearn", *arguments]))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode in (130, 143):
            return int(failure.exitcode)
        message = failure.message
        if isinstance(message, dict):
            raise ValueError(message["message"]) from None
        raise ValueError(f"process {rank} of {n} ended with code {failure.exitcode} ({message})") from None
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0
