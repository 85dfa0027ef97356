"""Mode collapse on the ring and the grid: the plain GAN and every remedy, over several seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from genlearn.data import Data, load, modes
from genlearn.metrics import Coverage, mode_coverage
from genlearn.models.adversarial import Adversarial
from genlearn.models.gan import GAN

from .protocol import Protocol

POINTS = 500  # of a picture


@dataclass(frozen=True)
class ModeCollapse(Protocol):
    """That of Lin et al. 2018 (PacGAN), section 4.1, over 5 seeds for their 10."""

    MODEL: ClassVar[type[Adversarial]] = GAN
    METHODS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "GAN": {},
        "packing by 2": {"pack": 2},
        "packing by 3": {"pack": 3},
        "packing by 4": {"pack": 4},
        "WGAN-GP": {"loss": "wasserstein", "penalty": "gp(0.1)", "order": "alternating", "k": 5, "betas": (0.0, 0.9)},
        "relativistic, R1 and R2": {"loss": "relativistic", "penalty": "r1(1)+r2(1)"},
        "feature matching": {"feature_matching": 1.0},
        "minibatch discrimination": {"minibatch": "discrimination"},
        "historical averaging": {"history": 0.01},
    }
    # Lin et al. 2018 (PacGAN), section 4.1 and their code.
    NETS: ClassVar[Mapping[str, Any]] = {
        "n_latent": 2,
        "hidden": (400, 400, 400, 400),
        "hidden_d": (200, 200, 200),
        "normalise": True,
        "network": "maxout",
        "pieces": (5,),
        "output": "linear",
        "init": "normal(0.02)",
        "init_d": "normal(0.02)",
        "penalty": None,
        "order": "simultaneous",
        "learning_rate": 1e-4,
        "betas": (0.8, 0.999),
    }
    ROWS: ClassVar[int] = 100
    SAMPLES: ClassVar[int] = 2500
    LOOKS: ClassVar[int] = 20
    # Lin et al. 2018 (PacGAN), table 1: means of 10 runs, ± their standard errors where we have them.
    PUBLISHED: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "ring": {
            "GAN": "6.3 ± 0.5; 98.2; 0.45",
            "packing by 2": "7.9 ± 0.1; 95.6; 0.07",
            "packing by 3": "7.8; 97.7; 0.10",
            "packing by 4": "7.8; 95.9; 0.07",
        },
        "grid": {
            "GAN": "17.3 ± 0.8; 94.8; 0.70",
            "packing by 2": "23.8; 91.3; 0.13",
            "packing by 3": "24.6; 94.2; 0.06",
            "packing by 4": "24.8 ± 0.2; 93.6; 0.04",
        },
    }
    SOURCES: ClassVar[str] = (
        "published: Lin et al. 2018 (PacGAN), table 1, 10 runs, ± standard error. Srivastava et al. 2017 (VEEGAN), "
        "other nets, on the grid: GAN 3.3 modes, 0.5 % of high quality; unrolled GAN 23.6, 16 %; VEEGAN 24.6, 40 %."
    )

    @classmethod
    def whole(cls) -> ModeCollapse:
        """400 epochs of 100,000 points."""
        return cls(("ring", "grid"), 5, 400.0, 100_000)

    @classmethod
    def quick(cls) -> ModeCollapse:
        """The ring, small nets, a higher rate."""
        small = {"hidden": (128, 128), "hidden_d": (128,), "learning_rate": 1e-3}
        return cls(("ring",), 2, 1.0, 100_000, small)

    def data(self, name: str, seed: int) -> Data:
        """Points in the plane."""
        return load(name, n=self.n, seed=seed)

    def n_modes(self, name: str) -> int:
        """8 or 25."""
        return len(modes(name)[0])

    def coverage(self, name: str, samples: NDArray[Any], out: Path) -> Coverage:
        """By the distance from the centres."""
        return mode_coverage(samples, *modes(name))

    def shown(self, samples: NDArray[Any]) -> dict[str, Any]:
        """Some points."""
        return {"points": samples[:POINTS].round(3).tolist()}
