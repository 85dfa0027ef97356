"""The restricted Boltzmann machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import Tensor, nn
from torch.nn.functional import softplus

from genlearn._types import Batch, Likelihood, Logs, Nets, ScoreKind, Visible
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.contrastive import contrast, from_chains, from_hidden, from_tempered_chains, remember, weigh
from genlearn.losses.matching import denoising_score_matching, flipped_ratio_matching, rbm_flip_differences
from genlearn.losses.noise_contrastive import nce
from genlearn.maths.ais import MAX_UNITS, salakhutdinov, schedule
from genlearn.maths.rng import Rng, bernoulli, make_rng
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.parallel import world
from genlearn.parameters import Range
from genlearn.samplers.gibbs import rbm_chain
from genlearn.train import OptimizerName, Player, Schedule, Stage, Stream

Algorithm: TypeAlias = Literal["cd", "pcd", "parallel-tempering", "nce", "score-matching"]


@dataclass(kw_only=True, eq=False, repr=False)
class RBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, GenerativeEstimator):  # type: ignore[misc]
    """Restricted Boltzmann machine, p(v) = exp(-F(v)) / Z.

    F(v) = -a.v - sum_j log(1 + exp(b_j + (v W)_j)) for binary v [B, D]; see `RestrictedBoltzmann` for Gaussian v.

    algorithm: cd, pcd and parallel-tempering contrast data with states of Gibbs chains (at the data, persistent, and
    persistent at several temperatures); nce tells data from independent pixels and learns log Z (binary);
    score-matching is ratio matching for binary and denoising score matching for Gaussian units: neither needs chains.

    `transform` gives p(h | v), `inverse_transform` E[v | h]; `score_samples` is exact where the smaller side has at
    most 20 units, else the pseudo-likelihood sum_i log p(v_i | the others) (binary) or -F minus an AIS estimate of
    log Z (Gaussian). Samples are E[v | h] at the end of a Gibbs chain, from a persistent state or from noise;
    `complete` runs it with the known pixels held.

    Hinton 2002 (CD), Tieleman 2008 (PCD), Desjardins et al. 2010 (tempering), Gutmann and Hyvarinen 2012 (NCE),
    Hyvarinen 2007 (ratio matching), Vincent 2011 (denoising), Hinton 2012 (practical guide: sparsity in section 11),
    Melchior, Fischer and Wiskott 2016 (centring), Salakhutdinov and Murray 2008 (AIS).
    """

    n_hidden: Annotated[int, Range(1), "hidden units"] = 500
    visible: Annotated[Visible, "law of the visible units"] = "binary"
    algorithm: Annotated[Algorithm, "what the player descends"] = "pcd"
    k: Annotated[int, Range(1), "Gibbs steps per update"] = 1
    n_chains: Annotated[int, Range(1), "persistent chains (pcd, parallel-tempering)"] = 100
    n_temperatures: Annotated[int, Range(2), "inverse temperatures from 1 to 0 (parallel-tempering)"] = 10
    n_noise: Annotated[int, Range(1), "noise images for each image (nce)"] = 10
    n_flips: Annotated[int, Range(1), "random pixels for each image and update (score-matching, binary)"] = 16
    noise: Annotated[float, Range(0, open=True), "of score-matching, Gaussian units, in standard deviations"] = 0.3
    centred: Annotated[bool, "the gradient of centred units (cd, pcd, parallel-tempering)"] = False
    sparsity: Annotated[float, Range(0), "weight of the sparsity target (0: none)"] = 0.0
    target: Annotated[float, Range(0, 1), "mean activity that sparsity aims at"] = 0.1
    binarize: Annotated[bool, "draw binary pixels afresh from grey ones for each batch"] = True
    n_gibbs: Annotated[int, Range(1), "Gibbs steps of `sample` and `complete`"] = 200
    optimizer: Annotated[OptimizerName, "optimiser"] = "momentum"
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = 0.05
    momentum: Annotated[float | Schedule, Range(0, 1), "of momentum and nesterov, or its schedule in images"] = 0.5

    family: ClassVar[str] = "energy"
    paper: ClassVar[str] = "Smolensky 1986; Hinton 2002"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # -84.4 nats a test image of MNIST by AIS, after a quarter of an hour on one core.
        "mnist-500": {
            "n_hidden": 500, "k": 5, "centred": True, "ema": 100_000.0, "epochs": 100,
            "learning_rate": "linear(0.05, 0.0005, over=6e6)",
        }
    }  # fmt: skip

    @property
    def _pixels(self) -> bool:  # type: ignore[override]
        return self.visible == "binary"

    @property
    def _n_features_out(self) -> int:
        return self.n_hidden

    def check_parameters(self) -> None:
        """As everywhere; and the estimators that are for binary units only."""
        super().check_parameters()
        if self.visible == "gaussian" and self.algorithm in ("parallel-tempering", "nce"):
            raise ValueError(
                f"algorithm is {self.algorithm!r} with Gaussian visible units, expected cd, pcd or score-matching; "
                "the usual fix is visible='binary'"
            )
        if (self.centred or self.sparsity) and self.algorithm in ("nce", "score-matching"):
            raise ValueError(
                f"centred is {self.centred} and sparsity {self.sparsity} with algorithm {self.algorithm!r}, which has "
                "neither; the usual fix is algorithm='pcd'"
            )

    @property
    def _n_units(self) -> int:
        """Classes that the machine has label units for."""
        return 0

    def _build(self, shape: Shape, rng: torch.Generator) -> Nets:
        chains = {"pcd": self.n_chains, "parallel-tempering": self.n_chains * self.n_temperatures}
        n = chains.get(self.algorithm, 0)
        if n and self.n_chains % world()[1]:
            raise ValueError(f"n_chains is {self.n_chains}, expected a multiple of the {world()[1]} processes")
        net = RestrictedBoltzmann(math.prod(shape), self.n_hidden, rng, self.visible, n, self._n_units)
        nets = nn.ModuleDict({"rbm": net})
        if self.algorithm == "nce":
            nets["log_z"] = nn.ParameterList([torch.zeros(())])
        return nets

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        owns = ("rbm", "log_z") if self.algorithm == "nce" else ("rbm",)
        player = Player("rbm", owns, self._loss, self._optimizer())
        return [Stage("learn", [player], self._budget(), start=self._start)]

    @staticmethod
    def _start(nets: Nets, stream: Stream, rng: Rng) -> None:
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        net.fit_biases(stream.mean(), stream.variance() if net.visible == "gaussian" else None)
        # The chains start at hidden states of the model without weights: fair coins.
        net.chain.uniform_(generator=rng).lt_(0.5)
        if "log_z" in nets:
            nets["log_z"][0].copy_(net.log_z_base() + len(net.b) * math.log(2))  # type: ignore[index]

    def _states(self, net: RestrictedBoltzmann, batch: Batch, rng: Rng) -> Tensor:
        """The states of the visible units that the batch shows."""
        v = batch.x.flatten(1)
        return bernoulli(v, rng) if self.binarize and self.visible == "binary" else v

    def _loss(self, nets: Nets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        with torch.no_grad():
            v = self._states(net, batch, rng)
        if self.algorithm == "nce":
            return self._noise_contrast(net, nets["log_z"][0], v, rng), {}  # type: ignore[index]
        if self.algorithm == "score-matching":
            return self._matching(net, v, rng), {}
        with torch.no_grad():
            p = net.p_hidden(v)
            if self.algorithm == "cd":
                v_model, p_model = from_hidden(net, bernoulli(p, rng), self.k, rng)
            elif self.algorithm == "pcd":
                v_model, p_model = from_chains(net, self.k, rng)
            else:
                betas = torch.linspace(1, 0, self.n_temperatures).tolist()
                v_model, p_model = from_tempered_chains(net, betas, self.k, rng)
            centre = push = None
            if self.centred or self.sparsity:
                active = remember(net, p)
                # The base has the mean of the data; u is centred already.
                mu = torch.zeros_like(net.a) if self.visible == "gaussian" else net.base_mean()
                centre = (mu, active) if self.centred else None
                # Cross-entropy with the target, as it reaches the units' inputs (Hinton 2012, section 11).
                push = (net.scaled(v).mean(0), self.sparsity * (active - self.target)) if self.sparsity else None
        states = torch.cat([v, v_model]), torch.cat([p, p_model])
        return contrast(net, *states, weigh(len(v), len(v_model), v), centre=centre, push=push), {}

    def _noise_contrast(self, net: RestrictedBoltzmann, log_z: Tensor, v: Tensor, rng: Rng) -> Tensor:
        """Data against independent pixels at the rates of the data."""
        rate = net.a_base
        noise = net.sample_visible(net.base_mean().expand(self.n_noise * len(v), -1), rng)
        log_n = [x @ rate - net.log_z_base() for x in (v, noise)]
        log_p = [-net.free_energy(x) - log_z for x in (v, noise)]
        return nce(log_p[0], log_n[0], log_p[1], log_n[1], self.n_noise)

    def _matching(self, net: RestrictedBoltzmann, v: Tensor, rng: Rng) -> Tensor:
        """Ratio matching of bits; denoising score matching of u, in standard deviations."""
        if self.visible == "gaussian":
            u = (v - net.mean) / net.sigma
            return denoising_score_matching(
                lambda u: net.free_energy(net.mean + net.sigma * u), u, self.noise, rng
            ).mean()
        flips = min(self.n_flips, v.shape[1])
        return flipped_ratio_matching(partial(rbm_flip_differences, net), v, rng, flips).mean()

    def _sample(self, nets: Nets, n: int, rng: torch.Generator) -> Tensor:
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        h = net.W.new_empty(n, self.n_hidden).uniform_(generator=rng).lt_(0.5)
        if len(net.chain):
            # The persistent states are samples already; Gibbs steps make them anew.
            stride = self.n_temperatures if self.algorithm == "parallel-tempering" else 1
            chain = net.chain[::stride]
            h = chain[torch.randint(len(chain), (n,), generator=rng, device=rng.device)]
        v = net.sample_visible(net.mean_visible(h), rng)
        _, mean = next(islice(rbm_chain(net, v, rng), self.n_gibbs - 1, None))
        return mean[:, : net.n_pixels]

    def _complete(self, nets: Nets, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """E[v | h] of what is not known, at the end of a Gibbs chain in which the known pixels stay."""
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        v, known = x.flatten(1), known.flatten(1)
        if net.n_classes:
            v = torch.cat([v, v.new_zeros(len(v), net.n_classes)], 1)
            known = torch.cat([known, known.new_zeros(len(v), net.n_classes)], 1)
        start = torch.where(known, v, net.sample_visible(net.base_mean().expand_as(v), rng))
        _, mean = next(islice(rbm_chain(net, start, rng, known), self.n_gibbs - 1, None))
        return torch.where(known, v, mean)[:, : net.n_pixels]

    def _encode(self, nets: Nets, x: Tensor) -> Tensor:
        return nets["rbm"].p_hidden(x)  # type: ignore[operator,no-any-return]

    def _decode(self, nets: Nets, z: Tensor) -> Tensor:
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        return net.mean_visible(z)[:, : net.n_pixels]

    def _score_kind(self, nets: Nets) -> ScoreKind:
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        if self._enumerable(net):
            return "exact"
        return "pseudo" if self._has_pseudo(net) else "estimate"

    @staticmethod
    def _has_pseudo(net: RestrictedBoltzmann) -> bool:
        return net.visible == "binary" and not net.n_classes

    def _enumerable(self, net: RestrictedBoltzmann) -> bool:
        n_visible, n_hidden = net.W.shape
        one_sided = self.visible == "gaussian" or net.n_classes
        return min(n_hidden, n_hidden if one_sided else n_visible) <= MAX_UNITS

    def _scorer(self, nets: Nets) -> Callable[[Tensor], Tensor]:
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        if self._has_pseudo(net) and not self._enumerable(net):
            return lambda x: pseudo_likelihood(net, x)
        log_z = net.log_partition(schedule(1000)).value
        return lambda x: net.log_unnormalised(x.flatten(1)) - log_z

    def _likelihoods(self, nets: Nets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        net: RestrictedBoltzmann = nets["rbm"]  # type: ignore[assignment]
        v = x.flatten(1)
        if self.visible == "binary":
            v = bernoulli(v, rng)
        log_z = net.log_partition(salakhutdinov(), make_rng(0, v.device), start=v[:100])
        values = torch.cat([net.log_unnormalised(rows) for rows in v.split(1000)]) - log_z.value
        if self._enumerable(net):
            return {"exact": Likelihood(values, "exact", law=self.visible)}
        return {"AIS": Likelihood(values, "estimate", log_z.shift, self.visible, log_z.notes)}


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
