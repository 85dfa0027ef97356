"""Initial weights by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from genlearn.words import call


@dataclass(frozen=True)
class Init:
    """The law of a net's first weights, whose biases are then 0; as text: xavier, he, orthogonal, normal(0.02).

    xavier      U(-a, a), a = sqrt(6 / (n_in + n_out))        Glorot and Bengio 2010, equation 16
    he          N(0, 2 / n_in)                                He et al. 2015, equation 10
    orthogonal  a random matrix of orthogonal rows or columns Saxe et al. 2014, section 3.2
    normal(s)   N(0, s^2)
    uniform(a)  U(-a, a)

    n_in, n_out are the terms of a sum: of a kernel, channels times its area. Batch normalisation is left as it is.
    """

    name: str
    scale: float = 0.0

    LAWS: ClassVar[dict[str, Callable[[Tensor, torch.Generator, float], Tensor]]] = {
        "xavier": lambda w, rng, s: nn.init.xavier_uniform_(w, generator=rng),
        "he": lambda w, rng, s: nn.init.kaiming_normal_(w, generator=rng),
        "orthogonal": lambda w, rng, s: nn.init.orthogonal_(w, generator=rng),
        "normal": lambda w, rng, s: nn.init.normal_(w, 0, s, generator=rng),
        "uniform": lambda w, rng, s: nn.init.uniform_(w, -s, s, generator=rng),
    }
    SCALED: ClassVar[tuple[str, ...]] = ("normal", "uniform")
    expected: ClassVar[str] = "initial weights such as xavier, he, orthogonal, normal(0.02) or uniform(0.05)"

    @classmethod
    def parse(cls, text: str) -> Init:
        """A law from text; a one-line ValueError if it is none."""
        try:
            name, arguments, named = call(text)
            scales = [float(argument) for argument in arguments]
        except ValueError:
            name, scales, named = "", [], {}
        wanted = 1 if name in cls.SCALED else 0
        if name not in cls.LAWS or named or len(scales) != wanted or not all(0 < s < float("inf") for s in scales):
            raise ValueError(f"{text!r} are no initial weights, expected {cls.expected}")
        return cls(name, *scales)

    @torch.no_grad()
    def __call__(self, net: nn.Module, rng: torch.Generator) -> None:
        """Draw the weights of every linear and (transposed) convolutional layer, and set their biases to 0."""
        for module in net.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                # Kernels of a transposed convolution have their inputs first.
                w = module.weight.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else module.weight
                w.copy_(
                    self.LAWS[self.name](torch.empty_like(w, memory_format=torch.contiguous_format), rng, self.scale)
                )
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
