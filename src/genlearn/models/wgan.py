"""The Wasserstein GAN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from genlearn.losses.adversarial import AdversarialLoss
from genlearn.models.networks import AnyNetwork
from genlearn.parameters import Range
from genlearn.train import OptimizerName, Schedule


@dataclass(kw_only=True, eq=False, repr=False)
class WGAN(AnyNetwork):
    """Wasserstein GAN: G(z) against a critic D, whose weights are held in [-c, c] after each of its k steps.

    D ascends E[D(x)] - E[D(G(z))], at whose top over all functions of slope 1 this is W1, the earth mover's distance
    of data and samples; clipped weights bound the slope by another constant, so that the journal's "difference" is W1
    up to a factor. G ascends E[D(G(z))].

    Arjovsky, Chintala and Bottou 2017 (equation 2, algorithm 1, whose numbers are the defaults).
    """

    c: Annotated[float, Range(0, open=True), "largest weight of D"] = 0.01
    hidden: Annotated[tuple[int, ...], Range(1), "hidden layers of G"] = (512, 512, 512)
    hidden_d: Annotated[tuple[int, ...], Range(1), "hidden layers of D"] = (512, 512, 512)
    loss: Annotated[AdversarialLoss, "what the players descend"] = "wasserstein"
    k: Annotated[int | Schedule, Range(1), "steps of D per step of G, or their schedule in images of G"] = 5
    batch_size: Annotated[int, Range(1), "images per update"] = 64
    optimizer: Annotated[OptimizerName, "optimiser of every player"] = "rmsprop"
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = 5e-5

    paper: ClassVar[str] = "Arjovsky, Chintala and Bottou 2017"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"hidden": (16,), "hidden_d": (16,), "n_latent": 4, "k": 1, "learning_rate": 1e-3, "epochs": 2}
    }

    def _after(self) -> Callable[[Any], None]:
        def clip(nets: Any) -> None:
            for p in nets.D.parameters():
                p.clamp_(-self.c, self.c)

        return clip
