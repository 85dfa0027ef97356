"""Bounds on the log-likelihood of latent-variable models."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from genlearn.shapes import Float


def kl_standard_normal(mean: Float[Tensor, "B L"], log_var: Float[Tensor, "B L"]) -> Float[Tensor, "B"]:
    """KL(N(mean, exp(log_var)) || N(0, 1)) = 1/2 sum (mean^2 + exp(log_var) - 1 - log_var), in nats: [B, L] -> [B].

    Kingma and Welling 2014, appendix B.
    """
    return kl_by_unit(mean, log_var).sum(1)


def kl_by_unit(mean: Float[Tensor, "B L"], log_var: Float[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """KL(N(mean, exp(log_var)) || N(0, 1)) of each unit, in nats: [B, L] -> [B, L]."""
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


def log_bernoulli(x: Float[Tensor, "B *d"], logits: Float[Tensor, "B *d"]) -> Float[Tensor, "B"]:
    """sum x log p + (1 - x) log(1 - p), p = sigmoid(logits), in nats: [B, ...] -> [B]."""
    return -binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def log_normal(
    x: Float[Tensor, "B *d"], mean: Float[Tensor, "B *d"], log_sigma: Float[Tensor, "..."]
) -> Float[Tensor, "B"]:
    """sum log N(x; mean, exp(log_sigma)^2), in nats: [B, ...] -> [B]."""
    z = (x - mean) * (-log_sigma).exp()
    return (-0.5 * z.square() - log_sigma - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)


def importance_bound(log_w: Float[Tensor, "K B"]) -> Float[Tensor, "B"]:
    """log 1/K sum_k w_k, a lower bound of log p(x) that rises with K: [K, B] -> [B] (Burda et al. 2016, equation 8)."""
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))
