"""The general Boltzmann machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlearn._types import Batch, Likelihood, Logs, Nets, ScoreKind
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.maths.ais import MAX_UNITS, schedule
from genlearn.maths.rng import Rng, bernoulli, uniform
from genlearn.nets.general_boltzmann import GeneralBoltzmann, states
from genlearn.parallel import gather_rows, world
from genlearn.parameters import Range
from genlearn.train import OptimizerName, Player, Schedule, Stage, Stream

EXACT_HIDDEN = 12
ROWS = 1000


@dataclass(kw_only=True, eq=False, repr=False)
class BoltzmannMachine(ClassNamePrefixFeaturesOutMixin, TransformerMixin, GenerativeEstimator):  # type: ignore[misc]
    """Boltzmann machine in which every unit is joined to every other, trained by clamped minus free statistics.

    p(v, h) = exp(v r v / 2 + v w h + h t h / 2 + a.v + b.h) / Z for binary v [B, D], h [B, H]; see `GeneralBoltzmann`.

    The gradient of the log-likelihood of a weight is <s_i s_j>_clamped - <s_i s_j>_free. Clamped: v is held at the data
    and the hidden units settle, by `n_clamped` sweeps of mean field (a lower bound of the log-likelihood) or of Gibbs
    sampling (unbiased once it has forgotten its start, and noisier). Free: `n_chains` persistent chains over all
    units take `k` Gibbs sweeps an update. Units are visited one by one: a sweep costs (D + H)^2 multiplications a row,
    so this is a model of small images. Training stays in full precision, with `bf16` too.

    `transform` gives p(h | v), exact up to 12 hidden units and mean field beyond. `score_samples` is exact where D + H
    is at most 20, else the pseudo-likelihood (see `pseudo_likelihood`). `log_likelihoods` gives, for larger machines,
    -F(v) (up to 12 hidden units) or its mean-field bound, less an AIS estimate of log Z. A sample is the mean of each
    pixel given all other units, `n_gibbs` sweeps after a persistent state; `complete` holds the known pixels, and
    averages such means over the second half of `n_gibbs` sweeps. Where the weights between pixels are strong the hidden
    units alone do not tell the image: there is no `inverse_transform`.

    Ackley, Hinton and Sejnowski 1985 (the learning rule); Salakhutdinov and Hinton 2009, section 2 (mean field and
    persistent chains).
    """

    n_hidden: Annotated[int, Range(1), "hidden units"] = 100
    clamped: Annotated[Literal["mean-field", "gibbs"], "how hidden units settle when pixels are held"] = "mean-field"
    n_clamped: Annotated[int, Range(1), "sweeps of the clamped phase"] = 10
    k: Annotated[int, Range(1), "sweeps of the free phase per update"] = 1
    n_chains: Annotated[int, Range(1), "persistent chains of the free phase"] = 100
    binarize: Annotated[bool, "draw binary pixels afresh from grey ones for each batch"] = True
    n_gibbs: Annotated[int, Range(1), "Gibbs sweeps of `sample` and `complete`"] = 50
    optimizer: Annotated[OptimizerName, "optimiser"] = "momentum"
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = 0.02
    momentum: Annotated[float | Schedule, Range(0, 1), "of momentum and nesterov, or its schedule in images"] = 0.5

    family: ClassVar[str] = "energy"
    paper: ClassVar[str] = "Ackley, Hinton and Sejnowski 1985"

    @property
    def _n_features_out(self) -> int:
        return self.n_hidden

    def _build(self, shape: Shape, rng: torch.Generator) -> Nets:
        if self.n_chains % world()[1]:
            raise ValueError(f"n_chains is {self.n_chains}, expected a multiple of the {world()[1]} processes")
        return nn.ModuleDict({"bm": GeneralBoltzmann(math.prod(shape), self.n_hidden, rng, self.n_chains)})

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        player = Player("bm", ("bm",), self._loss, self._optimizer())
        return [Stage("learn", [player], self._budget(), start=self._start)]

    @staticmethod
    def _start(nets: Nets, stream: Stream, rng: Rng) -> None:
        net: GeneralBoltzmann = nets["bm"]  # type: ignore[assignment]
        net.fit_biases(stream.mean())
        # Fair coins: without weights one sweep forgets them.
        net.chain.uniform_(generator=rng).lt_(0.5)

    def _loss(self, nets: Nets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """E(v, h) of the clamped states minus E of the free ones: an energy difference, whose value is no score."""
        net: GeneralBoltzmann = nets["bm"]  # type: ignore[assignment]
        # The statistics are small differences of means.
        with torch.autocast(batch.x.device.type, enabled=False):
            v = batch.x.flatten(1)
            if self.binarize:
                v = bernoulli(v, rng)
            gibbs = self.clamped == "gibbs"
            h = net.gibbs_hidden(v, rng, self.n_clamped) if gibbs else net.mean_hidden(v, self.n_clamped)
            free = net.gibbs(net.chain.chunk(rng.world)[rng.rank], rng, self.k)
            net.chain.copy_(gather_rows(free))
            s = torch.cat([torch.cat([v, h], 1), free])
            data, model = net.energy(*s.split([v.shape[1], h.shape[1]], 1)).split([len(v), len(free)])
            return data.mean() - model.mean(), {}

    def _sample(self, nets: Nets, n: int, rng: torch.Generator) -> Tensor:
        net: GeneralBoltzmann = nets["bm"]  # type: ignore[assignment]
        s = net.chain[torch.randint(len(net.chain), (n,), generator=rng, device=rng.device)]
        return net.conditional_visible(net.gibbs(s, rng, self.n_gibbs))

    def _complete(self, nets: Nets, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        net: GeneralBoltzmann = nets["bm"]  # type: ignore[assignment]
        v, known = x.flatten(1), known.flatten(1)
        clamp = torch.where(known, bernoulli(v, rng), torch.nan)
        s = uniform((len(v), len(net.c)), rng, v.dtype).lt(net.c.sigmoid()).to(v)
        s = net.gibbs(s, rng, self.n_gibbs // 2, clamp)
        total, rest = torch.zeros_like(v), self.n_gibbs - self.n_gibbs // 2
        for _ in range(rest):
            s = net.gibbs(s, rng, 1, clamp)
            total += net.conditional_visible(s)
        return torch.where(known, v, total / rest).view_as(x)

    def _encode(self, nets: Nets, x: Tensor) -> Tensor:
        net: GeneralBoltzmann = nets["bm"]  # type: ignore[assignment]
        v = x.flatten(1)
        return net.p_hidden(v) if self.n_hidden <= EXACT_HIDDEN else net.mean_hidden(v, self.n_clamped)

    @staticmethod
    def _enumerable(net: GeneralBoltzmann) -> bool:
        return len(net.c) <= MAX_UNITS

    def _score_kind(self, nets: Nets) -> ScoreKind:
        return "exact" if self._enumerable(nets["bm"]) else "pseudo"  # type: ignore[arg-type]

    def _scorer(self, nets: Nets) -> Callable[[Tensor], Tensor]:
        net: GeneralBoltzmann = nets["bm"]  # type: ignore[assignment]
        if self._enumerable(net):
            log_z = net.log_z_exact()
            return lambda x: -net.free_energy(x.flatten(1)) - log_z
        return lambda x: pseudo_likelihood(net, x, self.n_clamped)

    def _likelihoods(self, nets: Nets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        net: GeneralBoltzmann = nets["bm"]  # type: ignore[assignment]
        v = bernoulli(x.flatten(1), rng)
        log_z = net.log_partition(schedule(2000))
        if self.n_hidden > EXACT_HIDDEN and not self._enumerable(net):
            bound = net.bound(v, net.mean_hidden(v, self.n_clamped))
            return {"mean field": Likelihood(bound - log_z.value, "lower bound", log_z.shift, notes=log_z.notes)}
        values = torch.cat([-net.free_energy(rows) for rows in v.split(ROWS)]) - log_z.value
        if self._enumerable(net):
            return {"exact": Likelihood(values, "exact")}
        return {"AIS": Likelihood(values, "estimate", log_z.shift, notes=log_z.notes)}


def pseudo_likelihood(net: GeneralBoltzmann, v: Tensor, n: int, chunk: int = 64) -> Tensor:
    """sum_i log p(v_i | v_-i) in nats over all pixels, deterministic: [B, D] -> [B] (Besag 1975).

    From p(v') / p(v) = E[exp(E(v, h) - E(v', h))] over p(h | v) follows, where only v_i may change,

        logit p(v_i = 1 | v_-i) = a_i + (v r)_i + log E[exp((1 - v_i) (w h)_i)] - log E[exp(-v_i (w h)_i)].

    p(h | v) is exact up to 12 hidden units, else the mean field after n sweeps, which is exact where t = 0. Grey pixels
    weigh the two outcomes.
    """
    v = v.flatten(1)
    logits = torch.addmm(net.a, v, net.r)
    if len(net.b) <= EXACT_HIDDEN:
        h = next(states(len(net.b))).to(v)
        x, wh = net._log_joint(net.hidden_input(v), h), net.w @ h.T
        for i, on in enumerate(v.T[..., None]):
            logits[:, i] += torch.logsumexp(x + (1 - on) * wh[i], 1) - torch.logsumexp(x - on * wh[i], 1)
    else:
        x = net.hidden_input(v) + net.mean_hidden(v, n) @ net.t
        for i in range(0, v.shape[1], chunk):
            w = net.w[i : i + chunk]
            off = x[:, None] - v[:, i : i + chunk, None] * w
            logits[:, i : i + chunk] += (softplus(off + w) - softplus(off)).sum(2)
    return (v * logits - softplus(logits)).sum(1)
