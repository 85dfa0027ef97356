"""The restricted Boltzmann machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, ClassVar, Literal

import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlearn._types import Batch, Likelihood, Logs, Nets, ScoreKind, Visible
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.contrastive import contrast, weigh
from genlearn.maths.ais import ais, log_z_exact, salakhutdinov, schedule
from genlearn.maths.collective import gather_rows, world
from genlearn.maths.rng import Rng, bernoulli, make_rng
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.parameters import Range
from genlearn.samplers.gibbs import rbm_chain
from genlearn.train import OptimizerName, Player, Schedule, Stage, Stream

EXACT_UNITS = 20


@dataclass(kw_only=True, eq=False, repr=False)
class RBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, GenerativeEstimator):  # type: ignore[misc]
    """Restricted Boltzmann machine, p(v) = exp(-F(v)) / Z, trained by contrastive divergence or its persistent form.

    F(v) = -a.v - sum_j log(1 + exp(b_j + (v W)_j)) for binary v [B, D]; see `RestrictedBoltzmann` for Gaussian v.

    `transform` gives p(h | v), `inverse_transform` E[v | h]; `score_samples` is exact where the smaller side has at
    most 20 units, else the pseudo-likelihood sum_i log p(v_i | the others) (binary) or -F minus an AIS estimate of
    log Z (Gaussian). Samples are E[v | h] at the end of a Gibbs chain, from a persistent state or (cd) from noise.

    Hinton 2002 (CD), Tieleman 2008 (PCD), Hinton 2012 (the practical guide), Salakhutdinov and Murray 2008 (AIS).
    """

    n_hidden: Annotated[int, Range(1), "hidden units"] = 500
    visible: Annotated[Visible, "law of the visible units"] = "binary"
    algorithm: Annotated[Literal["cd", "pcd"], "contrastive divergence or its persistent form"] = "pcd"
    k: Annotated[int, Range(1), "Gibbs steps per update"] = 1
    n_chains: Annotated[int, Range(1), "persistent chains (pcd)"] = 100
    binarize: Annotated[bool, "draw binary pixels afresh from grey ones for each batch"] = True
    n_gibbs: Annotated[int, Range(1), "Gibbs steps of `sample`"] = 200
    optimizer: Annotated[OptimizerName, "optimiser"] = "momentum"
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = 0.05
    momentum: Annotated[float | Schedule, Range(0, 1), "of momentum and nesterov, or its schedule in images"] = 0.5

    family: ClassVar[str] = "energy"
    paper: ClassVar[str] = "Smolensky 1986; Hinton 2002"

    @property
    def _pixels(self) -> bool:  # type: ignore[override]
        return self.visible == "binary"

    @property
    def _n_features_out(self) -> int:
        return self.n_hidden

    def _build(self, shape: Shape, rng: torch.Generator) -> Nets:
        chains = self.n_chains if self.algorithm == "pcd" else 0
        if chains % world()[1]:
            raise ValueError(f"n_chains is {chains}, expected a multiple of the {world()[1]} processes")
        net = RestrictedBoltzmann(math.prod(shape), self.n_hidden, rng, self.visible, chains)
        return nn.ModuleDict({"rbm": net})

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        player = Player("rbm", ("rbm",), self._loss, self._optimizer())
        return [Stage("learn", [player], self._budget(), start=self._start)]

    @staticmethod
    def _start(nets: Nets, stream: Stream, rng: Rng) -> None:
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        net.fit_biases(stream.mean(), stream.variance() if net.visible == "gaussian" else None)
        # The chains start at hidden states of the model without weights: fair coins.
        net.chain.uniform_(generator=rng).lt_(0.5)

    def _loss(self, nets: Nets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """Algorithm 1 of Tieleman 2008; with `cd` the chain starts at the data."""
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        with torch.no_grad():
            v = batch.x.flatten(1)
            if self.binarize and self.visible == "binary":
                v = bernoulli(v, rng)
            p = net.p_hidden(v)
            persistent = self.algorithm == "pcd"
            h = net.chain.chunk(rng.world)[rng.rank] if persistent else bernoulli(p, rng)
            for _ in range(self.k - 1):
                h = bernoulli(net.p_hidden(net.gibbs(h, rng)), rng)
            v_model = net.gibbs(h, rng)
            p_model = net.p_hidden(v_model)
            if persistent:
                net.chain.copy_(gather_rows(bernoulli(p_model, rng)))
        weights = weigh(len(v), len(v_model), v)
        return contrast(net, torch.cat([v, v_model]), torch.cat([p, p_model]), weights), {}

    def _sample(self, nets: Nets, n: int, rng: torch.Generator) -> Tensor:
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        h = net.W.new_empty(n, self.n_hidden).uniform_(generator=rng).lt_(0.5)
        if len(net.chain):
            # The persistent states are samples already; Gibbs steps make them anew.
            h = net.chain[torch.randint(len(net.chain), (n,), generator=rng, device=rng.device)]
        v = net.sample_visible(net.mean_visible(h), rng)
        _, mean = next(islice(rbm_chain(net, v, rng), self.n_gibbs - 1, None))
        return mean

    def _encode(self, nets: Nets, x: Tensor) -> Tensor:
        return nets["rbm"].p_hidden(x)  # type: ignore[operator,no-any-return]

    def _decode(self, nets: Nets, z: Tensor) -> Tensor:
        return nets["rbm"].mean_visible(z)  # type: ignore[operator,no-any-return]

    def _score_kind(self, nets: Nets) -> ScoreKind:
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        if self._enumerable(net):
            return "exact"
        return "pseudo" if self.visible == "binary" else "estimate"

    def _enumerable(self, net: RestrictedBoltzmann) -> bool:
        n_visible, n_hidden = net.W.shape
        return min(n_hidden, n_visible if self.visible == "binary" else n_hidden) <= EXACT_UNITS

    def _scorer(self, nets: Nets) -> Callable[[Tensor], Tensor]:
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        if self.visible == "binary" and not self._enumerable(net):
            return lambda x: pseudo_likelihood(net, x)
        log_z = self._log_z(net, schedule(1000))[0]
        return lambda x: -net.free_energy(x) - log_z

    def _log_z(
        self, net: RestrictedBoltzmann, betas: Tensor, rng: torch.Generator | None = None
    ) -> tuple[float, float, float]:
        """(log Z, lower, upper) in nats: exact where enumerable, else by AIS with 100 chains."""
        # Sums over u become integrals over v = mean + sigma u.
        scale = float(net.sigma.cpu().double().log().sum())
        if self._enumerable(net):
            log_z = log_z_exact(net.W, net.a, net.b, visible=self.visible) + scale
            return log_z, log_z, log_z
        W, a, b, a_base = [t.detach() for t in (net.W, net.a, net.b, net.a_base)]
        if W.device.type == "mps":  # which has no float64
            W, a, b, a_base, rng = W.cpu(), a.cpu(), b.cpu(), a_base.cpu(), None
        rng = make_rng(0, W.device) if rng is None else rng
        estimate = ais(
            W, a, b, a_base=a_base, betas=betas, n_chains=100, rng=rng, visible=self.visible
        )  # fmt: skip
        return estimate.log_z + scale, estimate.lower + scale, estimate.upper + scale

    def _likelihoods(self, nets: Nets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        # AIS comes first: the estimate does not depend on how many images there are.
        log_z, lower, upper = self._log_z(net, salakhutdinov(), rng)
        v = x.flatten(1)
        if self.visible == "binary":
            v = bernoulli(v, rng)
        values = -net.free_energy(v) - log_z
        if self._enumerable(net):
            return {"exact": Likelihood(values, "exact", law=self.visible)}
        return {"AIS": Likelihood(values, "estimate", (log_z - upper, log_z - lower), self.visible)}


def pseudo_likelihood(net: RestrictedBoltzmann, v: Tensor, chunk: int = 64) -> Tensor:
    """sum_i log p(v_i | v_-i) in nats over all pixels, deterministic: [B, D] -> [B] (Besag 1975).

    p(v_i = 1 | v_-i) = sigmoid(F(v with v_i = 0) - F(v with v_i = 1)); grey pixels weigh the two outcomes.
    """
    v = v.flatten(1)
    inputs = net.hidden_input(v)
    logits = torch.empty_like(v)
    for i in range(0, v.shape[1], chunk):
        W = net.W[i : i + chunk]
        off = inputs[:, None] - v[:, i : i + chunk, None] * W
        logits[:, i : i + chunk] = net.a[i : i + chunk] + (softplus(off + W) - softplus(off)).sum(2)
    return (v * logits - softplus(logits)).sum(1)
