"""The scikit-learn face: validate, build the nets, train, keep them; questions are answered by `capabilities`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_type_hints

import torch
from numpy.typing import NDArray
from sklearn.utils import ClassifierTags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from genlearn import border
from genlearn._types import Nets
from genlearn.border import Border, pick_device
from genlearn.capabilities import Capabilities
from genlearn.compute import Library, Precision, computing, faster, resolved
from genlearn.data import Data, Part, load
from genlearn.hooks import can_classify
from genlearn.maths.rng import Seeds, make_rng, spawn
from genlearn.parallel import agreed, world
from genlearn.parameters import Range, revived, table
from genlearn.progress import tell, watched, work
from genlearn.storage import model_folder, read_about, read_states, write_model
from genlearn.train import Budget, Journal, Optimizer, OptimizerName, Schedule, Stage, Stream, Training
from genlearn.words import unknown

Self = TypeVar("Self", bound="GenerativeEstimator")
Shape = tuple[int, ...]


def _seed(random_state: Any) -> int:
    return int(check_random_state(random_state).randint(2**31 - 1))


def seeds(random_state: int | None) -> Seeds:
    """The seeds of everything that is random in a run of this `random_state`."""
    return Seeds.of(_seed(random_state))


class _Signature:
    """Names, plain types and defaults, for `help`; ranges and meanings are those of `genlearn models NAME`."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        signature, hints = inspect.signature(owner.__init__), get_type_hints(owner)  # type: ignore[misc]
        _, *parameters = signature.parameters.values()
        return inspect.Signature([p.replace(annotation=hints.get(p.name, p.annotation)) for p in parameters])


@dataclass(kw_only=True, eq=False, repr=False)
class GenerativeEstimator(Capabilities):
    """The base of every model. A subclass gives `_build(shape, rng) -> nets`, `_stages(shape) -> stages` and those of
    the hooks (`Hooks`) that are true; one with `_encode` derives from `Encoder` too.

    A capability that is not there has no public method: `hasattr` tells the truth. Models that use labels say so
    (`_uses_labels`); losses and hooks then see classes 0 to `_n_classes` - 1, -1 where the label is unknown. Inside,
    images are floats of the model's precision: pixels in [0, 1] where `_pixels` holds, else the values given to `fit`.

    Attributes after `fit`: nets_, averaged_nets_ (None without `ema`), journal_, n_iter_ (rounds), border_ (shape, type
    and range of the images, see `Border`), n_features_in_ for rows, and classes_ of models that use labels (the
    distinct labels, none where `fit` saw none).
    """

    batch_size: Annotated[int, Range(1), "images per update"] = 100
    epochs: Annotated[float | None, Range(0, open=True), "passes over the data of the main stage (none: no limit)"] = 10
    images: Annotated[float | None, Range(1), "budget of all stages in images seen (none: no limit)"] = None
    minutes: Annotated[float | None, Range(0, open=True), "budget of all stages in minutes (none: no limit)"] = None
    optimizer: Annotated[OptimizerName, "optimiser of every player"] = "adam"
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = 1e-3
    momentum: Annotated[float | Schedule, Range(0, 1), "of momentum and nesterov, or its schedule in images"] = 0.9
    betas: Annotated[tuple[float, ...], Range(0, 1), "decays of the moments of the Adam family"] = (0.9, 0.999)
    weight_decay: Annotated[float, Range(0), "of matrices and kernels, not of biases"] = 0.0
    ema: Annotated[float, Range(0), "half-life of the averaged weights, in images (0: none)"] = 0.0
    precision: Annotated[Precision, "bf16 is autocast over float32 weights (auto: for convolutions, if fast)"] = (
        "float32"
    )
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], "where to compute"] = "auto"
    random_state: Annotated[int | None, Range(0, 2**32 - 1), "seed (none: a fresh one)"] = None

    __signature__: ClassVar[Any] = _Signature()
    family: ClassVar[str]
    paper: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
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

    @property
    def _pixels(self) -> bool:
        """Whether images are pixels in [0, 1] inside; else they are any numbers."""
        return self._law == "binary"

    def _budget(self) -> Budget:
        """That of the main stage; `images` and `minutes` bound all stages together."""
        return Budget(epochs=self.epochs)

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

    def fit(self: Self, X: Any, y: Any = None, *, verbose: int = 0) -> Self:
        """Train on images; silently, or with a bar on a terminal and in a notebook (`verbose=1`).

        X: (n, d), (n, H, W) or (n, C, H, W), uint8 or float, numpy or torch; or the name of a data set, a folder, or a
        `Data`, of which the training part is used. y [n]: labels, -1 = unknown; used by models that know classes.
        Raises ValueError in one line for bad input, `Diverged` on NaN.
        """
        self.check_parameters()
        with watched() if verbose else nullcontext():
            X = load(X) if isinstance(X, (str, Path)) else X
            x, index = self._meet(X, y)
            self._learn(x, index, about=X.brief if isinstance(X, Data) else "")
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

    def _meet(self, X: Any, y: Any) -> tuple[Tensor, Tensor | None]:
        """See images and labels for the first time: the border is made from them, and they cross it."""
        names: tuple[str, ...] = ()
        if isinstance(X, Data):
            if y is None and X.train.y is None and self._needs_labels:
                raise ValueError(f"{X.name} has no labels, expected classes; the usual fix is a sub-folder for each")
            X, names = X.train, X.classes if y is None else ()
        if isinstance(X, Part):
            X, y = X.x, X.y if y is None else y
        array, given = border.images(X, self._dtype)
        if y is None and self._needs_labels:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        y = None if y is None else border.labels(y, len(array))
        if y is not None and self._needs_labels and not border.known(y).any():
            raise ValueError(f"every label in y is unknown (-1), expected known ones for {type(self).__name__}")
        known = border.classes(y) if y is not None and self._uses_labels else None
        for name in ("n_features_in_", "feature_names_in_"):  # scikit-learn's, of rows only
            self.__dict__.pop(name, None)
        if array.ndim == 2:
            validate_data(self, X, reset=True, skip_check_array=True)
        self.border_ = Border.of(array, given, self._pixels, known, names)
        return self.border_.inward(array), None if known is None else self.border_.index(known)

    @property
    def classes_(self) -> NDArray[Any]:
        """The distinct labels that `fit` saw, of a model that uses labels."""
        if not (self._uses_labels and hasattr(self, "border_")):
            raise AttributeError(f"{type(self).__name__} has no classes_")
        return self.border_.classes

    @property
    def class_names_(self) -> tuple[str, ...]:
        """What the classes are called, in the order of `classes_`: the folders of a `Data`, else the labels as text."""
        if not (self._uses_labels and hasattr(self, "border_")):
            raise AttributeError(f"{type(self).__name__} has no class_names_")
        return self.border_.names

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if can_classify(self):
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        tags.target_tags.required = self._needs_labels
        return tags

    def _learn(
        self,
        x: Tensor,
        y: Tensor | None,
        resume: bool = False,
        title: str = "",
        about: str = "",
        library: Library | None = None,
        **options: Any,
    ) -> Training:
        """Build the nets and play the game; `options` are those of `Training`.

        title, about: what progress is called, and what is said of the images if nothing is wrong. library: `computing`.
        """
        device, (rank, n_processes) = pick_device(self.device), world()
        own = Seeds.of(agreed(_seed(self.random_state), device))
        shape = tuple(x.shape[1:])
        nets = self._fresh_nets(shape, own.build).to(device, self._dtype)
        rng = make_rng(own.play, device)
        rng.rank, rng.world = rank, n_processes
        if len(x) < n_processes:
            raise ValueError(f"there are {len(x)} images for {n_processes} processes, expected one each at least")
        batch_size = min(self.batch_size, len(x) // n_processes * n_processes)
        stream = Stream(x, y, batch_size, own.order, device=device, dtype=self._dtype, rank=rank, world=n_processes)
        if n_processes > 1:
            library = ("torch", "onednn")[agreed((library or faster()) == "onednn", device)]
        budget, precision = Budget(images=self.images, minutes=self.minutes), resolved(self.precision, nets)
        common = {"budget": budget, "precision": precision, "ema": self.ema}
        chosen = self._choices(shape) | ({"precision": precision} if self.precision == "auto" else {})
        training = Training(nets, self._stages(shape), stream, rng, **common | options)
        tell(about)
        tell(", ".join(f"{name}={value!r}" for name, value in chosen.items()))
        with work(title or type(self).__name__) as step:
            training.on_tick = lambda p, done: step(
                done, f"{p.images:,} images{training.journal.losses}, {p.seconds:.1f} s"
            )
            with computing(nets, batch_size // n_processes, library):
                progress = training.run(resume)
        self.nets_ = nets.eval()
        self.averaged_nets_ = None if training.average is None else training.average.nets.eval()
        self.journal_, self.n_iter_ = training.journal, max(1, progress.rounds)
        self._fitted = self.get_params(deep=False)
        return training

    def _fresh_nets(self, shape: Shape, seed: int) -> Nets:
        """The nets, the prior of a latent model among them; layers of torch draw from the global generator."""
        ours, torchs = spawn(seed, 2)
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(torchs)
            nets = self._build(shape, make_rng(ours))
            if hasattr(self, "_prior") and "prior" not in nets:
                nets["prior"] = self._prior()
            return nets.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    # --- files: safetensors and JSON, never code

    def save(self, folder: str | Path) -> Path:
        """Write `weights.safetensors` and `model.json` into `folder`.

        Raises ValueError in one line where hyper-parameters were changed after `fit` to those of other nets.
        """
        check_is_fitted(self, "nets_")
        parameters = self.get_params(deep=False)
        changed = [name for name, value in parameters.items() if value is not self._fitted[name]]
        if changed:
            fresh = self._fresh_nets(self.border_.inner_shape, 0).state_dict()
            if {k: v.shape for k, v in fresh.items()} != {k: v.shape for k, v in self.nets_.state_dict().items()}:
                was = ", ".join(f"{name} was {self._fitted[name]!r}, is {parameters[name]!r}" for name in changed)
                raise ValueError(f"{was}: that is another model; the usual fix is to fit again, or to set it back")
        if not isinstance(self.random_state, int):
            parameters["random_state"] = None
        about = {
            "model": type(self).__name__,
            "parameters": parameters,
            "border": self.border_.to_json(),
            "rounds": self.n_iter_,
        }
        return write_model(Path(folder), about, self.nets_, self.averaged_nets_)

    @classmethod
    def load(cls: type[Self], folder: str | Path, device: str | None = None, **given: Any) -> Self:
        """The model that `save` wrote, or that of a run, on `device` (by default where it was trained, if it is here).

        given: the parameters that are objects (an energy, a frozen net), by name: files hold no code.
        Raises a one-line ValueError for another model or version, a damaged file, or an object that is missing.
        """
        folder = model_folder(folder)
        about = read_about(folder)
        if about["model"] != cls.__name__:
            raise ValueError(f"{folder} holds a {about['model']}, expected a {cls.__name__}")
        parameters = revived(table(cls), about["parameters"], given)
        here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        parameters["device"] = device or (parameters["device"] if here.get(parameters["device"]) else "auto")
        self = cls(**parameters)
        self.border_, self.n_iter_, self.journal_ = Border.from_json(about["border"]), about["rounds"], Journal()
        if len(self.border_.shape) == 1:
            self.n_features_in_ = self.border_.shape[0]
        nets = self._fresh_nets(self.border_.inner_shape, 0).to(pick_device(self.device), self._dtype)
        self.nets_, self.averaged_nets_ = read_states(folder, nets.requires_grad_(False).eval())
        self._fitted = self.get_params(deep=False)
        return self
