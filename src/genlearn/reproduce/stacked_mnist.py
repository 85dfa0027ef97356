"""Mode collapse on stacked MNIST: 1,000 modes, which a judge of digits tells apart."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray

from genlearn.data import Data, load
from genlearn.draw import grid, png
from genlearn.metrics import Coverage, class_coverage
from genlearn.models.adversarial import Adversarial
from genlearn.models.dcgan import DCGAN
from genlearn.words import unknown

from .judge import judge
from .protocol import Protocol

SURE = 0.9  # of all three digits: a sample of high quality
SHOWN = 24


@dataclass(frozen=True)
class StackedMNIST(Protocol):
    """That of Srivastava et al. 2017 (VEEGAN), section 4.2, as Lin et al. 2018 (PacGAN) ran it, over 3 seeds for 10.

    A sample counts for the mode that the judge reads; the share of high quality, which nobody published, is that of
    the samples whose digits are all read with a probability above 0.9.
    """

    MODEL: ClassVar[type[Adversarial]] = DCGAN
    METHODS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "DCGAN": {},
        "packing by 2": {"pack": 2},
        "packing by 4": {"pack": 4},
        "R1 and R2": {"penalty": "r1(1)+r2(1)"},
        "relativistic, R1 and R2": {"loss": "relativistic", "penalty": "r1(1)+r2(1)"},
    }
    # Theirs have batch normalisation in D, which penalties on single images exclude: here no method has it.
    NETS: ClassVar[Mapping[str, Any]] = {
        "network": "dcgan",
        "width": 64,
        "n_latent": 100,
        "prior": "uniform",
        "penalty": None,
        "augment": None,
        "learning_rate": 2e-4,
        "betas": (0.5, 0.999),
        "ema": 0.0,
    }
    ROWS: ClassVar[int] = 64
    SAMPLES: ClassVar[int] = 26_000
    LOOKS: ClassVar[int] = 4
    PUBLISHED: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "stacked-mnist": {
            "DCGAN": "99.0; ; 3.40",
            "packing by 2": "1000.0 ± 0.0; ; 0.06",
            "packing by 4": "1000.0 ± 0.0; ; 0.07",
            "R1 and R2": "693; ; 0.93",
            "relativistic, R1 and R2": "1000; ; 0.08",
        }
    }
    SOURCES: ClassVar[str] = (
        "published: Lin et al. 2018 (PacGAN), section 4.2, for DCGAN (a line of Srivastava et al. 2017) and packing; "
        "Huang et al. 2024 (R3GAN) for R1 and R2, with other nets. 26,000 real images have all 1,000 modes and a KL of "
        "about 999 / 52,000 = 0.02."
    )

    @classmethod
    def whole(cls) -> StackedMNIST:
        """50 epochs of 128,000 images."""
        return cls(("stacked-mnist",), 3, 50.0, 128_000)

    @classmethod
    def quick(cls) -> StackedMNIST:
        """An eighth of an epoch, narrow nets, a higher rate."""
        return cls(("stacked-mnist",), 1, 0.125, 128_000, {"width": 16, "learning_rate": 1e-3})

    def data(self, name: str, seed: int) -> Data:
        """Three digits an image."""
        return load(name, n=self.n, seed=seed)

    def ready(self, out: Path) -> None:
        """Train the judge, a minute or two."""
        judge(load("mnist"), out / "judge.safetensors")

    def n_modes(self, name: str) -> int:
        """1,000."""
        if name not in self.PUBLISHED:
            raise ValueError(unknown("set", name, tuple(self.PUBLISHED)))
        return 1000

    def coverage(self, name: str, samples: NDArray[Any], out: Path) -> Coverage:
        """By what the judge reads in each colour."""
        net = judge(load("mnist"), out / "judge.safetensors")
        p, digits = net.read(torch.from_numpy(samples).flatten(0, 1)[:, None]).view(-1, 3, 10).max(2)
        modes = digits @ torch.tensor([100, 10, 1])
        return class_coverage(modes, self.n_modes(name), (p > SURE).all(1))

    def shown(self, samples: NDArray[Any]) -> dict[str, Any]:
        """Some samples, as a PNG."""
        return {"grid": base64.b64encode(png(grid(samples[:SHOWN], columns=6, scale=1))).decode()}
