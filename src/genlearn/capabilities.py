"""What a trained model can be asked: each method is there where the model has the capability."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from genlearn import border
from genlearn._types import Likelihood, Nets, ScoreKind
from genlearn.border import Border
from genlearn.compute import computing
from genlearn.data import Part
from genlearn.hooks import Hooks, can, can_classify, can_sample
from genlearn.maths.pixels import unit
from genlearn.maths.rng import bernoulli, bernoulli_by_content, make_rng
from genlearn.progress import track
from genlearn.samplers import after


class Capabilities(Hooks, BaseEstimator):
    """The public methods over the hooks. All take `nets`: any nets of this model (a checkpoint, the weights before
    averaging); by default the averaged ones, where `ema` is on."""

    precision: str
    device: str
    nets_: Nets
    averaged_nets_: Nets | None
    border_: Border
    _uses_labels: ClassVar[bool] = False

    # --- samples

    @available_if(can_sample)
    def sample(
        self,
        n: int | None = None,
        *,
        y: ArrayLike | None = None,
        truncation: float | None = None,
        random_state: Any = None,
        nets: Nets | None = None,
    ) -> NDArray[Any]:
        """n images (by default one, or one for each of y), in the shape, type and range that `fit` was given.

        y: the class to draw, one label (or its name) or n of them, of models that know classes. truncation: the largest
        coordinate of z, where its law is normal: better images, less varied ones (training knows no truncation). Image
        i depends on the seed, on i and on its label alone, not on n.
        """
        n = n if n is not None else np.size(y) if np.ndim(y) else 1  # type: ignore[arg-type]  # a label may be none
        nets, block = self._nets(nets), self.border_.block
        self.border_.check_number(n)
        classes = None if y is None else self._chosen(np.asarray(y), n)
        blocks = []
        with self._answering(nets), self._truncated(nets, truncation):
            for b, rng in enumerate(self._generators(n, random_state, nets, "samples")):
                if classes is None:
                    images = self._draw(nets, block, rng)
                else:
                    images = self._sample_class(nets, classes[b * block : (b + 1) * block].to(rng.device), rng)
                if len(images) != block or images[0].numel() != math.prod(self.border_.shape):
                    raise ValueError(
                        f"{type(self).__name__} drew images of shape {tuple(images.shape)}, "
                        f"expected {(block, *self.border_.inner_shape)} or rows"
                    )
                blocks.append(images.cpu())
        return self.border_.outward(torch.cat(blocks)[:n] if blocks else torch.empty(0, *self.border_.shape))

    @contextmanager
    def _truncated(self, nets: Any, threshold: float | None) -> Iterator[None]:
        if threshold is None:
            yield
        elif "prior" in nets:
            with nets.prior.truncated(threshold):
                yield
        else:
            name = type(self).__name__
            raise ValueError(f"truncation is {threshold}, but {name} draws no z; the usual fix is to leave it out")

    def _draw(self, nets: Any, n: int, rng: torch.Generator) -> Tensor:
        """n images: the decoded draws of the prior, the end of a chain, or the model's own way."""
        if hasattr(self, "_sample"):
            return self._sample(nets, n, rng)
        if hasattr(self, "_chain"):
            return after(self._n_steps, track(self._chain(nets, n, rng), "chain", self._n_steps))
        return self._decode(nets, nets.prior.draw(n, rng))

    def _generators(self, n: int, random_state: Any, nets: Nets, what: str) -> Iterator[torch.Generator]:
        """A generator for each block of n images, which depends on the seed and the block alone."""
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        n_blocks = -(-n // self.border_.block)
        for b in track(range(n_blocks), what, n_blocks, even=n_blocks > 1):  # of one block, its steps tell the time
            mixed = int(np.random.SeedSequence([seed, b]).generate_state(1, np.uint64)[0])
            yield make_rng(mixed >> 1, _device(nets))

    def _chosen(self, y: NDArray[Any], n: int) -> Tensor:
        """The classes of n images, filled up to whole blocks."""
        if not hasattr(self, "_sample_class") or not self._n_classes:
            why = "was fitted without labels" if self._uses_labels else "knows no classes"
            raise ValueError(f"y is given, but this {type(self).__name__} {why}; the usual fix is to leave y out")
        y = self.border_.labels(y)
        if y.ndim > 1 or (y.ndim == 1 and len(y) != n):
            raise ValueError(f"y has shape {y.shape}, expected one label or {n} of them, one for each image")
        index = self.border_.index(np.broadcast_to(y, (n,)))
        if (index < 0).any():
            raise ValueError("y has the label -1, which means unknown, expected known labels")
        return torch.cat([index, index.new_zeros(-n % self.border_.block)])

    @available_if(can("_chain"))
    def chain(
        self, n: int = 1, X: Any = None, *, random_state: Any = None, nets: Nets | None = None
    ) -> Iterator[NDArray[Any]]:
        """n images after each step of the model's chain, endlessly: from images X [n, ...], or its own start.

        `sample` takes the end of such chains; here one sees them move, so all n belong to one stream of noise.
        """
        nets = self._nets(nets)
        rng = make_rng(int(check_random_state(random_state).randint(2**31 - 1)), _device(nets))
        x = None if X is None else self._inside(self._read(X), nets)
        states = self._chain(nets, n if x is None else len(x), rng, x)
        while True:
            with self._answering(nets):
                images = next(states)
            yield self.border_.outward(images)

    @available_if(can("_complete"))
    def complete(self, X: Any, known: ArrayLike, *, random_state: Any = None, nets: Nets | None = None) -> NDArray[Any]:
        """Images whose unknown pixels are drawn given the known ones, which are kept as they are.

        known: True where a pixel is known, of the shape of X or of one image; the values of the others do not matter.
        Image i depends on the seed and on i, not on the other images.
        """
        nets = self._nets(nets)
        X, known = np.asarray(X.x if isinstance(X, Part) else X), np.asarray(known)
        if known.dtype != bool or known.shape not in (X.shape, X.shape[1:]):
            raise ValueError(
                f"known is {known.dtype} of shape {known.shape}, expected bool of shape {X.shape} or {X.shape[1:]}"
            )
        known = np.broadcast_to(known, X.shape)
        x = self._read(np.where(known, X, X.dtype.type(self.border_.range[0])))
        mask, block, filled = torch.from_numpy(known.copy()).view(x.shape), self.border_.block, []
        with self._answering(nets):
            for b, rng in enumerate(self._generators(len(x), random_state, nets, "completion")):
                rows = slice(b * block, (b + 1) * block)
                n = len(x[rows])
                given, here = _padded(self._inside(x[rows], nets), block), _padded(mask[rows].to(rng.device), block)
                filled.append(self._complete(nets, given, here, rng)[:n].reshape(n, -1))
        return np.where(known, X, self.border_.outward(torch.cat(filled))).astype(X.dtype)

    @available_if(can("_denoise"))
    def denoise(self, X: Any, *, nets: Nets | None = None) -> NDArray[Any]:
        """Noisy images made clean, in the shape, type and range that `fit` was given."""
        nets = self._nets(nets)
        return self.border_.outward(self._blocks(partial(self._denoise, nets), self._read(X), nets))

    # --- classes

    @available_if(can_classify)
    def predict_log_proba(self, X: Any, *, nets: Nets | None = None) -> NDArray[Any]:
        """log p(y | x) [n, K], in the order of `classes_`."""
        nets = self._nets(nets)
        return self._answer(partial(self._classify, nets), X, nets)

    @available_if(can_classify)
    def predict_proba(self, X: Any, *, nets: Nets | None = None) -> NDArray[Any]:
        """p(y | x) [n, K], in the order of `classes_`."""
        p: NDArray[Any] = np.exp(self.predict_log_proba(X, nets=nets))
        return p

    @available_if(can_classify)
    def predict(self, X: Any, *, nets: Nets | None = None) -> NDArray[Any]:
        """The most probable label of each image [n]."""
        best = self.predict_log_proba(X, nets=nets).argmax(1)
        labels: NDArray[Any] = self.border_.classes[best]
        return labels

    # --- codes: see also `Encoder`

    @available_if(can("_decode"))
    def inverse_transform(self, Z: ArrayLike, *, nets: Nets | None = None) -> NDArray[Any]:
        """The mean images of codes [n, k]."""
        nets = self._nets(nets)
        codes, expected = torch.as_tensor(np.asarray(Z)).to(self._dtype), self._n_features_out
        bad = "" if codes.isfinite().all() else " and NaN or inf values"
        if bad or codes.ndim != 2 or codes.shape[1] != expected or not len(codes):
            raise ValueError(f"Z has shape {tuple(codes.shape)}{bad}, expected (n, {expected}), codes as of transform")
        return self.border_.outward(self._blocks(partial(self._decode, nets), codes, nets))

    # --- scores

    @available_if(can("_scorer"))
    def score_samples(self, X: Any, *, nets: Nets | None = None) -> NDArray[Any]:
        """A log-likelihood in nats for each image [n]; `score_kind()` says what it is worth.

        A model of binary pixels scores binary images: pixels between 0 and 1 are drawn, from noise that depends on the
        image alone.
        """
        nets = self._nets(nets)
        with self._answering(nets):
            score, binary = self._scorer(nets), self._law == "binary"
        return self._answer(lambda x: score(bernoulli_by_content(x) if binary else x), X, nets)

    @available_if(can("_scorer"))
    def score_kind(self, *, nets: Nets | None = None) -> ScoreKind:
        """What `score_samples` gives: exact, lower bound, estimate, estimate of a bound, or pseudo."""
        return self._score_kind(self._nets(nets))

    @available_if(lambda self: hasattr(self, "_scorer") or can_classify(self))
    def score(self, X: Any, y: Any = None, *, nets: Nets | None = None) -> float:
        """The share of labels y [n] that `predict` gets right; without labels, or for a model that knows none, the
        mean of `score_samples` in nats."""
        if can_classify(self) and (y is not None or not hasattr(self, "_scorer")):
            predicted = self.predict(X, nets=nets)
            return float((predicted == border.labels(y, len(predicted))).mean())
        return float(self.score_samples(X, nets=nets).mean())

    @available_if(can("_likelihoods"))
    def log_likelihoods(self, X: Any, *, random_state: Any = 0, nets: Nets | None = None) -> dict[str, Likelihood]:
        """Every log-likelihood that the model can give of test images, by name (AIS, ELBO, IWAE ...).

        A model of binary pixels scores one binarisation of grey images, drawn from the seed.
        """
        nets = self._nets(nets)
        rng = make_rng(int(check_random_state(random_state).randint(2**31 - 1)), _device(nets))
        with self._answering(nets):
            x = self._inside(self._read(X), nets)
            return self._likelihoods(nets, bernoulli(x, rng) if self._law == "binary" else x, rng)

    # --- the border

    @property
    def _dtype(self) -> torch.dtype:
        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def _n_classes(self) -> int:
        return len(self.border_.classes) if hasattr(self, "border_") else 0

    def _nets(self, nets: Nets | None) -> Nets:
        if nets is not None:
            return nets
        check_is_fitted(self, "nets_")
        return self.nets_ if self.averaged_nets_ is None else self.averaged_nets_

    @contextmanager
    def _answering(self, nets: Nets) -> Iterator[None]:
        """For what is asked of the nets: without gradients, and as fast as training."""
        with torch.no_grad(), computing(nets, self.border_.block):
            yield

    def _inside(self, x: Tensor, nets: Nets) -> Tensor:
        """On the device of the nets, as floats."""
        return unit(x.to(_device(nets)), self._dtype)

    def _blocks(self, f: Callable[[Tensor], Tensor], x: Tensor, nets: Nets) -> Tensor:
        """f over blocks of rows of one fixed size, so that no row depends on how many there are."""
        block = self.border_.block
        with self._answering(nets):
            every = track(x.split(block), "images", -(-len(x) // block), even=len(x) > block)
            return torch.cat([f(_padded(self._inside(rows, nets), block))[: len(rows)] for rows in every])

    def _answer(self, f: Callable[[Tensor], Tensor], X: Any, nets: Nets) -> NDArray[Any]:
        return self.border_.answer(self._blocks(f, self._read(X), nets))

    def _read(self, X: Any) -> Tensor:
        """The images as a tensor in the model's shape and range, checked against what `fit` saw."""
        array, _ = border.images(X, self._dtype)
        if array.ndim == 2 and len(self.border_.shape) == 1:
            validate_data(self, X.x if isinstance(X, Part) else X, reset=False, skip_check_array=True)
        self.border_.check(array)
        return self.border_.inward(array)


class Encoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Capabilities):
    """The public face of models that give `_encode`: scikit-learn's `set_output` needs `transform` in their bases."""

    def transform(self, X: Any, *, nets: Nets | None = None) -> NDArray[Any]:
        """The codes of images [n, k] (means, deterministic)."""
        nets = self._nets(nets)
        return self._answer(partial(self._encode, nets), X, nets)


def _device(nets: Nets) -> torch.device:
    return next(nets.parameters()).device


def _padded(rows: Tensor, n: int) -> Tensor:
    """Rows filled up to n with copies of the last one."""
    return torch.cat([rows, rows[-1:].expand(n - len(rows), *rows.shape[1:])]) if len(rows) < n else rows
