"""The generative adversarial net."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from genlearn._types import Batch, Logs, Nets
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.adversarial import GeneratorLoss, discriminator_loss, generator_loss
from genlearn.maths.penalties import squared_gradient_norm
from genlearn.maths.rng import Rng
from genlearn.nets.mlp import MLP, Activation, init_uniform
from genlearn.nets.priors import PRIORS, Prior
from genlearn.parameters import Range
from genlearn.train import OptimizerName, Player, Schedule, Stage, Stream


class GANNets(Nets):
    """Generator, discriminator, and the law of z."""

    G: nn.Sequential
    D: MLP
    prior: Prior


@dataclass(kw_only=True, eq=False, repr=False)
class GAN(GenerativeEstimator):
    """Generative adversarial net: G(z) against a discriminator D(x), algorithm 1 of Goodfellow et al. 2014.

    D descends -1/2 E[log D(x)] - 1/2 E[log(1 - D(G(z)))]; G descends -E[log D(G(z))] (non-saturating) or
    E[log(1 - D(G(z)))] (minimax). Play alternates, k steps of D and one of G, each on a fresh batch, or is
    simultaneous, from one forward pass (k = 1), as in the authors' code.

    A GAN has no likelihood: it has `sample` (and G(z) as `inverse_transform`), and is measured by samples. The preset
    "goodfellow-2014" is the recipe of the paper's MNIST figure. r1 adds r1 / 2 E ||grad_x logit(x)||^2 on data
    (Mescheder et al. 2018, equation 9); it is on by default, because without it D learns a small set by heart and G no
    longer learns anything.
    """

    n_latent: Annotated[int, Range(1), "dimensions of z"] = 100
    prior: Annotated[Literal["normal", "uniform"], "law of z; both have unit variance"] = "normal"
    hidden: Annotated[tuple[int, ...], Range(1), "hidden layers of G"] = (256, 256)
    hidden_d: Annotated[tuple[int, ...], Range(1), "hidden layers of D"] = (256, 256)
    activation: Annotated[Activation, "of the hidden layers of G"] = "relu"
    network_d: Annotated[Literal["mlp", "maxout"], "hidden layers of D: leaky ReLU or maxout"] = "mlp"
    pieces: Annotated[int, Range(1), "linear pieces of a maxout unit"] = 5
    input_dropout_d: Annotated[float, Range(0, 0.95), "probability to drop an input of D"] = 0.0
    dropout_d: Annotated[float, Range(0, 0.95), "probability to drop a hidden unit of D"] = 0.0
    output: Annotated[Literal["sigmoid", "linear"], "range of G: pixels in [0, 1] or any numbers"] = "sigmoid"
    loss: Annotated[GeneratorLoss, "what G descends"] = "non-saturating"
    k: Annotated[int, Range(1), "steps of D per step of G"] = 1
    order: Annotated[Literal["alternating", "simultaneous"], "order of play"] = "alternating"
    r1: Annotated[float, Range(0), "weight of the gradient penalty on data"] = 5.0
    init: Annotated[float, Range(0), "weights of G ~ U(-init, init) (0: torch's default)"] = 0.0
    init_d: Annotated[float, Range(0), "weights of D ~ U(-init, init) (0: torch's default)"] = 0.0
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = 5e-4
    betas: Annotated[tuple[float, ...], Range(0, 1), "decays of the moments of the Adam family"] = (0.5, 0.999)
    optimizer_d: Annotated[OptimizerName | None, "optimiser of D (none: as G)"] = None
    learning_rate_d: Annotated[float | Schedule | None, Range(0, open=True), "step size of D (none: as G)"] = None

    family: ClassVar[str] = "adversarial"
    paper: ClassVar[str] = "Goodfellow et al. 2014"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The rate halves every ln 2 / ln 1.000004 updates of 100 images; momentum rises over 250 epochs of 50,000.
        "goodfellow-2014": {
            "prior": "uniform",
            "hidden": (1200, 1200),
            "hidden_d": (240, 240),
            "network_d": "maxout",
            "pieces": 5,
            "input_dropout_d": 0.2,
            "dropout_d": 0.5,
            "r1": 0.0,
            "order": "simultaneous",
            "init": 0.05,
            "init_d": 0.005,
            "optimizer": "momentum",
            "learning_rate": f"exponential(0.1, half_life={100 * math.log(2) / math.log(1.000004):.0f}, floor=1e-6)",
            "momentum": "linear(0.5, 0.7, over=12500000)",
            "batch_size": 100,
        },
        "tiny": {"hidden": (16,), "hidden_d": (16,), "n_latent": 4, "epochs": 2},
    }

    @property
    def _pixels(self) -> bool:
        return self.output == "sigmoid"

    @property
    def _n_features_out(self) -> int:
        return self.n_latent

    def _prior(self) -> Prior:
        return PRIORS[self.prior](self.n_latent)

    def _build(self, shape: Shape, rng: torch.Generator) -> GANNets:
        d = math.prod(shape)
        G = nn.Sequential(MLP((self.n_latent, *self.hidden, d), self.activation))
        if self.output == "sigmoid":
            G.append(nn.Sigmoid())
        D = MLP(
            (d, *self.hidden_d, 1),
            "leaky_relu",
            pieces=self.pieces if self.network_d == "maxout" else 0,
            input_dropout=self.input_dropout_d,
            dropout=self.dropout_d,
        )
        for net, limit in ((G, self.init), (D, self.init_d)):
            if limit:
                init_uniform(net, limit, rng)
        return GANNets(G=G, D=D)

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        optimizer_d = {"name": self.optimizer_d or self.optimizer, "lr": self.learning_rate_d or self.learning_rate}
        players = [
            Player("D", ("D",), self._loss_d, self._optimizer(**optimizer_d), steps=self.k),
            Player("G", ("G",), self._loss_g, self._optimizer()),
        ]
        at_once = self.order == "simultaneous"
        joint = self._joint if at_once else None
        return [Stage("play", players, self._budget(), start=self._start, simultaneous=at_once, joint=joint)]

    def _start(self, nets: GANNets, stream: Stream, rng: Rng) -> None:
        """The output biases of G begin at the means of the pixels (their logits)."""
        mean = stream.mean().flatten()
        first: MLP = nets.G[0]  # type: ignore[assignment]
        first.out.bias.copy_(mean.clamp(1e-3, 1 - 1e-3).logit() if self.output == "sigmoid" else mean)

    def _penalty(self, nets: GANNets, x: Tensor) -> Tensor:
        return 0.5 * self.r1 * squared_gradient_norm(nets.D, x).mean()

    def _judge(self, nets: GANNets, x: Tensor, fake: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """The logits of data and of samples [B], by one pass of D over both, row beside row."""
        logits = nets.D(torch.stack([x, fake], 1).flatten(0, 1), rng).view(-1, 2)
        return logits[:, 0], logits[:, 1]

    def _d_terms(self, nets: GANNets, x: Tensor, real: Tensor, false: Tensor) -> tuple[Tensor, Logs]:
        loss = discriminator_loss(real, false)
        if self.r1:
            loss = loss + self._penalty(nets, x)
        # The shares of data and of samples that D takes for what they are.
        return loss, {"right on data": (real > 0).float().mean(), "right on samples": (false < 0).float().mean()}

    def _loss_d(self, nets: GANNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        x = batch.x.flatten(1)
        fake = self._fake(nets, len(x), rng)
        return self._d_terms(nets, x, *self._judge(nets, x, fake, rng))

    def _loss_g(self, nets: GANNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        return generator_loss(nets.D(self._fake(nets, len(batch.x), rng), rng), self.loss), {}

    def _joint(self, nets: GANNets, batch: Batch, rng: Rng) -> tuple[dict[str, Tensor], Logs]:
        x = batch.x.flatten(1)
        real, false = self._judge(nets, x, self._fake(nets, len(x), rng), rng)
        loss_d, logs = self._d_terms(nets, x, real, false)
        return {"D": loss_d, "G": generator_loss(false, self.loss)}, logs

    def _fake(self, nets: GANNets, n: int, rng: Rng) -> Tensor:
        return self._decode(nets, nets.prior.draw(n, rng))

    def _decode(self, nets: GANNets, z: Tensor) -> Tensor:
        x: Tensor = nets.G(z)
        return x
