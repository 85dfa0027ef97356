"""Decoders whose weights are those of the encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from genlearn.nets.mlp import MLP, activation
from genlearn.shapes import Float


class TiedDecoder(nn.Module):
    """The layers of an MLP backwards, with its weights transposed and biases of its own: [B, k] -> [B, d].

    sizes: its own, from the code to the images. An activation follows all layers but the last. It holds no weights: the
    encoder comes with the codes.
    """

    def __init__(self, sizes: Sequence[int], activation_name: str = "relu") -> None:
        super().__init__()
        self.biases = nn.ParameterList(torch.zeros(n) for n in sizes[1:])
        self.activation = activation(activation_name)

    def forward(self, z: Float[Tensor, "B k"], encoder: MLP) -> Float[Tensor, "B d"]:
        """The outputs of codes z [B, k]."""
        for i, (layer, bias) in enumerate(zip(reversed(linears(encoder)), self.biases, strict=True)):
            z = linear(z if i == 0 else self.activation(z), layer.weight.T, bias)
        return z


def linears(module: nn.Module) -> list[nn.Linear]:
    """The linear layers of a network, from its input on."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
