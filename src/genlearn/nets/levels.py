"""Laws of a value that takes one of L levels, k = 0 .. L - 1: what the outputs of a net mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, log_softmax, logsigmoid

from genlearn.maths.rng import bernoulli, one_of
from genlearn.shapes import Float, Int

SMOOTH = 0.01  # the share of the uniform law in what a law starts from


class Levels:
    """A law of k in 0 .. `n_levels` - 1 given `n_parameters` outputs theta of a net."""

    n_levels: int
    n_parameters: int

    def log_prob(self, theta: Float[Tensor, "*d P"], k: Int[Tensor, "*d"]) -> Float[Tensor, "*d"]:
        """log p(k) in nats: [..., P], [...] -> [...]."""
        raise NotImplementedError

    def log_probs(self, theta: Float[Tensor, "*d P"]) -> Float[Tensor, "*d L"]:
        """log p of every level, in nats: [..., P] -> [..., L]."""
        raise NotImplementedError

    def draw(self, theta: Float[Tensor, "n P"], rng: torch.Generator, temperature: float = 1.0) -> Int[Tensor, "n"]:
        """k drawn from p(k)^(1 / temperature), made to add up to 1: [n, P] -> [n]."""
        return one_of((self.log_probs(theta) / temperature).softmax(1), rng).argmax(1)

    def mean(self, theta: Float[Tensor, "*d P"]) -> Float[Tensor, "*d"]:
        """E[k] / (L - 1), in [0, 1]: [..., P] -> [...]."""
        levels = torch.linspace(0, 1, self.n_levels, dtype=theta.dtype, device=theta.device)
        parts = [self.log_probs(part).exp() @ levels for part in theta.flatten(0, -2).split(2**12)]  # L times as large
        return torch.cat(parts).view(theta.shape[:-1])

    def start(self, shares: Float[Tensor, "*d L"]) -> Float[Tensor, "*d P"]:
        """The theta of a law near the shares of the levels in the data: [..., L] -> [..., P]."""
        raise NotImplementedError


def smoothed(shares: Float[Tensor, "*d L"]) -> Float[Tensor, "*d L"]:
    """Shares with a hundredth of the uniform law mixed in: none is 0."""
    return (1 - SMOOTH) * shares + SMOOTH / shares.shape[-1]


class BinaryLevels(Levels):
    """p(1) = sigmoid(theta)."""

    n_levels, n_parameters = 2, 1

    def log_prob(self, theta: Float[Tensor, "*d P"], k: Int[Tensor, "*d"]) -> Float[Tensor, "*d"]:
        """As `Levels.log_prob`."""
        return -binary_cross_entropy_with_logits(theta[..., 0], k.to(theta.dtype), reduction="none")

    def log_probs(self, theta: Float[Tensor, "*d P"]) -> Float[Tensor, "*d L"]:
        """As `Levels.log_probs`."""
        return torch.cat([logsigmoid(-theta), logsigmoid(theta)], -1)

    def draw(self, theta: Float[Tensor, "n P"], rng: torch.Generator, temperature: float = 1.0) -> Int[Tensor, "n"]:
        """As `Levels.draw`."""
        return bernoulli((theta[:, 0] / temperature).sigmoid(), rng).long()

    def start(self, shares: Float[Tensor, "*d L"]) -> Float[Tensor, "*d P"]:
        """The logit of the share of 1."""
        return smoothed(shares)[..., 1:].logit()


class CategoricalLevels(Levels):
    """p(k) = softmax(theta)_k, one output a level."""

    def __init__(self, n_levels: int) -> None:
        self.n_levels = self.n_parameters = n_levels

    def log_prob(self, theta: Float[Tensor, "*d P"], k: Int[Tensor, "*d"]) -> Float[Tensor, "*d"]:
        """As `Levels.log_prob`."""
        return -cross_entropy(theta.flatten(0, -2), k.flatten(), reduction="none").view(k.shape)

    def log_probs(self, theta: Float[Tensor, "*d P"]) -> Float[Tensor, "*d L"]:
        """As `Levels.log_probs`."""
        return log_softmax(theta, -1)

    def start(self, shares: Float[Tensor, "*d L"]) -> Float[Tensor, "*d P"]:
        """The logarithms of the shares."""
        return smoothed(shares).log()


class LogisticMixtureLevels(Levels):
    """p(k) = sum_i pi_i [sigmoid((v + w - mu_i) / s_i) - sigmoid((v - w - mu_i) / s_i)], v = 2 k / (L - 1) - 1,
    w = 1 / (L - 1), without the first term's w at the top and the second's at the bottom: the tails fall to the ends.

    theta holds, for M components, logits of pi, then mu, then log s. Salimans et al. 2017 (PixelCNN++), equation 2.
    """

    def __init__(self, n_levels: int, n_mixture: int) -> None:
        self.n_levels, self.n_parameters, self.n_mixture = n_levels, 3 * n_mixture, n_mixture

    def log_prob(self, theta: Float[Tensor, "*d P"], k: Int[Tensor, "*d"]) -> Float[Tensor, "*d"]:
        """As `Levels.log_prob`."""
        logits, mean, log_s = theta.split(self.n_mixture, -1)
        k = k[..., None]
        w, precision = 1 / (self.n_levels - 1), (-log_s).exp()
        centred = 2 * w * k - 1 - mean
        below, above = k > 0, k < self.n_levels - 1
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): exact where the difference would cancel.
        log_p = logsigmoid(precision * (centred + w)) * above + logsigmoid(precision * (w - centred)) * below
        log_p = log_p + (-torch.expm1(-2 * w * precision)).log() * (below & above)
        return torch.logsumexp(log_softmax(logits, -1) + log_p, -1)

    def log_probs(self, theta: Float[Tensor, "*d P"]) -> Float[Tensor, "*d L"]:
        """As `Levels.log_probs`."""
        levels = torch.arange(self.n_levels, device=theta.device)
        shape = (*theta.shape[:-1], self.n_levels)
        return self.log_prob(theta[..., None, :].expand(*shape, -1), levels.expand(shape))

    def start(self, shares: Float[Tensor, "*d L"]) -> Float[Tensor, "*d P"]:
        """Equal components, spread over two standard deviations about the mean, of half that scale."""
        v = torch.linspace(-1, 1, self.n_levels, dtype=shares.dtype, device=shares.device)
        mean = (shares @ v)[..., None]
        sd = (shares @ v.square() - mean[..., 0].square()).clamp_min(4 / self.n_levels**2).sqrt()[..., None]
        places = torch.linspace(-1, 1, self.n_mixture + 2, dtype=v.dtype, device=v.device)[1:-1]
        return torch.cat([torch.zeros_like(mean * places), mean + 2 * sd * places, (sd / 2).log() + 0 * places], -1)
