"""The Boltzmann machine without restrictions: every unit is joined to every other."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlearn.maths.ais import AIS, MAX_UNITS, checked, estimate
from genlearn.maths.partition import N_CHAINS, Bracket, LogZ
from genlearn.maths.rng import bernoulli, make_rng
from genlearn.maths.sweeps import gibbs, sweep
from genlearn.progress import track
from genlearn.shapes import Float


class GeneralBoltzmann(nn.Module):
    """The energy of a Boltzmann machine (Ackley, Hinton and Sejnowski 1985; Salakhutdinov and Hinton 2009, equation 1),

        E(v, h) = -(v r v / 2 + v w h + h t h / 2 + a.v + b.h) = -(s J s / 2 + c.s)

    with s = (v, h), J = [[r, w], [w^T, t]], c = (a, b); v [B, D] (images are flattened), h [B, H] binary, w [D, H],
    r [D, D] and t [H, H] symmetric with zero diagonal, so v r v / 2 is the sum of r_ik v_i v_k over pairs. Only what
    lies above the diagonals of the parameters `r_upper` and `t_upper` is read: r and t are symmetric to the bit under
    every optimiser, a gradient reaches each pair once, and what lies below stays 0. Where r = t = 0 it is an RBM.

    The units depend on each other, so they cannot be drawn at once (that leaves another law stationary): Gibbs sampling
    and mean field visit them one by one, side by side over the rows; see `maths.sweeps`. A sweep costs (D + H)^2 a row.

    Buffer: a_base [D], the biases of the best model without weights, where AIS begins. The exact sums run over at most
    20 units, in float64 on the CPU where they give log Z.
    """

    a_base: Tensor

    def __init__(self, n_visible: int, n_hidden: int, rng: torch.Generator) -> None:
        super().__init__()
        self.w = nn.Parameter(0.01 * torch.randn(n_visible, n_hidden, generator=rng))
        self.r_upper = nn.Parameter(torch.zeros(n_visible, n_visible))
        self.t_upper = nn.Parameter(torch.zeros(n_hidden, n_hidden))
        self.a = nn.Parameter(torch.zeros(n_visible))
        self.b = nn.Parameter(torch.zeros(n_hidden))
        self.register_buffer("a_base", torch.zeros(n_visible))

    @property
    def r(self) -> Float[Tensor, "D D"]:
        """Weights between visible units [D, D]."""
        return self.r_upper.triu(1) + self.r_upper.triu(1).T

    @property
    def t(self) -> Float[Tensor, "H H"]:
        """Weights between hidden units [H, H]."""
        return self.t_upper.triu(1) + self.t_upper.triu(1).T

    @property
    def J(self) -> Float[Tensor, "N N"]:
        """All weights [D + H, D + H]."""
        return torch.cat([torch.cat([self.r, self.w], 1), torch.cat([self.w.T, self.t], 1)])

    @property
    def c(self) -> Float[Tensor, "N"]:
        """All biases [D + H]."""
        return torch.cat([self.a, self.b])

    @torch.no_grad()
    def fit_biases(self, mean: Float[Tensor, "..."]) -> None:
        """Start from the best model without weights: a = logit of the mean pixels [D], kept off 0 and 1 by .01."""
        self.a.copy_(mean.flatten().clamp(0.01, 0.99).logit())
        self.a_base.copy_(self.a)

    # --- energies

    def visible_term(self, v: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
        """The part of the energy that does not depend on h [B]."""
        return -(v @ self.a) - ((v @ self.r) * v).sum(1) / 2

    def hidden_input(self, v: Float[Tensor, "B D"]) -> Float[Tensor, "B H"]:
        """b + v w, the input of the hidden units from below [B, H]."""
        return torch.addmm(self.b, v, self.w)

    def energy(self, v: Float[Tensor, "B D"], h: Float[Tensor, "B H"]) -> Float[Tensor, "B"]:
        """E(v, h) [B]; multilinear, so with the means of independent units it is the mean energy."""
        return self.visible_term(v) - ((self.hidden_input(v) + h @ self.t / 2) * h).sum(1)

    def free_energy(self, v: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
        """F(v) = -log sum_h exp(-E(v, h)) [B], exact; ValueError beyond 20 hidden units."""
        x = self.hidden_input(v)
        sums = [torch.logsumexp(self._log_joint(x, h.to(x)), 1) for h in states(len(self.b))]
        total: Tensor = torch.stack(sums).logsumexp(0)
        return self.visible_term(v) - total

    def _log_joint(self, x: Tensor, h: Tensor) -> Tensor:
        """-E(v, h) without the visible term, of every input x [B, H] with every h [M, H]: [B, M]."""
        return x @ h.T + ((h @ self.t) * h).sum(1) / 2

    def p_hidden(self, v: Float[Tensor, "B D"]) -> Float[Tensor, "B H"]:
        """p(h_j = 1 | v) [B, H], exact; ValueError beyond 20 hidden units."""
        x, evidence = self.hidden_input(v), self.visible_term(v) - self.free_energy(v)
        return torch.stack(
            [(self._log_joint(x, h.to(x)) - evidence[:, None]).exp() @ h.to(x) for h in states(len(self.b))]
        ).sum(0)

    @torch.no_grad()
    def log_z_exact(self) -> float:
        """log Z in nats, summed over all states of all units; ValueError beyond 20."""
        return float(torch.stack([p.logsumexp(0) for _, p in self._log_states()]).logsumexp(0))

    @torch.no_grad()
    def marginals(self) -> Float[Tensor, "N"]:
        """p(s_i = 1) of every unit [D + H] float64, exact; ValueError beyond 20 units."""
        log_z = self.log_z_exact()
        return torch.stack([(p - log_z).exp() @ s for s, p in self._log_states()]).sum(0)

    def _log_states(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All states s [M, D + H] and -E(s) [M], in chunks."""
        J, c = self.J.cpu().double(), self.c.cpu().double()
        for s in states(len(c)):
            yield s, s @ c + ((s @ J) * s).sum(1) / 2

    # --- mean field

    @torch.no_grad()
    def mean_hidden(self, v: Float[Tensor, "B D"], n: int) -> Float[Tensor, "B H"]:
        """mu [B, H] after n sweeps of mu_j = sigmoid(b_j + (v w)_j + (mu t)_j) (Salakhutdinov and Hinton 2009, 8).

        One unit after the other: each step can only raise the bound, which simultaneous steps do not promise.
        """
        t, x = self.t, self.hidden_input(v).T
        mu = x.sigmoid().contiguous()
        for _ in range(n):
            sweep(t, x, mu)
        return mu.T.contiguous()

    def bound(self, v: Float[Tensor, "B D"], mu: Float[Tensor, "B H"]) -> Float[Tensor, "B"]:
        """-E(v, mu) + entropy of mu <= -F(v), for independent hidden units of means mu [B, H]: [B]."""
        entropy: Tensor = torch.special.entr(mu) + torch.special.entr(1 - mu)
        return entropy.sum(1) - self.energy(v, mu)

    # --- conditionals and annealing

    def conditional_visible(self, s: Float[Tensor, "B N"]) -> Float[Tensor, "B D"]:
        """p(v_i = 1 | all other units) [B, D]."""
        D = len(self.a)
        return torch.addmm(self.a, s[:, :D], self.r).addmm_(s[:, D:], self.w.T).sigmoid_()

    @torch.no_grad()
    def ais(self, *, betas: Float[Tensor, "T"], n_chains: int, rng: torch.Generator) -> AIS:
        """Estimate log Z by annealed importance sampling, unbiased in Z (Neal 2001).

        p*_beta(s) = exp((1 - beta) a_base.v + beta (s J s / 2 + c.s)), betas increasing from 0 to 1; the hidden units
        are part of the state, and a temperature is one sweep of Gibbs sampling over all units.
        """
        s = bernoulli(self._base.sigmoid().repeat(n_chains, 1), rng)
        return estimate(softplus(self._base.double()).sum() + self._anneal(s, checked(betas), rng))

    @torch.no_grad()
    def reverse_ais(self, s: Float[Tensor, "n N"], *, betas: Float[Tensor, "T"], rng: torch.Generator) -> AIS:
        """Estimate log Z from states of the model s [n, D + H], unbiased in 1 / Z: the path of `ais` from 1 to 0."""
        log_w = softplus(self._base.double()).sum() - self._anneal(s, checked(betas)[::-1], rng)
        return estimate(log_w, reverse=True)

    @property
    def _base(self) -> Tensor:
        return torch.cat([self.a_base, torch.zeros_like(self.b)])

    def _anneal(self, s: Tensor, steps: Sequence[float], rng: torch.Generator) -> Tensor:
        """sum log p*_there(s) - log p*_here(s) along the steps [n] float64, s moving after each."""
        J, c, base = self.J, self.c, self._base
        log_w = torch.zeros(len(s), dtype=torch.float64, device=s.device)
        for here, there in track(pairwise(steps), "log Z", len(steps) - 1):
            log_w += (there - here) * (s @ (c - base) + ((s @ J) * s).sum(1) / 2)
            s = gibbs(there * J, torch.lerp(base, c, there), s, rng)
        return log_w

    @property
    def enumerable(self) -> bool:
        """Whether log Z is a sum over 2^20 states at most."""
        return len(self.c) <= MAX_UNITS

    def log_partition(self, betas: Float[Tensor, "T"], start: Float[Tensor, "n N"], n_gibbs: int = 200) -> LogZ:
        """log Z in nats: exact up to 20 units, else by AIS with 100 chains, forward and in reverse, and a verdict.

        The reverse runs start from states near the model's law, n_gibbs sweeps after `start` [n, D + H].
        """
        if self.enumerable:
            log_z = self.log_z_exact()
            return LogZ(log_z, log_z, log_z)
        # MPS has no float64.
        net = copy.deepcopy(self).cpu() if self.c.device.type == "mps" else self
        rng = make_rng(0, net.c.device)
        forward = net.ais(betas=betas, n_chains=N_CHAINS, rng=rng)
        s = start.to(net.c.device).repeat(-(-N_CHAINS // len(start)), 1)[:N_CHAINS]
        with torch.no_grad():
            s = gibbs(net.J, net.c, s, rng, n_gibbs)
        both = Bracket(forward, net.reverse_ais(s, betas=betas, rng=rng))
        return LogZ.around(forward, both.verdict)


def states(n: int, chunk: int = 4096) -> Iterator[Tensor]:
    """All binary states of n units, in chunks [M, n] float64."""
    if n > MAX_UNITS:
        raise ValueError(f"cannot enumerate 2^{n} states, expected at most {MAX_UNITS} units; the usual fix is ais()")
    for index in torch.arange(2**n).split(chunk):
        yield (index[:, None] >> torch.arange(n) & 1).double()
