"""The contractive autoencoder, and stacks of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from genlearn._types import Batch, Logs
from genlearn.estimator import Shape
from genlearn.losses.reconstruction import RECONSTRUCTIONS
from genlearn.maths.jacobian import squared_jacobian_norm
from genlearn.maths.rng import Rng, coins
from genlearn.models.autoencoding import Coding
from genlearn.models.layers import LayerNets, climb, contractive, greedy_layers, layers
from genlearn.nets.mlp import Activation
from genlearn.nets.priors import Density, DensityName
from genlearn.parameters import Range
from genlearn.samplers import tangent_chain
from genlearn.train import Player, Stage, Stream


class CAENets(LayerNets):
    """The layers, bottom up, and the density of the codes, where walks begin."""

    prior: Density


@dataclass(kw_only=True, eq=False, repr=False)
class ContractiveAutoencoder(Coding):
    """Contractive autoencoder: codes h = f(x) that move little with x, E loss(x, g(h)) + contraction ||dh/dx||_F^2.

    What is not needed to tell the images apart is contracted: the code moves along the manifold of the data only. A
    stack of layers with tied weights, each of which learns on what the ones below make of the images, its Jacobian in
    closed form; or (`greedy` = False) all at once, with the Jacobian of the whole encoder by Hutchinson's estimate.
    `epochs` are of each stage. The code is the last layer.

    Samples walk along the manifold, x <- g(f(x) + J J' eps) with J = df/dx and eps ~ N(0, step_size^2 I), `n_steps` of
    them from the image of a code that the density gives: mostly along the leading right singular vectors of J, its
    tangents, of which `rank` are kept. They are mean images, not draws of pixels.

    Rifai et al. 2011 (the penalty, section 3; stacks, section 5); Rifai et al. 2012 (sampling, algorithm 1).
    """

    n_latent: Annotated[int, Range(1), "units of the last layer, the code"] = 500
    hidden: Annotated[tuple[int, ...], Range(1), "units of the layers below it, bottom up"] = (500,)
    activation: Annotated[Activation, "of every layer"] = "sigmoid"
    contraction: Annotated[float, Range(0), "weight of the squared norm of the Jacobian"] = 0.1
    greedy: Annotated[bool, "learn layer by layer"] = True
    n_probes: Annotated[int, Range(1), "random signs of Hutchinson's estimate (not greedy)"] = 1
    step_size: Annotated[float, Range(0, open=True), "standard deviation of the walk's noise, in the code"] = 0.2
    rank: Annotated[int, Range(0), "leading singular vectors of the Jacobian that it keeps (0: all)"] = 0
    n_steps: Annotated[int, Range(1), "steps of the walk whose end is a sample"] = 20
    density: Annotated[DensityName, "law of the codes where walks begin, fitted at the end"] = "jitter"

    family: ClassVar[str] = "autoencoder"
    paper: ClassVar[str] = "Rifai et al. 2011"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"hidden": (12,), "n_latent": 6, "n_codes": 100, "n_steps": 2, "epochs": 2}
    }

    @property
    def _remark(self) -> str:
        return f"{self.n_steps} steps along the manifold, from codes {super()._remark}"

    @property
    def _costs(self) -> tuple[Any, Any]:
        """Of images, and of the units of lower layers."""
        return self.loss, "bce" if self.activation == "sigmoid" else "mse"

    def _build(self, shape: Shape, rng: torch.Generator) -> CAENets:
        sizes = (math.prod(shape), *self.hidden, self.n_latent)
        return CAENets(layers=layers(sizes, self.activation, rng))

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        if not self.greedy:
            player = Player("layers", ("layers",), self._loss, self._optimizer())
            return [Stage("learn", [player], self._budget(), start=self._start, finish=self._finish)]
        loss = partial(contractive, weight=self.contraction)
        stages = greedy_layers(len(self.hidden) + 1, self._budget(), self._optimizer(), loss, self._costs)
        return [*stages[:-1], replace(stages[-1], finish=self._finish)]

    def _start(self, nets: CAENets, stream: Stream, rng: Rng) -> None:
        nets.layers[0].a.copy_(self._bias(stream.mean()))

    def _loss(self, nets: CAENets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """All layers at once."""
        x = batch.x.flatten(1)
        signs = 2 * coins((len(x), self.n_probes, self.n_latent), 0.5, rng).to(x.dtype) - 1
        norm = squared_jacobian_norm(partial(climb, nets.layers), x, signs.transpose(0, 1)).mean()
        error = RECONSTRUCTIONS[self.loss](x, self._out(nets, climb(nets.layers, x))).mean()
        return error + self.contraction * norm, {"reconstruction": error, "jacobian": norm}

    def _out(self, nets: CAENets, h: Tensor) -> Tensor:
        """The outputs of codes, down through the layers: [B, k] -> [B, d]."""
        first, *above = nets.layers
        for layer in reversed(above):
            h = layer.outputs(h)
            h = h.sigmoid() if self._costs[1] == "bce" else h
        return first.outputs(h)

    def _encode(self, nets: CAENets, x: Tensor) -> Tensor:
        return climb(nets.layers, x)

    def _decode(self, nets: CAENets, z: Tensor) -> Tensor:
        return self._mean(self._out(nets, z))

    @property
    def _n_steps(self) -> int:
        return self.n_steps

    def _chain(self, nets: CAENets, n: int, rng: torch.Generator, x: Tensor | None = None) -> Iterator[Tensor]:
        encode, decode = partial(self._encode, nets), partial(self._decode, nets)
        start = decode(nets.prior.draw(n, rng)) if x is None else x.flatten(1)
        return tangent_chain(encode, decode, start, self.step_size, self.rank, rng)
