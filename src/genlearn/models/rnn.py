"""Recurrent nets that draw an image pixel by pixel."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from genlearn._types import Batch, Likelihood, Logs, Nets, PixelLaw, ScoreKind
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.maths.rng import Rng, bernoulli, bernoulli_by_content, one_of
from genlearn.nets.conv import image_shape
from genlearn.nets.levels import BinaryLevels, CategoricalLevels, Levels, LogisticMixtureLevels
from genlearn.nets.recurrent import Autoregressive, Cell, bits
from genlearn.nets.scale import LEVELS, Shares
from genlearn.parameters import Range
from genlearn.train import Player, Stage, Stream


class RNNNets(Nets):
    """The net, and the shares of the classes, the unknown one last."""

    rnn: Autoregressive
    shares: Shares


@dataclass(kw_only=True, eq=False, repr=False)
class AutoregressiveRNN(GenerativeEstimator):
    """Recurrent net over the pixels of an image in raster order: p(x) = prod_i p(x_i | x_1 .. x_(i-1)), exactly.

    cell: rnn (tanh), gru or lstm. order: a step of the net is a pixel, or a row. The pixels of a row then follow one
    another in a small masked net (`Inside`, `n_units` hidden units a pixel) that is told the state: the likelihood
    stays exact, and the pixels of a row know of one another (independent ones, given the rows above, would be exact as
    well, but two neighbours then agree by chance alone), in 28 steps for MNIST instead of 784. output: binary pixels
    (grey ones are drawn afresh for each batch), one of 256 levels with a probability each, or with those of a mixture
    of logistics, which images in colour get by default ("auto").

    bptt: gradients reach back over so many steps at most, the state is carried over (none: to the first one). clip: the
    largest norm of a gradient. With labels (-1 where unknown) the net is told the class: `sample(y=...)` draws one,
    without y classes are drawn by their shares in the data, and p(x) = sum_y p(y) p(x | y) is that of such samples.
    `predict` is by Bayes: p(y | x) = p(y) p(x | y) / sum over the known classes, exactly.

    `score_samples` is log p(x) in nats; `log_likelihoods` adds the bits per dimension; grey pixels count as the nearest
    of the 256 levels. `sample` draws each pixel once, from p^(1 / temperature). `complete` takes the first pixels in
    raster order for known, and draws the others from their exact law given these. `conditionals` gives
    E[x_i | x_1 .. x_(i-1)], `memory` the gradient over time.

    Hochreiter and Schmidhuber 1997 (LSTM), Cho et al. 2014 (GRU), Williams and Peng 1990 (truncated BPTT), van den Oord
    et al. 2016 (pixel recurrent nets, 256 levels), Salimans et al. 2017 (mixture of logistics), Germain et al. 2015
    (masked nets).
    """

    cell: Annotated[Cell, "tanh, GRU or LSTM"] = "lstm"
    order: Annotated[Literal["pixels", "rows"], "what a step of the net is"] = "rows"
    output: Annotated[
        Literal["auto", "binary", "levels", "logistics"], "law of a pixel (auto: logistics for images in colour)"
    ] = "auto"
    n_hidden: Annotated[int, Range(1), "units of the state, a layer"] = 256
    n_layers: Annotated[int, Range(1), "recurrent layers"] = 1
    n_units: Annotated[int, Range(1), "hidden units a pixel within a row (order rows)"] = 16
    n_mixture: Annotated[int, Range(1), "logistic laws in the mixture (output logistics)"] = 5
    bptt: Annotated[int | None, Range(1), "steps that gradients reach back (none: all)"] = None
    clip: Annotated[float | None, Range(0, open=True), "largest norm of a gradient (none: no limit)"] = 10.0
    temperature: Annotated[float, Range(0, open=True), "of samples: below 1 likelier ones, less varied"] = 1.0

    family: ClassVar[str] = "autoregressive"
    paper: ClassVar[str] = "van den Oord et al. 2016"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "mnist-rows": {"n_hidden": 384, "n_units": 24, "epochs": 7, "learning_rate": "linear(2e-3, 0, over=budget)"},
        "tiny": {"order": "pixels", "n_hidden": 12, "epochs": 2},
    }
    _uses_labels: ClassVar[bool] = True

    def _choices(self, shape: Shape) -> dict[str, str]:
        colour = len(shape) == 3 and shape[0] > 1
        return {"output": "logistics" if colour else "binary"} if self.output == "auto" else {}

    @property
    def _law(self) -> PixelLaw:
        shape = self.border_.inner_shape if hasattr(self, "border_") else ()
        return "binary" if self._choices(shape).get("output", self.output) == "binary" else "levels"

    @property
    def _pixels(self) -> bool:
        return True

    def _build(self, shape: Shape, rng: torch.Generator) -> RNNNets:
        laws: dict[str, Callable[[], Levels]] = {
            "binary": BinaryLevels,
            "levels": lambda: CategoricalLevels(LEVELS),
            "logistics": lambda: LogisticMixtureLevels(LEVELS, self.n_mixture),
        }
        how: dict[str, Any] = {
            "cell": self.cell,
            "n_hidden": self.n_hidden,
            "n_layers": self.n_layers,
            "units": self.n_units,
        }
        n_classes = self._n_classes
        law = laws[self._choices(shape).get("output", self.output)]()
        net = Autoregressive(law, *self._steps(shape), n_classes=n_classes, **how)
        return RNNNets(rnn=net, shares=Shares(n_classes) if n_classes else None)

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        player = Player("rnn", ("rnn",), self._loss, self._optimizer(), clip=self.clip)
        return [Stage("learn", [player], self._budget(), start=self._start)]

    # --- images as sequences of levels

    def _steps(self, shape: Shape) -> tuple[int, int]:
        """The steps, and the values of each."""
        if self.order == "pixels":
            return math.prod(shape), 1
        channels, height, width = image_shape(shape)
        return height, width * channels

    def _sequence(self, x: Tensor) -> Tensor:
        """Values of images [B, ...] in raster order, the channels of a pixel together: [B, T, D]."""
        last = x.movedim(1, -1) if x.ndim == 4 else x
        return last.reshape(len(x), *self._steps(tuple(x.shape[1:])))

    def _images(self, values: Tensor) -> Tensor:
        """The inverse: [B, T, D] -> [B, ...]."""
        shape = self.border_.inner_shape
        return values.view(-1, *shape[1:], shape[0]).movedim(-1, 1) if len(shape) == 3 else values.view(-1, *shape)

    def _levels(self, nets: RNNNets, x: Tensor) -> Tensor:
        """The nearest levels of pixels in [0, 1]: [B, ...] -> [B, T, D]."""
        return (self._sequence(x) * (nets.rnn.law.n_levels - 1)).round().long()

    def _seen(self, nets: RNNNets, x: Tensor) -> Tensor:
        """The levels that `score_samples` sees: grey pixels are drawn first where the net's are binary."""
        return self._levels(nets, bernoulli_by_content(x) if self._law == "binary" else x)

    # --- training

    def _start(self, nets: RNNNets, stream: Stream, rng: Rng) -> None:
        """Independent pixels first."""
        nets.rnn.start(self._shares(nets, stream))
        if "shares" in nets and stream.y is not None:
            nets.shares.fit(stream.y)

    def _shares(self, nets: RNNNets, stream: Stream) -> Tensor:
        """How often each value takes each level in the data: [T, D, L]."""
        n_levels = nets.rnn.law.n_levels
        if n_levels == 2:
            mean = self._sequence(stream.mean()[None])[0]
            return torch.stack([1 - mean, mean], -1)
        steps, values = self._steps(tuple(stream.x.shape[1:]))
        n = steps * values * n_levels
        place = torch.arange(0, n, n_levels, device=stream.device).view(steps, values)
        counts = torch.zeros(n, dtype=torch.long, device=stream.device)
        for rows in stream.x.split(1000):
            counts += (place + self._levels(nets, stream.serve(rows))).flatten().bincount(minlength=n)
        return counts.view(steps, values, n_levels).to(stream.dtype) / len(stream.x)

    def _loss(self, nets: RNNNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """-log p(x | y) in nats an image."""
        x = bernoulli(batch.x, rng) if self._law == "binary" else batch.x
        y = batch.y if self._n_classes else None
        nats = -nets.rnn.log_prob(self._levels(nets, x), y, self.bptt).sum((1, 2)).mean()
        return nats, {"bits per dimension": nats.detach() / (x[0].numel() * math.log(2))}

    # --- likelihood

    def _by_class(self, nets: RNNNets, k: Tensor, known: Tensor | None = None) -> Tensor:
        """log p(y) + log p(k | y), of the known values alone if they are given: [B, T, D] -> [B, classes + 1].

        The last class is the unknown one; it is the only one where `fit` saw no labels. Known values come first.
        """
        log_p = [nets.rnn.log_prob(k, y) for y in self._classes(k)]
        told = [(p if known is None else p * known).sum((1, 2)) for p in log_p]
        return self._log_shares(nets, k) + torch.stack(told, 1)

    def _classes(self, k: Tensor) -> list[Tensor]:
        return [k.new_full((len(k),), y) for y in (*range(self._n_classes), -1)]

    def _log_shares(self, nets: RNNNets, k: Tensor) -> Tensor:
        return nets.shares.p.log() if self._n_classes else torch.zeros(1, dtype=self._dtype, device=k.device)

    def _score_kind(self, nets: RNNNets) -> ScoreKind:
        return "exact"

    def _scorer(self, nets: RNNNets) -> Callable[[Tensor], Tensor]:
        return lambda x: self._by_class(nets, self._levels(nets, x)).logsumexp(1)

    def _likelihoods(self, nets: RNNNets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        values = self._blocks(self._scorer(nets), x, nets)
        d = x[0].numel()
        note = f"That is {bits(float(values.double().mean()), d):.3f} bits per dimension ({d:,} values)."
        return {"exact": Likelihood(values, "exact", law=self._law, notes=(note,))}

    def _classify(self, nets: RNNNets, x: Tensor) -> Tensor:
        """log p(y | x) = log p(y) + log p(x | y) - log sum, over the known classes."""
        return self._by_class(nets, self._seen(nets, x))[:, :-1].log_softmax(1)

    # --- samples

    def _draw_levels(self, nets: RNNNets, y: Tensor | None, n: int, rng: torch.Generator, given: Any = None) -> Tensor:
        k = nets.rnn.draw(n, rng, y, self.temperature, given)
        return self._images(k.to(self._dtype) / (nets.rnn.law.n_levels - 1))

    def _sample(self, nets: RNNNets, n: int, rng: torch.Generator) -> Tensor:
        y = nets.shares.draw(n, rng) if self._n_classes else None
        return self._draw_levels(nets, y, n, rng)

    def _sample_class(self, nets: RNNNets, y: Tensor, rng: torch.Generator) -> Tensor:
        return self._draw_levels(nets, y, len(y), rng)

    def _complete(self, nets: RNNNets, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Grey known pixels are drawn where pixels are binary; the class is drawn given the known pixels."""
        told = self._sequence(known)
        flat = told.flatten(1)
        if (flat[:, 1:] & ~flat[:, :-1]).any():
            raise ValueError(
                "known pixels stand behind unknown ones, expected the first ones of each image, row by row (known[:k], "
                "or --mask bottom): each pixel is drawn given those before it; the usual fix for other masks is a "
                "model that draws in any order, such as rbm"
            )
        k = self._levels(nets, bernoulli(x, rng) if self._law == "binary" else x)
        y = None
        if self._n_classes:
            y = one_of(self._by_class(nets, k, told).softmax(1), rng).argmax(1)
            y = y.masked_fill(y == self._n_classes, -1)
        return self._draw_levels(nets, y, len(x), rng, (k, told))

    def sample(
        self,
        n: int | None = None,
        *,
        y: ArrayLike | None = None,
        temperature: float | None = None,
        truncation: float | None = None,
        random_state: Any = None,
        nets: Nets | None = None,
    ) -> NDArray[Any]:
        """As for every model; temperature: in place of that of the model, for this call."""
        chosen = copy.copy(self)
        if temperature is not None:
            chosen.temperature = temperature
            chosen.check_parameters()
        options: dict[str, Any] = {"truncation": truncation, "random_state": random_state, "nets": nets}
        return super(AutoregressiveRNN, chosen).sample(n, y=y, **options)

    def paths(
        self, n: int = 1, n_times: int = 9, *, random_state: Any = None, nets: Nets | None = None
    ) -> NDArray[Any]:
        """n samples as they grow, [n_times, n, ...]: at n_times >= 2 even times, pixels to come half grey.

        The last ones are those of `sample`.
        """
        if n_times < 2:
            raise ValueError(f"n_times is {n_times}, expected 2 or more: the first and the last")
        x, shape = self.sample(n, random_state=random_state, nets=nets), self.border_.shape
        d = math.prod(shape)
        place = self._images(torch.arange(d)).reshape(shape).numpy()
        grey = x.dtype.type(sum(self.border_.range) / 2)
        return np.stack([np.where(place < round(i * d / (n_times - 1)), x, grey) for i in range(n_times)])

    def conditionals(self, X: Any, *, nets: Nets | None = None) -> NDArray[Any]:
        """E[x_i | x_1 .. x_(i-1)] of every pixel of images X [n, ...], of their shape: what the net expects of a pixel
        when it comes to it; of binary ones the probability of a 1.

        Grey pixels are drawn first, as for `score_samples`, where the net's are binary; the class is unknown to it.
        """
        trained: Any = self._nets(nets)

        def expected(x: Tensor) -> Tensor:
            k = self._seen(trained, x)
            log_p, mean = zip(*(trained.rnn.conditionals(k, y) for y in self._classes(k)), strict=True)
            # p(y | x_1 .. x_(i-1)), by the sums of what comes before i.
            told = torch.stack(log_p, -1).flatten(1, 2)
            p_class = (self._log_shares(trained, k) + told.cumsum(1) - told).softmax(-1)
            return self._images((p_class * torch.stack(mean, -1).flatten(1, 2)).sum(-1))

        return self.border_.outward(self._blocks(expected, self._read(X), trained))

    def memory(self, X: Any, *, nets: Nets | None = None) -> NDArray[Any]:
        """How far back the last step feels: ||d log p(x_T | x_1 .. x_(T-1)) / d s_t|| for the state s_t after each of
        the T steps, the mean over images X [n, ...] (binary as for `score_samples`): [T].

        Where it falls towards 0 on the way back, gradients vanish: nothing is learned from so far.
        """
        trained: Any = self._nets(nets)
        norms: Tensor = trained.rnn.memory(self._seen(trained, self._inside(self._read(X), trained)))
        return norms.cpu().numpy()
