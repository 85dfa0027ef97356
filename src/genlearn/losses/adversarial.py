"""Losses of adversarial nets, on logits."""

from __future__ import annotations

from typing import Literal, TypeAlias

from torch import Tensor
from torch.nn.functional import softplus

from genlearn.shapes import Float

GeneratorLoss: TypeAlias = Literal["non-saturating", "minimax"]


def discriminator_loss(real: Float[Tensor, "B *d"], fake: Float[Tensor, "M *d"]) -> Float[Tensor, ""]:
    """-1/2 E[log D(x)] - 1/2 E[log(1 - D(G(z)))] in nats, D = sigmoid(logit): [B, ...], [M, ...] -> scalar.

    Goodfellow et al. 2014, equation 1, with the factor 1/2 of their code; log 2 at D = 1/2.
    """
    return 0.5 * (softplus(-real).mean() + softplus(fake).mean())


def generator_loss(fake: Float[Tensor, "B ..."], form: GeneratorLoss) -> Float[Tensor, ""]:
    """-E[log D(G(z))] (non-saturating, section 3) or E[log(1 - D(G(z)))] (minimax, equation 1): [B, ...] -> scalar.

    In nats, D = sigmoid(logit). Goodfellow et al. 2014.
    """
    return softplus(-fake).mean() if form == "non-saturating" else -softplus(fake).mean()
