"""The scikit-learn face: validate, build the nets, train, keep them; questions are answered by `capabilities`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genlearn._types import Nets
from genlearn.border import pick_device
from genlearn.capabilities import Capabilities
from genlearn.maths.rng import make_rng
from genlearn.parallel import agreed, world
from genlearn.parameters import Range, table
from genlearn.storage import read_about, read_states, write_model
from genlearn.train import Budget, Journal, Optimizer, OptimizerName, Schedule, Stage, Stream, Training
from genlearn.words import unknown

Self = TypeVar("Self", bound="GenerativeEstimator")
Shape = tuple[int, ...]


@dataclass(kw_only=True, eq=False, repr=False)
class GenerativeEstimator(Capabilities):
    """The base of every model. A subclass gives

    `_build(shape, rng) -> nets`, `_stages(shape) -> stages` and the capabilities that are true, each on explicit nets:
    `_sample(nets, n, rng)`, `_encode(nets, x)`, `_decode(nets, z)`, `_scorer(nets)` with `_score_kind(nets)`,
    `_likelihoods(nets, x, rng)`, `_complete(nets, x, known, rng)`; of models that use labels (`_uses_labels`), for
    classes 0 to `_n_classes` - 1: `_sample_class(nets, y, rng)`, `_classify(nets, x) -> log p(y | x)`.

    A capability that is not there has no public method: `hasattr` tells the truth. Inside, images are floats of the
    model's precision: pixels in [0, 1] where `_pixels` holds, else the values that `fit` was given.

    Attributes after `fit`: nets_, averaged_nets_ (None without `ema`), journal_, n_iter_ (rounds), shape_ (of one
    image as given), dtype_, range_ (the values that mean 0 and 1), n_features_in_ for rows, and classes_ of models
    that use labels (the distinct labels, none where `fit` saw none).
    """

    batch_size: Annotated[int, Range(1), "images per update"] = 100
    epochs: Annotated[float | None, Range(0, open=True), "passes over the data (none: no limit)"] = 10
    images: Annotated[float | None, Range(1), "budget in images seen (none: no limit)"] = None
    minutes: Annotated[float | None, Range(0, open=True), "budget in minutes (none: no limit)"] = None
    optimizer: Annotated[OptimizerName, "optimiser of every player"] = "adam"
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = 1e-3
    momentum: Annotated[float | Schedule, Range(0, 1), "of momentum and nesterov, or its schedule in images"] = 0.9
    betas: Annotated[tuple[float, ...], Range(0, 1), "decays of the moments of the Adam family"] = (0.9, 0.999)
    weight_decay: Annotated[float, Range(0), "of matrices and kernels, not of biases"] = 0.0
    ema: Annotated[float, Range(0), "half-life of the averaged weights, in images (0: none)"] = 0.0
    precision: Annotated[Literal["float32", "float64", "bf16"], "bf16 is autocast over float32 weights"] = "float32"
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], "where to compute"] = "auto"
    random_state: Annotated[int | None, Range(0, 2**32 - 1), "seed (none: a fresh one)"] = None

    family: ClassVar[str]
    paper: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @classmethod
    def from_preset(cls: type[Self], name: str, **changes: Any) -> Self:
        """The model with the named hyper-parameters, and `changes`."""
        if name not in cls.presets:
            raise ValueError(unknown(f"preset of {cls.__name__}", name, tuple(cls.presets)))
        return cls(**{**cls.presets[name], **changes})

    # --- what a model gives

    def _build(self, shape: Shape, rng: torch.Generator) -> Nets:
        """Freshly initialised nets for images of `shape`; layers of torch may draw from the global generator."""
        raise NotImplementedError

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        """The game."""
        raise NotImplementedError

    def _budget(self) -> Budget:
        return Budget(images=self.images, epochs=self.epochs, minutes=self.minutes)

    def _optimizer(self, **changes: Any) -> Optimizer:
        """The optimiser that the common hyper-parameters describe, and `changes`."""
        common = {
            "name": self.optimizer,
            "lr": self.learning_rate,
            "momentum": self.momentum,
            "betas": tuple(self.betas),
            "weight_decay": self.weight_decay,
        }
        return Optimizer(**{**common, **changes})

    # --- fit

    def fit(self: Self, X: Any, y: Any = None) -> Self:
        """Train on images.

        X: (n, d), (n, H, W) or (n, C, H, W), uint8 or float, numpy or torch; or the name of a data set, a folder, or a
        `Data`, of which the training part is used. y [n]: labels, -1 = unknown; used by models that know classes.
        Raises ValueError in one line for bad input, `Diverged` on NaN.
        """
        self.check_parameters()
        x, labels = self._validate(X, y, reset=True)
        self._learn(x, labels)
        return self

    def check_parameters(self) -> None:
        """Raise a one-line ValueError if a hyper-parameter is out of its range."""
        for name, parameter in table(type(self)).items():
            if name != "random_state" or isinstance(self.random_state, int):
                parameter.check(getattr(self, name))
        if self.epochs is None and self.images is None and self.minutes is None:
            raise ValueError("epochs, images and minutes are all none, expected a budget; the usual fix is epochs=10")
        if self.device == "mps" and self.precision == "float64":
            raise ValueError("precision is 'float64' on device 'mps', which has none; the usual fix is device='cpu'")
        if len(self.betas) != 2:
            raise ValueError(f"betas is {self.betas!r}, expected two numbers such as 0.9,0.999")

    def _learn(self, x: Tensor, y: Tensor | None, resume: bool = False, **options: Any) -> Training:
        """Build the nets and play the game; `options` are those of `Training`."""
        device, (rank, n_processes) = pick_device(self.device), world()
        seed = agreed(int(check_random_state(self.random_state).randint(2**31 - 1)), device)
        shape = tuple(x.shape[1:])
        nets = self._fresh_nets(shape, seed).to(device, self._dtype)
        rng = make_rng(seed, device)
        rng.rank, rng.world = rank, n_processes
        if len(x) < n_processes:
            raise ValueError(f"there are {len(x)} images for {n_processes} processes, expected one each at least")
        batch_size = min(self.batch_size, len(x) // n_processes * n_processes)
        stream = Stream(x, y, batch_size, seed, device=device, dtype=self._dtype, rank=rank, world=n_processes)
        options.setdefault("journal", Journal())
        training = Training(
            nets.train(), self._stages(shape), stream, rng, precision=self.precision, ema=self.ema, **options
        )
        progress = training.run(resume)
        self.nets_ = nets.eval()
        self.averaged_nets_ = None if training.average is None else training.average.nets.eval()
        self.journal_, self.n_iter_ = training.journal, max(1, progress.rounds)
        return training

    def _fresh_nets(self, shape: Shape, seed: int) -> Nets:
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(seed)
            return self._build(shape, make_rng(seed)).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    # --- files: safetensors and JSON, never code

    def save(self, folder: str | Path) -> Path:
        """Write `weights.safetensors` and `model.json` into `folder`."""
        check_is_fitted(self, "nets_")
        parameters = self.get_params(deep=False)
        parameters["random_state"] = self.random_state if isinstance(self.random_state, int) else None
        about = {
            "model": type(self).__name__,
            "parameters": parameters,
            "shape": self.shape_,
            "dtype": self.dtype_.name,
            "range": self.range_,
            "rounds": self.n_iter_,
            "classes": self.classes_.tolist() if self._uses_labels else [],
        }
        return write_model(Path(folder), about, {"nets": self.nets_, "averaged": self.averaged_nets_})

    @classmethod
    def load(cls: type[Self], folder: str | Path, device: str | None = None) -> Self:
        """The model that `save` wrote, on `device` (by default where it was trained, if that is here, else auto).

        Raises a one-line ValueError for another model or version, or a damaged file.
        """
        about = read_about(Path(folder))
        if about["model"] != cls.__name__:
            raise ValueError(f"{folder} holds a {about['model']}, expected a {cls.__name__}")
        parameters: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in about["parameters"].items()}
        here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        self = cls(
            **parameters | {"device": device or (parameters["device"] if here.get(parameters["device"]) else "auto")}
        )
        self.shape_, self.dtype_ = tuple(about["shape"]), np.dtype(about["dtype"])
        self.range_, self.n_iter_ = tuple(about["range"]), about["rounds"]
        self.journal_ = Journal()
        if self._uses_labels:
            self.classes_ = np.asarray(about["classes"]) if about["classes"] else np.empty(0, np.int64)
        if len(self.shape_) == 1:
            self.n_features_in_ = self.shape_[0]
        inner = (1, *self.shape_) if len(self.shape_) == 2 else self.shape_
        where = pick_device(self.device)
        loaded: list[Any] = []
        for state in read_states(Path(folder), ("nets", "averaged")):
            nets = self._fresh_nets(inner, 0).to(where, self._dtype).requires_grad_(False).eval()
            if state:
                nets.load_state_dict(state)
            loaded.append(nets if state else None)
        self.nets_, self.averaged_nets_ = loaded
        return self
