"""Flow matching."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from genlearn._types import Batch, Likelihood, Logs, Nets, ScoreKind, Visible
from genlearn.capabilities import Encoder
from genlearn.compute import Precision, resolved
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.flow import PathName, flow_matching, noised, on_path, path
from genlearn.maths.rng import Rng, coins, make_rng, normal, uniform
from genlearn.nets.conv import image_shape
from genlearn.nets.priors import NormalPrior, Prior
from genlearn.nets.scale import LEVELS, Scale, Shares
from genlearn.nets.unet import TimedMLP, UNet
from genlearn.parallel import all_sum
from genlearn.parameters import Range
from genlearn.progress import track
from genlearn.samplers import Field, Solver, solve, transport
from genlearn.train import OptimizerName, Player, Schedule, Stage, Stream

EXACT = 16  # dimensions up to which the divergence is exact; one probe of Hutchinson's estimate beyond
BINS = 4
JUMPS = 4  # of a completion: over shorter ones the errors of a learned field add up, and the spread shrinks


class FlowNets(Nets):
    """The velocity field, the scale of the data, the law of z, and the shares of the classes, the unknown one last."""

    v: nn.Module
    scale: Scale
    prior: Prior
    shares: Shares


@dataclass(kw_only=True, eq=False, repr=False)
class FlowMatching(Encoder, GenerativeEstimator):
    """Flow matching: a velocity field v that carries noise z ~ N(0, I) at t = 0 to images x at t = 1,

    dx_t / dt = v(x_t, t),  learned as E ||v(x_t, t) - (x - z)||^2 on the straight paths x_t = t x + (1 - t) z.

    The equation runs both ways: `transform` takes an image back to its z (a code of as many numbers), and
    `inverse_transform` forwards; `sample` does so with fresh z, and the z of one seed give like pictures at any number
    of steps. `score_samples` is log p(x) by the instantaneous change of variables, with the divergence exact up to 16
    dimensions, else estimated with signs. Pixels (output "pixels") are taken for one of 256 levels and made continuous
    by noise of one level: the bits per dimension are 8 - log p(x) / (d log 2). Signs and noise are shared by all rows,
    so that a score depends on the image alone; by `log_likelihoods` they are drawn for each, so that means are exacter.

    With labels (-1 where unknown) v knows the class: sample(y=...) draws one, further from the others by `guidance` w,
    v_unknown + w (v_class - v_unknown); 1 is the class as it is, 0 any image. Without y classes are drawn by their
    shares in the data. Codes, scores and completions are of v_unknown.
    `complete` draws unknown pixels by holding the known ones on their path, and going back and forth on it.

    Lipman et al. 2023; Liu et al. 2023; Ho and Salimans 2022 (guidance); Lugmayr et al. 2022 (completion); Chen et al.
    2018, Grathwohl et al. 2019 (likelihood). With path "vp" it is the probability flow of a diffusion.
    """

    network: Annotated[Literal["auto", "mlp", "unet"], "fully connected or a U-Net (auto: for images)"] = "auto"
    hidden: Annotated[tuple[int, ...], Range(1), "hidden layers (mlp)"] = (256, 256, 256)
    width: Annotated[int | None, Range(1), "channels at full size (unet; none: 32, or 16 beyond 48 pixels)"] = None
    attention: Annotated[bool, "self-attention at the lowest resolution (unet)"] = False
    output: Annotated[Literal["pixels", "linear"], "what images are: pixels in [0, 1] or any numbers"] = "pixels"
    path: Annotated[PathName, "from z to x: straight, or of constant variance as in diffusion"] = "linear"
    times: Annotated[Literal["uniform", "logit-normal"], "law of t while training"] = "logit-normal"
    flips: Annotated[bool, "mirror half of the images, left to right"] = False
    unconditional: Annotated[float, Range(0, 1), "share of labels that are hidden from v"] = 0.2
    guidance: Annotated[float, Range(0), "how far classes are pulled apart by sample(y=...)"] = 1.0
    solver: Annotated[Solver, "of the equation: steps of 1, 2 or 4 evaluations, or adaptive ones"] = "heun"
    n_steps: Annotated[int, Range(1), "steps from z to x (not adaptive)"] = 40
    tolerance: Annotated[float, Range(1e-7, 1), "largest error of a step (adaptive)"] = 1e-3
    n_resamplings: Annotated[int, Range(1), "times that `complete` goes each quarter of the path"] = 5
    batch_size: Annotated[int, Range(1), "images per update"] = 64
    epochs: Annotated[float | None, Range(0, open=True), "passes over the data (none: no limit)"] = None
    images: Annotated[float | None, Range(1), "budget in images seen (none: no limit)"] = 300_000
    optimizer: Annotated[OptimizerName, "optimiser"] = "adamw"
    learning_rate: Annotated[float | Schedule, Range(0, open=True), "step size, or its schedule in images"] = (
        "linear(1e-3, 0, over=budget)"  # type: ignore[assignment]  # a schedule is written as text
    )
    ema: Annotated[float, Range(0), "half-life of the averaged weights, in images (0: none)"] = 20_000.0
    precision: Annotated[Precision, "bf16: autocast over float32 weights (auto: for convolutions, if fast)"] = "auto"

    family: ClassVar[str] = "flow"
    paper: ClassVar[str] = "Lipman et al. 2023"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "plane": {"output": "linear", "times": "uniform", "batch_size": 256, "images": 1_500_000, "ema": 50_000.0}
        | {"learning_rate": "linear(2e-3, 0, over=budget)"},
        "tiny": {"hidden": (32,), "width": 8, "epochs": 2, "images": None, "n_steps": 8, "n_resamplings": 2}
        | {"ema": 0.0, "precision": "float32"},
    }
    _uses_labels: ClassVar[bool] = True

    def _choices(self, shape: Shape) -> dict[str, str]:
        return {"network": "unet" if len(shape) == 3 else "mlp"} if self.network == "auto" else {}

    @property
    def _pixels(self) -> bool:
        return self.output == "pixels"

    @property
    def _law(self) -> Visible:
        return "gaussian"

    @property
    def _n_features_out(self) -> int:
        return math.prod(self.border_.inner_shape)

    def _build(self, shape: Shape, rng: torch.Generator) -> FlowNets:
        network = self._choices(shape).get("network", self.network)
        if (self.attention and network == "mlp") or (self.flips and len(shape) == 1):
            raise ValueError(
                f"attention is {self.attention} with network {network!r}, flips {self.flips} of data of shape {shape}, "
                "expected attention of 'unet', flips of images; the usual fix is false"
            )
        v: nn.Module = (
            TimedMLP(math.prod(shape), self.hidden, n_classes=self._n_classes)
            if network == "mlp"
            else UNet(image_shape(shape), self.width, self._n_classes, self.attention)
        )
        return FlowNets(v=v, scale=Scale(self._pixels), shares=Shares(self._n_classes) if self._n_classes else None)

    def _prior(self) -> Prior:
        return NormalPrior(self._n_features_out)

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        player = Player("flow", ("v",), self._loss, self._optimizer(), clip=1.0)
        return [Stage("learn", [player], self._budget(), start=self._start)]

    @staticmethod
    def _start(nets: FlowNets, stream: Stream, rng: Rng) -> None:
        nets.scale.fit(stream.mean(), stream.variance())
        if "shares" in nets and stream.y is not None:
            nets.shares.fit(stream.y)

    # --- training

    def _times(self, n: int, rng: Rng, like: Tensor) -> tuple[Tensor, Tensor]:
        """Times t [n], one in each of n (of all processes) equal parts of their law; and the ranks u [n] in (0, 1)."""
        total, first = n * rng.world, n * rng.rank
        places = torch.arange(first, first + n, device=like.device)
        u = ((places + uniform((n,), rng, like.dtype)) / total).clamp(1e-6, 1 - 1e-6)
        return (u if self.times == "uniform" else torch.special.ndtri(u).sigmoid()), u

    def _loss(self, nets: FlowNets, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        """||v(x_t, t) - velocity||^2 / d, with its means over four parts of the times, from noise to image."""
        x, y = batch.x, batch.y
        if self.flips:
            x = torch.where(coins((len(x),), 0.5, rng)[:, None, None, None], x.flip(3), x)
        x = nets.scale.inward(x, uniform(x.shape, rng, x.dtype) if self._pixels else None)
        t, u = self._times(len(x), rng, x)
        x_t, velocity = on_path(x, normal(x.shape, rng, x.dtype), t, self.path)
        if self._n_classes and y is not None:
            y = y.masked_fill(coins((len(x),), self.unconditional, rng), -1)
        rows = flow_matching(self._velocity(nets, x_t, t, y), velocity)
        parts = torch.nn.functional.one_hot((BINS * u).long(), BINS).to(rows.dtype)
        sums, counts = all_sum(torch.stack([(rows.detach()[:, None] * parts).sum(0), parts.sum(0)]))
        logs = dict(zip(self._bins, sums / counts, strict=True))
        return rows.mean(), logs if len(x) * rng.world >= BINS else {}  # with fewer images some part has none

    @property
    def _bins(self) -> list[str]:
        """What the parts of the times are called."""
        ends = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)
        ends = ends if self.times == "uniform" else torch.special.ndtri(ends).sigmoid()
        return [f"t {low:.2f}-{high:.2f}" for low, high in pairwise(ends.tolist())]

    # --- the equation, both ways

    def _velocity(self, nets: FlowNets, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        """v(x, t) of x [B, ...]; rows are square images to a U-Net, and images rows to an MLP."""
        rows = x.flatten(1) if isinstance(nets.v, TimedMLP) else x.reshape(len(x), *image_shape(x.shape[1:]))
        v: Tensor = nets.v(rows, t, y)
        return v.reshape(x.shape).to(x.dtype)

    def _field(self, nets: FlowNets, y: Tensor | None = None) -> Field:
        """v, guided towards the classes y [B]."""
        any_class = partial(self._velocity, nets, y=None)
        if y is None or self.guidance == 0:
            return any_class
        this_class = partial(self._velocity, nets, y=y)
        if self.guidance == 1:
            return this_class
        return lambda x, t: torch.lerp(any_class(x, t), this_class(x, t), self.guidance)

    @property
    def _how(self) -> dict[str, Any]:
        return {"solver": self.solver, "n_steps": self.n_steps, "tolerance": self.tolerance}

    def _images(self, nets: FlowNets, x: Tensor) -> Tensor:
        return nets.scale.outward(x.reshape(-1, *self.border_.inner_shape))

    def _noise(self, nets: FlowNets, n: int, rng: torch.Generator) -> Tensor:
        return nets.prior.draw(n, rng).view(n, *self.border_.inner_shape)

    def _any(self, nets: FlowNets, n: int, rng: torch.Generator) -> Tensor | None:
        """Classes [n] by their shares in the data, -1 where none is known."""
        return nets.shares.draw(n, rng) if "shares" in nets else None

    def _drawn(self, nets: FlowNets, x: Tensor, y: Tensor | None, t: float = 0, u: float = 1, **how: Any) -> Tensor:
        """x at time u: by a U-Net in the precision of training, except by adaptive steps, which bf16 would mislead."""
        low = isinstance(nets.v, UNet) and self.solver != "adaptive" and resolved(self.precision, nets) == "bf16"
        with torch.autocast(x.device.type, torch.bfloat16, enabled=low):
            return solve(self._field(nets, y), x, t, u, **self._how | how)

    def _sample(self, nets: FlowNets, n: int, rng: torch.Generator) -> Tensor:
        return self._images(nets, self._drawn(nets, self._noise(nets, n, rng), self._any(nets, n, rng)))

    def _decode(self, nets: FlowNets, z: Tensor) -> Tensor:
        z = z.view(-1, *self.border_.inner_shape)
        return self._images(nets, solve(self._field(nets), z, 0, 1, **self._how))

    def _encode(self, nets: FlowNets, x: Tensor) -> Tensor:
        return solve(self._field(nets), nets.scale.inward(x), 1, 0, **self._how).flatten(1)

    def _sample_class(self, nets: FlowNets, y: Tensor, rng: torch.Generator) -> Tensor:
        return self._images(nets, self._drawn(nets, self._noise(nets, len(y), rng), y))

    def sample(
        self,
        n: int | None = None,
        *,
        y: ArrayLike | None = None,
        guidance: float | None = None,
        truncation: float | None = None,
        random_state: Any = None,
        nets: Nets | None = None,
    ) -> NDArray[Any]:
        """As for every model; guidance: in place of that of the model, for this call."""
        chosen = copy.copy(self)
        if guidance is not None:
            chosen.guidance = guidance
            chosen.check_parameters()
        return super(FlowMatching, chosen).sample(n, y=y, truncation=truncation, random_state=random_state, nets=nets)

    def paths(self, n: int = 1, n_times: int = 9, *, random_state: Any = None, nets: Any = None) -> NDArray[Any]:
        """n images on their way at n_times >= 2 even times, [n_times, n, ...]: from noise to what `sample` gives."""
        if n_times < 2:
            raise ValueError(f"n_times is {n_times}, expected 2 or more: the first and the last")
        trained, blocks = cast(FlowNets, self._nets(nets)), []
        steps, times = max(1, round(self.n_steps / (n_times - 1))), [i / (n_times - 1) for i in range(n_times)]
        with self._answering(trained):
            for rng in self._generators(n, random_state, trained, "paths"):
                frames = [self._noise(trained, self.border_.block, rng)]
                y = self._any(trained, self.border_.block, rng)
                for t, after in pairwise(times):
                    frames.append(self._drawn(trained, frames[-1], y, t, after, n_steps=steps))
                blocks.append(torch.stack([self._images(trained, x) for x in frames]))
        seen = self.border_.outward(torch.cat(blocks, 1)[:, :n].flatten(0, 1))
        return seen.reshape(n_times, n, *seen.shape[1:])

    def _complete(self, nets: FlowNets, x: Tensor, known: Tensor, rng: torch.Generator) -> Tensor:
        """Quarters of the path, each `n_resamplings` times, back by noise in between; after each step known pixels are
        put on their path (Lugmayr et al. 2022, algorithm 1; jumps: section 4.2)."""
        data, field, y = nets.scale.inward(x), self._field(nets), self._noise(nets, len(x), rng)
        times, jump = [i / self.n_steps for i in range(self.n_steps + 1)], -(-self.n_steps // JUMPS)
        parts = [times[i : i + jump + 1] for i in range(0, self.n_steps, jump)]
        rounds = [(part, k) for part in parts for k in range(self.n_resamplings)]
        for part, k in track(rounds, "rounds", len(rounds)):
            if k:
                y = noised(y, part[0], part[-1], self._noise(nets, len(x), rng), self.path)
            for t, after in pairwise(part):
                y = solve(field, y, t, after, **self._how | {"n_steps": 1})
                a, s = path(x.new_tensor(after), self.path)
                y = torch.where(known, a * data + s * self._noise(nets, len(x), rng), y)
        return self._images(nets, y)

    # --- likelihood

    def _log_p(self, nets: FlowNets, x: Tensor, rng: torch.Generator, n: int = 1) -> Tensor:
        """log p(x) in nats [B]; with noise of pixels and signs of the divergence for each of n = B rows, or all (1)."""
        shape = (n, *x.shape[1:])
        inside = nets.scale.inward(x, uniform(shape, rng, x.dtype) if self._pixels else None)
        signs = 2 * coins(shape, 0.5, rng).to(x.dtype) - 1
        probes = None if x[0].numel() <= EXACT else signs[None]
        z, log_det = transport(self._field(nets), inside, 1, 0, **self._how, probes=probes)
        return nets.prior.log_prob(z.flatten(1)) + log_det - x[0].numel() * nets.scale.sd.log()

    def _score_kind(self, nets: FlowNets) -> ScoreKind:
        return "estimate"

    def _scorer(self, nets: FlowNets) -> Callable[[Tensor], Tensor]:
        return lambda x: self._log_p(nets, x, make_rng(0, x.device))

    def _likelihoods(self, nets: FlowNets, x: Tensor, rng: torch.Generator) -> dict[str, Likelihood]:
        values = self._blocks(lambda rows: self._log_p(nets, rows, rng, len(rows)), x, nets)
        notes: tuple[str, ...] = ()
        if self._pixels:
            bits = math.log2(LEVELS) - float(values.double().mean()) / (x[0].numel() * math.log(2))
            notes = (f"That is {bits:.3f} bits per dimension, of pixels of {LEVELS} levels made continuous by noise.",)
        return {"ODE": Likelihood(values, "estimate", law="gaussian", notes=notes)}
