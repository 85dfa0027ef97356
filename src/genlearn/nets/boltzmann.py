"""Energies of Boltzmann machines."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, one_hot, softplus

from genlearn._types import Visible
from genlearn.maths.ais import MAX_UNITS
from genlearn.maths.partition import SETTLED, LogZ, log_partition
from genlearn.maths.rng import bernoulli, normal, one_of
from genlearn.shapes import Float, Int


class RestrictedBoltzmann(nn.Module):
    """The energy of an RBM (Smolensky 1986; Hinton 2012, equations 1 and 17).

    binary     E(v, h) = -a.v - b.h - v W h
    gaussian   E(v, h) = |u - a|^2 / 2 - b.h - u W h, with u = (v - mean) / sigma

    v [B, D] (images are flattened), h [B, H] binary, W [D, H], a [D], b [H]. With n_classes, so many more units follow
    the n_visible ones: one softmax group, of which one is on (a label, `with_label`); they count in D. Buffers: mean,
    sigma [D], not learned (0 and 1 for binary units); a_base [D], the biases of the best model without hidden units,
    where AIS begins; active [H], the running mean of p(h | data).
    """

    mean: Tensor
    sigma: Tensor
    a_base: Tensor
    active: Tensor

    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        rng: torch.Generator,
        visible: Visible = "binary",
        n_classes: int = 0,
    ) -> None:
        super().__init__()
        self.n_pixels, self.n_classes = n_visible, n_classes
        n_visible += n_classes
        self.W = nn.Parameter(0.01 * torch.randn(n_visible, n_hidden, generator=rng))
        self.a = nn.Parameter(torch.zeros(n_visible))
        self.b = nn.Parameter(torch.zeros(n_hidden))
        self.visible = visible
        self.register_buffer("mean", torch.zeros(n_visible))
        self.register_buffer("sigma", torch.ones(n_visible))
        self.register_buffer("a_base", torch.zeros(n_visible))
        self.register_buffer("active", torch.full((n_hidden,), 0.5))

    @torch.no_grad()
    def fit_biases(self, mean: Float[Tensor, "*d"], variance: Float[Tensor, "*d"] | None = None) -> None:
        """Start from the best model without hidden units, given the mean (and, gaussian, the variance) of pixels [D].

        Binary: a = logit of the mean (Hinton 2012, section 8.1), kept off 0 and 1 by a hundredth; gaussian: a = 0 and
        the moments of the data, sigma at least a hundredth of the largest.
        """
        if variance is None:
            self.a[: self.n_pixels] = mean.flatten().clamp(0.01, 0.99).logit()
            self.a_base.copy_(self.a)
        else:
            sigma = variance.flatten().sqrt()
            self.sigma.copy_(sigma.clamp_min(0.01 * float(sigma.max())).clamp_min(1e-6))
            self.mean.copy_(mean.flatten())

    def base_mean(self) -> Float[Tensor, "D"]:
        """E[v] of the model without hidden units that `fit_biases` found [D]."""
        if self.visible == "gaussian":
            return self.mean
        pixels, label = self.a_base.split((self.n_pixels, self.n_classes))
        return torch.cat([pixels.sigmoid(), label.softmax(0)])

    def log_z_base(self) -> Float[Tensor, ""]:
        """log Z of that model over binary v, that is of exp(a_base.v)."""
        pixels, label = self.a_base.split((self.n_pixels, self.n_classes))
        return softplus(pixels).sum() + (label.logsumexp(0) if self.n_classes else 0)

    def scaled(self, v: Float[Tensor, "B ..."]) -> Float[Tensor, "B D"]:
        """v for binary units, u = (v - mean) / sigma for Gaussian ones."""
        v = v.flatten(1)
        return v if self.visible == "binary" else (v - self.mean) / self.sigma

    def hidden_input(self, v: Float[Tensor, "B ..."]) -> Float[Tensor, "B H"]:
        """b + v W, or b + u W [B, H]."""
        return torch.addmm(self.b, self.scaled(v), self.W).to(self.W.dtype)

    def visible_term(self, v: Float[Tensor, "B ..."]) -> Float[Tensor, "B"]:
        """The part of the energy that does not depend on h [B]."""
        if self.visible == "binary":
            return -(v.flatten(1) @ self.a)
        return (self.scaled(v) - self.a).square().sum(1) / 2

    def energy(self, v: Float[Tensor, "B ..."], h: Float[Tensor, "B H"]) -> Float[Tensor, "B"]:
        """E(v, h) [B]."""
        return self.visible_term(v) - (self.hidden_input(v) * h).sum(1)

    def free_energy(self, v: Float[Tensor, "B ..."]) -> Float[Tensor, "B"]:
        """F(v) = -log sum_h exp(-E(v, h)) [B]."""
        return self.visible_term(v) - softplus(self.hidden_input(v)).sum(1)

    def p_hidden(self, v: Float[Tensor, "B ..."]) -> Float[Tensor, "B H"]:
        """p(h_j = 1 | v) = sigmoid(b_j + (v W)_j), or with u for v [B, H]."""
        return self.hidden_input(v).sigmoid_()

    def mean_visible(self, h: Float[Tensor, "B H"]) -> Float[Tensor, "B D"]:
        """E[v | h]: sigmoid(a + W h) for binary units, softmax for a label, mean + sigma (a + W h) if Gaussian."""
        # Not addmm with W.T: autocast converts W once for both directions, but a view of it each time.
        inputs = linear(h, self.W, self.a).to(self.W.dtype)
        if self.visible == "gaussian":
            return self.mean + self.sigma * inputs
        if not self.n_classes:
            return inputs.sigmoid_()
        pixels, label = inputs.split((self.n_pixels, self.n_classes), 1)
        return torch.cat([pixels.sigmoid(), label.softmax(1)], 1)

    def sample_visible(self, mean: Float[Tensor, "B D"], rng: torch.Generator) -> Float[Tensor, "B D"]:
        """v ~ p(v | h) from its mean [B, D]."""
        if self.visible == "gaussian":
            return mean + self.sigma * normal(mean.shape, rng, mean.dtype)
        if not self.n_classes:
            return bernoulli(mean, rng)
        pixels, label = mean.split((self.n_pixels, self.n_classes), 1)
        return torch.cat([bernoulli(pixels, rng), one_of(label, rng)], 1)

    def with_label(self, v: Float[Tensor, "B d"], y: Int[Tensor, "B"]) -> Float[Tensor, "B D"]:
        """[v, one-hot y]: pixels [B, n_pixels] and classes [B] -> [B, D]."""
        return torch.cat([v, one_hot(y, self.n_classes).to(v.dtype)], 1)

    def with_drawn_label(
        self, v: Float[Tensor, "B d"], rng: torch.Generator, y: Int[Tensor, "B"] | None = None
    ) -> Float[Tensor, "B D"]:
        """[v, one-hot y], drawn from p(y | v) where y [B] is -1 or not given; v itself where there are no classes."""
        if not self.n_classes:
            return v
        drawn = torch.cat([v, one_of(self.label_logits(v).softmax(1), rng)], 1)
        return drawn if y is None else torch.where((y < 0)[:, None], drawn, self.with_label(v, y.clamp_min(0)))

    def label_logits(self, v: Float[Tensor, "B d"]) -> Float[Tensor, "B K"]:
        """-F(v, y) up to what does not depend on y: pixels [B, n_pixels] -> [B, n_classes].

        log p(y | v) is their log-softmax, exactly (Larochelle and Bengio 2008, equation 2).
        """
        pixels, U = self.W.split((self.n_pixels, self.n_classes))
        inputs = torch.addmm(self.b, v, pixels).to(self.W.dtype)
        return self.a[self.n_pixels :] + softplus(inputs[:, None] + U).sum(2)

    def p_hidden_pixels(self, v: Float[Tensor, "B d"]) -> Float[Tensor, "B H"]:
        """p(h | v) of pixels alone, sum_y p(y | v) p(h | v, y): [B, n_pixels] -> [B, H]."""
        if not self.n_classes:
            return self.p_hidden(v)
        pixels, U = self.W.split((self.n_pixels, self.n_classes))
        inputs, p = torch.addmm(self.b, v, pixels), self.label_logits(v).softmax(1)
        return torch.einsum("by,byh->bh", p, (inputs[:, None] + U).sigmoid())

    def log_unnormalised(self, v: Float[Tensor, "B d"]) -> Float[Tensor, "B"]:
        """log p*(v) = -F(v), of pixels alone: a label is summed out, [B, n_pixels] -> [B]."""
        if not self.n_classes:
            return -self.free_energy(v)
        return v @ self.a[: self.n_pixels] + self.label_logits(v).logsumexp(1)

    def gibbs(self, h: Float[Tensor, "B H"], rng: torch.Generator) -> Float[Tensor, "B D"]:
        """v ~ p(v | h) [B, D], half a step of block Gibbs sampling."""
        return self.sample_visible(self.mean_visible(h), rng)

    @property
    def enumerable(self) -> bool:
        """Whether log Z is a sum over 2^20 states at most; of Gaussian and label units only the hidden side is."""
        n_visible, n_hidden = self.W.shape
        return n_hidden <= MAX_UNITS or (self.visible == "binary" and not self.n_classes and n_visible <= MAX_UNITS)

    def log_partition(
        self,
        betas: Float[Tensor, "T"],
        rng: torch.Generator | None = None,
        start: Float[Tensor, "n d"] | None = None,
        settled: float = SETTLED,
    ) -> LogZ:
        """log Z in nats: exact where enumerable, else by AIS from the base model.

        start: pixels [n, n_pixels] near the model's law, for the reverse estimate and a verdict. settled: the doubt in
        nats at which fewer temperatures are enough.
        """
        if start is not None:
            start = self.scaled(start)
            if self.n_classes:
                start = self.with_label(start, self.label_logits(start).argmax(1))
        law: dict[str, Any] = {"a_base": self.a_base, "n_classes": self.n_classes, "visible": self.visible}
        log_z = log_partition(self.W, self.a, self.b, betas=betas, rng=rng, start=start, settled=settled, **law)
        # Sums over u become integrals over v = mean + sigma u.
        scale = float(self.sigma.cpu().double().log().sum())
        return LogZ(log_z.value + scale, log_z.lower + scale, log_z.upper + scale, log_z.notes)
