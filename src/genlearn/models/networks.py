"""Which nets the players of an adversarial model are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from torch import Tensor, nn

from genlearn.estimator import Shape
from genlearn.maths.augment import Augmentation
from genlearn.maths.rng import Rng
from genlearn.models.adversarial import Adversarial
from genlearn.nets.adversarial import GENERATORS, ImageDiscriminator, ImageNetwork, Squashed
from genlearn.nets.conv import Pooling, image_shape
from genlearn.nets.mlp import MLP, Activation
from genlearn.parameters import Range
from genlearn.train import Stream

Parts: TypeAlias = Sequence[tuple[int, int]]


@dataclass(kw_only=True, eq=False, repr=False)
class _Minibatch(Adversarial):
    """What both kinds of nets have."""

    minibatch: Annotated[
        Literal["none", "discrimination", "deviation"], "how D's last layer is shown the differences of a batch's rows"
    ] = "none"

    @property
    def _rows_apart(self) -> bool:
        return self.minibatch == "none"

    def check_parameters(self) -> None:
        """As everywhere; and what goes together."""
        super().check_parameters()
        if self.minibatch != "none" and self.batch_size < 2 * self.pack:
            raise ValueError(
                f"batch_size is {self.batch_size} with minibatch={self.minibatch!r}, expected rows that can differ; "
                "the usual fix is batch_size=100"
            )


@dataclass(kw_only=True, eq=False, repr=False)
class Dense(_Minibatch):
    """Fully connected nets."""

    hidden: Annotated[tuple[int, ...], Range(1), "hidden layers of G"] = (256, 256)
    hidden_d: Annotated[tuple[int, ...], Range(1), "hidden layers of D"] = (256, 256)
    activation: Annotated[Activation, "of the hidden layers of G"] = "relu"
    normalise: Annotated[bool, "batch normalisation in the hidden layers of G (that of convolutions has it)"] = False
    dropout: Annotated[float, Range(0, 0.95), "probability to drop a hidden unit of G, while training"] = 0.0
    dropout_d: Annotated[float, Range(0, 0.95), "probability to drop a hidden unit of D"] = 0.0
    input_dropout_d: Annotated[float, Range(0, 0.95), "probability to drop an input of D"] = 0.0
    output: Annotated[Literal["sigmoid", "linear"], "range of G: pixels in [0, 1] or any numbers"] = "sigmoid"

    def check_parameters(self) -> None:
        """As everywhere; and what goes together."""
        super().check_parameters()
        if self.normalise and self.batch_size < 2:
            raise ValueError(
                "batch_size is 1 with normalise=True, expected rows that can differ; the usual fix is batch_size=100"
            )

    @property
    def _pixels(self) -> bool:
        return self.output == "sigmoid"

    def _generator(self, shape: Shape) -> nn.Module:
        return self._dense_generator(self.n_latent, math.prod(shape))

    def _discriminator(self, shape: Shape) -> nn.Module:
        return self._dense_discriminator(self.pack * math.prod(shape))

    def _dense_generator(self, n_in: int, n_out: int, branches: Parts = ()) -> nn.Module:
        sizes, normalise = (n_in, *self.hidden, n_out), self.normalise
        mlp = MLP(sizes, self.activation, dropout=self.dropout, branches=branches, normalise=normalise)
        return Squashed(mlp) if self.output == "sigmoid" else mlp

    def _dense_discriminator(self, n_in: int, branches: Parts = ()) -> nn.Module:
        return MLP(
            (n_in, *self.hidden_d, 1),
            "leaky_relu",
            pieces=self._pieces,
            input_dropout=self.input_dropout_d,
            dropout=self.dropout_d,
            branches=branches,
            minibatch=self.minibatch,
        )

    @property
    def _pieces(self) -> int | Sequence[int]:
        """Linear pieces of D's hidden units; 0: leaky ReLU."""
        return 0

    def _start(self, nets: Any, stream: Stream, rng: Rng) -> None:
        """The output biases of G begin at the means of the pixels (their logits)."""
        mean = stream.mean().flatten()
        if self.output == "sigmoid":
            nets.G.net.out.bias.copy_(mean.clamp(1e-3, 1 - 1e-3).logit())
        else:
            nets.G.out.bias.copy_(mean)


@dataclass(kw_only=True, eq=False, repr=False)
class Convolutional(_Minibatch):
    """Convolutional nets; all but `conv` want sides that are multiples of 4, 8 at least, and 1 to 4 channels."""

    network: Annotated[
        ImageNetwork, "dcgan: transposed convolutions in G; resnet: residual blocks; conv: for images of any sides"
    ] = "dcgan"
    width: Annotated[int, Range(1), "channels at half the size, doubled at each further halving (resnet: once)"] = 64
    normalise_d: Annotated[bool, "batch normalisation in D, which then sees data and samples in batches apart"] = False
    pooling: Annotated[Pooling, "what halves the images in D: strides, or the mean or largest of 2x2 (conv)"] = "none"
    augment: Annotated[Augmentation | None, "random changes of all that D sees: color, translation, cutout"] = None

    @property
    def _rows_apart(self) -> bool:
        return super()._rows_apart and not self.normalise_d

    def check_parameters(self) -> None:
        """As everywhere; and what goes together."""
        super().check_parameters()
        if self.pooling != "none" and self.network != "conv":
            raise ValueError(
                f"pooling is {self.pooling!r} with network={self.network!r}, expected 'none'; "
                "the usual fix is network='conv'"
            )

    def _generator(self, shape: Shape) -> nn.Module:
        return GENERATORS[self.network](self.n_latent, image_shape(shape), self.width)

    def _discriminator(self, shape: Shape) -> nn.Module:
        return ImageDiscriminator(
            self.network,
            image_shape(shape),
            self.width,
            normalise=self.normalise_d,
            pooling=self.pooling,
            minibatch=self.minibatch,
            pack=self.pack,
        )

    def _changed(self, x: Tensor, rng: Rng) -> Tensor:
        if self.augment is None:
            return x
        images = x.view(-1, *image_shape(x.shape[1:]))
        return Augmentation.parse(str(self.augment))(images, rng).view_as(x)


@dataclass(kw_only=True, eq=False, repr=False)
class AnyNetwork(Dense, Convolutional):
    """Fully connected or convolutional nets."""

    network: Annotated[Literal["mlp", "dcgan", "conv", "resnet"], "nets of both players"] = "mlp"  # type: ignore[assignment]

    @property
    def _dense(self) -> bool:
        return self.network == "mlp"

    @property
    def _pixels(self) -> bool:
        return not self._dense or super()._pixels

    def check_parameters(self) -> None:
        """As everywhere; and what goes together."""
        super().check_parameters()
        if self._dense and (self.normalise_d or self.augment is not None):
            raise ValueError("normalise_d and augment are of convolutions; the usual fix is network='dcgan'")
        if not self._dense and self.normalise:
            raise ValueError(
                f"normalise is of network='mlp': the G of {self.network!r} has it; the usual fix is to leave it out"
            )

    def _generator(self, shape: Shape) -> nn.Module:
        return Dense._generator(self, shape) if self._dense else Convolutional._generator(self, shape)

    def _discriminator(self, shape: Shape) -> nn.Module:
        return Dense._discriminator(self, shape) if self._dense else Convolutional._discriminator(self, shape)

    def _start(self, nets: Any, stream: Stream, rng: Rng) -> None:
        if self._dense:
            super()._start(nets, stream, rng)
