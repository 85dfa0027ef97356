"""Noise-contrastive estimation."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import softplus

from genlearn.shapes import Float


def nce(
    log_p_data: Float[Tensor, "B"],
    log_n_data: Float[Tensor, "B"],
    log_p_noise: Float[Tensor, "M"],
    log_n_noise: Float[Tensor, "M"],
    nu: float,
) -> Float[Tensor, ""]:
    """-J = -E_data[log h] - nu E_noise[log(1 - h)], with h = p / (p + nu n): a scalar in nats, to be minimised.

    log_p_* are log-densities of the model with its learned -log Z, log_n_* those of the noise law, at the data [B] and
    at noise points [M]; nu > 0 is how many noise points there are for each datum, in the limit M / B (each mean is
    taken over its own points, so M is free). At the optimum p is normalised without being told to. For large nu the
    gradient tends to that of maximum likelihood.

    Gutmann and Hyvarinen 2012, sections 2.2 and 2.3.
    """
    # h = sigmoid(G - log nu), G = log p - log n.
    data, noise = log_p_data - log_n_data - math.log(nu), log_p_noise - log_n_noise - math.log(nu)
    return softplus(-data).mean() + nu * softplus(noise).mean()
