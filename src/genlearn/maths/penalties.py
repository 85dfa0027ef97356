"""Penalties on gradients: terms that are added to a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genlearn.maths.rng import uniform
from genlearn.shapes import Float
from genlearn.words import call

Critic = Callable[[Tensor], Tensor]


def squared_gradient_norm(f: Critic, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B"]:
    """||grad_x f(x)||^2 for every row: [B, ...] -> [B], differentiable in the parameters of f.

    `f` maps each row to a number independently of the others. Half its mean over data, times gamma, is the R1 penalty
    (Mescheder, Geiger, Nowozin 2018, equation 9). For the norm itself take (result + 1e-12).sqrt(): at 0 the root
    alone has no gradient.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def interpolated_gradient_penalty(
    f: Critic, x: Float[Tensor, "B *d"], fake: Float[Tensor, "B *d"], rng: torch.Generator
) -> Float[Tensor, "B"]:
    """(||grad f(y)|| - 1)^2 at y = x + u (fake - x), u ~ U(0, 1) for every row: [B, ...] -> [B].

    Gulrajani et al. 2017, equation 3.
    """
    u = uniform((len(x), *[1] * (x.ndim - 1)), rng, x.dtype)
    return ((squared_gradient_norm(f, torch.lerp(x, fake.detach(), u)) + 1e-12).sqrt() - 1).square()


@dataclass(frozen=True)
class Penalties:
    """Penalties on the gradient of D in its input, and their weights; as text: r1(5), gp(10), r1(0.5)+r2(0.5).

    r1(1, every=4) is there at every fourth step only, four times as heavy (Karras et al. 2020, section 3.1): most of
    its cost is saved. With small data or penalties on samples that can break the game (Huang et al. 2024, section 3).

    gp      the interpolated gradient penalty (Gulrajani et al. 2017): weight E (||grad D|| - 1)^2
    r1, r2  weight / 2 E ||grad D||^2 on data, on samples (Mescheder et al. 2018, equations 9 and 10)
    """

    terms: tuple[tuple[str, float, int], ...] = ()

    NAMES: ClassVar[tuple[str, ...]] = ("gp", "r1", "r2")
    expected: ClassVar[str] = "penalties such as r1(5), gp(10), r1(0.5)+r2(0.5) or r1(1, every=4)"

    @classmethod
    def parse(cls, text: str) -> Penalties:
        """Penalties from text; a one-line ValueError if it is none."""
        terms = []
        for term in text.split("+"):
            try:
                name, (weight,), named = call(term)
                terms.append((name, float(weight), int(named.pop("every", 1))))
            except ValueError:
                raise ValueError(f"{text!r} is no penalty, expected {cls.expected}") from None
            if name not in cls.NAMES or named or not 0 < terms[-1][1] < float("inf") or terms[-1][2] < 1:
                raise ValueError(f"{text!r} is no penalty, expected {cls.expected}, with positive weights")
        if len({name for name, _, _ in terms}) < len(terms):
            raise ValueError(f"{text!r} names a penalty twice, expected each once")
        return cls(tuple(terms))

    def __call__(
        self, f: Critic, x: Float[Tensor, "B *d"], fake: Float[Tensor, "B *d"], rng: torch.Generator, step: int = 0
    ) -> dict[str, Tensor]:
        """The terms of a step by name, weighted, of data and samples [B, ...]: scalars, to be added to D's loss."""
        terms = {}
        for name, weight, every in self.terms:
            if step % every:
                continue
            weight *= every
            if name == "gp":
                terms[name] = weight * interpolated_gradient_penalty(f, x, fake, rng).mean()
            else:
                terms[name] = weight / 2 * squared_gradient_norm(f, x if name == "r1" else fake).mean()
        return terms
