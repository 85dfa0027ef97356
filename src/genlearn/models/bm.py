"""The general Boltzmann machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genlearn._types import Batch, Likelihood, Logs, Nets, ScoreKind
from genlearn.capabilities import Encoder
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.maths.ais import schedule
from genlearn.maths.rng import Rng, bernoulli, uniform
from genlearn.nets.general_boltzmann import GeneralBoltzmann, states
from genlearn.parameters import Range
from genlearn.samplers import Chains, after, bm_chain, settle
from genlearn.train import OptimizerName, Player, Schedule, Stage, Stream

EXACT_HIDDEN = 12
ROWS = 1000


class BMNets(Nets):
    """The machine, and its persistent states [n, D + H]."""

    bm: GeneralBoltzmann
    chains: Chains


@dataclass(kw_only=True, eq=False, repr=False)
class BoltzmannMachine(Encoder, GenerativeEstimator):
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
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"n_hidden": 6, "n_chains": 20, "n_gibbs": 2, "epochs": 2}
    }

    @property
    def _n_features_out(self) -> int:
        return self.n_hidden

    def _build(self, shape: Shape, rng: torch.Generator) -> BMNets:
        d = math.prod(shape)
        chains = Chains(self.n_chains, d + self.n_hidden)
        return BMNets(bm=GeneralBoltzmann(d, self.n_hidden, rng), chains=chains)

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        player = Player("bm", ("bm",), self._loss, self._optimizer())
        return [Stage("learn", [player], self._budget(), start=self._start)]

    @staticmethod
    def _start(nets: BMNets, stream: Stream, rng: Rng) -> None:
        nets.bm.fit_biases(stream.mean())
        nets.chains.start(rng)

    def _loss(self, nets: BMNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """E(v, h) of the clamped states minus E of the free ones: an energy difference, whose value is no score."""
        net = nets.bm
        # The statistics are small differences of means.
        with torch.autocast(batch.x.device.type, enabled=False):
            v = batch.x.flatten(1)
            if self.binarize:
                v = bernoulli(v, rng)
            gibbs = self.clamped == "gibbs"
            h = settle(net, v, rng, self.n_clamped) if gibbs else net.mean_hidden(v, self.n_clamped)
            free = after(self.k, bm_chain(net, nets.chains.mine(rng), rng))
            nets.chains.keep(free)
            s = torch.cat([torch.cat([v, h], 1), free])
            data, model = net.energy(*s.split([v.shape[1], h.shape[1]], 1)).split([len(v), len(free)])
            return data.mean() - model.mean(), {}

    @property
    def _n_steps(self) -> int:
        return self.n_gibbs

    def _chain(self, nets: BMNets, n: int, rng: torch.Generator, x: Tensor | None = None) -> Iterator[Tensor]:
        """The mean of each pixel given all other units, after each sweep over all units, from persistent states."""
        net = nets.bm
        if x is None:
            s = nets.chains.draw(n, rng)
        else:
            v = bernoulli(x.flatten(1), rng)
            s = torch.cat([v, settle(net, v, rng, self.n_clamped)], 1)
        return (net.conditional_visible(s) for s in bm_chain(net, s, rng))

    def _complete(self, nets: BMNets, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        net, v, known = nets.bm, x.flatten(1), known.flatten(1)
        clamp = torch.where(known, bernoulli(v, rng), torch.nan)
        s = uniform((len(v), len(net.c)), rng, v.dtype).lt(net.c.sigmoid()).to(v)
        total, half = torch.zeros_like(v), self.n_gibbs // 2
        for state in islice(bm_chain(net, s, rng, clamp), half, self.n_gibbs):
            total += net.conditional_visible(state)
        return torch.where(known, v, total / (self.n_gibbs - half)).view_as(x)

    def _encode(self, nets: BMNets, x: Tensor) -> Tensor:
        net = nets.bm
        v = x.flatten(1)
        return net.p_hidden(v) if self.n_hidden <= EXACT_HIDDEN else net.mean_hidden(v, self.n_clamped)

    def _score_kind(self, nets: BMNets) -> ScoreKind:
        return "exact" if nets.bm.enumerable else "pseudo"

    def _scorer(self, nets: BMNets) -> Callable[[Tensor], Tensor]:
        net = nets.bm
        if net.enumerable:
            log_z = net.log_z_exact()
            return lambda x: -net.free_energy(x.flatten(1)) - log_z
        return lambda x: pseudo_likelihood(net, x, self.n_clamped)

    def _likelihoods(self, nets: BMNets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        net, v = nets.bm, x.flatten(1)
        log_z = net.log_partition(schedule(2000), start=nets.chains.states)
        if not log_z.exact and self.n_hidden > EXACT_HIDDEN:
            bound = net.bound(v, net.mean_hidden(v, self.n_clamped)) - log_z.value
            return {"mean field": Likelihood(bound, "estimate of a bound", log_z.shift, notes=log_z.notes)}
        values = torch.cat([-net.free_energy(rows) for rows in v.split(ROWS)]) - log_z.value
        if log_z.exact:
            return {"exact": Likelihood(values, "exact")}
        return {"AIS": Likelihood(values, "estimate", log_z.shift, notes=log_z.notes)}


def pseudo_likelihood(net: GeneralBoltzmann, v: Tensor, n: int, chunk: int = 64) -> Tensor:
    """sum_i log p(v_i | v_-i) in nats over all pixels of binary v, deterministic: [B, D] -> [B] (Besag 1975).

    From p(v') / p(v) = E[exp(E(v, h) - E(v', h))] over p(h | v) follows, where only v_i may change,

        logit p(v_i = 1 | v_-i) = a_i + (v r)_i + log E[exp((1 - v_i) (w h)_i)] - log E[exp(-v_i (w h)_i)].

    p(h | v) is exact up to 12 hidden units, else the mean field after n sweeps, which is exact where t = 0.
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
