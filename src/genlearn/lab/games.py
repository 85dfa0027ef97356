"""Games small enough to watch, on a line and on a ring, played through the public contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from genlearn.data import load, modes
from genlearn.lab.divergences import Array, js, wasserstein
from genlearn.lab.likelihood import draws
from genlearn.lab.optimality import optimal_discriminator, optimality, sigmoid, value
from genlearn.losses import discriminator_loss, generator_loss, squared_gradient_norm
from genlearn.maths import Rng, make_rng, spawn
from genlearn.nets import MLP, NormalPrior, Prior
from genlearn.train import Batch, Budget, Logs, Loss, Nets, Optimizer, Player, Progress, Stage, Stream, Training
from genlearn.words import unknown

LineGame: TypeAlias = Literal["non-saturating", "minimax", "r1"]
RingGame: TypeAlias = Literal["plain", "r1", "packing"]
LINE_GAMES, RING_GAMES = ("non-saturating", "minimax", "r1"), ("plain", "r1", "packing")

BATCH, N_RING, NEAR, ENOUGH = 128, 2000, 0.1, 20
EDGES = np.linspace(-4, 4, 161)  # of the cells on which laws on the line are compared
MIDDLES: Array = (EDGES[1:] + EDGES[:-1]) / 2


class GameNets(Nets):
    """Generator, discriminator (logits, or a critic) and the law of the codes."""

    G: MLP
    D: MLP
    prior: Prior


def networks(d: int, width: int, seed: int, packed: int = 1) -> GameNets:
    """MLPs of two hidden layers: G from d normal codes to d coordinates, D from `packed` points to a logit."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)  # torch's layers draw their weights from the global generator
        G, D = MLP((d, width, width, d), "tanh"), MLP((packed * d, width, width, 1), "leaky_relu")
    return GameNets(G=G, D=D, prior=NormalPrior(d))


def fake(nets: GameNets, batch: Batch, rng: Rng) -> Tensor:
    """G(z) [B, d], as many as the batch has points."""
    return nets.G(nets.prior.draw(len(batch.x), rng))


def losses(form: Literal["non-saturating", "minimax"], gamma: float = 0.0, packed: int = 1) -> dict[str, Loss]:
    """The losses of D, with gamma / 2 times the R1 penalty, and of G; D sees so many points at once."""

    def discriminator(nets: GameNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        real = batch.x.reshape(-1, packed * batch.x.shape[1])
        loss = discriminator_loss(nets.D(real), nets.D(fake(nets, batch, rng).view_as(real)))
        return loss + gamma / 2 * squared_gradient_norm(nets.D, real).mean() if gamma else loss, {}

    def generator(nets: GameNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        x = fake(nets, batch, rng)
        return generator_loss(nets.D(x.view(-1, packed * x.shape[1])), form), {}

    return {"D": discriminator, "G": generator}


def play(
    nets: Nets, x: Array, players: Mapping[str, Loss], rounds: int, every: int, seed: int, lr: float | str = 1e-3
) -> list[dict[str, Tensor]]:
    """The states of the nets before play and after each `every` of `rounds` rounds: [1 + rounds / every].

    x [n, d] are the data; each player owns the net of its name, and steps with Adam, betas (0.5, 0.99), batch 128.
    """
    order, noise = spawn(seed, 2)
    adam = Optimizer("adam", lr=lr, betas=(0.5, 0.99))
    stage = Stage("play", [Player(k, (k,), loss, adam) for k, loss in players.items()], Budget(images=rounds * BATCH))
    states = [state(nets)]

    def keep(progress: Progress, done: float) -> None:
        states.append(state(nets))

    stream = Stream(torch.from_numpy(x).float(), None, BATCH, order)
    Training(nets, [stage], stream, make_rng(noise), tick=every * BATCH, on_tick=keep).run()
    return states


def state(nets: Nets) -> dict[str, Tensor]:
    """A copy of all that the nets hold."""
    return {name: t.detach().clone() for name, t in nets.state_dict().items()}


def masses(cdf: Callable[[Array], Array]) -> Array:
    """The probabilities of the cells between EDGES [160], what lies beyond in the outermost ones."""
    F = cdf(EDGES)
    F[[0, -1]] = 0, 1
    return np.diff(F)


def data_masses() -> Array:
    """`two_bumps` on the cells [160], by the distribution function of the normal law."""
    phi = torch.special.ndtr
    e = torch.from_numpy(EDGES)
    F = (phi((e + 1.5) / 0.5) + phi((e - 1.5) / 0.5)) / 2
    return masses(lambda edges: F.numpy().copy())


@torch.no_grad()
def pushed_masses(G: Callable[[Tensor], Tensor], n: int = 2000) -> Array:
    """The law of G(z), z ~ N(0, 1), on the cells [160]: no samples, but n pieces of equal mass, on which G is linear."""
    z = torch.special.ndtri(torch.linspace(1e-6, 1 - 1e-6, n + 1, dtype=torch.float64))
    y = G(z.float()[:, None])[:, 0].double().numpy()
    low, high = np.minimum(y[1:], y[:-1]), np.maximum(y[1:], y[:-1])
    width = np.maximum(high - low, 1e-9)
    return masses(lambda edges: np.clip((edges[:, None] - low) / width, 0, 1).mean(1))


class LineFrame(NamedTuple):
    """A moment of a GAN on the line: nats; gap without a unit; w1 in the unit of x. The laws are on 160 cells."""

    value: float
    best_value: float
    bound: float
    gap: float
    js: float
    w1: float
    p_g: Array
    d: Array
    d_star: Array


@lru_cache(maxsize=16)
def gan_on_a_line(game: LineGame = "non-saturating", seed: int = 0, rounds: int = 3000, every: int = 50) -> tuple[LineFrame, ...]:
    """A GAN that learns `two_bumps` from 5,000 points, looked at each `every` rounds: [1 + rounds / every] frames.

    value = V(D, G) of the learned D, best_value = V(D*, G), bound = -log 4 + 2 JSD, gap = E |D - D*| over the mean of
    p_data and p_g. p_data is exact on the cells, p_g pushed through G piece by piece: no number here is an estimate
    from samples. game: the loss of G, non-saturating or minimax; r1: non-saturating, with R1 of gamma 0.1 for D. G and
    D: 1-32-32-1. Raises ValueError for another game.
    """
    if game not in LINE_GAMES:
        raise ValueError(unknown("game", game, LINE_GAMES))
    build, start, order = spawn(seed, 3)
    nets = networks(1, 32, build)
    rules = losses("minimax" if game == "minimax" else "non-saturating", 0.1 if game == "r1" else 0.0)
    x = torch.from_numpy(MIDDLES).float()[:, None]
    frames, p = [], data_masses()
    for held in play(nets, draws(5000, start)[:, None], rules, rounds, every, order):
        nets.load_state_dict(held)
        with torch.no_grad():
            a = nets.D(x)[:, 0].double().numpy()
        q = pushed_masses(nets.G)
        best, d_star = optimality(p, q), optimal_discriminator(p, q)
        gap = float((p + q) / 2 @ np.abs(sigmoid(a) - d_star))
        v = value(a, p, q)
        frames.append(LineFrame(v, best.value, best.bound, gap, best.js, wasserstein(p, q, MIDDLES), q, sigmoid(a), d_star))
    return tuple(frames)


class RingFrame(NamedTuple):
    """A moment of a GAN on the ring, of 2,000 samples: modes 0 to 8, share of samples near one, nats; points [n, 2]."""

    modes: float
    near: float
    kl: float
    points: Array


def ring_scores(points: Array) -> RingFrame:
    """How samples [n, 2] cover the ring of 8 Gaussians (sd 0.01, radius 1).

    near: the share within 0.1 of a centre; modes: centres that hold at least 1 % of the samples within 0.1; kl: KL of
    their shares to 1/8 each, from 0 to log 8 (log 8 where nothing is near).
    """
    centres, _ = modes("ring")
    distance = np.linalg.norm(points[:, None] - centres, axis=2)
    close = distance.min(1) < NEAR
    counts = np.bincount(distance.argmin(1)[close], minlength=len(centres))
    share = counts / max(counts.sum(), 1)
    kl = float((share[share > 0] * np.log(8 * share[share > 0])).sum()) if counts.sum() else float(np.log(8))
    return RingFrame(float((counts >= 0.01 * len(points)).sum()), float(close.mean()), kl, points)


@lru_cache(maxsize=16)
def gan_on_a_ring(game: RingGame = "plain", seed: int = 0, rounds: int = 4000, every: int = 100) -> tuple[RingFrame, ...]:
    """A GAN that learns the ring, looked at each `every` rounds by 2,000 samples of the same codes.

    plain: non-saturating; r1: with R1 of gamma 0.1; packing: D sees two points at once (Lin et al. 2018). G: 2-64-64-2,
    D: 2-64-64-1. The samples of a law that had learned the ring would score 8 modes, a share of 1 and a KL of about
    0.002, its floor with 2,000 samples. Raises ValueError for another game.
    """
    if game not in RING_GAMES:
        raise ValueError(unknown("game", game, RING_GAMES))
    build, start, order, look = spawn(seed, 4)
    packed = 2 if game == "packing" else 1
    nets = networks(2, 64, build, packed)
    x = load("ring", n=20_000, seed=start % 2**32).train.x.numpy()
    rules = losses("non-saturating", 0.1 if game == "r1" else 0.0, packed)
    z, frames = nets.prior.draw(N_RING, make_rng(look)), []
    for held in play(nets, x, rules, rounds, every, order):
        nets.load_state_dict(held)
        with torch.no_grad():
            frames.append(ring_scores(nets.G(z).double().numpy()))
    return tuple(frames)
