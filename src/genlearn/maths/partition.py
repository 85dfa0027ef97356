"""log Z of a machine that is an RBM between two sides: exact where it can be, else estimated, with a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genlearn.maths.ais import AIS, MAX_UNITS, AnnealedPath, ais, log_z_exact, reverse_ais
from genlearn.maths.rng import make_rng
from genlearn.progress import track
from genlearn.shapes import Float

N_CHAINS = 100
WRONG_WAY = 6.64  # nats: (1 + g) e^-g is 1 % there
WORK = 2**20  # weights; beyond, temperatures are left out in proportion
MANY = 10_000  # temperatures, of which every tenth is tried first
SETTLED, WIDE, HOPELESS = 0.2, 1.0, 50.0  # nats


@dataclass(frozen=True)
class Bracket:
    """log Z in nats between a forward and a reverse estimate.

    Where the reverse runs start from exact states, the gap is hardly ever far below 0, whatever the weights:

        P(log Z_f - log Z >= a) <= e^-a, P(log Z - log Z_r >= a) <= e^-a     (Markov: E[Z_f] = Z, E[1 / Z_r] = 1 / Z)
        P(gap <= -g) <= (1 + g) e^-g     (each is below an exponential variable, their sum -gap below a Gamma(2) one)

    since the two are independent. Grosse, Ghahramani and Adams 2015; Burda, Grosse and Salakhutdinov 2015.
    """

    forward: AIS
    reverse: AIS

    @property
    def gap(self) -> float:
        """Reverse minus forward: about 0 where both are right, large and positive where the path is too short."""
        return self.reverse.log_z - self.forward.log_z

    @property
    def noise(self) -> float:
        """Three standard errors of both, added up."""
        return (self.forward.log_z - self.forward.lower) + (self.reverse.upper - self.reverse.log_z)

    @property
    def doubt(self) -> float:
        """The gap, or the longer half of the forward interval (three standard errors) where that is larger."""
        return max(abs(self.gap), self.forward.log_z - self.forward.lower)

    @property
    def verdict(self) -> str:
        """In plain words, whether log Z can be trusted, in which direction likelihoods may be off, and the usual fix.

        The wrong way round is a gap below -6.64 nats (chance below 1 % from exact states, whatever the effective number
        of chains), or one below -1 nat and three standard errors of both.
        """
        f, r, n = self.forward, self.reverse, len(self.forward.log_w)
        counts = f"forward {f.log_z:.2f}, reverse {r.log_z:.2f}, {f.ess:.0f} of {n} chains count."
        if -self.gap > min(WRONG_WAY, max(1.0, self.noise)):
            return (
                f"Do not trust log Z: {counts[:-1]}, the wrong way round. The chains that the reverse runs start from "
                "do not mix, so nothing bounds log Z from above, and likelihoods may be too high; the usual fix is "
                "more Gibbs steps."
            )
        if self.gap > WIDE:
            advice = "It lies between the two: likelihoods may be too high by that much"
        elif self.gap < -1 or f.ess < 0.1 * n:
            advice = "Likelihoods may be too high or too low: noise rules"
        else:
            return f"log Z can be trusted to about {max(self.doubt, 0.01):.2f} nats: {counts}"
        uncertain = f"log Z is uncertain by about {max(abs(self.gap), 1):.1f} nats: {counts}"
        return f"{uncertain} {advice}; the usual fix is more temperatures."


def bracket(
    W: Float[Tensor, "D H"],
    a: Float[Tensor, "D"],
    b: Float[Tensor, "H"],
    *,
    start: Float[Tensor, "n D"],
    n_gibbs: int,
    betas: Float[Tensor, "T"],
    rng: torch.Generator,
    n_chains: int = 100,
    **options: Any,
) -> Bracket:
    """log Z by `ais`, and by `reverse_ais` from n_chains states, n_gibbs block Gibbs steps after `start` [n, D].

    `start` is repeated where it has fewer rows; `options` are those of `ais`. The better the start (images, the
    persistent chains of training), the fewer steps it takes to the model's law. Raises ValueError for betas that do not
    go from 0 to 1.
    """
    forward = ais(W, a, b, betas=betas, n_chains=n_chains, rng=rng, **options)
    path = AnnealedPath(W, a, b, **options)
    v = start.repeat(-(-n_chains // len(start)), 1)[:n_chains].to(W.dtype)
    v = v / path.sigma if path.visible == "gaussian" else v
    with torch.no_grad():
        for _ in track(range(n_gibbs), "Gibbs steps before log Z", n_gibbs):
            v = path.step(v, 1.0, rng)
    v = v * path.sigma if path.visible == "gaussian" else v
    return Bracket(forward, reverse_ais(W, a, b, v, betas=betas, rng=rng, **options))


class LogZ(NamedTuple):
    """log Z in nats, the interval of three standard errors around it, and what to know of it in plain words.

    The longer half, below a forward estimate, stands above it too: the mean of a few skewed weights is mostly too low,
    and so is its error. Of 100 log-normal weights of which 32 count (sigma 1.2), log Z lies beyond the shorter half one
    time in 28, beyond the longer one time in 160.
    """

    value: float
    lower: float
    upper: float
    notes: tuple[str, ...] = ()

    @classmethod
    def around(cls, forward: AIS, *notes: str) -> LogZ:
        """A forward estimate."""
        return cls(forward.log_z, forward.lower, 2 * forward.log_z - forward.lower, notes)

    @property
    def exact(self) -> bool:
        """Whether it was summed, not estimated."""
        return self.lower == self.upper

    @property
    def shift(self) -> tuple[float, float]:
        """The interval of an error that log-likelihoods share: low <= 0 <= high."""
        return self.value - self.upper, self.value - self.lower


def settling(values: Float[Tensor, "n"]) -> float:
    """Nats to which log Z is wanted: the standard error of the mean of log-likelihoods [n], or 0.2 where it is less."""
    return max(SETTLED, float(values.std()) / math.sqrt(len(values))) if len(values) > 1 else SETTLED


def thinned(betas: Float[Tensor, "T"], n_weights: int) -> Float[Tensor, "_"]:
    """Every k-th temperature and the last, k = n_weights / 2^20 rounded up, as far as 1,000 are left."""
    k = max(1, min(-(-n_weights // WORK), len(betas) // 1000))
    return torch.cat([betas[:-1:k], betas[-1:]])


def finer(betas: Float[Tensor, "T"], k: int) -> Float[Tensor, "_"]:
    """Every step of the temperatures cut in k equal ones."""
    parts = torch.arange(k, dtype=betas.dtype) / k
    return torch.cat([(betas[:-1, None] + (betas[1:] - betas[:-1])[:, None] * parts).flatten(), betas[-1:]])


def log_partition(
    W: Float[Tensor, "D H"],
    a: Float[Tensor, "D"],
    b: Float[Tensor, "H"],
    *,
    betas: Float[Tensor, "T"],
    rng: torch.Generator | None = None,
    start: Float[Tensor, "n D"] | None = None,
    n_gibbs: int = 1000,
    settled: float = SETTLED,
    **options: Any,
) -> LogZ:
    """log Z of an RBM: by enumeration where one side has at most 20 units, else by AIS with 100 chains.

    With `start` [n, D], states near the model's law, the reverse estimate is made too, n_gibbs steps after them, and a
    verdict noted. Of more than 10,000 temperatures every tenth is tried first, and enough where `Bracket.doubt` is then
    `settled` nats at most, or 1 where that is less; where the two are 1 to 50 nats apart after all of them, four times
    as many have the last word. `rng`: by default a fresh one of seed 0. `options` are those of `ais`, as is the
    ValueError.
    So that the time has a bound, a machine of more than 2^20 weights takes only each second, third .. of the
    temperatures, in proportion to its weights, but at least 1,000: the verdict tells whether they were enough.
    """
    W, a, b = W.detach(), a.detach(), b.detach()
    binary = options.get("visible", "binary") == "binary" and not options.get("n_classes")
    if len(b) <= MAX_UNITS or (binary and len(a) <= MAX_UNITS):
        exact = {name: options[name] for name in ("n_classes", "visible", "sigma") if name in options}
        log_z = log_z_exact(W, a, b, **exact)
        return LogZ(log_z, log_z, log_z)
    if W.device.type == "mps":  # which has no float64
        W, a, b, rng, start = W.cpu(), a.cpu(), b.cpu(), None, None if start is None else start.cpu()
        options = {name: x.cpu() if isinstance(x, Tensor) else x for name, x in options.items()}
    rng = make_rng(0, W.device) if rng is None else rng
    betas = thinned(betas, W.numel())
    if start is None:
        return LogZ.around(ais(W, a, b, betas=betas, n_chains=N_CHAINS, rng=rng, **options))
    more = {"start": start, "n_gibbs": n_gibbs, "rng": rng, "n_chains": N_CHAINS, **options}
    both = bracket(W, a, b, betas=torch.cat([betas[:-1:10], betas[-1:]]), **more) if len(betas) > MANY else None
    if both is None or both.doubt > min(settled, WIDE):
        both = bracket(W, a, b, betas=betas, **more)
    if WIDE < both.gap < HOPELESS:
        both = bracket(W, a, b, betas=finer(betas, 4), **more)
    return LogZ.around(both.forward, both.verdict)
