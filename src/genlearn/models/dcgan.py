"""The deep convolutional GAN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from genlearn.compute import Precision
from genlearn.maths.augment import Augmentation
from genlearn.maths.penalties import Penalties
from genlearn.models.networks import Convolutional
from genlearn.nets.adversarial import ImageNetwork
from genlearn.nets.init import Init
from genlearn.parameters import Range
from genlearn.train import Schedule


@dataclass(kw_only=True, eq=False, repr=False)
class DCGAN(Convolutional):
    """Deep convolutional GAN: no hidden layer fully connected, strided convolutions in place of pooling.

    The defaults are for folders of some hundred to some ten thousand pictures of any sides and a few minutes: narrow
    nets whose G doubles by nearest pixels, without checkerboards; an augmentation of all that D sees (Zhao et al.
    2020); R1, at every fourth step, in place of batch normalisation in D (Mescheder et al. 2018); averaged weights.
    The network "dcgan" is that of the paper, with transposed convolutions, the preset "radford-2016" its recipe, for 64
    pixels. With batch normalisation D sees data and samples in batches of their own.

    Radford, Metz and Chintala 2016.
    """

    network: Annotated[
        ImageNetwork, "conv: for images of any sides; dcgan: transposed convolutions in G; resnet: residual blocks"
    ] = "conv"
    n_latent: Annotated[int, Range(1), "dimensions of z"] = 64
    width: Annotated[int, Range(1), "channels at half the size, doubled at each further halving (resnet: once)"] = 32
    penalty: Annotated[Penalties | None, "on the gradient of D: gp, r1, r2 and their weights"] = "r1(1, every=4)"  # type: ignore[assignment]
    augment: Annotated[Augmentation | None, "random changes of all that D sees: color, translation, cutout"] = (
        "color,translation"  # type: ignore[assignment]
    )
    init: Annotated[Init | None, "law of G's first weights (none: torch's)"] = "normal(0.02)"  # type: ignore[assignment]
    init_d: Annotated[Init | None, "law of D's first weights (none: torch's)"] = "normal(0.02)"  # type: ignore[assignment]
    batch_size: Annotated[int, Range(1), "images per update"] = 64
    epochs: Annotated[float | None, Range(0, open=True), "passes over the data (none: no limit)"] = None
    images: Annotated[float | None, Range(1), "budget in images seen (none: no limit)"] = 500_000
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = 4e-4
    betas: Annotated[tuple[float, ...], Range(0, 1), "decays of the moments of the Adam family"] = (0.0, 0.99)
    ema: Annotated[float, Range(0), "half-life of the averaged weights, in images (0: none)"] = 20_000.0
    precision: Annotated[Precision, "bf16 is autocast over float32 weights (auto: for convolutions, if it is fast)"] = (
        "auto"
    )

    paper: ClassVar[str] = "Radford, Metz and Chintala 2016"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "radford-2016": {
            "network": "dcgan",
            "n_latent": 100,
            "prior": "uniform",
            "width": 128,
            "normalise_d": True,
            "penalty": None,
            "augment": None,
            "batch_size": 128,
            "learning_rate": 2e-4,
            "betas": (0.5, 0.999),
            "ema": 0.0,
            "precision": "float32",
        },
        "tiny": {
            "precision": "float32",
            "width": 4,
            "n_latent": 4,
            "learning_rate": 0.02,
            "epochs": 2,
            "images": None,
            "ema": 0.0,
        },
    }
