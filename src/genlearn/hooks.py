"""What a model gives of itself; the public methods (`capabilities`) are built on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlearn._types import Likelihood, PixelLaw, ScoreKind
from genlearn.nets.priors import Prior


def can(*methods: str) -> Callable[[Any], bool]:
    """Whether a model gives these hooks, as a question for `available_if`."""
    return lambda self: all(hasattr(self, method) for method in methods)


def can_sample(self: Any) -> bool:
    """Whether a model samples: in its own way, by a chain, or by decoding what its prior draws."""
    return hasattr(self, "_sample") or hasattr(self, "_chain") or (hasattr(self, "_prior") and hasattr(self, "_decode"))


def can_classify(self: Any) -> bool:
    """Whether a model classifies; one that is not fitted yet will, if it is given labels."""
    return hasattr(self, "_classify") and (not hasattr(self, "nets_") or self._n_classes > 0)


def bottleneck(model: Any) -> Callable[[Any], tuple[Any, Any]] | None:
    """images -> (their codes, the images of those), of a fitted model whose codes are narrower than images."""
    if not can("_encode", "_decode")(model) or model._n_features_out >= math.prod(model.border_.shape):
        return None
    return lambda x: (z := model.transform(x), model.inverse_transform(z))


def seeded(model: Any, name: str) -> Callable[[Any, int], Any] | None:
    """A public method of a model as a function of what it is asked and a seed; None where the model has none."""
    method = getattr(model, name, None)
    return None if method is None else lambda asked, seed: method(asked, random_state=seed)


class Hooks:
    """What a model gives of the following, each on explicit nets; a hook that is not there is no capability.

    x are images [B, ...] of the model's precision, in its range. A latent model gives `_prior` and `_decode`, a chain
    model `_chain`, any other `_sample`.

        _prior() -> Prior                                    it joins the nets as `nets.prior`
        _decode(nets, z [B, k]) -> [B, ...]                  images of codes, or rows [B, d]
        _chain(nets, n, rng, x=None) -> iterator of [n, ...] the images of n chains; with `_n_steps`
        _sample(nets, n, rng) -> [n, ...]                    images
        _sample_class(nets, y [n], rng) -> [n, ...]          one of each class
        _encode(nets, x) -> [B, k]                           codes, k = `_n_features_out`
        _scorer(nets) -> (x -> [B])                          log p(x) in nats, with `_score_kind(nets) -> ScoreKind`
        _likelihoods(nets, x, rng) -> {name: Likelihood}     every log-likelihood that there is
        _complete(nets, x, known, rng) -> [B, ...]           the unknown pixels drawn
        _denoise(nets, x) -> [B, ...]                        x without its noise
        _classify(nets, x) -> [B, classes]                   log p(y | x)
    """

    if TYPE_CHECKING:  # at run time they must not be there: hasattr tells the truth

        def _prior(self) -> Prior:
            """The law of the codes; it joins the nets as `prior`."""

        def _decode(self, nets: Any, z: Tensor) -> Tensor:
            """E[x | z], from codes [B, `_n_features_out`]."""

        def _chain(self, nets: Any, n: int, rng: torch.Generator, x: Tensor | None = None) -> Iterator[Tensor]:
            """Mean images of n chains, a step apart, from images x or from the model's own start."""

        def _sample(self, nets: Any, n: int, rng: torch.Generator) -> Tensor:
            """n images."""

        def _sample_class(self, nets: Any, y: Tensor, rng: torch.Generator) -> Tensor:
            """An image of each of the classes y [n]."""

        def _encode(self, nets: Any, x: Tensor) -> Tensor:
            """Codes [B, `_n_features_out`]."""

        def _scorer(self, nets: Any) -> Callable[[Tensor], Tensor]:
            """log p(x) in nats for images x, of binary pixels where `_law` is binary: [B, ...] -> [B]."""

        def _score_kind(self, nets: Any) -> ScoreKind:
            """What that is worth."""

        def _likelihoods(self, nets: Any, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
            """Every log-likelihood of images x, by name."""

        def _complete(self, nets: Any, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
            """x with values for the pixels that are not known."""

        def _denoise(self, nets: Any, x: Tensor) -> Tensor:
            """Images x [B, ...] without their noise, or rows [B, d]."""

        def _classify(self, nets: Any, x: Tensor) -> Tensor:
            """log p(y | x) [B, classes]."""

        @property
        def _n_features_out(self) -> int:
            """Numbers in a code."""

        @property
        def _n_steps(self) -> int:
            """Steps of the chain whose end is a sample."""

    def _choices(self, shape: tuple[int, ...]) -> dict[str, str]:
        """What parameters that are "auto" become for images of a shape."""
        return {}

    @property
    def _law(self) -> PixelLaw:
        """The law of the pixels that scores speak of: of binary ones, grey images are drawn; of 256 levels; or
        densities."""
        return "binary"

    @property
    def _remark(self) -> str:
        """What one should know of the samples, if anything: "drawn from ...", and no part of the model, say."""
        return ""
