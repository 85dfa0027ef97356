"""The deep belief network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from genlearn._types import Batch, Likelihood, Logs, Nets, ScoreKind
from genlearn.capabilities import Encoder
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.contrastive import contrast
from genlearn.losses.elbo import log_bernoulli
from genlearn.maths.ais import salakhutdinov, schedule
from genlearn.maths.partition import settling
from genlearn.maths.rng import Rng, bernoulli, make_rng, uniform
from genlearn.models.stack import greedy, layer_rate
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.deep_belief import DeepBelief
from genlearn.parameters import Range
from genlearn.samplers import after, from_hidden, rbm_chain
from genlearn.train import Budget, OptimizerName, Player, Schedule, Stage, Stream

N_DRAWS = 16


class DBNNets(Nets):
    """The network."""

    dbn: DeepBelief


@dataclass(kw_only=True, eq=False, repr=False)
class DBN(Encoder, GenerativeEstimator):
    """Deep belief network: directed layers of sigmoid units under an RBM, which sees the label too, where there is one.

    Each layer is first learned as an RBM by CD on the states of the one below (`pretrain_*`); then recognition and
    generative weights part, and the up-down algorithm tunes all of them (epochs, learning_rate): wake, the images drive
    the recognition weights and the generative ones learn to give the states back; the top RBM takes `top_steps` Gibbs
    steps; sleep, its dream falls to the pixels and the recognition weights learn its causes. One player, one loss.
    `centred`: weights that multiply a layer x from below learn as those of x less its mean do, so that units live on
    bright images as on dark ones; only the lower side is centred, for hidden units that stay sparse.

    `predict` compares the free energies of the labels at the top; `sample(y=...)` holds the label for `n_gibbs` steps
    of the top RBM; `transform` gives the top means. `score_samples` is the variational bound, by the mean of 16 draws
    of q with fixed noise, which is right on average; log Z of the top RBM is exact where it has at most 20 hidden
    units, else by AIS.

    Hinton, Osindero and Teh 2006 (appendix B); Salakhutdinov and Murray 2008, section 5 (the bound).
    """

    hidden: Annotated[tuple[int, ...], Range(1), "units of the hidden layers, bottom up"] = (500, 500, 2000)
    pretrain_epochs: Annotated[float, Range(0, open=True), "epochs of contrastive divergence a layer"] = 20
    pretrain_rate: Annotated[
        float | Schedule | None,
        Range(0, open=True),
        "step size of contrastive divergence (none: 0.1, of layers of over 500 units 50 / units)",
    ] = None
    k: Annotated[int, Range(1), "Gibbs steps of contrastive divergence"] = 1
    transpose: Annotated[bool, "start a layer as the one below upside down, where its size allows"] = False
    top_steps: Annotated[
        int | Schedule, Range(1), "Gibbs steps at the top in up-down, or their schedule in images (rounded)"
    ] = 10
    centred: Annotated[bool, "the gradient of centred lower units"] = True
    binarize: Annotated[bool, "draw binary pixels afresh from grey ones for each batch"] = True
    n_gibbs: Annotated[int, Range(1), "Gibbs steps at the top of `sample`"] = 1000
    optimizer: Annotated[OptimizerName, "optimiser of all stages"] = "momentum"
    learning_rate: Annotated[
        float | Schedule, Range(0, open=True), "step size of up-down, or its schedule in images"
    ] = "linear(0.05, 0, over=budget)"  # type: ignore[assignment]  # a schedule is written as text
    momentum: Annotated[float | Schedule, Range(0, 1), "of momentum and nesterov, or its schedule in images"] = 0.9

    family: ClassVar[str] = "energy"
    paper: ClassVar[str] = "Hinton, Osindero and Teh 2006"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mnist-500-500-2000": {
            "centred": False, "pretrain_rate": 0.05, "pretrain_epochs": 15, "epochs": 40,
            "top_steps": "linear(3, 25, over=2.1e6)", "learning_rate": "linear(0.02, 0, over=2.1e6)",
        },
        "tiny": {"hidden": (24, 12), "pretrain_epochs": 1, "learning_rate": 0.2, "n_gibbs": 5, "epochs": 2},
    }  # fmt: skip
    _uses_labels: ClassVar[bool] = True

    @property
    def _n_features_out(self) -> int:
        return self.hidden[-1]

    def _build(self, shape: Shape, rng: torch.Generator) -> DBNNets:
        return DBNNets(dbn=DeepBelief((math.prod(shape), *self.hidden), rng, self._n_classes))

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        n = len(self.hidden)
        stages = greedy(
            n,
            Budget(epochs=self.pretrain_epochs),
            lambda i: self._optimizer(lr=layer_rate(self.pretrain_rate, self.hidden[i])),
            name=lambda i: f"rbm{i + 1}",
            owns=lambda i: ("dbn.top" if i + 1 == n else f"dbn.layers.{i}",),
            loss=self._divergence,
            start=self._start,
            prepare=self._prepare,
        )
        owns = [f"dbn.layers.{i}.{p}" for i in range(n - 1) for p in "Wa"] + ["dbn.top", *(["dbn.up"] if n > 1 else [])]
        player = Player("dbn", tuple(owns), self._up_down, self._optimizer())
        return [*stages, Stage("up-down", [player], self._budget())]

    # --- layer by layer

    def _start(self, i: int, nets: DBNNets, stream: Stream, rng: Rng) -> None:
        net, rbm = nets.dbn, nets.dbn.rbm(i)
        if i:
            net.untie(i - 1)
        rbm.fit_biases(stream.mean(lambda x: net.ascend(x, i)))
        if self.transpose and i:
            below = net.rbm(i - 1)
            if below.W.shape == (rbm.W.shape[1], rbm.n_pixels):
                rbm.W[: rbm.n_pixels] = below.W.T
                rbm.a[: rbm.n_pixels] = below.b
                rbm.b.copy_(below.a)

    def _prepare(self, i: int, nets: DBNNets, batch: Batch, rng: Rng) -> Batch:
        """Binary states of the layer below, drawn bottom up."""
        x = self._binary(batch.x.flatten(1), rng)
        for j in range(i):
            x = bernoulli(nets.dbn.q(j, x), rng)
        return batch._replace(x=x)

    def _binary(self, x: Tensor, rng: Rng) -> Tensor:
        return bernoulli(x, rng) if self.binarize else x

    def _divergence(self, i: int, nets: DBNNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        return self._contrast(nets.dbn.rbm(i), batch.x, batch.y, self.k, rng)[0], {}

    def _contrast(
        self, rbm: RestrictedBoltzmann, x: Tensor, y: Tensor | None, k: int, rng: Rng
    ) -> tuple[Tensor, Tensor]:
        """CD-k of an RBM on x and, at the top, labels (drawn where unknown); the states of x it ends with."""
        with torch.no_grad():
            x = rbm.with_drawn_label(x, rng, y)
            p = rbm.p_hidden(x)
            model, p_model = from_hidden(rbm, bernoulli(p, rng), k, rng)
            centre = (rbm.base_mean(), None) if self.centred else None
        return contrast(rbm, (x, p), (model, p_model), centre=centre), model[:, : rbm.n_pixels]

    # --- up-down

    def _up_down(self, nets: DBNNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """-log p(x_i | x_{i+1}) of states drawn by q, CD-k at the top, and -log q(x_{i+1} | x_i) of its dream."""
        net = nets.dbn
        with torch.no_grad():
            v = self._binary(batch.x.flatten(1), rng)
            wake = [v, *net.recognise(v, rng)]
        steps = round(Schedule.parse(self.top_steps)(batch.seen))
        top, x = self._contrast(net.top, wake[-1], batch.y, steps, rng)
        with torch.no_grad():
            dream = net.generate(x, rng)
            dream[0] = self._binary(dream[0], rng) if len(dream) > 1 else dream[0]
        loss = top
        recognise = net.centred_inputs if self.centred else lambda i, x: net.up[i](x)
        for i in range(len(net.up)):
            down = torch.addmm(net.layers[i].a, wake[i + 1], net.layers[i].W.T)
            causes = log_bernoulli(dream[i + 1], recognise(i, dream[i])).mean()
            loss = loss - log_bernoulli(wake[i], down).mean() - causes
        return loss, {"top": top}

    # --- capabilities

    def _sample(self, nets: DBNNets, n: int, rng: torch.Generator) -> Tensor:
        return self._dream(nets, n, rng)

    def _sample_class(self, nets: DBNNets, y: Tensor, rng: torch.Generator) -> Tensor:
        return self._dream(nets, len(y), rng, y)

    def _dream(self, nets: DBNNets, n: int, rng: torch.Generator, y: Tensor | None = None) -> Tensor:
        """E[v | x_1] after n_gibbs steps of the top RBM, from the mean activity of its lower side."""
        net = nets.dbn
        top = net.top
        x = top.sample_visible(top.base_mean().expand(n, -1), rng)
        known = None
        if y is not None:
            x = top.with_label(x[:, : top.n_pixels], y)
            known = torch.arange(x.shape[1], device=x.device).ge(top.n_pixels).expand_as(x)
        x, mean = after(self.n_gibbs, rbm_chain(top, x, rng, known))
        return net.generate((x if len(net.layers) else mean)[:, : top.n_pixels], rng)[0]

    def _complete(self, nets: DBNNets, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Up by q and down again, the known pixels put back each time: approximate, as q is."""
        net = nets.dbn
        v, known = x.flatten(1), known.flatten(1)
        filled = torch.where(known, v, net.rbm(0).base_mean()[: v.shape[1]])
        for _ in range(self.n_gibbs):
            top = net.recognise(bernoulli(filled, rng), rng)[-1] if len(net.layers) else bernoulli(filled, rng)
            filled = torch.where(known, v, self._resample(net, top, rng))
        return filled

    def _resample(self, net: DeepBelief, x: Tensor, rng: torch.Generator) -> Tensor:
        x = net.top.with_drawn_label(x, rng)
        mean = net.top.mean_visible(bernoulli(net.top.p_hidden(x), rng))[:, : net.top.n_pixels]
        return net.generate(bernoulli(mean, rng) if len(net.layers) else mean, rng)[0]

    def _encode(self, nets: DBNNets, x: Tensor) -> Tensor:
        net = nets.dbn
        return net.top.p_hidden_pixels(net.ascend(x, len(net.layers)))

    def _decode(self, nets: DBNNets, z: Tensor) -> Tensor:
        """Means all the way down."""
        net = nets.dbn
        x = net.top.mean_visible(z)[:, : net.top.n_pixels]
        for i in reversed(range(len(net.layers))):
            x = net.layers[i].mean_visible(x)
        return x

    def _classify(self, nets: DBNNets, x: Tensor) -> Tensor:
        net = nets.dbn
        return log_softmax(net.top.label_logits(net.ascend(x, len(net.layers))), 1)

    def _score_kind(self, nets: DBNNets) -> ScoreKind:
        return "lower bound" if nets.dbn.top.enumerable else "estimate of a bound"

    def _noise(self, rows: int, rng: torch.Generator) -> list[Tensor]:
        return [uniform((N_DRAWS, rows, n), rng, self._dtype) for n in self.hidden[:-1]]

    def _scorer(self, nets: DBNNets) -> Callable[[Tensor], Tensor]:
        net = nets.dbn
        log_z = net.top.log_partition(schedule(1000)).value
        noise = self._noise(1, make_rng(0, net.top.W.device))
        return lambda x: net.bound(x, log_z, noise)

    def _likelihoods(self, nets: DBNNets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        net = nets.dbn
        v = x.flatten(1)
        start = bernoulli(net.ascend(v[:100], len(net.layers)), rng)
        values = torch.cat([net.bound(rows, 0.0, self._noise(len(rows), rng)) for rows in v.split(500)])
        log_z = net.top.log_partition(salakhutdinov(), make_rng(0, v.device), start, settling(values))
        values = values - log_z.value
        return {"bound": Likelihood(values, self._score_kind(nets), log_z.shift, notes=log_z.notes)}
