"""The scikit-learn face: validate, build the nets, train, keep them, and answer questions by capability."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Tensor

from genlearn._types import Likelihood, Nets, ScoreKind
from genlearn.data import Data, load
from genlearn.maths.collective import agreed, world
from genlearn.maths.rng import make_rng
from genlearn.parameters import Range, table, unknown
from genlearn.storage import read_about, read_states, write_model
from genlearn.train import Budget, Journal, Optimizer, OptimizerName, Schedule, Stage, Stream, Training

BLOCK = 100
Self = TypeVar("Self", bound="GenerativeEstimator")
Shape = tuple[int, ...]


def _can(method: str) -> Callable[[Any], bool]:
    return lambda self: hasattr(self, method)


def _can_classify(self: Any) -> bool:
    return hasattr(self, "_classify") and (self._n_classes > 0 or not hasattr(self, "nets_"))


def pick_device(name: str) -> torch.device:
    """The device of a name; "auto" takes CUDA, then Apple's MPS, then the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("device is 'cuda', but torch sees no CUDA device; the usual fix is device='auto'")
        return torch.device("cuda", torch.cuda.current_device())
    if name == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device is 'mps', but torch sees no Apple GPU; the usual fix is device='auto'")
    return torch.device(name)


@dataclass(kw_only=True, eq=False, repr=False)
class GenerativeEstimator(BaseEstimator):  # type: ignore[misc]
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
    _pixels: ClassVar[bool] = True
    _uses_labels: ClassVar[bool] = False
    _needs_labels: ClassVar[bool] = False

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

    @property
    def _dtype(self) -> torch.dtype:
        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def _nets(self) -> Nets:
        check_is_fitted(self, "nets_")
        return self.nets_ if self.averaged_nets_ is None else self.averaged_nets_

    # --- border: user's arrays <-> the model's tensors

    def _validate(self, X: Any, y: Any = None, reset: bool = False) -> tuple[Tensor, Tensor | None]:
        """The images as a tensor in the model's units and inner shape, and the labels."""
        if isinstance(X, (str, Path)):
            X = load(X)
        if isinstance(X, Data):
            X, y = X.train.x, X.train.y if y is None else y
        if isinstance(X, Tensor):
            X = X.detach().cpu().numpy()
        X = validate_data(self, X, reset=reset, allow_nd=True, ensure_all_finite=False)
        if X.ndim > 4 or (X.ndim == 4 and X.shape[1] not in (1, 2, 3, 4) and X.shape[3] in (1, 3, 4)):
            raise ValueError(
                f"X has shape {X.shape}, expected (n, d), (n, H, W) or (n, C, H, W); "
                "the usual fix is numpy.moveaxis(X, -1, 1)"
            )
        given = X.dtype
        if given != np.uint8:
            X = X.astype(np.float32 if self._dtype == torch.float32 else np.float64, copy=False)
            if not np.isfinite(X.sum(dtype=np.float64)):
                bad = ~np.isfinite(X)
                raise ValueError(
                    f"X has {bad.sum()} NaN or inf values, the first in row {np.argwhere(bad)[0][0]}; "
                    "expected finite numbers, the usual fix is to leave these rows out"
                )
        if reset:
            self._describe(X, given)
        elif X.shape[1:] != self.shape_:
            raise ValueError(f"X has images of shape {X.shape[1:]}, expected {self.shape_} as in fit")
        elif X.dtype != np.uint8 and self.range_ == (0.0, 255.0) and X.size and X.max() <= 1:
            warnings.warn("X lies in [0, 1], but fit saw images in [0, 255]; the usual fix is 255 * X", stacklevel=3)
        if y is not None:
            y = np.asarray(y)
            if y.shape[:1] != X.shape[:1]:
                raise ValueError(f"y has {len(y) if y.ndim else 'no'} labels, expected {len(X)}, one for each image")
        labels = self._labels(y, reset) if self._uses_labels else None
        return self._inward(X), labels

    def _labels(self, y: NDArray[Any] | None, reset: bool) -> Tensor | None:
        """Labels as indices into `classes_`, -1 where unknown."""
        if y is None:
            if reset and self._needs_labels:
                raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
            if reset:
                self.classes_ = np.empty(0, np.int64)
            return None
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        unknown_label = y == -1 if y.dtype.kind in "if" else np.zeros(len(y), bool)
        if reset:
            self.classes_ = np.unique(y[~unknown_label])
        index = np.searchsorted(self.classes_, y).clip(max=max(len(self.classes_) - 1, 0))
        strange = ~unknown_label & (self.classes_[index] != y) if len(self.classes_) else ~unknown_label
        if strange.any():
            raise ValueError(
                f"y has the label {y[strange][0].item()!r}, expected one of {self.classes_.tolist()} as in fit"
            )
        return torch.from_numpy(np.where(unknown_label, -1, index).astype(np.int64))

    @property
    def _n_classes(self) -> int:
        return len(getattr(self, "classes_", ()))

    def _describe(self, X: NDArray[Any], given: np.dtype[Any]) -> None:
        self.shape_, self.dtype_ = tuple(X.shape[1:]), given if given.kind == "f" else X.dtype
        self.range_ = (0.0, 255.0) if X.dtype == np.uint8 else (0.0, 1.0)
        if self._pixels and X.dtype != np.uint8 and (X.min() < 0 or X.max() > 1):
            low, high = float(X.min()), float(X.max())
            self.range_ = (low, high if high > low else low + 1)
            warnings.warn(
                f"pixels lie in [{low:g}, {high:g}], expected [0, 1]; they are mapped there, samples mapped back",
                stacklevel=4,
            )

    def _inward(self, X: NDArray[Any]) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(X))
        if x.dtype != torch.uint8 and self.range_ != (0.0, 1.0):
            low, high = self.range_
            x = (x - low) / (high - low)
        return x.unsqueeze(1) if x.ndim == 3 else x

    def _outward(self, x: Tensor) -> NDArray[Any]:
        """Images of the model in the shape, type and range that `fit` was given."""
        low, high = self.range_
        x = x.detach().cpu().reshape(-1, *self.shape_)
        if self.dtype_ == np.uint8:
            return x.mul(255).round_().clamp_(0, 255).to(torch.uint8).numpy()
        return (x * (high - low) + low).numpy().astype(self.dtype_)

    def _blocks(self, f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """f over blocks of rows of one fixed size, so that no row depends on how many there are."""
        device = next(self._nets.parameters()).device if hasattr(self, "nets_") else pick_device(self.device)
        out = []
        with torch.no_grad():
            for rows in x.split(BLOCK):
                n = len(rows)
                rows = rows.to(device, self._dtype) / (255 if rows.dtype == torch.uint8 else 1)
                if n < BLOCK:
                    rows = torch.cat([rows, rows[-1:].expand(BLOCK - n, *rows.shape[1:])])
                out.append(f(rows)[:n])
        return torch.cat(out)

    def _answer(self, values: Tensor) -> NDArray[Any]:
        answer = values.cpu().numpy()
        return answer.astype(self.dtype_) if self.dtype_.kind == "f" else answer

    # --- capabilities

    @available_if(_can("_sample"))
    def sample(
        self, n: int = 1, *, y: ArrayLike | None = None, random_state: Any = None, nets: Nets | None = None
    ) -> NDArray[Any]:
        """n images, in the shape, type and range that `fit` was given.

        y: the class to draw, one label or n of them, of models that know classes. Image i depends on the seed, on i and
        on its label alone, not on n. `nets` may be any nets of this model (a checkpoint, the weights before averaging);
        by default the averaged ones, where `ema` is on.
        """
        nets = self._nets if nets is None else nets
        classes = None if y is None else self._chosen(np.asarray(y), n)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        device = next(nets.parameters()).device
        blocks = []
        with torch.no_grad():
            for b in range(-(-n // BLOCK)):
                mixed = int(np.random.SeedSequence([seed, b]).generate_state(1, np.uint64)[0])
                rng = make_rng(mixed % 2**63, device)
                if classes is None:
                    images = self._sample(nets, BLOCK, rng)
                else:
                    images = self._sample_class(nets, classes[b * BLOCK : (b + 1) * BLOCK].to(device), rng)
                blocks.append(images.cpu())
        return self._outward(torch.cat(blocks)[:n])

    def _chosen(self, y: NDArray[Any], n: int) -> Tensor:
        """The classes of n images, filled up to whole blocks."""
        if not hasattr(self, "_sample_class") or not self._n_classes:
            why = "was fitted without labels" if self._uses_labels else "knows no classes"
            raise ValueError(f"y is given, but this {type(self).__name__} {why}; the usual fix is to leave y out")
        if y.ndim > 1 or (y.ndim == 1 and len(y) != n):
            raise ValueError(f"y has shape {y.shape}, expected one label or {n} of them, one for each image")
        index = self._labels(np.broadcast_to(y, (n,)), reset=False)
        assert index is not None
        if (index < 0).any():
            raise ValueError("y has the label -1, which means unknown, expected known labels")
        return torch.cat([index, index.new_zeros(-n % BLOCK)])

    @available_if(_can("_complete"))
    def complete(self, X: Any, known: ArrayLike, *, random_state: Any = None) -> NDArray[Any]:
        """Images whose unknown pixels are drawn given the known ones, which are kept as they are.

        known: True where a pixel is known, of the shape of X or of one image; the values of the others do not matter.
        """
        check_is_fitted(self, "nets_")
        X, known = np.asarray(X), np.asarray(known)
        if known.dtype != bool or known.shape not in (X.shape, X.shape[1:]):
            raise ValueError(
                f"known is {known.dtype} of shape {known.shape}, expected bool of shape {X.shape} or {X.shape[1:]}"
            )
        known = np.broadcast_to(known, X.shape)
        x = self._validate(np.where(known, X, X.dtype.type(self.range_[0])))[0]
        mask = torch.from_numpy(known.copy()).view(x.shape)
        device = next(self._nets.parameters()).device
        rng = make_rng(int(check_random_state(random_state).randint(2**31 - 1)), device)
        x = x.to(device, self._dtype) / (255 if x.dtype == torch.uint8 else 1)
        with torch.no_grad():
            filled = self._complete(self._nets, x, mask.to(device), rng).view(x.shape)
        return np.where(known, X, self._outward(filled)).astype(X.dtype)

    @available_if(_can_classify)
    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """log p(y | x) [n, K], in the order of `classes_`."""
        check_is_fitted(self, "nets_")
        return self._answer(self._blocks(partial(self._classify, self._nets), self._validate(X)[0]))

    @available_if(_can_classify)
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """p(y | x) [n, K], in the order of `classes_`."""
        return np.exp(self.predict_log_proba(X))  # type: ignore[no-any-return]

    @available_if(_can_classify)
    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable label of each image [n]."""
        check_is_fitted(self, "nets_")
        return self.classes_[self.predict_log_proba(X).argmax(1)]  # type: ignore[no-any-return]

    @available_if(_can("_encode"))
    def transform(self, X: Any) -> NDArray[Any]:
        """The codes of images [n, k] (means, deterministic)."""
        check_is_fitted(self, "nets_")
        return self._answer(self._blocks(partial(self._encode, self._nets), self._validate(X)[0]))

    @available_if(_can("_decode"))
    def inverse_transform(self, Z: ArrayLike) -> NDArray[Any]:
        """The mean images of codes [n, k]."""
        check_is_fitted(self, "nets_")
        codes, expected = torch.as_tensor(np.asarray(Z)).to(self._dtype), self._n_features_out
        if codes.ndim != 2 or codes.shape[1] != expected:
            raise ValueError(f"Z has shape {tuple(codes.shape)}, expected (n, {expected}), the codes of transform")
        return self._outward(self._blocks(partial(self._decode, self._nets), codes))

    @available_if(_can("_scorer"))
    def score_samples(self, X: Any) -> NDArray[Any]:
        """A log-likelihood in nats for each image [n]; `score_kind_` says what it is worth."""
        check_is_fitted(self, "nets_")
        return self._answer(self._blocks(self._scorer(self._nets), self._validate(X)[0]))

    @property
    def score_kind_(self) -> ScoreKind:
        """What `score_samples` gives: exact, lower bound, estimate or pseudo."""
        return self._score_kind(self._nets)  # type: ignore[no-any-return]

    @available_if(_can("_scorer"))
    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`, in nats per image."""
        return float(self.score_samples(X).mean())

    @available_if(_can("_likelihoods"))
    def log_likelihoods(self, X: Any, *, random_state: Any = 0) -> dict[str, Likelihood]:
        """Every log-likelihood that the model can give of test images, by name (AIS, ELBO, IWAE ...).

        Binary models score one fixed binarisation of grey pixels, drawn from the seed.
        """
        check_is_fitted(self, "nets_")
        device = next(self._nets.parameters()).device
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        x = self._validate(X)[0]
        x = (x.to(device, self._dtype) / (255 if x.dtype == torch.uint8 else 1)).to(device)
        with torch.no_grad():
            return self._likelihoods(self._nets, x, make_rng(seed, device))  # type: ignore[no-any-return]

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
