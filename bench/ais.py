"""AIS of an RBM 784-500, 100 chains x 1,000 temperatures, against its two matrix products a temperature, alone."""

from __future__ import annotations

from itertools import pairwise

from _paired import paired  # isort: skip (sets the threads before torch is loaded)

import torch

from genlearn.maths.ais import ais, schedule

CHAINS = 100
rng = torch.Generator().manual_seed(0)
W, b = 0.05 * torch.randn(784, 500, generator=rng), 0.1 * torch.randn(500, generator=rng)
a, a_base = torch.randn(784, generator=rng), torch.zeros(784)
betas = schedule(1000)


def products() -> None:
    v, h = torch.rand(CHAINS, 784).round(), torch.rand(CHAINS, 500).round()
    x, y = torch.empty_like(h), torch.empty_like(v)
    for _ in pairwise(betas):
        torch.addmm(b, v, W, out=x)
        torch.addmm(a, h, W.T, out=y)


def genlearn() -> None:
    ais(W, a, b, a_base=a_base, betas=betas, n_chains=CHAINS, rng=rng)


if __name__ == "__main__":
    paired(__doc__, {"products": products, "genlearn": genlearn}, "products", rounds=7)
