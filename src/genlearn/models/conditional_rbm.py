"""The restricted Boltzmann machine with label units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from genlearn._types import Batch, Logs
from genlearn.maths.rng import Rng
from genlearn.models.rbm import RBM, RBMNets
from genlearn.models.stack import label_loss
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.parameters import Range
from genlearn.samplers import after, rbm_chain


@dataclass(kw_only=True, eq=False, repr=False)
class ConditionalRBM(RBM):
    """RBM of images and labels, E(v, y, h) = -a.v - c.y - b.h - v W h - y U h, y one-hot of K classes.

    p(y | v) is exact, softmax over y of c_y + sum_j log(1 + exp(b_j + (v W)_j + U_yj)). objective: joint learns p(v, y)
    by the `algorithm` of RBM, discriminative p(y | v) by its exact gradient, hybrid the sum, the joint part weighted by
    `alpha`. Labels of -1 are drawn from p(y | v) (joint), which gives the gradient of log p(v).

    `predict` classifies, `sample(y=...)` runs the Gibbs chain with the label held; scores are of v, y summed out.
    Without labels in `fit` it is an RBM.

    Larochelle and Bengio 2008; Hinton, Osindero and Teh 2006 (label units).
    """

    objective: Annotated[Literal["joint", "discriminative", "hybrid"], "what is learned of images and labels"] = "joint"
    alpha: Annotated[float, Range(0), "weight of the joint part (hybrid)"] = 0.1

    paper: ClassVar[str] = "Larochelle and Bengio 2008"
    _uses_labels: ClassVar[bool] = True

    @property
    def _n_units(self) -> int:
        return self._n_classes

    def check_parameters(self) -> None:
        """As for an RBM; label units go with binary pixels, and not with every estimator."""
        super().check_parameters()
        if self.visible == "gaussian" or self.algorithm in ("parallel-tempering", "score-matching"):
            raise ValueError(
                f"visible is {self.visible!r} and algorithm {self.algorithm!r}, expected binary units and cd, "
                "pcd or nce beside label units; the usual fix is the model rbm"
            )
        if self.objective == "discriminative" and self.algorithm == "nce":
            raise ValueError(
                "algorithm is 'nce' with objective 'discriminative', which has no log Z to learn; "
                "the usual fix is objective='hybrid'"
            )

    def _states(self, net: RestrictedBoltzmann, batch: Batch, rng: Rng) -> Tensor:
        return net.with_drawn_label(super()._states(net, batch, rng), rng, batch.y)

    def _loss(self, nets: RBMNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        if self.objective == "joint" or not nets.rbm.n_classes:
            return super()._loss(nets, batch, rng)
        assert batch.y is not None
        v = super()._states(nets.rbm, batch, rng)
        loss = label_loss(nets.rbm.label_logits(v), batch.y, rng)
        if self.objective == "discriminative":
            return loss, {}
        joint, _ = super()._loss(nets, batch, rng)
        return loss + self.alpha * joint, {"discriminative": loss, "joint": joint}

    def _classify(self, nets: RBMNets, x: Tensor) -> Tensor:
        return log_softmax(nets.rbm.label_logits(x.flatten(1)), 1)

    def _encode(self, nets: RBMNets, x: Tensor) -> Tensor:
        return nets.rbm.p_hidden_pixels(x.flatten(1))

    def _sample_class(self, nets: RBMNets, y: Tensor, rng: torch.Generator) -> Tensor:
        """As `_sample`, with the label held, from pixels at the rates of the data."""
        net = nets.rbm
        v = net.sample_visible(net.base_mean().expand(len(y), -1), rng)[:, : net.n_pixels]
        v = net.with_label(v, y)
        known = torch.arange(v.shape[1], device=v.device).ge(net.n_pixels).expand_as(v)
        _, mean = after(self.n_gibbs, rbm_chain(net, v, rng, known))
        return mean[:, : net.n_pixels]
