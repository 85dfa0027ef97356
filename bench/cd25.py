"""CD-25 of an RBM 784-500, batch 100, against its matrix products alone, and learnergy where it is installed."""

from __future__ import annotations

from importlib.util import find_spec

from _paired import paired  # isort: skip (sets the threads before torch is loaded)

import torch

from genlearn.data import load
from genlearn.models.rbm import RBM

N, BATCH, H, K = 5_000, 100, 500, 25
x = load("mnist").train.x[:N].flatten(1)


def genlearn(k: int = K) -> None:
    RBM(n_hidden=H, algorithm="cd", k=k, centred=False, epochs=1, batch_size=BATCH, random_state=0).fit(x)


def products() -> None:
    """The 2 K + 3 matrix products of every step: up, K times down and up, and two for the gradient."""
    v, h, W = torch.rand(BATCH, 784), torch.rand(BATCH, H), torch.rand(784, H)
    ov, oh, oW = torch.empty(BATCH, 784), torch.empty(BATCH, H), torch.empty(784, H)
    for _ in range(N // BATCH):
        torch.mm(v, W, out=oh)
        for _ in range(K):
            torch.mm(h, W.T, out=ov)
            torch.mm(v, W, out=oh)
        torch.mm(v.T, h, out=oW)
        torch.mm(v.T, h, out=oW)


def learnergy(k: int = 1) -> None:
    """Their RBM: CD-k with SGD, and the two numbers that it always works out."""
    from learnergy.models.bernoulli import RBM as Theirs

    data = torch.utils.data.TensorDataset(x.float().div(255), torch.zeros(N))
    Theirs(n_visible=784, n_hidden=H, steps=k, learning_rate=0.05).fit(data, batch_size=BATCH, epochs=1)


if __name__ == "__main__":
    paired(f"RBM 784-{H}, CD-{K}, {N:,} images", {"products": products, "genlearn": genlearn}, "products", rounds=5)
    if find_spec("learnergy"):
        contenders = {"genlearn": lambda: genlearn(1), "learnergy": learnergy}
        paired(f"RBM 784-{H}, CD-1, {N:,} images, grey pixels drawn", contenders, "genlearn", rounds=5)
