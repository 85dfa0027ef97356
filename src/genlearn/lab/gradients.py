"""Where the gradient goes: through layers, and back through time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genlearn.maths import make_rng
from genlearn.words import unknown

Activation: TypeAlias = Literal["linear", "sigmoid", "tanh", "relu"]
Normalisation: TypeAlias = Literal["none", "batch", "layer"]
Cell: TypeAlias = Literal["linear", "tanh", "gru", "lstm"]

WIDTH, BATCH = 32, 64
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
}
NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "batch": lambda x: F.batch_norm(x, None, None, training=True),
    "layer": lambda x: F.layer_norm(x, x.shape[1:]),
}
CELLS = ("linear", "tanh", "gru", "lstm")


class Flow(NamedTuple):
    """How a gradient shrinks on its way back: the factor of a step (geometric mean), and its end over its start."""

    factor: float
    ratio: float


def gradient_by_depth(
    depth: int,
    activation: Activation = "sigmoid",
    residual: bool = False,
    normalisation: Normalisation = "none",
    seed: int = 0,
    width: int = WIDTH,
) -> Tensor:
    """|dL/dh_l|, l = 0 .. depth [depth + 1] float64, in a fresh network; 1 at the top, the root mean square of a batch.

        h_l = phi(norm(W_l h_(l-1))), or h_(l-1) + that if `residual`; L is linear in h_depth

    W_l = sqrt(gain) times a random orthogonal matrix [width, width], gain 2 for relu (He et al. 2015), else 1; norm:
    none, over the batch or over the layer; h_0 is normal. Sigmoid' is at most 1/4, so without help the gradient falls
    at least as 4^-depth; a linear network keeps it exactly. Raises ValueError for names that are none, depth < 1.
    Hochreiter 1991; Glorot and Bengio 2010; Ioffe and Szegedy 2015; He et al. 2016.
    """
    for kind, name, known in (
        ("activation", activation, ACTIVATIONS),
        ("normalisation", normalisation, NORMALISATIONS),
    ):
        if name not in known:
            raise ValueError(unknown(kind, name, known))
    if depth < 1:
        raise ValueError(f"depth is {depth}, expected 1 layer at least")
    rng = make_rng(seed)
    phi, norm, gain = (
        ACTIVATIONS[activation],
        NORMALISATIONS[normalisation],
        math.sqrt(2) if activation == "relu" else 1,
    )
    h = [torch.randn(BATCH, width, generator=rng, dtype=torch.float64, requires_grad=True)]
    top = torch.randn(BATCH, width, generator=rng, dtype=torch.float64)
    for _ in range(depth):
        f = phi(norm(h[-1] @ (gain * orthogonal(width, rng))))
        h.append(h[-1] + f if residual else f)
    return norms(torch.autograd.grad((h[-1] * top).sum(), h))


def orthogonal(n: int, rng: torch.Generator) -> Tensor:
    """A random orthogonal matrix [n, n] float64."""
    return nn.init.orthogonal_(torch.empty(n, n, dtype=torch.float64), generator=rng)


def norms(gradients: tuple[Tensor, ...]) -> Tensor:
    """The root mean square over the batch of the norms of gradients [B, n], divided by that of the last."""
    lengths = torch.stack([g.square().sum(1).mean().sqrt() for g in gradients])
    return lengths / lengths[-1]


def gradient_over_time(
    cell: Cell, scale: float = 1.0, gate: float = 1.0, seed: int = 0, steps: int = 60, width: int = WIDTH
) -> Tensor:
    """|dL/ds_t|, t = 0 .. steps [steps + 1] float64, of the state s_t of a fresh recurrent cell; 1 at the end.

        linear   s_t = U s_(t-1) + W x_t         tanh   s_t = tanh(U s_(t-1) + W x_t)
        gru, lstm   as in Cho et al. 2014 and Hochreiter and Schmidhuber 1997; the state of an LSTM is (h_t, c_t)

    U: `scale` times an orthogonal matrix (one a gate), W: normal of variance 1 / width, x_t normal. gate: the bias of
    the gate that keeps the state (forget gate of an LSTM, update gate of a GRU). L is linear in the last state. The
    linear cell gives scale^(steps - t) exactly. Raises ValueError for a cell that is none of these.
    Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013.
    """
    if cell not in CELLS:
        raise ValueError(unknown("cell", cell, CELLS))
    rng = make_rng(seed)
    gates = {"gru": 3, "lstm": 4}.get(cell, 1)
    U = torch.cat([scale * orthogonal(width, rng) for _ in range(gates)])
    W = torch.randn(gates * width, width, generator=rng, dtype=torch.float64) / math.sqrt(width)
    parts = 2 if cell == "lstm" else 1
    states = [torch.zeros(BATCH, parts * width, dtype=torch.float64, requires_grad=True)]
    for _ in range(steps):
        x = torch.randn(BATCH, width, generator=rng, dtype=torch.float64)
        states.append(_step(cell, states[-1], x @ W.T, U, gate))
    top = torch.randn(BATCH, parts * width, generator=rng, dtype=torch.float64)
    return norms(torch.autograd.grad((states[-1] * top).sum(), states))


def _step(cell: Cell, state: Tensor, x: Tensor, U: Tensor, gate: float) -> Tensor:
    if cell == "lstm":
        h, c = state.chunk(2, 1)
        i, f, g, o = (x + h @ U.T).chunk(4, 1)
        c = (f + gate).sigmoid() * c + i.sigmoid() * g.tanh()
        return torch.cat([o.sigmoid() * c.tanh(), c], 1)
    y = state @ U.T
    if cell == "gru":
        (xr, xz, xn), (r, z, n) = x.chunk(3, 1), y.chunk(3, 1)
        z = (xz + z + gate).sigmoid()
        return (1 - z) * (xn + (xr + r).sigmoid() * n).tanh() + z * state
    return x + y if cell == "linear" else (x + y).tanh()


def flow(lengths: Tensor) -> Flow:
    """The factor of a step and the ratio of both ends of what the two functions above return [n + 1]."""
    ratio = float(lengths[0] / lengths[-1])
    return Flow(ratio ** (1 / (len(lengths) - 1)), ratio)
