"""What a trained model can be asked: each method is there where the model has the capability."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from genlearn._types import Likelihood, Nets, ScoreKind
from genlearn.border import BLOCK, Border
from genlearn.maths.rng import make_rng


def _can(method: str) -> Callable[[Any], bool]:
    return lambda self: hasattr(self, method)


def _can_classify(self: Any) -> bool:
    return hasattr(self, "_classify") and (self._n_classes > 0 or not hasattr(self, "nets_"))


class Capabilities(Border):
    """The public methods over the private ones that a model gives, each on explicit nets."""

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
