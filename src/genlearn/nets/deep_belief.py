"""The deep belief network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from genlearn.maths.rng import bernoulli
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.layers import Layers
from genlearn.shapes import Float


class DeepBelief(nn.Module):
    """Directed layers under an RBM (Hinton, Osindero and Teh 2006), sizes D, H_1 .. H_L:

        p(v, h) = p(v | h_1) p(h_1 | h_2) .. p(h_{L-2} | h_{L-1}) p_top(h_{L-1}, h_L),

    p(x_i = 1 | x_{i+1}) = sigmoid(a_i + W_i x_{i+1}). layers[i]: the RBM of x_i and x_{i+1}, whose W and a are the
    generative weights; up[i]: recognition weights of their own, q(x_{i+1} = 1 | x_i) = sigmoid(c_i + R_i x_i); top: the
    RBM on x_{L-1}, with label units where there are classes. L = 1 is an RBM. States are lists [x_1 .. x_{L-1}] of
    [B, H_i].
    """

    def __init__(self, sizes: Sequence[int], rng: torch.Generator, n_classes: int = 0) -> None:
        super().__init__()
        lower = list(pairwise(sizes[:-1]))
        self.layers = Layers(RestrictedBoltzmann(m, n, rng) for m, n in lower)
        self.up = Layers(nn.Linear(m, n) for m, n in lower)
        self.top = RestrictedBoltzmann(sizes[-2], sizes[-1], rng, n_classes=n_classes)

    def rbm(self, i: int) -> RestrictedBoltzmann:
        """The RBM of layers i and i + 1, the top one included."""
        return self.layers[i] if i < len(self.layers) else self.top

    @torch.no_grad()
    def untie(self, i: int) -> None:
        """The recognition weights of layer i begin as the transpose of the generative ones."""
        self.up[i].weight.copy_(self.layers[i].W.T)
        self.up[i].bias.copy_(self.layers[i].b)

    def q(self, i: int, x: Float[Tensor, "B H"]) -> Float[Tensor, "B H2"]:
        """q(x_{i+1} = 1 | x_i) [B, H_{i+1}]."""
        inputs: Tensor = self.up[i](x)
        return inputs.to(x.dtype).sigmoid_()

    def centred_inputs(self, i: int, x: Float[Tensor, "B H"]) -> Float[Tensor, "B H2"]:
        """c_i + R_i x [B, H_{i+1}], with the gradient of centred x, as `contrast` has it with mu alone.

        In R_i (x - mu) + c' the gradient is (g (x - mu)', sum g); taken back to c = c' - R_i mu, that of c is
        sum g (1 - mu.(x - mu)).
        """
        up, mu = self.up[i], self.layers[i].base_mean()
        x = x - mu
        less = (x * mu).sum(1, keepdim=True) * up.bias
        return linear(x, up.weight) + (up.weight @ mu).detach() + up.bias - (less - less.detach())

    def ascend(self, v: Float[Tensor, "B ..."], n: int) -> Float[Tensor, "B H"]:
        """Means of the n-th hidden layer, each from the means below [B, H_n]."""
        x = v.flatten(1)
        for i in range(n):
            x = self.q(i, x)
        return x

    def recognise(self, v: Float[Tensor, "B ..."], rng: torch.Generator) -> list[Float[Tensor, "B _"]]:
        """Binary states [x_1 .. x_{L-1}] drawn from q, bottom up."""
        states = [v.flatten(1)]
        for i in range(len(self.up)):
            states.append(bernoulli(self.q(i, states[-1]), rng))
        return states[1:]

    def generate(self, x: Float[Tensor, "B H"], rng: torch.Generator) -> list[Float[Tensor, "B _"]]:
        """From states of x_{L-1}: [E[v | x_1], x_1 .. x_{L-1}], drawn top down."""
        states = [x]
        for i in range(len(self.layers) - 1, -1, -1):
            mean = self.layers[i].mean_visible(states[0])
            states.insert(0, bernoulli(mean, rng) if i else mean)
        return states

    def bound(
        self, v: Float[Tensor, "B ..."], log_z: float, noise: Sequence[Float[Tensor, "S _ _"]]
    ) -> Float[Tensor, "B"]:
        """E_q[log p(v | x_1) + .. + log p*_top(x_{L-1}) - log q(x | v)] - log Z <= log p(v) in nats [B].

        noise: for each layer 1 .. L-1, uniform numbers [S, B or 1, H_i]; the mean over S draws. Each gives log p(v)
        where q is the posterior, as it would not with the entropy of q in closed form: near it, the errors of log p and
        log q cancel. Salakhutdinov and Murray 2008, equation 16.
        """
        totals = []
        for draws in zip(*noise, strict=True) if noise else [()]:
            x, total = v.flatten(1), torch.zeros(len(v), dtype=v.dtype, device=v.device)
            for i, u in enumerate(draws):
                inputs = self.up[i](x)
                h = (u < inputs.sigmoid()).to(x.dtype)
                logits = torch.addmm(self.layers[i].a, h, self.layers[i].W.T)
                total = total + (softplus(inputs) - h * inputs).sum(1) + (x * logits - softplus(logits)).sum(1)
                x = h
            totals.append(total + self.top.log_unnormalised(x))
        return torch.stack(totals).mean(0) - log_z
