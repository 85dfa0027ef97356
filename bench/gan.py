"""The nets of the 2014 GAN (maxout D with dropout), batch 100: an epoch against its matrix products alone."""

from __future__ import annotations

from _paired import paired  # isort: skip (sets the threads before torch is loaded)

import torch

from genlearn.data import load
from genlearn.models.gan import GAN

STEPS, B = 500, 100
x8 = load("mnist").train.x[: STEPS * B].flatten(1)
G, D = ((100, 1200), (1200, 1200), (1200, 784)), ((784, 1200), (240, 1200), (240, 1))


def products() -> None:
    """Forward: G once, D over data and samples. Backward: D to its weights; D to its input and G for the generator."""
    for _ in range(STEPS):
        for n, m in G:
            _linear(B, n, m, weight=True, inp=n != 100)
        for n, m in D:
            _linear(2 * B, n, m, weight=True, inp=n != 784)
            torch.mm(BUFFERS[B, m], WEIGHTS[n, m].T)  # the generator's gradient through D, over samples only


def _linear(rows: int, n: int, m: int, weight: bool, inp: bool) -> None:
    x, y, W = BUFFERS[rows, n], BUFFERS[rows, m], WEIGHTS[n, m]
    torch.mm(x, W)
    if weight:
        torch.mm(x.T, y)
    if inp:
        torch.mm(y, W.T)


WEIGHTS = {(n, m): torch.rand(n, m) for n, m in (*G, *D)}
BUFFERS = {(rows, k): torch.rand(rows, k) for rows in (B, 2 * B) for pair in (*G, *D) for k in pair}


def play(order: str, precision: str = "float32") -> None:
    GAN.from_preset("goodfellow-2014", epochs=1, order=order, precision=precision, random_state=0).fit(x8)


if __name__ == "__main__":
    paired(
        f"GAN of 2014, an epoch: {STEPS} steps of {B}",
        {
            "genlearn, simultaneous (joint)": lambda: play("simultaneous"),
            "the same in bf16": lambda: play("simultaneous", "bf16"),
            "genlearn, alternating": lambda: play("alternating"),
            "matrix products of simultaneous": products,
        },
        base="matrix products of simultaneous",
        rounds=5,
    )
