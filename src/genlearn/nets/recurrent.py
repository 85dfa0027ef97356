"""Recurrent nets that give an image's probability value by value, and draw it in the same order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu

from genlearn.nets.levels import Levels
from genlearn.nets.unet import Labels
from genlearn.shapes import Float, Int

Cell: TypeAlias = Literal["rnn", "gru", "lstm"]
CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
CONTEXT = 16  # numbers that tell the net which step it is at, and the class


class Inside(nn.Module):
    """What the values x_1 .. x_D of one step tell of one another, given the state h [.., H]: it adds to theta_j

    W_j relu(c + U h + V x),  masked so that theta_j depends on x_1 .. x_(j-1) alone:

    `units` hidden units of each degree m = 0 .. D - 1 see the first m values, and feed the theta_j with j > m. A value
    is a number, or a vector of `size` numbers.
    A masked autoencoder (Germain et al. 2015, equations 8 and 9) under a recurrent net, as NADE is in the RNN-NADE of
    Boulanger-Lewandowski et al. 2012. D is 2 at least.
    """

    degrees: Tensor

    def __init__(self, n_hidden: int, n_values: int, n_parameters: int, units: int, size: int = 1) -> None:
        super().__init__()
        degrees = torch.arange(n_values).repeat_interleave(units)
        self.U = nn.Linear(n_hidden, len(degrees))
        self.V = nn.Linear(n_values * size, len(degrees), bias=False)
        self.W = nn.Linear(len(degrees), n_values * n_parameters, bias=False)
        self.units, self.n_parameters, self.size = units, n_parameters, size
        self.register_buffer("degrees", degrees, persistent=False)

    def forward(self, h: Float[Tensor, "*b H"], x: Float[Tensor, "*b Ds"]) -> Float[Tensor, "*b D P"]:
        """What is added to theta of every value: [..., H], [..., D size] -> [..., D, P]."""
        place = torch.arange(x.shape[-1] // self.size, device=x.device)
        V = self.V.weight * (self.degrees[:, None] > place.repeat_interleave(self.size))
        W = self.W.weight * (self.degrees <= place.repeat_interleave(self.n_parameters)[:, None])
        theta: Tensor = linear(relu(self.U(h) + linear(x, V)), W).unflatten(-1, (-1, self.n_parameters))
        return theta

    def seen(self, a: Float[Tensor, "n K"], j: int, x: Float[Tensor, "n s"]) -> Float[Tensor, "n K"]:
        """The sums a of the units, which begin as U h + c, after value j, x [n, size]: no value is summed twice."""
        V = self.V.weight[:, j * self.size : (j + 1) * self.size] * (self.degrees > j)[:, None]
        return torch.addmm(a, x, V.T)

    def theta(self, a: Float[Tensor, "n K"], j: int) -> Float[Tensor, "n P"]:
        """What is added to theta_j, from the sums after the values before j."""
        n = (j + 1) * self.units  # units come in the order of their degrees
        return linear(relu(a[:, :n]), self.W.weight[j * self.n_parameters : (j + 1) * self.n_parameters, :n])


class Autoregressive(nn.Module):
    """log p(k) = sum_t sum_j log p(k_tj | k_t1 .. k_t(j-1), h_t) of T steps of D values k in 0 .. L - 1, exactly,

    h_t = cell(x_(t-1), e_t + e_y, h_(t-1)),  theta_t = A h_t + b_t (+ `Inside` of the step, where D > 1),

    x = k / (L - 1) (or, where `embedded`, a vector of each level), e_t a vector of the step, e_y of the class.

    cell: rnn (tanh), gru, lstm, of torch, so the equations are those of its pages. The gates of the two latter begin
    with memories of 1 to T steps: forget (or update) biases log U(1, T - 1), input biases their negatives (Tallec and
    Ollivier 2018, equation 16). b_t is started by `start` from the data. Weights are drawn as those of torch's layers,
    from the global generator.
    """

    def __init__(
        self,
        law: Levels,
        n_steps: int,
        n_values: int,
        *,
        cell: Cell = "lstm",
        n_hidden: int = 256,
        n_layers: int = 1,
        units: int = 16,
        n_classes: int = 0,
        embedded: bool = False,
    ) -> None:
        super().__init__()
        self.law, self.n_steps, self.n_values = law, n_steps, n_values
        self.embedding = nn.Embedding(law.n_levels, CONTEXT) if embedded else None
        self.steps = nn.Parameter(0.1 * torch.randn(n_steps, CONTEXT))
        self.labels = Labels(n_classes, CONTEXT) if n_classes else None
        size = CONTEXT if embedded else 1
        self.cell = CELLS[cell](n_values * size + CONTEXT, n_hidden, n_layers, batch_first=True)
        self.out = nn.Linear(n_hidden, n_values * law.n_parameters, bias=False)
        self.inside = Inside(n_hidden, n_values, law.n_parameters, units, size) if n_values > 1 else None
        self.bias = nn.Parameter(torch.zeros(n_steps, n_values, law.n_parameters))
        if cell != "rnn":
            for layer in range(n_layers):
                self._remember(layer, cell)

    @torch.no_grad()
    def _remember(self, layer: int, cell: Cell) -> None:
        n = self.cell.hidden_size
        input_bias: Tensor = getattr(self.cell, f"bias_ih_l{layer}")
        input_bias[: 2 * n] = 0
        getattr(self.cell, f"bias_hh_l{layer}")[: 2 * n] = 0
        memory = torch.empty(n).uniform_(1, max(self.n_steps - 1, 2)).log()
        input_bias[n : 2 * n] = memory  # the second gate: f of an lstm, z of a gru
        if cell == "lstm":
            input_bias[:n] = -memory

    @torch.no_grad()
    def start(self, shares: Float[Tensor, "T D L"]) -> None:
        """Begin, but for the state, with independent values that have these shares of the levels [T, D, L]."""
        self.bias.copy_(self.law.start(shares))

    def values(self, k: Int[Tensor, "*b D"]) -> Float[Tensor, "*b I"]:
        """What the net sees of levels: [..., D] -> [..., I]."""
        if self.embedding is not None:
            vectors: Tensor = self.embedding(k)
            return vectors.flatten(-2)
        return k.to(self.bias.dtype) / (self.law.n_levels - 1)

    def inputs(self, k: Int[Tensor, "B T D"], y: Int[Tensor, "B"] | None = None) -> Float[Tensor, "B T I"]:
        """What the cell is given at each step: the step before, zeros at first, and which step and class it is."""
        x = self.values(k[:, :-1])
        context = self.steps.expand(len(k), -1, -1)
        if self.labels is not None:
            y = k.new_full((len(k),), -1) if y is None else y
            context = context + self.labels(y)[:, None]
        return torch.cat([torch.cat([x.new_zeros(len(k), 1, x.shape[2]), x], 1), context], 2)

    def forward(
        self, k: Int[Tensor, "B T D"], y: Int[Tensor, "B"] | None = None, bptt: int | None = None
    ) -> Float[Tensor, "B T D P"]:
        """theta of every value: levels [B, T, D], classes [B] (-1 or None: unknown) -> [B, T, D, P].

        bptt: gradients reach back over so many steps at most, to the start of their stretch of the sequence; the state
        is carried over.
        """
        states, state = [], None
        for stretch in self.inputs(k, y).split(bptt or self.n_steps, 1):
            h, state = self.cell(stretch, state)
            states.append(h)
            state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        return self._theta(torch.cat(states, 1), k)

    def _theta(self, h: Tensor, k: Tensor) -> Tensor:
        theta: Tensor = self.out(h).unflatten(-1, self.bias.shape[1:]) + self.bias
        return theta if self.inside is None else theta + self.inside(h, self.values(k))

    def log_prob(
        self, k: Int[Tensor, "B T D"], y: Int[Tensor, "B"] | None = None, bptt: int | None = None
    ) -> Float[Tensor, "B T D"]:
        """log p of every value given those before it, in nats: [B, T, D] -> [B, T, D]; its sum is log p(k | y)."""
        return self.law.log_prob(self.forward(k, y, bptt), k)

    def conditionals(
        self, k: Int[Tensor, "B T D"], y: Int[Tensor, "B"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B T D"]]:
        """log p of every value given those before it, in nats, and E[x] of it given the same: [B, T, D] twice."""
        theta = self.forward(k, y)
        return self.law.log_prob(theta, k), self.law.mean(theta)

    @torch.no_grad()
    def draw(
        self,
        n: int,
        rng: torch.Generator,
        y: Int[Tensor, "n"] | None = None,
        temperature: float = 1.0,
        given: tuple[Int[Tensor, "n T D"], Tensor] | None = None,
    ) -> Int[Tensor, "n T D"]:
        """n sequences [n, T, D], value by value; the state is kept, so no step is computed twice.

        given: levels [n, T, D] and where they are known, bool; known values are taken, the others drawn.
        """
        k = torch.zeros(n, self.n_steps, self.n_values, dtype=torch.long, device=self.bias.device)
        context, state = self.inputs(k, y)[..., -CONTEXT:], None
        x = self.values(k[:, 0]) * 0
        for t in range(self.n_steps):
            h, state = self.cell(torch.cat([x, context[:, t]], 1)[:, None], state)
            theta = self.out(h[:, 0]).unflatten(1, self.bias.shape[1:]) + self.bias[t]
            a = h[:, 0] if self.inside is None else self.inside.U(h[:, 0])
            for j in range(self.n_values):
                theta_j = theta[:, j] if self.inside is None else theta[:, j] + self.inside.theta(a, j)
                drawn = self.law.draw(theta_j, rng, temperature)
                k[:, t, j] = drawn if given is None else torch.where(given[1][:, t, j], given[0][:, t, j], drawn)
                if self.inside is not None:
                    a = self.inside.seen(a, j, self.values(k[:, t, j : j + 1]))
            x = self.values(k[:, t])
        return k

    @torch.enable_grad()
    def memory(self, k: Int[Tensor, "B T D"], y: Int[Tensor, "B"] | None = None) -> Float[Tensor, "T"]:
        """||d log p(k_T | k_1 .. k_(T-1)) / d s_t||, the mean over rows, for every step t: [B, T, D] -> [T].

        s_t is the whole state after step t: h, and c of an lstm, of all layers. Bengio, Simard and Frasconi 1994.
        """
        state: Any = None
        states, inputs = [], self.inputs(k, y).requires_grad_()
        with torch.backends.cudnn.flags(enabled=False):  # whose gradient needs training mode
            for x in inputs.split(1, 1):
                _, state = self.cell(x, state)
                states.append(state if isinstance(state, tuple) else (state,))
        h = states[-1][0][-1]  # the state of the top layer, [B, H]
        theta = self.out(h).unflatten(1, self.bias.shape[1:]) + self.bias[-1]
        if self.inside is not None:
            theta = theta + self.inside(h, self.values(k[:, -1]))
        log_p = self.law.log_prob(theta, k[:, -1]).sum()
        parts = len(states[0])
        gradients = torch.autograd.grad(log_p, [s for step in states for s in step], allow_unused=True)
        squares = [torch.zeros_like(h[:, 0]) if g is None else g.square().sum((0, 2)) for g in gradients]
        return torch.stack(squares).view(-1, parts, len(k)).sum(1).sqrt().mean(1)


def bits(nats: float, d: int) -> float:
    """A log-likelihood in nats as bits per dimension, of d dimensions."""
    return -nats / (d * math.log(2))
