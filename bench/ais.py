"""AIS of a 784-500 RBM, 100 chains, against its matrix products timed alone: `python bench/ais.py [--json]`."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import torch

from genlearn.maths.ais import ais, schedule


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print the ratio of every round's pair, its median and range."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--temperatures", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    rng = torch.Generator().manual_seed(0)
    W = 0.05 * torch.randn(784, 500, generator=rng)
    a, b = torch.randn(784, generator=rng), 0.1 * torch.randn(500, generator=rng)
    v = torch.rand(100, 784, generator=rng).round()
    h = torch.rand(100, 500, generator=rng).round()
    betas = schedule(args.temperatures)

    def floor() -> None:
        x, y = torch.empty_like(h), torch.empty_like(v)
        for _ in pairwise(range(args.temperatures)):
            torch.addmm(b, v, W, out=x)
            torch.addmm(a, h, W.T, out=y)

    def ours() -> None:
        ais(W, a, b, a_base=torch.zeros(784), betas=betas, n_chains=100, rng=rng)

    floor(), ours()
    rounds = [(seconds(floor), seconds(ours)) for _ in range(args.rounds)]
    ratios = [own / least for least, own in rounds]
    result = {
        "work": f"AIS 784-500, 100 chains x {args.temperatures} temperatures, {args.threads} threads",
        "floor_s": median(least for least, _ in rounds),
        "ours_s": median(own for _, own in rounds),
        "ratio": median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "rounds": args.rounds,
        "target": 2.0 if args.threads > 1 else 1.5,
    }
    if args.json:
        print(json.dumps(result))
    else:
        print("{work}\n  products {floor_s:.2f} s, AIS {ours_s:.2f} s".format(**result))
        print("  ratio {ratio:.2f} ({ratio_min:.2f} to {ratio_max:.2f}), to reach {target}".format(**result))


if __name__ == "__main__":
    main()
