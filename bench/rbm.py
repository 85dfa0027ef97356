"""An epoch of RBM 784-500, batch 100, one Gibbs step, grey pixels as probabilities: the same work for everyone."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.neural_network import BernoulliRBM

from _paired import paired  # isort: skip (sets the threads before torch is loaded)
from genlearn.data import load
from genlearn.models.rbm import RBM

N, BATCH, H, RATE = 20_000, 100, 500, 0.05
data = load("mnist")
x8 = data.train.x[:N].flatten(1)
X32 = x8.float().div(255).numpy()
X64 = X32.astype(np.float64)


def genlearn_epoch(algorithm: str = "pcd", precision: str = "float32") -> None:
    RBM(
        n_hidden=H, algorithm=algorithm, centred=False, binarize=False, epochs=1, batch_size=BATCH, optimizer="sgd",
        learning_rate=RATE, precision=precision, random_state=0,
    ).fit(x8)  # fmt: skip


def bare_loop() -> None:
    """CD-1 written out: five products, in-place noise, updates in place."""
    g = torch.Generator().manual_seed(0)
    W = 0.01 * torch.randn(784, H, generator=g)
    a, b = torch.zeros(784), torch.zeros(H)
    uv, uh = torch.empty(BATCH, 784), torch.empty(BATCH, H)
    x = torch.from_numpy(X32)
    for rows in torch.randperm(N, generator=g).split(BATCH):
        v = x.index_select(0, rows)
        p = torch.addmm(b, v, W).sigmoid_()
        h = torch.lt(uh.uniform_(generator=g), p, out=uh)
        q = torch.addmm(a, h, W.T).sigmoid_()
        v2 = torch.lt(uv.uniform_(generator=g), q, out=uv)
        p2 = torch.addmm(b, v2, W).sigmoid_()
        W.addmm_(v.T, p, alpha=RATE / BATCH).addmm_(v2.T, p2, alpha=-RATE / BATCH)
        a.add_((v - v2).mean(0), alpha=RATE)
        b.add_((p - p2).mean(0), alpha=RATE)


def products() -> None:
    """The five matrix products of every step, alone."""
    v, h, W = torch.rand(BATCH, 784), torch.rand(BATCH, H), torch.rand(784, H)
    ov, oh, oW = torch.empty(BATCH, 784), torch.empty(BATCH, H), torch.empty(784, H)
    for _ in range(N // BATCH):
        torch.mm(v, W, out=oh)
        torch.mm(h, W.T, out=ov)
        torch.mm(v, W, out=oh)
        torch.mm(v.T, h, out=oW)
        torch.mm(v.T, h, out=oW)


def scikit_learn(X: np.ndarray) -> None:
    BernoulliRBM(n_components=H, batch_size=BATCH, learning_rate=RATE, n_iter=1, random_state=0).fit(X)


if __name__ == "__main__":
    paired(
        f"RBM 784-{H}, epoch of {N:,} images",
        {
            "genlearn PCD-1": genlearn_epoch,
            "genlearn CD-1": lambda: genlearn_epoch("cd"),
            "genlearn PCD-1 in bf16": lambda: genlearn_epoch(precision="bf16"),
            "bare loop CD-1": bare_loop,
            "matrix products alone": products,
            "scikit-learn float32": lambda: scikit_learn(X32),
            "scikit-learn float64 (its default)": lambda: scikit_learn(X64),
        },
        base="genlearn PCD-1",
        rounds=7,
    )
