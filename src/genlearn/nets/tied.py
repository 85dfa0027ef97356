"""Decoders whose weights are those of the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from genlearn.nets.mlp import MLP, activation, dropout
from genlearn.shapes import Float


class TiedDecoder(nn.Module):
    """The layers of an MLP backwards, with its weights transposed and biases of its own: [B, k] -> [B, d].

    sizes: its own, from the code to the images. An activation follows all layers but the last, then `dropout`, where
    the caller gives `rng`. It holds no weights: the encoder comes with the codes.
    """

    def __init__(self, sizes: Sequence[int], activation_name: str = "relu", *, dropout: float = 0.0) -> None:
        super().__init__()
        self.biases = nn.ParameterList(torch.zeros(n) for n in sizes[1:])
        self.activation, self.dropout = activation(activation_name), dropout

    def forward(
        self, z: Float[Tensor, "B k"], encoder: MLP, rng: torch.Generator | None = None
    ) -> Float[Tensor, "B d"]:
        """The outputs of codes z [B, k]."""
        out = z
        for i, (layer, bias) in enumerate(zip(reversed(linears(encoder)), self.biases, strict=True)):
            out = linear(dropout(self.activation(out), self.dropout, rng) if i else out, layer.weight.T, bias)
        return out.to(z.dtype)


def linears(module: nn.Module) -> list[nn.Linear]:
    """The linear layers of a network, from its input on."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


class TiedLayer(nn.Module):
    """An autoencoder of one layer, the same weights up and down: h = s(x W + b), outputs h W' + a.

    x [B, D], h [B, H], W [D, H], a [D], b [H], named as those of an RBM; s by name. W begins as Glorot and Bengio have
    it: U(-l, l), l = 4 sqrt(6 / (D + H)) for sigmoids, a quarter of that else (Bengio 2012).
    """

    def __init__(self, d: int, n_hidden: int, activation_name: str, rng: torch.Generator) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(d, n_hidden))
        nn.init.xavier_uniform_(self.W, 4.0 if activation_name == "sigmoid" else 1.0, generator=rng)
        self.a, self.b = nn.Parameter(torch.zeros(d)), nn.Parameter(torch.zeros(n_hidden))
        self.activation = activation(activation_name)

    def encode(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B H"]:
        """h [B, H]."""
        h: Tensor = self.activation(linear(x, self.W.T, self.b).to(x.dtype))
        return h

    def outputs(self, h: Float[Tensor, "B H"]) -> Float[Tensor, "B D"]:
        """What the layer makes of h again: logits, or values [B, D]."""
        return linear(h, self.W, self.a).to(h.dtype)

    def squared_jacobian_norm(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B"]:
        """||dh/dx||_F^2 = sum_j s'(u_j)^2 sum_i W_ij^2, u = x W + b, of every row [B]; (h (1 - h))^2 for sigmoids.

        Rifai et al. 2011, equation 7.
        """
        u = linear(x, self.W.T, self.b).to(x.dtype)
        if isinstance(self.activation, nn.Sigmoid):
            h = u.sigmoid()
            slopes = h * (1 - h)
        else:
            with torch.enable_grad():
                u = u if u.requires_grad else u.requires_grad_()
                (slopes,) = torch.autograd.grad(self.activation(u).sum(), u, create_graph=True)
        with torch.autocast(x.device.type, enabled=False):
            return slopes.square() @ self.W.square().sum(0)
