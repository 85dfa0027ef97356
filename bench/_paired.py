"""Paired ratios: every contender is timed in each round of one run, so that a slow moment hits them all."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "2")


def paired(title: str, contenders: dict[str, Callable[[], object]], base: str, rounds: int = 5) -> dict[str, object]:
    """Time all contenders `rounds` times, interleaved, after one warm-up; print seconds and ratios to `base`.

    --cpu: seconds of the processor in place of those of the wall, for a machine that is busy with other work.
    """
    arguments = argparse.ArgumentParser(description=title)
    arguments.add_argument("--rounds", type=int, default=rounds)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--cpu", action="store_true")
    options, _ = arguments.parse_known_args()
    clock = time.process_time if options.cpu else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for r in range(options.rounds + 1):
        for name, work in contenders.items():
            time.sleep(0.2)  # worker threads of the contender before may still spin
            start = clock()
            work()
            if r:
                seconds[name].append(clock() - start)
    table = {}
    for name, times in seconds.items():
        ratios = [t / b for t, b in zip(times, seconds[base], strict=True)]
        table[name] = {
            "seconds": statistics.median(times),
            f"ratio to {base}": statistics.median(ratios),
            "range": [min(ratios), max(ratios)],
        }
    if options.json:
        print(json.dumps({"title": title, "rounds": options.rounds, "results": table}))
    else:
        print(f"{title} ({options.rounds} rounds, {os.environ['OMP_NUM_THREADS']} threads)")
        for name, row in table.items():
            low, high = row["range"]
            print(f"  {name:<34} {row['seconds']:8.3f} s   x {row[f'ratio to {base}']:5.2f}  ({low:.2f}-{high:.2f})")
    return table
