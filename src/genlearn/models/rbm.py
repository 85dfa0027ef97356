"""The restricted Boltzmann machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from genlearn._types import Batch, Likelihood, Logs, Nets, ScoreKind, Visible
from genlearn.capabilities import Encoder
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.contrastive import contrast
from genlearn.losses.matching import denoising_score_matching, flipped_ratio_matching, rbm_flip_differences
from genlearn.losses.noise_contrastive import nce
from genlearn.maths.ais import salakhutdinov, schedule
from genlearn.maths.partition import settling
from genlearn.maths.rng import Rng, bernoulli, make_rng
from genlearn.maths.running import update_mean
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.constant import Constant
from genlearn.parameters import Range
from genlearn.samplers import Chains, after, from_chains, from_hidden, from_tempered_chains, rbm_chain
from genlearn.train import OptimizerName, Player, Schedule, Stage, Stream

Algorithm: TypeAlias = Literal["cd", "pcd", "parallel-tempering", "nce", "score-matching"]
WITHOUT_STATES = ("nce", "score-matching")
ACTIVITY_RATE = 0.05


class RBMNets(Nets):
    """The machine; persistent hidden states [n, H], or [n, T, H] at T temperatures; log Z of nce."""

    rbm: RestrictedBoltzmann
    chains: Chains
    log_z: Constant


@dataclass(kw_only=True, eq=False, repr=False)
class RBM(Encoder, GenerativeEstimator):
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
    centred: Annotated[bool, "the gradient of centred units (cd, pcd, parallel-tempering)"] = True
    sparsity: Annotated[float, Range(0), "weight of the sparsity target (0: none)"] = 0.0
    target: Annotated[float, Range(0, 1), "mean activity that sparsity aims at"] = 0.1
    binarize: Annotated[bool, "draw binary pixels afresh from grey ones for each batch"] = True
    n_gibbs: Annotated[int, Range(1), "Gibbs steps of `sample` and `complete`"] = 200
    optimizer: Annotated[OptimizerName, "optimiser"] = "momentum"
    learning_rate: Annotated[
        float | Schedule | None,
        Range(0, open=True),
        "step size, or its schedule in images (none: from 0.1 where units are centred, else 0.05, of Gaussian units at "
        "most 1 / (pixels / 4 + n_hidden), to 0 over the budget)",
    ] = None  # type: ignore[assignment]  # where the base has a number
    momentum: Annotated[float | Schedule, Range(0, 1), "of momentum and nesterov, or its schedule in images"] = 0.5

    family: ClassVar[str] = "energy"
    paper: ClassVar[str] = "Smolensky 1986; Hinton 2002"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # -84.7 nats a test image of MNIST by AIS, after a quarter of an hour on one core.
        "mnist-500": {
            "n_hidden": 500, "k": 5, "ema": 100_000.0, "epochs": 100,
            "learning_rate": "linear(0.05, 0.0005, over=6e6)",
        },
        "tiny": {"n_hidden": 12, "n_gibbs": 5, "epochs": 2},
    }  # fmt: skip

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
        if self.sparsity and self.algorithm in WITHOUT_STATES:
            raise ValueError(
                f"sparsity is {self.sparsity} with algorithm {self.algorithm!r}, which has none; "
                "the usual fix is algorithm='pcd'"
            )

    @property
    def _n_units(self) -> int:
        """Classes that the machine has label units for."""
        return 0

    def _build(self, shape: Shape, rng: torch.Generator) -> RBMNets:
        states = {"pcd": (self.n_hidden,), "parallel-tempering": (self.n_temperatures, self.n_hidden)}
        return RBMNets(
            rbm=RestrictedBoltzmann(math.prod(shape), self.n_hidden, rng, self.visible, self._n_units),
            chains=Chains(self.n_chains, *states[self.algorithm]) if self.algorithm in states else None,
            log_z=Constant() if self.algorithm == "nce" else None,
        )

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        owns = ("rbm", "log_z") if self.algorithm == "nce" else ("rbm",)
        player = Player("rbm", owns, self._loss, self._optimizer(lr=self._rate(math.prod(shape))))
        return [Stage("learn", [player], self._budget(), start=self._start)]

    def _rate(self, n_pixels: int) -> float | Schedule:
        """A rate that falls, for what is learned from samples stays as noisy as the last steps are long.

        Gaussian units do not saturate: descent is stable up to about 2 over the curvature of the likelihood in W, at
        most the largest eigenvalue of E[h h'], <= H, and of p (1 - p) E[u u'], <= D / 4.
        """
        if self.learning_rate is not None:
            return self.learning_rate
        start = 0.1 if self.centred and self.algorithm not in WITHOUT_STATES else 0.05
        if self.visible == "gaussian":
            start = min(start, 1 / (n_pixels / 4 + self.n_hidden))
        return f"linear({start}, 0, over=budget)"  # type: ignore[return-value]  # a schedule is written as text

    @staticmethod
    def _start(nets: RBMNets, stream: Stream, rng: Rng) -> None:
        net = nets.rbm
        net.fit_biases(stream.mean(), stream.variance() if net.visible == "gaussian" else None)
        if "chains" in nets:
            nets.chains.start(rng)
        if "log_z" in nets:
            nets.log_z.value.copy_(net.log_z_base() + len(net.b) * math.log(2))

    def _states(self, net: RestrictedBoltzmann, batch: Batch, rng: Rng) -> Tensor:
        """The states of the visible units that the batch shows."""
        v = batch.x.flatten(1)
        return bernoulli(v, rng) if self.binarize and self.visible == "binary" else v

    def _loss(self, nets: RBMNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        with torch.no_grad():
            v = self._states(nets.rbm, batch, rng)
        return LOSSES[self.algorithm](self, nets, v, rng), {}

    def _contrast(
        self, net: RestrictedBoltzmann, v: Tensor, model: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> Tensor:
        """Data against states of the model, (v, p(h | v)), which may start from the data's p(h | v)."""
        centre = sparsity = None
        with torch.no_grad():
            p = net.p_hidden(v)
            states = model(p)
            if self.centred or self.sparsity:
                active = update_mean(net.active, p.mean(0), ACTIVITY_RATE)
                # The base has the mean of the data; u is centred already.
                mu = torch.zeros_like(net.a) if self.visible == "gaussian" else net.base_mean()
                centre = (mu, active) if self.centred else None
                # Cross-entropy with the target, as it reaches the units' inputs (Hinton 2012, section 11).
                sparsity = (net.scaled(v).mean(0), self.sparsity * (active - self.target)) if self.sparsity else None
        return contrast(net, (v, p), states, centre=centre, sparsity=sparsity)

    @property
    def _n_steps(self) -> int:
        return self.n_gibbs

    def _chain(self, nets: RBMNets, n: int, rng: torch.Generator, x: Tensor | None = None) -> Iterator[Tensor]:
        """E[v | h] of block Gibbs sampling, from persistent states, else from hidden units that are fair coins."""
        net = nets.rbm
        if x is not None:
            v = x.flatten(1)
            v = net.with_drawn_label(bernoulli(v, rng), rng) if self.visible == "binary" else v
        elif "chains" in nets:
            h = nets.chains.draw(n, rng)
            v = net.gibbs(h if h.ndim == 2 else h[:, 0], rng)
        else:
            v = net.gibbs(net.W.new_empty(n, self.n_hidden).uniform_(generator=rng).lt_(0.5), rng)
        return (mean[:, : net.n_pixels] for _, mean in rbm_chain(net, v, rng))

    def _complete(self, nets: RBMNets, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """E[v | h] of what is not known, at the end of a Gibbs chain in which the known pixels stay."""
        net, v, known = nets.rbm, x.flatten(1), known.flatten(1)
        if net.n_classes:
            v = torch.cat([v, v.new_zeros(len(v), net.n_classes)], 1)
            known = torch.cat([known, known.new_zeros(len(v), net.n_classes)], 1)
        start = torch.where(known, v, net.sample_visible(net.base_mean().expand_as(v), rng))
        _, mean = after(self.n_gibbs, rbm_chain(net, start, rng, known))
        return torch.where(known, v, mean)[:, : net.n_pixels]

    def _encode(self, nets: RBMNets, x: Tensor) -> Tensor:
        return nets.rbm.p_hidden(x)

    def _decode(self, nets: RBMNets, z: Tensor) -> Tensor:
        return nets.rbm.mean_visible(z)[:, : nets.rbm.n_pixels]

    @property
    def _law(self) -> Visible:
        return self.visible

    def _score_kind(self, nets: RBMNets) -> ScoreKind:
        if nets.rbm.enumerable:
            return "exact"
        return "estimate" if self.visible == "gaussian" or nets.rbm.n_classes else "pseudo"

    def _scorer(self, nets: RBMNets) -> Callable[[Tensor], Tensor]:
        net = nets.rbm
        if self._score_kind(nets) == "pseudo":
            return lambda x: pseudo_likelihood(net, x)
        log_z = net.log_partition(schedule(1000)).value
        return lambda x: net.log_unnormalised(x.flatten(1)) - log_z

    def _likelihoods(self, nets: RBMNets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        net, v = nets.rbm, x.flatten(1)
        values = torch.cat([net.log_unnormalised(rows) for rows in v.split(1000)])
        log_z = net.log_partition(salakhutdinov(), make_rng(0, v.device), v[:100], settling(values))
        values = values - log_z.value
        if log_z.exact:
            return {"exact": Likelihood(values, "exact", law=self.visible)}
        return {"AIS": Likelihood(values, "estimate", log_z.shift, self.visible, log_z.notes)}


# --- what each algorithm minimises, given the states v [B, D] of the visible units


def _cd(model: RBM, nets: RBMNets, v: Tensor, rng: Rng) -> Tensor:
    """Against k Gibbs steps from the data (Hinton 2002)."""
    return model._contrast(nets.rbm, v, lambda p: from_hidden(nets.rbm, bernoulli(p, rng), model.k, rng))


def _pcd(model: RBM, nets: RBMNets, v: Tensor, rng: Rng) -> Tensor:
    """Against persistent chains (Tieleman 2008)."""
    return model._contrast(nets.rbm, v, lambda p: from_chains(nets.rbm, nets.chains, model.k, rng))


def _tempered(model: RBM, nets: RBMNets, v: Tensor, rng: Rng) -> Tensor:
    """Against persistent chains that exchange states with hotter ones (Desjardins et al. 2010)."""
    betas = torch.linspace(1, 0, model.n_temperatures).tolist()
    return model._contrast(nets.rbm, v, lambda p: from_tempered_chains(nets.rbm, nets.chains, betas, model.k, rng))


def _nce(model: RBM, nets: RBMNets, v: Tensor, rng: Rng) -> Tensor:
    """Against independent pixels at the rates of the data, log Z learned too (Gutmann and Hyvarinen 2012)."""
    net = nets.rbm
    noise = net.sample_visible(net.base_mean().expand(model.n_noise * len(v), -1), rng)
    # Differences of energies are small beside the energies.
    with torch.autocast(v.device.type, enabled=False):
        log_n = [x @ net.a_base - net.log_z_base() for x in (v, noise)]
        log_p = [-net.free_energy(x) - nets.log_z.value for x in (v, noise)]
        return nce(log_p[0], log_n[0], log_p[1], log_n[1], model.n_noise)


def _matching(model: RBM, nets: RBMNets, v: Tensor, rng: Rng) -> Tensor:
    """Ratio matching of bits (Hyvarinen 2007); denoising score matching of u, in standard deviations (Vincent 2011)."""
    net = nets.rbm
    with torch.autocast(v.device.type, enabled=False):  # as for nce
        if model.visible == "gaussian":
            energy, u = lambda u: net.free_energy(net.mean + net.sigma * u), (v - net.mean) / net.sigma
            return denoising_score_matching(energy, u, model.noise, rng).mean()
        flips = min(model.n_flips, v.shape[1])
        return flipped_ratio_matching(partial(rbm_flip_differences, net), v, rng, flips).mean()


LOSSES: dict[Algorithm, Callable[[RBM, RBMNets, Tensor, Rng], Tensor]] = {
    "cd": _cd,
    "pcd": _pcd,
    "parallel-tempering": _tempered,
    "nce": _nce,
    "score-matching": _matching,
}


def pseudo_likelihood(net: RestrictedBoltzmann, v: Tensor, chunk: int = 64) -> Tensor:
    """sum_i log p(v_i | v_-i) in nats over all pixels of binary v, deterministic: [B, D] -> [B] (Besag 1975).

    p(v_i | v_-i) = sigmoid(F(v with bit i flipped) - F(v)).
    """
    v = v.flatten(1)
    bits = torch.arange(v.shape[1], device=v.device).expand_as(v).split(chunk, 1)
    return torch.stack([logsigmoid(rbm_flip_differences(net, v, i)).sum(1) for i in bits]).sum(0)
