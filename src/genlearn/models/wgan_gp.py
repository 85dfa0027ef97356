"""The Wasserstein GAN with a gradient penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from genlearn.losses.adversarial import AdversarialLoss
from genlearn.maths.penalties import Penalties
from genlearn.models.networks import AnyNetwork
from genlearn.parameters import Range
from genlearn.train import Schedule


@dataclass(kw_only=True, eq=False, repr=False)
class WGANGP(AnyNetwork):
    """Wasserstein GAN whose critic D is drawn to slope 1 by a penalty: it descends

    E[D(G(z))] - E[D(x)] + lambda E[(||grad D(y)|| - 1)^2],  y = u x + (1 - u) G(z), u ~ U(0, 1) for every row,

    and G descends -E[D(G(z))]. The journal's "difference" E[D(x)] - E[D(G(z))] estimates W1; the critic gains by a
    slope s above 1, so that it is too large by a share W1 / (2 lambda), the top of W1 s - lambda (s - 1)^2.

    Gulrajani et al. 2017 (equation 3, algorithm 1, whose numbers are the defaults; no batch normalisation in D).
    """

    hidden: Annotated[tuple[int, ...], Range(1), "hidden layers of G"] = (512, 512, 512)
    hidden_d: Annotated[tuple[int, ...], Range(1), "hidden layers of D"] = (512, 512, 512)
    loss: Annotated[AdversarialLoss, "what the players descend"] = "wasserstein"
    penalty: Annotated[Penalties | None, "on the gradient of D: gp, r1, r2 and their weights"] = "gp(10)"  # type: ignore[assignment]
    k: Annotated[int | Schedule, Range(1), "steps of D per step of G, or their schedule in images of G"] = 5
    batch_size: Annotated[int, Range(1), "images per update"] = 64
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = 1e-4
    betas: Annotated[tuple[float, ...], Range(0, 1), "decays of the moments of the Adam family"] = (0.0, 0.9)

    paper: ClassVar[str] = "Gulrajani et al. 2017"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"hidden": (16,), "hidden_d": (16,), "n_latent": 4, "k": 1, "learning_rate": 1e-3, "epochs": 2}
    }
