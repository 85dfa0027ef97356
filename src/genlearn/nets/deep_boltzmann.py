"""The deep Boltzmann machine, and the classifier that it starts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genlearn.maths.ais import MAX_UNITS
from genlearn.maths.partition import SETTLED, LogZ, log_partition
from genlearn.nets.layers import Layers
from genlearn.nets.mlp import dropout
from genlearn.shapes import Float


class DeepBoltzmann(nn.Module):
    """The energy of a deep Boltzmann machine of binary layers x_0 = v, x_1 = h_1 .. x_L = h_L, in nats,

        E(v, h) = -a.v - sum_i b_i.h_i - sum_i x_{i-1} W_i x_i

    (Salakhutdinov and Hinton 2009, equation 9). Layers meet only their neighbours, so the even ones (with v) are
    independent given the odd ones and conversely: it is an RBM between the two, see `bipartite`.

    sizes = (D, H_1 .. H_L); W_i [H_{i-1}, H_i], a [D], b_i [H_i]. A state is the list [v, h_1 .. h_L] of [B, H_i].
    below: for i < L, the bias of h_i as the lower layer of the RBM above it, in pretraining only. Buffers: a_base [D],
    the biases of the best model without hidden units, where AIS begins; center [D + H_1 + ..], running means of the
    layers given data.
    """

    a_base: Tensor
    center: Tensor

    def __init__(self, sizes: Sequence[int], rng: torch.Generator) -> None:
        super().__init__()
        self.sizes, self.top = tuple(sizes), len(sizes) - 1
        self.W = nn.ParameterList(
            0.01 * torch.randn(i, j, generator=rng) for i, j in zip(sizes, sizes[1:], strict=False)
        )
        self.a = nn.Parameter(torch.zeros(sizes[0]))
        self.b = nn.ParameterList(torch.zeros(j) for j in sizes[1:])
        self.below = nn.ParameterList(torch.zeros(j) for j in sizes[1:-1])
        self.register_buffer("a_base", torch.zeros(sizes[0]))
        self.register_buffer("center", torch.zeros(sum(sizes)))

    def energy(self, x: Sequence[Float[Tensor, "B _"]]) -> Float[Tensor, "B"]:
        """E of states [B]; with means in the place of hidden states, its mean under the factorial law."""
        energy = -(x[0] @ self.a)
        for W, b, low, high in zip(self.W, self.b, x, x[1:], strict=False):
            energy = energy - (torch.addmm(b, low, W) * high).sum(1)
        return energy

    def mean(self, i: int, x: Sequence[Float[Tensor, "B _"]]) -> Float[Tensor, "B H"]:
        """p(x_i = 1 | its neighbours) = sigmoid(b_i + x_{i-1} W_i + W_{i+1} x_{i+1}) [B, H_i]."""
        inputs = self.a if i == 0 else torch.addmm(self.b[i - 1], x[i - 1], self.W[i - 1])
        if i < self.top:
            inputs = torch.addmm(inputs, x[i + 1], self.W[i].T)
        return inputs.to(self.a.dtype).sigmoid_()

    def unpack(self, odd: Float[Tensor, "B _"]) -> list[Float[Tensor, "B _"]]:
        """A state whose odd layers are the columns of `odd`, from which a chain can go on."""
        x = [odd] * (self.top + 1)
        x[1::2] = odd.split(self.sizes[1::2], 1)
        return x

    def mean_field(self, v: Float[Tensor, "B ..."], n_steps: int) -> list[Float[Tensor, "B _"]]:
        """[v, mu_1 .. mu_L], the means of a factorial q(h | v) near p(h | v), by coordinate ascent on its bound.

        From a bottom-up pass with doubled inputs, for the layer above that is not there yet, each step sets the odd
        layers, then the even ones, to mu_i = sigmoid(b_i + mu_{i-1} W_i + W_{i+1} mu_{i+1}) (2009, equation 13).
        """
        v = v.flatten(1)
        # v W_1 stays what it is: one product with the image in all.
        bottom = torch.addmm(self.b[0], v, self.W[0]).to(self.a.dtype)
        x = [v, (bottom if self.top == 1 else 2 * bottom - self.b[0]).sigmoid()]
        for i in range(2, self.top + 1):
            x.append(self.up(i, x[-1]))
        if self.top == 1:
            return x
        for _ in range(n_steps):
            x[1] = torch.addmm(bottom, x[2], self.W[1].T).to(self.a.dtype).sigmoid_()
            for i in [*range(3, self.top + 1, 2), *range(2, self.top + 1, 2)]:
                x[i] = self.mean(i, x)
        return x

    def bound(self, x: Sequence[Float[Tensor, "B _"]], log_z: float | Float[Tensor, ""]) -> Float[Tensor, "B"]:
        """-E(v, mu) + H(mu) - log Z <= log p(v) in nats [B], for [v, mu_1 .. mu_L] (2009, equation 12)."""
        value = -self.energy(x) - log_z
        for m in x[1:]:
            value = value - (torch.xlogy(m, m) + torch.xlogy(1 - m, 1 - m)).sum(1)
        return value

    def bipartite(self) -> tuple[Float[Tensor, "D H"], Float[Tensor, "D"], Float[Tensor, "H"], Float[Tensor, "H"]]:
        """(W, a, b, b_base) of the same machine as an RBM: rows are the odd layers, columns the even ones, v first.

        b_base: a_base for v, 0 for hidden units; where AIS begins, with the odd layers as its state.
        """
        odd, even = range(1, self.top + 1, 2), range(0, self.top + 1, 2)
        blocks = [[self._block(i, j) for j in even] for i in odd]
        bias = [self.a, *self.b]
        base = torch.zeros_like(b := torch.cat([bias[j] for j in even]))
        base[: self.sizes[0]] = self.a_base
        return torch.cat([torch.cat(row, 1) for row in blocks]), torch.cat([bias[i] for i in odd]), b, base

    @property
    def enumerable(self) -> bool:
        """Whether log Z is a sum over 2^20 states at most, of the odd layers or of the even ones."""
        return min(sum(self.sizes[0::2]), sum(self.sizes[1::2])) <= MAX_UNITS

    def log_partition(
        self,
        betas: Float[Tensor, "T"],
        rng: torch.Generator | None = None,
        start: Float[Tensor, "n _"] | None = None,
        settled: float = SETTLED,
    ) -> LogZ:
        """log Z in nats: exact where the odd or the even layers have 20 units at most, else by AIS.

        Its state is the odd layers, from fair coins; the even ones, v included, are summed out (2009, section 4).
        start: odd layers [n, H_1 + H_3 + ..] near the model's law, for the reverse estimate and a verdict.
        settled: the doubt in nats at which fewer temperatures are enough.
        """
        W, a, b, b_base = self.bipartite()
        a_base = torch.zeros_like(a)
        return log_partition(W, a, b, betas=betas, rng=rng, start=start, settled=settled, a_base=a_base, b_base=b_base)

    def _block(self, i: int, j: int) -> Tensor:
        if abs(i - j) != 1:
            return self.a.new_zeros(self.sizes[i], self.sizes[j])
        W: Tensor = self.W[j].T if i > j else self.W[i]
        return W

    # --- pretraining: an RBM (x_{i-1}, x_i) a layer; a layer that will have two neighbours gets its input doubled

    def up(self, i: int, low: Float[Tensor, "B _"]) -> Float[Tensor, "B H"]:
        """p(x_i | x_{i-1}) = sigmoid(b_i + 2 x_{i-1} W_i) in the i-th RBM, not doubled at the top [B, H_i]."""
        doubled = 1 if i == self.top else 2
        return torch.addmm(self.b[i - 1], low, self.W[i - 1], alpha=doubled).to(self.a.dtype).sigmoid_()

    def down(self, i: int, high: Float[Tensor, "B _"]) -> Float[Tensor, "B H"]:
        """p(x_{i-1} | x_i) = sigmoid(below_{i-1} + 2 W_i x_i), at the bottom sigmoid(a + W_1 h_1) [B, H_{i-1}]."""
        bias, doubled = (self.a, 1) if i == 1 else (self.below[i - 2], 2)
        return torch.addmm(bias, high, self.W[i - 1].T, alpha=doubled).to(self.a.dtype).sigmoid_()

    @torch.no_grad()
    def compose(self) -> None:
        """Make the pretrained RBMs one machine: the law of h_i is the geometric mean of those of its two RBMs.

        Each has the other's half twice, as two tied copies; half of either is left (2009, section 3.1; 2012, section
        3). Weights stay, because they are undoubled here; the bias of h_i is the mean of the two.
        """
        for b, below in zip(self.b, self.below, strict=False):
            b.lerp_(below, 0.5)


class MeanFieldMLP(nn.Module):
    """p(y | v) by back-propagation from a deep Boltzmann machine (Salakhutdinov and Hinton 2009, figure 4).

        h_i = sigmoid(b_i + h_{i-1} W_i + q(h_{i+1} | v) U_i),  y ~ softmax(h_L V + c)

    The means q of layers 2 .. L are extra inputs, given as columns behind v: [B, D + H_2 + .. + H_L] -> [B, K]. At
    the start U_i = W_{i+1}^T, so that the first pass is a mean-field step. Hidden units are dropped with probability
    `dropout` where the caller gives `rng`.
    """

    def __init__(self, sizes: Sequence[int], n_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.sizes, self.dropout = tuple(sizes), dropout
        above = (*sizes[2:], 0)
        self.hidden = Layers(nn.Linear(i + k, j) for i, j, k in zip(sizes, sizes[1:], above, strict=False))
        self.out = nn.Linear(sizes[-1], n_classes)

    @torch.no_grad()
    def start(self, net: DeepBoltzmann) -> None:
        """Take weights and biases from the machine."""
        for i, layer in enumerate(self.hidden):
            W = [net.W[i], *(w.T for w in net.W[i + 1 : i + 2])]
            layer.weight.copy_(torch.cat(W).T)
            layer.bias.copy_(net.b[i])

    def forward(self, x: Float[Tensor, "B _"], rng: torch.Generator | None = None) -> Float[Tensor, "B K"]:
        """Logits: [B, D + H_2 + .. + H_L] -> [B, K]; dropout where `rng` is given."""
        h, *q = x.split((self.sizes[0], *self.sizes[2:]), 1)
        for layer, above in zip(self.hidden, [*q, None], strict=True):
            h = layer(h if above is None else torch.cat([h, above], 1)).sigmoid()
            h = dropout(h, self.dropout, rng)
        logits: Tensor = self.out(h)
        return logits.to(x.dtype)
