"""Games small enough to watch, on a line and on a ring, played through the public contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from genlearn.data import load, modes
from genlearn.lab.divergences import Array, wasserstein
from genlearn.lab.likelihood import draws
from genlearn.lab.optimality import optimal_discriminator, optimality, sigmoid, value
from genlearn.losses import discriminator_loss, generator_loss
from genlearn.maths import Rng, make_rng, spawn
from genlearn.nets import MLP, NormalPrior, Prior
from genlearn.train import Batch, Budget, Logs, Loss, Nets, Optimizer, Player, Progress, Stage, Stream, Training
from genlearn.words import unknown

LineGame: TypeAlias = Literal["non-saturating", "minimax", "fast generator"]
RingGame: TypeAlias = Literal["balanced", "eager generator", "eager, packed"]
LINE_GAMES, RING_GAMES = (
    ("non-saturating", "minimax", "fast generator"),
    ("balanced", "eager generator", "eager, packed"),
)

BATCH, N_RING, NEAR = 128, 2000, 0.1
EDGES = np.linspace(-4, 4, 161)  # of the cells on which laws on the line are compared
MIDDLES: Array = (EDGES[1:] + EDGES[:-1]) / 2


class GameNets(Nets):
    """Generator, discriminator (logits, or a critic) and the law of the codes."""

    G: MLP
    D: MLP
    prior: Prior


def networks(d: int, seed: int, packed: int = 1) -> GameNets:
    """MLPs of two hidden layers: G from d normal codes to d coordinates, D from `packed` points to a logit."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)  # torch's layers draw their weights from the global generator
        G, D = MLP((d, 32 * d, 32 * d, d), "tanh"), MLP((packed * d, 64, 64, 1), "leaky_relu")
    return GameNets(G=G, D=D, prior=NormalPrior(d))


def fake(nets: GameNets, batch: Batch, rng: Rng) -> Tensor:
    """G(z) [B, d], as many as the batch has points."""
    x: Tensor = nets.G(nets.prior.draw(len(batch.x), rng))
    return x


def losses(form: Literal["non-saturating", "minimax"], packed: int = 1) -> dict[str, Loss]:
    """The losses of D and of G; D sees `packed` points at once."""

    def discriminator(nets: GameNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        real = batch.x.reshape(-1, packed * batch.x.shape[1])
        return discriminator_loss(nets.D(real), nets.D(fake(nets, batch, rng).view_as(real))), {}

    def generator(nets: GameNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        x = fake(nets, batch, rng)
        return generator_loss(nets.D(x.view(-1, packed * x.shape[1])), form), {}

    return {"D": discriminator, "G": generator}


def play(
    nets: Nets,
    x: Array,
    losses: Mapping[str, Loss],
    rounds: int,
    every: int,
    seed: int,
    rates: Mapping[str, float | str],
    *,
    eager: int = 1,
    after: Callable[[Any], None] | None = None,
) -> list[dict[str, Tensor]]:
    """The states of the nets before play and after each `every` of `rounds` rounds: [1 + rounds / every].

    x [n, d] are the data; each player owns the net of its name, and steps with Adam at the rate of its name, betas
    (0.5, 0.99), batch 128; G plays `eager` steps a round. after: a projection after each step.
    """
    order, noise = spawn(seed, 2)
    adam = {k: Optimizer("adam", lr=rates[k], betas=(0.5, 0.99)) for k in losses}
    players = [Player(k, (k,), loss, adam[k], eager if k == "G" else 1, after) for k, loss in losses.items()]
    stage = Stage("play", players, Budget(images=rounds * BATCH))
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
    return np.diff(np.concatenate([[0.0], F[1:-1], [1.0]]))


def data_masses() -> Array:
    """`two_bumps` on the cells [160], by the distribution function of the normal law."""

    def cdf(edges: Array) -> Array:
        e = torch.from_numpy(edges)
        F: Array = sum(torch.special.ndtr((e - mean) / 0.5) / 2 for mean in (-1.5, 1.5)).numpy()
        return F

    return masses(cdf)


@torch.no_grad()
def pushed_masses(G: Callable[[Tensor], Tensor], n: int = 2000) -> Array:
    """The law of G(z), z ~ N(0, 1), on the cells [160]: no samples, n pieces of equal mass, on which G is linear."""
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
def gan_on_a_line(
    game: LineGame = "non-saturating", seed: int = 0, rounds: int = 2400, every: int = 60
) -> tuple[LineFrame, ...]:
    """A GAN that learns `two_bumps` from 5,000 points, looked at each `every` rounds: [1 + rounds / every] frames.

    value = V(D, G) of the learned D, best_value = V(D*, G), bound = -log 4 + 2 JSD, gap = E |D - D*| over the mean of
    p_data and p_g. p_data is exact on the cells, p_g pushed through G piece by piece: no number here is an estimate
    from samples. game: the loss of G, non-saturating or minimax, its rate a fifth of that of D (Heusel et al. 2017);
    fast generator: non-saturating, both at the rate of D. G: 1-32-32-1, D: 1-64-64-1. Raises ValueError for
    another game.
    """
    if game not in LINE_GAMES:
        raise ValueError(unknown("game", game, LINE_GAMES))
    build, start, order = spawn(seed, 3)
    nets = networks(1, build)
    rules = losses("minimax" if game == "minimax" else "non-saturating")
    images = BATCH * rounds
    fast, slow = f"linear(5e-3, 2e-4, over={images})", f"linear(1e-3, 1e-4, over={images})"
    rates = {"D": fast, "G": fast if game == "fast generator" else slow}
    x = torch.from_numpy(MIDDLES).float()[:, None]
    frames, p = [], data_masses()
    for held in play(nets, draws(5000, start)[:, None], rules, rounds, every, order, rates):
        nets.load_state_dict(held)
        with torch.no_grad():
            a = nets.D(x)[:, 0].double().numpy()
        q = pushed_masses(nets.G)
        best, d_star = optimality(p, q), optimal_discriminator(p, q)
        gap = float((p + q) / 2 @ np.abs(sigmoid(a) - d_star))
        v = value(a, p, q)
        w1 = wasserstein(p, q, MIDDLES)
        frames.append(LineFrame(v, best.value, best.bound, gap, best.js, w1, q, sigmoid(a), d_star))
    return tuple(frames)


class StartFrame(NamedTuple):
    """Norms of both gradients of G, and how far D is (nats; its mean on data and on samples)."""

    saturating: float
    non_saturating: float
    value: float
    d_data: float
    d_g: float


@lru_cache(maxsize=16)
def start_of_training(seed: int = 0, rounds: int = 400, every: int = 20) -> tuple[StartFrame, ...]:
    """Both gradients of a fresh G while D alone plays against it: |dL_G/dG| of log(1 - D) and of -log D.

    The data are `two_bumps`, G is not trained, and its samples lie in one heap. The gradient of log(1 - D) carries the
    factor D(G(z)), which goes to 0 as D learns to tell, that of -log D the factor 1 - D(G(z)) (Goodfellow et al. 2014,
    section 3; Arjovsky and Bottou 2017, figure 2). The losses of G are means over 2,000 codes, always the same;
    [1 + rounds / every] frames.
    """
    build, start, order, look = spawn(seed, 4)
    nets = networks(1, build)
    z, x = nets.prior.draw(2000, make_rng(look)), draws(5000, start)[:, None]
    frames = []
    for held in play(nets, x, {"D": losses("minimax")["D"]}, rounds, every, order, {"D": 2e-3}):
        nets.load_state_dict(held)
        nets.G.requires_grad_(True)
        fakes, real = nets.D(nets.G(z)), nets.D(torch.from_numpy(x).float())
        lengths: list[float] = []
        for form in ("minimax", "non-saturating"):
            g = torch.autograd.grad(generator_loss(fakes, form), [*nets.G.parameters()], retain_graph=True)
            lengths.append(float(torch.cat([t.flatten() for t in g]).norm()))
        v = -2 * discriminator_loss(real, fakes).item()
        frames.append(
            StartFrame(lengths[0], lengths[1], v, real.sigmoid().mean().item(), fakes.sigmoid().mean().item())
        )
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
def gan_on_a_ring(
    game: RingGame = "balanced", seed: int = 0, rounds: int = 1600, every: int = 80
) -> tuple[RingFrame, ...]:
    """A GAN that learns the ring, looked at each `every` rounds by 2,000 samples of the same codes.

    balanced: a step of each a round; eager generator: 5 steps of G a round, so that it runs to where D is highest, one
    mode, and on to the next when D has followed; packed: the same, but D sees two points at once, and a pair from one
    mode gives G away (PacGAN, Lin et al. 2018). Non-saturating; G: 2-64-64-2, D: 2-64-64-1. 2,000 points of the data
    themselves score 8 modes, a share of 1, a KL of about .002: ceiling and floor. Raises ValueError for another game.
    """
    if game not in RING_GAMES:
        raise ValueError(unknown("game", game, RING_GAMES))
    build, start, order, look = spawn(seed, 4)
    eager, packed = (1 if game == "balanced" else 5), (2 if game == "eager, packed" else 1)
    nets = networks(2, build, packed)
    x = load("ring", n=20_000, seed=start % 2**32).train.x.numpy()
    z, rates, frames = nets.prior.draw(N_RING, make_rng(look)), {"D": 1e-3, "G": 1e-3}, []
    for held in play(nets, x, losses("non-saturating", packed), rounds, every, order, rates, eager=eager):
        nets.load_state_dict(held)
        with torch.no_grad():
            frames.append(ring_scores(nets.G(z).double().numpy()))
    return tuple(frames)
