"""The deep Boltzmann machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.metaestimators import available_if
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from genlearn._types import Batch, Likelihood, Logs, Nets, ScoreKind
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.maths.ais import salakhutdinov, schedule
from genlearn.maths.rng import Rng, bernoulli, make_rng
from genlearn.models.stack import label_loss
from genlearn.nets.deep_boltzmann import DeepBoltzmann, MeanFieldMLP
from genlearn.parallel import average, gather_rows, world
from genlearn.parameters import Range
from genlearn.train import Budget, OptimizerName, Player, Schedule, Stage, Stream

ROWS = 1000
CENTER_RATE = 0.01


@dataclass(kw_only=True, eq=False, repr=False)
class DBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, GenerativeEstimator):  # type: ignore[misc]
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
    pretrain_rate: Annotated[float | Schedule, Range(0, open=True), "step size of pretraining"] = 0.05
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
        "inverse(0.03, half_life=3e5)"  # type: ignore[assignment]
    )
    momentum: Annotated[float | Schedule, Range(0, 1), "of momentum and nesterov, or its schedule in images"] = 0.5

    family: ClassVar[str] = "energy"
    paper: ClassVar[str] = "Salakhutdinov and Hinton 2009"
    _uses_labels: ClassVar[bool] = True

    @property
    def _n_features_out(self) -> int:
        return self.hidden[-1]

    def _build(self, shape: Shape, rng: torch.Generator) -> Nets:
        if not self.hidden:
            raise ValueError("hidden is empty, expected the units of one layer at least, such as 500,1000")
        if self.n_chains % world()[1]:
            raise ValueError(f"n_chains is {self.n_chains}, expected a multiple of the {world()[1]} processes")
        sizes = (math.prod(shape), *self.hidden)
        nets = nn.ModuleDict({"dbm": DeepBoltzmann(sizes, rng, self.n_chains)})
        if self._classifies:
            nets["mlp"] = MeanFieldMLP(sizes, self._n_classes, 1 - self.dropout)
        return nets

    @property
    def _classifies(self) -> bool:
        return self.fine_tune > 0 and self._n_classes > 0

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        stages = []
        for i in range(1, len(self.hidden) + 1):
            owns = (f"dbm.W.{i - 1}", f"dbm.b.{i - 1}", "dbm.a" if i == 1 else f"dbm.below.{i - 2}")
            rbm = Player(f"rbm{i}", owns, partial(self._cd, i), self._optimizer(lr=self.pretrain_rate))
            budget = Budget(epochs=self.pretrain_epochs)
            start, prepare = partial(self._start_layer, i), partial(self._upward, i)
            stages.append(Stage(f"layer {i}", [rbm], budget, start=start, prepare=prepare))
        dbm = Player("dbm", ("dbm.W", "dbm.a", "dbm.b"), self._loss, self._optimizer())
        stages.append(Stage("joint", [dbm], self._budget(), start=self._start))
        if self._classifies:
            adam = self._optimizer(name="adam", lr=self.fine_tune_rate, weight_decay=0.0)
            mlp = Player("mlp", ("mlp",), self._cross_entropy, adam)
            budget = Budget(epochs=self.fine_tune)
            stages.append(
                Stage("labels", [mlp], budget, start=self._start_mlp, prepare=self._with_means, labelled=True)
            )
        return stages

    # --- pretraining of layer i, the RBM between x_{i-1} and x_i

    def _start_layer(self, i: int, nets: Nets, stream: Stream, rng: Rng) -> None:
        """The lower biases start at the mean of what the RBM will see."""
        net: DeepBoltzmann = nets["dbm"]  # type: ignore[assignment]
        if i == 1:
            net.a.copy_(stream.mean().flatten().clamp(0.01, 0.99).logit())
            net.a_base.copy_(net.a)
            return

        def means(x: Tensor) -> Tensor:
            x = x.flatten(1)
            for m in range(1, i):
                x = net.up(m, x)
            return x

        net.below[i - 2].copy_(stream.mean(means).clamp(0.01, 0.99).logit())

    def _upward(self, i: int, nets: Nets, batch: Batch, rng: Rng) -> Batch:
        """Binary states of the layer below i, drawn bottom up."""
        net: DeepBoltzmann = nets["dbm"]  # type: ignore[assignment]
        x = self._binary(batch.x.flatten(1), rng)
        for m in range(1, i):
            x = bernoulli(net.up(m, x), rng)
        return Batch(x)

    def _cd(self, i: int, nets: Nets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """CD-1 with doubled inputs (2009, section 3.1)."""
        net: DeepBoltzmann = nets["dbm"]  # type: ignore[assignment]
        with torch.no_grad():
            p = net.up(i, batch.x)
            low = bernoulli(net.down(i, bernoulli(p, rng)), rng)
            p_model = net.up(i, low)
        biases = [net.a if i == 1 else net.below[i - 2], net.b[i - 1]]
        return energy_difference([net.W[i - 1]], biases, [batch.x, p], [low, p_model]), {}

    # --- all layers

    def _start(self, nets: Nets, stream: Stream, rng: Rng) -> None:
        """Compose the machine; chains start at fair coins, not at images, to meet what mass there is elsewhere."""
        net: DeepBoltzmann = nets["dbm"]  # type: ignore[assignment]
        net.compose()
        net.chain.uniform_(generator=rng).lt_(0.5)
        net.center.copy_(stream.mean(lambda x: torch.cat(net.mean_field(x, self.n_mean_field), 1)))

    def _loss(self, nets: Nets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """E(v, mu) - E(v~, h~), whose gradient is that of minus the bound (2009, algorithm 1), centred."""
        net: DeepBoltzmann = nets["dbm"]  # type: ignore[assignment]
        with torch.no_grad():
            data = net.mean_field(self._binary(batch.x, rng), self.n_mean_field)
            model = net.unpack(net.chain.chunk(rng.world)[rng.rank])
            for _ in range(self.k - 1):
                net.draw(model, 0, rng)
                net.draw(model, 1, rng)
            net.draw(model, 0, rng)
            # The odd layers enter by their means given the even ones, and go on as draws.
            model[1::2] = [net.mean(i, model) for i in range(1, net.top + 1, 2)]
            net.chain.copy_(gather_rows(bernoulli(torch.cat(model[1::2], 1), rng)))
            (means,) = average([torch.cat([layer.mean(0) for layer in data])])
            net.center.lerp_(means, CENTER_RATE)
        return energy_difference(list(net.W), [net.a, *net.b], data, model, net.center.split(net.sizes)), {}

    def _binary(self, x: Tensor, rng: Rng) -> Tensor:
        return bernoulli(x, rng) if self.binarize else x

    # --- back-propagation

    @staticmethod
    def _start_mlp(nets: Nets, stream: Stream, rng: Rng) -> None:
        nets["mlp"].start(nets["dbm"])  # type: ignore[operator]

    def _with_means(self, nets: Nets, batch: Batch, rng: Rng) -> Batch:
        return Batch(self._inputs(nets, batch.x), batch.y)

    def _inputs(self, nets: Nets, x: Tensor) -> Tensor:
        """[v, q(h_2 | v), .., q(h_L | v)] by mean field [B, D + H_2 + ..]."""
        v, _, *q = nets["dbm"].mean_field(x, self.n_mean_field)  # type: ignore[operator]
        return torch.cat([v, *q], 1)

    @staticmethod
    def _cross_entropy(nets: Nets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        assert batch.y is not None
        return label_loss(nets["mlp"](batch.x, rng), batch.y, rng), {}

    @available_if(lambda self: self.fine_tune > 0)  # type: ignore[untyped-decorator]
    def _classify(self, nets: Nets, x: Tensor) -> Tensor:
        return log_softmax(nets["mlp"](self._inputs(nets, x)), 1)

    # --- capabilities

    def _sample(self, nets: Nets, n: int, rng: torch.Generator) -> Tensor:
        net: DeepBoltzmann = nets["dbm"]  # type: ignore[assignment]
        x = net.unpack(net.chain[torch.randint(len(net.chain), (n,), generator=rng, device=rng.device)])
        for _ in range(self.n_gibbs):
            net.draw(x, 0, rng)
            net.draw(x, 1, rng)
        return net.mean(0, x)

    def _complete(self, nets: Nets, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """E[v | h_1] where pixels are not known, at the end of a Gibbs chain in which the known ones stay."""
        net: DeepBoltzmann = nets["dbm"]  # type: ignore[assignment]
        v, known = x.flatten(1), known.flatten(1)
        state = net.mean_field(torch.where(known, v, net.a_base.sigmoid()), 1)
        for _ in range(self.n_gibbs):
            net.draw(state, 1, rng)
            net.draw(state, 0, rng)
            state[0] = torch.where(known, v, state[0])
        net.draw(state, 1, rng)
        return torch.where(known, v, net.mean(0, state)).view_as(x)

    def _encode(self, nets: Nets, x: Tensor) -> Tensor:
        return nets["dbm"].mean_field(x, self.n_mean_field)[-1]  # type: ignore[operator,no-any-return]

    def _score_kind(self, nets: Nets) -> ScoreKind:
        return "lower bound"

    def _scorer(self, nets: Nets) -> Callable[[Tensor], Tensor]:
        net: DeepBoltzmann = nets["dbm"]  # type: ignore[assignment]
        log_z = net.log_partition(schedule(1000)).value
        return lambda x: net.bound(net.mean_field(x, self.n_mean_field), log_z)

    def _likelihoods(self, nets: Nets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        net: DeepBoltzmann = nets["dbm"]  # type: ignore[assignment]
        log_z = net.log_partition(salakhutdinov(), make_rng(0, x.device), start=net.chain)
        v = bernoulli(x.flatten(1), rng)
        values = torch.cat([net.bound(net.mean_field(rows, self.n_mean_field), log_z.value) for rows in v.split(ROWS)])
        return {"bound": Likelihood(values, "lower bound", log_z.shift, notes=log_z.notes)}


def energy_difference(
    W: Sequence[Tensor],
    b: Sequence[Tensor],
    data: Sequence[Tensor],
    model: Sequence[Tensor],
    centers: Sequence[Tensor] | None = None,
) -> Tensor:
    """mean E(data) - mean E(model) of states [x_0 .. x_L], with its gradient in the weights and biases.

    E is linear in them: the difference is their product with the difference of the statistics,

        d/dW_i = <x_{i-1} x_i>_model - <x_{i-1} x_i>_data,  d/db_i = <x_i>_model - <x_i>_data

    which costs one matrix product a layer and side, none for the value. W_i [H_{i-1}, H_i], b_i [H_i], x_i [B, H_i].

    With centers c_i [H_i] the gradient is taken in the machine whose energy is written in x_i - c_i, and mapped back:
    the same model and the same optima, but weights and biases no longer fight over the means (Montavon and Mueller
    2012; Melchior, Fischer and Wiskott 2016, section 4). The value is then no energy.
    """
    n, m = len(data[0]), len(model[0])
    total = torch.zeros((), dtype=b[0].dtype, device=b[0].device)
    # Under autocast the statistics stay in full precision: they are small differences of means.
    with torch.autocast(b[0].device.type, enabled=False):
        d = [y.mean(0) - x.mean(0) for x, y in zip(data, model, strict=True)]
        db = list(d)
        for i, w in enumerate(W):
            dw = (data[i].T @ data[i + 1]).addmm_(model[i].T, model[i + 1], beta=-1 / n, alpha=1 / m)
            if centers is not None:
                low, high = centers[i : i + 2]
                dw.addr_(low, d[i + 1], alpha=-1).addr_(d[i], high, alpha=-1)
                db[i] = db[i] - dw @ high
                db[i + 1] = db[i + 1] - low @ dw
            total = total + torch.dot(w.view(-1), dw.view(-1))
        for bias, db_i in zip(b, db, strict=True):
            total = total + bias @ db_i
    return total
