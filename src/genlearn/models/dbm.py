"""The deep Boltzmann machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, ClassVar

import torch
from sklearn.utils.metaestimators import available_if
from torch import Tensor
from torch.nn.functional import log_softmax

from genlearn._types import Batch, Likelihood, Logs, Nets, ScoreKind
from genlearn.capabilities import Encoder
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.contrastive import energy_difference
from genlearn.maths.ais import salakhutdinov, schedule
from genlearn.maths.partition import settling
from genlearn.maths.rng import Rng, bernoulli, make_rng
from genlearn.maths.running import update_mean
from genlearn.models.stack import greedy, label_loss, layer_rate
from genlearn.nets.deep_boltzmann import DeepBoltzmann, MeanFieldMLP
from genlearn.parameters import Range
from genlearn.samplers import Chains, after, dbm_chain, dbm_start
from genlearn.train import Budget, OptimizerName, Player, Schedule, Stage, Stream

ROWS = 1000
CENTER_RATE = 0.01


class DBMNets(Nets):
    """The machine; the odd layers of its persistent states [n, H_1 + H_3 + ..]; the classifier, where there is one."""

    dbm: DeepBoltzmann
    chains: Chains
    mlp: MeanFieldMLP


@dataclass(kw_only=True, eq=False, repr=False)
class DBM(Encoder, GenerativeEstimator):
    """Deep Boltzmann machine, p(v) = sum_h exp(-E(v, h)) / Z over layers h_1 .. h_L, of which neighbours are joined,

    E(v, h) = -a.v - sum_i b_i.h_i - v W_1 h_1 - sum_i h_i W_{i+1} h_{i+1}.

    Trained in stages: one RBM a layer by CD-1 with doubled inputs, then all layers at once on the bound
    log p(v) >= -E(v, mu) + H(mu) - log Z, with mean field for the data, persistent chains for the model and the
    gradient of centred units; then, where labels are given and `fine_tune` > 0, a classifier by back-propagation, which
    leaves the machine as it is.

    `transform` gives the means of q(h_L | v); `score_samples` is the bound, log Z exact where the odd or the even
    layers have at most 20 units, else by AIS. Samples are E[v | h_1] at the end of Gibbs chains that start from
    persistent states.

    Salakhutdinov and Hinton 2009 (algorithm 1, section 3.1, figure 4) and 2012; Montavon and Mueller 2012 (centring);
    Salakhutdinov and Murray 2008 (AIS).
    """

    hidden: Annotated[tuple[int, ...], Range(1), "units of the hidden layers, bottom up"] = (500, 1000)
    pretrain_epochs: Annotated[float, Range(0, open=True), "epochs of pretraining a layer"] = 20
    pretrain_rate: Annotated[
        float | Schedule | None,
        Range(0, open=True),
        "step size of pretraining (none: 0.1, of layers of over 500 units 50 / units)",
    ] = None
    k: Annotated[int, Range(1), "Gibbs sweeps per update"] = 5
    n_chains: Annotated[int, Range(1), "persistent chains"] = 100
    n_mean_field: Annotated[int, Range(1), "mean-field steps"] = 10
    binarize: Annotated[bool, "draw binary pixels afresh from grey ones for each batch"] = True
    n_gibbs: Annotated[int, Range(1), "Gibbs sweeps of `sample` and `complete`"] = 200
    fine_tune: Annotated[float, Range(0), "epochs of back-propagation, where labels are given (0: none)"] = 0
    fine_tune_rate: Annotated[float | Schedule, Range(0, open=True), "its step size (Adam, no weight decay)"] = 1e-3
    dropout: Annotated[float, Range(0, 0.95), "probability to drop a hidden unit in back-propagation"] = 0.0
    optimizer: Annotated[OptimizerName, "optimiser of all stages but back-propagation"] = "momentum"
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = (
        "linear(0.03, 0, over=budget)"  # type: ignore[assignment]  # a schedule is written as text
    )
    momentum: Annotated[float | Schedule, Range(0, 1), "of momentum and nesterov, or its schedule in images"] = 0.5

    family: ClassVar[str] = "energy"
    paper: ClassVar[str] = "Salakhutdinov and Hinton 2009"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mnist-500-1000": {
            "pretrain_epochs": 15, "epochs": 80, "learning_rate": "linear(0.01, 0, over=4.26e6)",
            "momentum": "linear(0.5, 0.9, over=3e5)", "weight_decay": 2e-4,
            "fine_tune": 20, "fine_tune_rate": "linear(0.001, 0, over=1.06e6)", "dropout": 0.5,
        },
        "tiny": {"hidden": (12, 10), "pretrain_epochs": 1, "n_chains": 20, "n_gibbs": 5, "fine_tune": 1, "epochs": 2},
    }  # fmt: skip
    _uses_labels: ClassVar[bool] = True

    @property
    def _n_features_out(self) -> int:
        return self.hidden[-1]

    def _build(self, shape: Shape, rng: torch.Generator) -> DBMNets:
        if not self.hidden:
            raise ValueError("hidden is empty, expected the units of one layer at least, such as 500,1000")
        sizes = (math.prod(shape), *self.hidden)
        return DBMNets(
            dbm=DeepBoltzmann(sizes, rng),
            chains=Chains(self.n_chains, sum(sizes[1::2])),
            mlp=MeanFieldMLP(sizes, self._n_classes, self.dropout) if self._classifies else None,
        )

    @property
    def _classifies(self) -> bool:
        return self.fine_tune > 0 and self._n_classes > 0

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        stages = greedy(
            len(self.hidden),
            Budget(epochs=self.pretrain_epochs),
            lambda i: self._optimizer(lr=layer_rate(self.pretrain_rate, self.hidden[i])),
            name=lambda i: f"rbm{i + 1}",
            owns=lambda i: (f"dbm.W.{i}", f"dbm.b.{i}", f"dbm.below.{i - 1}" if i else "dbm.a"),
            loss=self._cd,
            start=self._start_layer,
            prepare=self._upward,
        )
        dbm = Player("dbm", ("dbm.W", "dbm.a", "dbm.b"), self._loss, self._optimizer())
        stages.append(Stage("joint", [dbm], self._budget(), start=self._start))
        if self._classifies:
            adam = self._optimizer(name="adam", lr=self.fine_tune_rate, weight_decay=0.0)
            mlp = Player("mlp", ("mlp",), self._cross_entropy, adam)
            budget = Budget(epochs=self.fine_tune)
            stages.append(Stage("labels", [mlp], budget, start=self._start_mlp, prepare=self._with_means, labelled=1.0))
        return stages

    # --- pretraining of layer i, the RBM between x_i and x_{i+1}

    def _start_layer(self, i: int, nets: DBMNets, stream: Stream, rng: Rng) -> None:
        """The lower biases start at the mean of what the RBM will see."""
        net = nets.dbm

        def means(x: Tensor) -> Tensor:
            x = x.flatten(1)
            for m in range(1, i + 1):
                x = net.up(m, x)
            return x

        bias = net.below[i - 1] if i else net.a
        mean = stream.mean(means).clamp(0.01, 0.99)
        bias.copy_(mean.logit())
        net.center.split(net.sizes)[i].copy_(mean)
        if i == 0:
            net.a_base.copy_(net.a)

    def _upward(self, i: int, nets: DBMNets, batch: Batch, rng: Rng) -> Batch:
        """Binary states of the layer below, drawn bottom up."""
        x = self._binary(batch.x.flatten(1), rng)
        for m in range(1, i + 1):
            x = bernoulli(nets.dbm.up(m, x), rng)
        return batch._replace(x=x)

    @staticmethod
    def _cd(i: int, nets: DBMNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """CD-1 with doubled inputs (2009, section 3.1), the gradient of centred lower units.

        Where units see v twice, their bias makes up for twice the step of W: to the centred machine it is W / 2.
        """
        net = nets.dbm
        with torch.no_grad():
            p = net.up(i + 1, batch.x)
            low = bernoulli(net.down(i + 1, bernoulli(p, rng)), rng)
            p_model = net.up(i + 1, low)
        biases = [net.below[i - 1] if i else net.a, net.b[i]]
        centers, times = [net.center.split(net.sizes)[i], None], 1 if i + 1 == net.top else 2
        return times * energy_difference([net.W[i] / times], biases, [batch.x, p], [low, p_model], centers), {}

    # --- all layers

    def _start(self, nets: DBMNets, stream: Stream, rng: Rng) -> None:
        """Compose the machine."""
        net = nets.dbm
        net.compose()
        nets.chains.start(rng)
        net.center.copy_(stream.mean(lambda x: torch.cat(net.mean_field(x, self.n_mean_field), 1)))

    def _loss(self, nets: DBMNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """E(v, mu) - E(v~, h~), whose gradient is that of minus the bound (2009, algorithm 1), centred."""
        net = nets.dbm
        with torch.no_grad():
            data = net.mean_field(self._binary(batch.x, rng), self.n_mean_field)
            model, _ = after(self.k, dbm_chain(net, net.unpack(nets.chains.mine(rng)), rng))
            # The odd layers enter by their means given the even ones, and go on as draws.
            model[1::2] = [net.mean(i, model) for i in range(1, net.top + 1, 2)]
            nets.chains.keep(bernoulli(torch.cat(model[1::2], 1), rng))
            update_mean(net.center, torch.cat([layer.mean(0) for layer in data]), CENTER_RATE)
        return energy_difference(list(net.W), [net.a, *net.b], data, model, net.center.split(net.sizes)), {}

    def _binary(self, x: Tensor, rng: Rng) -> Tensor:
        return bernoulli(x, rng) if self.binarize else x

    # --- back-propagation

    @staticmethod
    def _start_mlp(nets: DBMNets, stream: Stream, rng: Rng) -> None:
        nets.mlp.start(nets.dbm)

    def _with_means(self, nets: DBMNets, batch: Batch, rng: Rng) -> Batch:
        return batch._replace(x=self._inputs(nets, batch.x))

    def _inputs(self, nets: DBMNets, x: Tensor) -> Tensor:
        """[v, q(h_2 | v), .., q(h_L | v)] by mean field [B, D + H_2 + ..]."""
        v, _, *q = nets.dbm.mean_field(x, self.n_mean_field)
        return torch.cat([v, *q], 1)

    @staticmethod
    def _cross_entropy(nets: DBMNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        assert batch.y is not None
        return label_loss(nets.mlp(batch.x, rng), batch.y, rng), {}

    @available_if(lambda self: self.fine_tune > 0)
    def _classify(self, nets: DBMNets, x: Tensor) -> Tensor:
        return log_softmax(nets.mlp(self._inputs(nets, x)), 1)

    # --- capabilities

    @property
    def _n_steps(self) -> int:
        return self.n_gibbs

    def _chain(self, nets: DBMNets, n: int, rng: torch.Generator, x: Tensor | None = None) -> Iterator[Tensor]:
        """E[v | h_1] of Gibbs sampling, from persistent states."""
        net = nets.dbm
        start = net.unpack(nets.chains.draw(n, rng)) if x is None else dbm_start(net, bernoulli(x.flatten(1), rng), rng)
        # The first step draws the even layers only.
        return (mean for _, mean in islice(dbm_chain(net, start, rng), 1, None))

    def _complete(self, nets: DBMNets, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """E[v | h_1] where pixels are not known, at the end of a Gibbs chain in which the known ones stay."""
        net, v, known = nets.dbm, x.flatten(1), known.flatten(1)
        start = dbm_start(net, torch.where(known, v, net.a_base.sigmoid()), rng)
        start[0] = v
        _, mean = after(self.n_gibbs + 1, dbm_chain(net, start, rng, known))
        return torch.where(known, v, mean).view_as(x)

    def _encode(self, nets: DBMNets, x: Tensor) -> Tensor:
        return nets.dbm.mean_field(x, self.n_mean_field)[-1]

    def _score_kind(self, nets: DBMNets) -> ScoreKind:
        return "lower bound" if nets.dbm.enumerable else "estimate of a bound"

    def _scorer(self, nets: DBMNets) -> Callable[[Tensor], Tensor]:
        net = nets.dbm
        log_z = net.log_partition(schedule(1000)).value
        return lambda x: net.bound(net.mean_field(x, self.n_mean_field), log_z)

    def _likelihoods(self, nets: DBMNets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        net = nets.dbm
        values = torch.cat([net.bound(net.mean_field(rows, self.n_mean_field), 0.0) for rows in x.split(ROWS)])
        log_z = net.log_partition(salakhutdinov(), make_rng(0, x.device), nets.chains.states, settling(values))
        values = values - log_z.value
        return {"bound": Likelihood(values, self._score_kind(nets), log_z.shift, notes=log_z.notes)}
