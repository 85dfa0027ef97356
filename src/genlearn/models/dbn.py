"""The deep belief network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Annotated, ClassVar

import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import Tensor, nn
from torch.nn.functional import log_softmax, softplus

from genlearn._types import Batch, Likelihood, Logs, Nets, ScoreKind
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.contrastive import contrast, from_hidden, remember, weigh
from genlearn.maths.ais import salakhutdinov, schedule
from genlearn.maths.rng import Rng, bernoulli, make_rng, one_of, uniform
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.deep_belief import DeepBelief
from genlearn.parameters import Range
from genlearn.samplers.gibbs import rbm_chain
from genlearn.train import Budget, OptimizerName, Player, Schedule, Stage, Stream

N_DRAWS = 16


@dataclass(kw_only=True, eq=False, repr=False)
class DBN(ClassNamePrefixFeaturesOutMixin, TransformerMixin, GenerativeEstimator):  # type: ignore[misc]
    """Deep belief network: directed layers of sigmoid units under an RBM, which sees the label too, where there is one.

    Each layer is first learned as an RBM by CD on the states of the one below (`pretrain_*`); then recognition and
    generative weights part, and the up-down algorithm tunes all of them (epochs, learning_rate): wake, the images drive
    the recognition weights and the generative ones learn to give the states back; the top RBM takes `top_steps` Gibbs
    steps; sleep, its dream falls to the pixels and the recognition weights learn its causes. One player, one loss.

    `predict` compares the free energies of the labels at the top; `sample(y=...)` holds the label for `n_gibbs` steps
    of the top RBM; `transform` gives the top means. `score_samples` is the variational bound, the mean of 16 draws of q
    with fixed noise; log Z of the top RBM is exact where it has at most 20 hidden units, else by AIS.

    Hinton, Osindero and Teh 2006 (appendix B); Salakhutdinov and Murray 2008, section 5 (the bound).
    """

    hidden: Annotated[tuple[int, ...], Range(1), "units of the hidden layers, bottom up"] = (500, 500, 2000)
    pretrain_epochs: Annotated[float, Range(0, open=True), "epochs of contrastive divergence a layer"] = 20
    pretrain_rate: Annotated[float | Schedule, Range(0, open=True), "step size of contrastive divergence"] = 0.05
    k: Annotated[int, Range(1), "Gibbs steps of contrastive divergence"] = 1
    transpose: Annotated[bool, "start a layer as the one below upside down, where its size allows"] = False
    top_steps: Annotated[int, Range(1), "Gibbs steps at the top in up-down"] = 10
    centred: Annotated[bool, "the gradient of centred units: a better bound, slower to learn labels"] = False
    binarize: Annotated[bool, "draw binary pixels afresh from grey ones for each batch"] = True
    n_gibbs: Annotated[int, Range(1), "Gibbs steps at the top of `sample`"] = 1000
    optimizer: Annotated[OptimizerName, "optimiser of all stages"] = "momentum"
    learning_rate: Annotated[
        float | Schedule, Range(0, open=True), "step size of up-down, or its schedule in images"
    ] = 0.02
    momentum: Annotated[float | Schedule, Range(0, 1), "of momentum and nesterov, or its schedule in images"] = 0.9

    family: ClassVar[str] = "energy"
    paper: ClassVar[str] = "Hinton, Osindero and Teh 2006"
    _uses_labels: ClassVar[bool] = True

    @property
    def _n_features_out(self) -> int:
        return self.hidden[-1]

    def _build(self, shape: Shape, rng: torch.Generator) -> Nets:
        return nn.ModuleDict({"dbn": DeepBelief((math.prod(shape), *self.hidden), rng, self._n_classes)})

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        n, optimizer = len(self.hidden), self._optimizer(lr=self.pretrain_rate)
        stages = []
        for i in range(n):
            rbm = "dbn.top" if i + 1 == n else f"dbn.layers.{i}"
            stages.append(
                Stage(
                    f"layer {i + 1}",
                    [Player(f"rbm{i + 1}", (rbm,), partial(self._divergence, i), optimizer)],
                    Budget(epochs=self.pretrain_epochs),
                    start=partial(self._start, i),
                    prepare=partial(self._prepare, i),
                )
            )
        owns = [f"dbn.layers.{i}.{p}" for i in range(n - 1) for p in "Wa"] + ["dbn.top", *(["dbn.up"] if n > 1 else [])]
        player = Player("dbn", tuple(owns), self._up_down, self._optimizer())
        return [*stages, Stage("up-down", [player], self._budget())]

    # --- layer by layer

    def _rbm(self, net: DeepBelief, i: int) -> RestrictedBoltzmann:
        return net.top if i + 1 == len(self.hidden) else net.layer(i)

    def _start(self, i: int, nets: Nets, stream: Stream, rng: Rng) -> None:
        net: DeepBelief = nets["dbn"]  # type: ignore[assignment]
        if i:
            net.untie(i - 1)
        rbm = self._rbm(net, i)
        rbm.fit_biases(stream.mean(lambda x: net.ascend(x, i)))
        if self.transpose and i:
            below = self._rbm(net, i - 1)
            if below.W.shape == (rbm.W.shape[1], rbm.n_pixels):
                rbm.W[: rbm.n_pixels] = below.W.T
                rbm.a[: rbm.n_pixels] = below.b
                rbm.b.copy_(below.a)

    def _prepare(self, i: int, nets: Nets, batch: Batch, rng: Rng) -> Batch:
        """Binary states of the layer below, drawn bottom up."""
        net: DeepBelief = nets["dbn"]  # type: ignore[assignment]
        x = self._binary(batch.x.flatten(1), rng)
        for j in range(i):
            x = bernoulli(net.q(j, x), rng)
        return Batch(x, batch.y)

    def _binary(self, x: Tensor, rng: Rng) -> Tensor:
        return bernoulli(x, rng) if self.binarize else x

    def _divergence(self, i: int, nets: Nets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        rbm = self._rbm(nets["dbn"], i)  # type: ignore[arg-type]
        return self._contrast(rbm, batch.x, batch.y, self.k, rng)[0], {}

    def _contrast(
        self, rbm: RestrictedBoltzmann, x: Tensor, y: Tensor | None, k: int, rng: Rng
    ) -> tuple[Tensor, Tensor]:
        """CD-k of an RBM on x and, at the top, labels (drawn where unknown); the states of x it ends with."""
        with torch.no_grad():
            if rbm.n_classes:
                assert y is not None
                label = one_of(rbm.label_logits(x).softmax(1), rng)
                x = torch.where((y < 0)[:, None], torch.cat([x, label], 1), rbm.with_label(x, y.clamp_min(0)))
            p = rbm.p_hidden(x)
            model, p_model = from_hidden(rbm, bernoulli(p, rng), k, rng)
            centre = (rbm.base_mean(), remember(rbm, p)) if self.centred else None
        states = torch.cat([x, model]), torch.cat([p, p_model])
        loss = contrast(rbm, *states, weigh(len(x), len(model), x), centre=centre)
        return loss, model[:, : rbm.n_pixels]

    # --- up-down

    def _up_down(self, nets: Nets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """-log p(x_i | x_{i+1}) of states drawn by q, CD-k at the top, and -log q(x_{i+1} | x_i) of its dream."""
        net: DeepBelief = nets["dbn"]  # type: ignore[assignment]
        with torch.no_grad():
            v = self._binary(batch.x.flatten(1), rng)
            wake = [v, *net.recognise(v, rng)]
        top, x = self._contrast(net.top, wake[-1], batch.y, self.top_steps, rng)
        with torch.no_grad():
            dream = net.generate(x, rng)
            dream[0] = self._binary(dream[0], rng) if len(dream) > 1 else dream[0]
        loss = top
        for i, up in enumerate(net.up):
            given = torch.addmm(net.layer(i).a, wake[i + 1], net.layer(i).W.T)
            loss = loss + surprise(wake[i], given) + surprise(dream[i + 1], up(dream[i]))
        return loss, {"top": top}

    # --- capabilities

    def _sample(self, nets: Nets, n: int, rng: torch.Generator) -> Tensor:
        return self._dream(nets, n, rng)

    def _sample_class(self, nets: Nets, y: Tensor, rng: torch.Generator) -> Tensor:
        return self._dream(nets, len(y), rng, y)

    def _dream(self, nets: Nets, n: int, rng: torch.Generator, y: Tensor | None = None) -> Tensor:
        """E[v | x_1] after n_gibbs steps of the top RBM, from the mean activity of its lower side."""
        net: DeepBelief = nets["dbn"]  # type: ignore[assignment]
        top = net.top
        x = top.sample_visible(top.base_mean().expand(n, -1), rng)
        known = None
        if y is not None:
            x = top.with_label(x[:, : top.n_pixels], y)
            known = torch.arange(x.shape[1], device=x.device).ge(top.n_pixels).expand_as(x)
        x, mean = next(islice(rbm_chain(top, x, rng, known), self.n_gibbs - 1, None))
        return net.generate((x if len(net.layers) else mean)[:, : top.n_pixels], rng)[0]

    def _complete(self, nets: Nets, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Up by q and down again, the known pixels put back each time: approximate, as q is."""
        net: DeepBelief = nets["dbn"]  # type: ignore[assignment]
        v, known = x.flatten(1), known.flatten(1)
        first: RestrictedBoltzmann = self._rbm(net, 0)
        filled = mean = torch.where(known, v, first.base_mean()[: v.shape[1]])
        for _ in range(self.n_gibbs):
            top = net.recognise(bernoulli(filled, rng), rng)[-1] if len(net.layers) else bernoulli(filled, rng)
            mean = self._resample(net, top, rng)
            filled = torch.where(known, v, mean)
        return filled

    def _resample(self, net: DeepBelief, x: Tensor, rng: torch.Generator) -> Tensor:
        if net.top.n_classes:
            x = torch.cat([x, one_of(net.top.label_logits(x).softmax(1), rng)], 1)
        mean = net.top.mean_visible(bernoulli(net.top.p_hidden(x), rng))[:, : net.top.n_pixels]
        return net.generate(bernoulli(mean, rng) if len(net.layers) else mean, rng)[0]

    def _encode(self, nets: Nets, x: Tensor) -> Tensor:
        net: DeepBelief = nets["dbn"]  # type: ignore[assignment]
        return net.top.p_hidden_pixels(net.ascend(x, len(net.layers)))

    def _decode(self, nets: Nets, z: Tensor) -> Tensor:
        """Means all the way down."""
        net: DeepBelief = nets["dbn"]  # type: ignore[assignment]
        x = net.top.mean_visible(z)[:, : net.top.n_pixels]
        for i in reversed(range(len(net.layers))):
            x = net.layer(i).mean_visible(x)
        return x

    def _classify(self, nets: Nets, x: Tensor) -> Tensor:
        net: DeepBelief = nets["dbn"]  # type: ignore[assignment]
        return log_softmax(net.top.label_logits(net.ascend(x, len(net.layers))), 1)

    def _score_kind(self, nets: Nets) -> ScoreKind:
        return "lower bound"

    def _noise(self, rows: int, rng: torch.Generator) -> list[Tensor]:
        return [uniform((N_DRAWS, rows, n), rng, self._dtype) for n in self.hidden[:-1]]

    def _scorer(self, nets: Nets) -> Callable[[Tensor], Tensor]:
        net: DeepBelief = nets["dbn"]  # type: ignore[assignment]
        log_z = net.top.log_partition(schedule(1000)).value
        noise = self._noise(1, make_rng(0, net.top.W.device))
        return lambda x: net.bound(x, log_z, noise)

    def _likelihoods(self, nets: Nets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        net: DeepBelief = nets["dbn"]  # type: ignore[assignment]
        v = bernoulli(x.flatten(1), rng)
        start = net.ascend(v[:100], len(net.layers))
        log_z = net.top.log_partition(salakhutdinov(), make_rng(0, v.device), bernoulli(start, rng))
        values = torch.cat([net.bound(rows, log_z.value, self._noise(len(rows), rng)) for rows in v.split(500)])
        return {"bound": Likelihood(values, "lower bound", log_z.shift, notes=log_z.notes)}


def surprise(x: Tensor, logits: Tensor) -> Tensor:
    """-log p(x) of binary units given their inputs, in nats a row: the mean over rows of sum softplus(z) - x z."""
    return (softplus(logits) - x * logits).sum(1).mean()
