"""How far contrastive divergence is from the gradient of the likelihood: every term summed over all states."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from genlearn.maths import make_rng
from genlearn.nets import RestrictedBoltzmann

SIDE, HIDDEN = 3, 6


class ContrastiveBias(NamedTuple):
    """What `contrastive_bias` found: norms without a unit, log-likelihood in nats per image, slowest without a unit."""

    exact: float
    bias: float
    relative: float
    cosine: float
    log_likelihood: float
    slowest: float


def bars(side: int = SIDE) -> Tensor:
    """Every image [2^(side + 1), side^2] made of bars: each row on or off, or each column; float64, 0 and 1.

    The empty and the full image occur twice (MacKay 2003, section 43.2: bars and stripes).
    """
    lines = binary(side)
    rows = lines[:, :, None].expand(-1, side, side)
    return torch.cat([rows, rows.transpose(1, 2)]).flatten(1)


def binary(n: int) -> Tensor:
    """All states of n bits [2^n, n], float64."""
    return (torch.arange(2**n)[:, None] >> torch.arange(n) & 1).double()


def gibbs_matrix(net: RestrictedBoltzmann, v: Tensor) -> Tensor:
    """T [S, S], T_st = sum_h p(h | v_s) p(v_t | h): a step of block Gibbs sampling between all states v [S, D]."""
    h = binary(len(net.b))
    given_v, given_h = net.p_hidden(v), net.mean_visible(h)
    up = (h @ given_v.log().T + (1 - h) @ (1 - given_v).log().T).exp()  # [states of h, S]
    down = (given_h.log() @ v.T + (1 - given_h).log() @ (1 - v).T).exp()
    return up.T @ down


def statistics(net: RestrictedBoltzmann, v: Tensor, p: Tensor) -> Tensor:
    """E[v h'], E[v], E[h] under p(v) p(h | v), in one row [D H + D + H]; v [S, D] with probabilities p [S]."""
    h = net.p_hidden(v)
    return torch.cat([(v.T @ (p[:, None] * h)).flatten(), p @ v, p @ h])


@lru_cache(maxsize=16)
def learned_rbm(steps: int, seed: int, rate: float = 0.5) -> RestrictedBoltzmann:
    """An RBM of 9 + 6 units after so many steps of exact gradient ascent of the likelihood of `bars`, in float64."""
    net = RestrictedBoltzmann(SIDE**2, HIDDEN, make_rng(seed)).double().requires_grad_(False)
    net.W.mul_(10)  # of standard deviation .1: weights of .01 take hundreds of steps to leave the saddle
    data, v = bars(), binary(SIDE**2)
    share = torch.full((len(data),), 1 / len(data), dtype=torch.float64)
    for _ in range(steps):
        g = rate * (statistics(net, data, share) - statistics(net, v, (-net.free_energy(v)).softmax(0)))
        W, a, b = g.split([net.W.numel(), len(net.a), len(net.b)])
        net.W.add_(W.view_as(net.W))
        net.a.add_(a)
        net.b.add_(b)
    return net


@lru_cache(maxsize=16)
def _chain(steps: int, seed: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """The law of the data over all images [512], the matrix T of the chain, log p of the model, T's slowest mode."""
    net, data, v = learned_rbm(steps, seed), bars(), binary(SIDE**2)
    index = (data @ (2.0 ** torch.arange(SIDE**2, dtype=torch.float64))).long()
    law = torch.zeros(len(v), dtype=torch.float64).index_add_(
        0, index, torch.full((len(data),), 1 / len(data)).double()
    )
    log_p, T = (-net.free_energy(v)).log_softmax(0), gibbs_matrix(net, v)
    root = (log_p / 2).exp()  # T is reversible: scaled by the root of its law it is symmetric
    return law, T, log_p, float(torch.linalg.eigvalsh(root[:, None] * T / root)[-2])


def contrastive_bias(k: int, steps: int, seed: int) -> ContrastiveBias:
    """The expected direction of CD-k beside the gradient of the log-likelihood, for `learned_rbm(steps, seed)`.

        gradient   <v h'>_data - <v h'>_model              CD-k   <v h'>_data - <v h'>_(data T^k)

    and the same for both biases. T is the matrix of one Gibbs step between all 512 images, so both are exact, without
    a chain or a sample. bias = |CD-k - gradient|, relative = bias / |gradient|, cosine that of their angle; the bias
    falls as slowest^k, the second largest eigenvalue of T, and T^k tends to the model for k -> infinity. Raises
    ValueError for k < 1 or steps < 0. Hinton 2002; Carreira-Perpinan and Hinton 2005.
    """
    if k < 1 or steps < 0:
        raise ValueError(f"k is {k} and steps {steps}, expected k of at least 1 and no negative steps")
    law, T, log_p, slowest = _chain(steps, seed)
    net, v, after = learned_rbm(steps, seed), binary(SIDE**2), law
    for _ in range(k):
        after = after @ T
    wanted, model, chain = (statistics(net, v, p) for p in (law, log_p.exp(), after))
    gradient, cd = wanted - model, wanted - chain
    exact, bias = float(gradient.norm()), float((cd - gradient).norm())
    cosine = float(cd @ gradient / (cd.norm() * gradient.norm()))
    return ContrastiveBias(exact, bias, bias / exact, cosine, float(log_p[law > 0] @ law[law > 0]), slowest)
