"""Losses of adversarial nets: pairs of what D and G descend, on D's outputs (logits, or a critic's values)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor
from torch.nn.functional import softplus

from genlearn.shapes import Float

GeneratorLoss: TypeAlias = Literal["non-saturating", "minimax"]
AdversarialLoss: TypeAlias = Literal[
    "non-saturating", "minimax", "least-squares", "hinge", "wasserstein", "relativistic"
]


class Pair(NamedTuple):
    """What D and G descend: d(real, fake, target) and g(real, fake) of D's outputs [B], [M] -> scalars.

    target: what D is to say of data, 1 unless labels are smoothed; `smooth` where it makes a difference. relativistic:
    outputs are compared row by row, so there are as many of either, and G's loss needs those of data. boundary: the
    output above which D takes an image for data; None where only differences of outputs mean something.
    """

    d: Callable[[Tensor, Tensor, float], Tensor]
    g: Callable[[Tensor, Tensor], Tensor]
    smooth: bool = False
    relativistic: bool = False
    boundary: float | None = 0.0


def discriminator_loss(
    real: Float[Tensor, "B *d"], fake: Float[Tensor, "M *d"], target: float = 1.0
) -> Float[Tensor, ""]:
    """-1/2 E[t log D(x) + (1 - t) log(1 - D(x))] - 1/2 E[log(1 - D(G(z)))] in nats, D = sigmoid(logit).

    Goodfellow et al. 2014, equation 1, with the factor 1/2 of their code; log 2 at D = 1/2. A target t below 1 is
    one-sided label smoothing (Salimans et al. 2016, section 3.4). [B, ...], [M, ...] -> scalar.
    """
    data = softplus(-real).mean()
    if target != 1.0:
        data = data + (1 - target) * real.mean()  # softplus(a) = softplus(-a) + a
    return 0.5 * (data + softplus(fake).mean())


def generator_loss(fake: Float[Tensor, "B ..."], form: GeneratorLoss) -> Float[Tensor, ""]:
    """-E[log D(G(z))] (non-saturating, section 3) or E[log(1 - D(G(z)))] (minimax, equation 1): [B, ...] -> scalar.

    In nats, D = sigmoid(logit). Goodfellow et al. 2014.
    """
    return softplus(-fake).mean() if form == "non-saturating" else -softplus(fake).mean()


LOSSES: Mapping[AdversarialLoss, Pair] = {
    "non-saturating": Pair(discriminator_loss, lambda real, fake: generator_loss(fake, "non-saturating"), smooth=True),
    "minimax": Pair(discriminator_loss, lambda real, fake: generator_loss(fake, "minimax"), smooth=True),
    # Mao et al. 2017, equation 9: a = 0, b = c = 1.
    "least-squares": Pair(
        lambda real, fake, target: 0.5 * ((real - target).square().mean() + fake.square().mean()),
        lambda real, fake: 0.5 * (fake - 1).square().mean(),
        smooth=True,
        boundary=0.5,
    ),
    # Lim and Ye 2017, equations 2 and 3; Miyato et al. 2018, equations 16 and 17.
    "hinge": Pair(
        lambda real, fake, target: (1 - real).relu().mean() + (1 + fake).relu().mean(),
        lambda real, fake: -fake.mean(),
    ),
    # Arjovsky, Chintala and Bottou 2017, equation 2: minus an estimate of W1, up to the critic's Lipschitz constant.
    "wasserstein": Pair(
        lambda real, fake, target: fake.mean() - real.mean(),
        lambda real, fake: -fake.mean(),
        boundary=None,
    ),
    # Jolicoeur-Martineau 2019, section 4.1 (RpGAN); Huang et al. 2024, equation 2.
    "relativistic": Pair(
        lambda real, fake, target: softplus(fake - real).mean(),
        lambda real, fake: softplus(real - fake).mean(),
        relativistic=True,
        boundary=None,
    ),
}
"""The pairs by name."""
