"""The generative adversarial net."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from genlearn.maths.penalties import Penalties
from genlearn.models.networks import Dense
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

    network: Annotated[Literal["mlp", "maxout"], "hidden layers: mlp; maxout: those of D are maxout"] = "mlp"
    pieces: Annotated[tuple[int, ...], Range(1), "linear pieces of a maxout unit, of all layers or of each"] = (5,)
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
            "network": "maxout",
            "pieces": (5,),
            "input_dropout_d": 0.2,
            "dropout_d": 0.5,
            "penalty": None,
            "order": "simultaneous",
            "init": "uniform(0.05)",
            "init_d": "uniform(0.005)",
            "optimizer": "momentum",
            "learning_rate": f"exponential(0.1, half_life={100 * math.log(2) / math.log(1.000004):.0f}, floor=1e-6)",
            "momentum": "linear(0.5, 0.7, over=12500000)",
            "batch_size": 100,
        },
        "tiny": {"hidden": (16,), "hidden_d": (16,), "n_latent": 4, "epochs": 2},
    }

    def check_parameters(self) -> None:
        """As everywhere; and one number of pieces, or one of every hidden layer."""
        super().check_parameters()
        if len(self.pieces) not in (1, self._layers_d):
            raise ValueError(
                f"pieces is {self.pieces!r}, expected one number or {self._layers_d}, for every hidden layer of D"
            )

    @property
    def _layers_d(self) -> int:
        return len(self.hidden_d)

    @property
    def _pieces(self) -> int | Sequence[int]:
        if self.network == "mlp":
            return 0
        return self.pieces[0] if len(self.pieces) == 1 else self.pieces
