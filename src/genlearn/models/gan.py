"""The generative adversarial net."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import nn

from genlearn.maths.penalties import Penalties
from genlearn.models.adversarial import Dense
from genlearn.nets.mlp import MLP, init_uniform
from genlearn.parameters import Range
from genlearn.train import Schedule


@dataclass(kw_only=True, eq=False, repr=False)
class GAN(Dense):
    """Generative adversarial net: G(z) against a discriminator D(x), algorithm 1 of Goodfellow et al. 2014.

    D descends -1/2 E[log D(x)] - 1/2 E[log(1 - D(G(z)))]; G descends -E[log D(G(z))] (non-saturating) or
    E[log(1 - D(G(z)))] (minimax); other pairs by name. Fully connected nets; simultaneous play is that of the authors'
    code, from one forward pass.

    A GAN has no likelihood: it has `sample` (and G(z) as `inverse_transform`), and is measured by samples. The preset
    "goodfellow-2014" is the recipe of the paper's MNIST figure. r1 adds r1 / 2 E ||grad_x logit(x)||^2 on data
    (Mescheder et al. 2018, equation 9); it is on by default, because without it D learns a small set by heart and G no
    longer learns anything.
    """

    network_d: Annotated[Literal["mlp", "maxout"], "hidden layers of D: leaky ReLU or maxout"] = "mlp"
    pieces: Annotated[int, Range(1), "linear pieces of a maxout unit"] = 5
    input_dropout_d: Annotated[float, Range(0, 0.95), "probability to drop an input of D"] = 0.0
    dropout_d: Annotated[float, Range(0, 0.95), "probability to drop a hidden unit of D"] = 0.0
    init: Annotated[float, Range(0), "weights of G ~ U(-init, init) (0: torch's default)"] = 0.0
    init_d: Annotated[float, Range(0), "weights of D ~ U(-init, init) (0: torch's default)"] = 0.0
    penalty: Annotated[Penalties | None, "on the gradient of D: gp, r1, r2 and their weights"] = "r1(5)"  # type: ignore[assignment]
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = 5e-4
    betas: Annotated[tuple[float, ...], Range(0, 1), "decays of the moments of the Adam family"] = (0.5, 0.999)

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
            "penalty": None,
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

    def _dense_generator(self, n_in: int, n_out: int, rng: torch.Generator) -> nn.Module:
        G = super()._dense_generator(n_in, n_out, rng)
        if self.init:
            init_uniform(G, self.init, rng)
        return G

    def _dense_discriminator(self, n_in: int, rng: torch.Generator) -> nn.Module:
        D = MLP(
            (n_in, *self.hidden_d, 1),
            "leaky_relu",
            pieces=self.pieces if self.network_d == "maxout" else 0,
            input_dropout=self.input_dropout_d,
            dropout=self.dropout_d,
            minibatch=self.minibatch,
        )
        if self.init_d:
            init_uniform(D, self.init_d, rng)
        return D
