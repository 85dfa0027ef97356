"""What all adversarial nets share: the two players, their losses, and how D is held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from genlearn._types import Batch, Logs, Nets
from genlearn.estimator import GenerativeEstimator, Shape
from genlearn.losses.adversarial import LOSSES, AdversarialLoss, Pair
from genlearn.maths.penalties import Penalties
from genlearn.maths.rng import Rng, normal
from genlearn.nets.history import History
from genlearn.nets.init import Init
from genlearn.nets.priors import PRIORS, Prior
from genlearn.parallel import all_sum
from genlearn.parameters import Range
from genlearn.train import Optimizer, Player, Schedule, Stage, Stream


class AdversarialNets(Nets):
    """Generator, discriminator (or critic), the law of z, and where weights were, for historical averaging."""

    G: nn.Module
    D: nn.Module
    prior: Prior
    history: History


@dataclass(kw_only=True, eq=False, repr=False)
class Adversarial(GenerativeEstimator):
    """The base of adversarial nets: G(z) against D, which sees images of the data and of G.

    D descends the first loss of a pair (see `LOSSES`) and its penalties, G the second. Play alternates, k steps of D
    and one of G, each on a fresh batch; or is simultaneous (k = 1), both gradients at one point, on the same batch and
    noise. What a subclass gives: `_generator` and `_discriminator`, modules G(z, rng) and D(x, rng) (rng for dropout),
    the latter with `features(x, rng)`, and what is its own of the methods below. `_rows_apart`: D(x_i) depends on no
    other row, so that one pass does for data and samples, and for both players.

    Against mode collapse: feature matching (G descends |E f(x) - E f(G(z))|^2 of D's features f, in part or alone) and
    historical averaging (both players), Salimans et al. 2016, sections 3.1 and 3.3; packing (D sees so many images at
    once), Lin et al. 2018.

    One-sided label smoothing: Salimans et al. 2016, section 3.4. Instance noise: Sonderby et al. 2017, section 3.2.
    Spectral normalisation: Miyato et al. 2018. Two time-scale rates: Heusel et al. 2017.
    """

    n_latent: Annotated[int, Range(1), "dimensions of z"] = 100
    prior: Annotated[Literal["normal", "uniform"], "law of z; both have unit variance"] = "normal"
    loss: Annotated[AdversarialLoss, "what the players descend"] = "non-saturating"
    penalty: Annotated[Penalties | None, "on the gradient of D: gp, r1, r2 and their weights"] = None
    k: Annotated[int | Schedule, Range(1), "steps of D per step of G, or their schedule in images of G"] = 1
    order: Annotated[Literal["alternating", "simultaneous"], "order of play"] = "alternating"
    smoothing: Annotated[float, Range(0, 0.5), "of labels: D is to give data 1 - smoothing"] = 0.0
    instance_noise: Annotated[
        float | Schedule, Range(0), "standard deviation of the noise on all that D sees, or its schedule in images"
    ] = 0.0
    spectral_norm: Annotated[bool, "divide D's weights by their largest singular value"] = False
    pack: Annotated[int, Range(1), "images that D judges together"] = 1
    feature_matching: Annotated[float, Range(0, 1), "share of feature matching in G's loss"] = 0.0
    history: Annotated[float, Range(0), "weight of historical averaging"] = 0.0
    init: Annotated[Init | None, "law of G's first weights (none: torch's)"] = None
    init_d: Annotated[Init | None, "law of D's first weights (none: torch's)"] = None
    optimizer_d: Annotated[Optimizer | None, "optimiser of D; what it leaves out, and none: as G"] = None

    family: ClassVar[str] = "adversarial"

    @property
    def _rows_apart(self) -> bool:
        return True

    @property
    def _n_features_out(self) -> int:
        return self.n_latent

    @property
    def _pair(self) -> Pair:
        return LOSSES[self.loss]

    def check_parameters(self) -> None:
        """As everywhere; and what goes together."""
        super().check_parameters()
        if self.smoothing and not self._pair.smooth:
            able = ", ".join(name for name, pair in LOSSES.items() if pair.smooth)
            raise ValueError(
                f"smoothing is {self.smoothing} with loss {self.loss!r}, which has no label to smooth; "
                f"the usual fix is smoothing=0, or one of {able}"
            )
        if self.loss == "wasserstein" and not (self.penalty or self.spectral_norm or self._after()):
            raise ValueError(
                "loss is 'wasserstein' and nothing bounds the slope of D: no penalty, no spectral_norm, no clipping; "
                "the usual fix is penalty='gp(10)'"
            )
        if Schedule.parse(self.k).of_budget:
            raise ValueError(f"k is {self.k!r}, expected a schedule in images, such as linear(5, 1, over=1e6)")
        if self.order == "simultaneous" and self.k != 1:
            raise ValueError(
                f"k is {self.k!r} with simultaneous play, expected 1; the usual fix is order='alternating'"
            )
        if self.batch_size % self.pack:
            raise ValueError(
                f"batch_size is {self.batch_size} with pack={self.pack}, expected a multiple of it; "
                f"the usual fix is batch_size={self.pack * max(1, self.batch_size // self.pack)}"
            )

    # --- what a subclass gives

    def _generator(self, shape: Shape) -> nn.Module:
        """G: z [B, n_latent] -> images [B, ...] or rows [B, d], with G(z, rng) for dropout."""
        raise NotImplementedError

    def _discriminator(self, shape: Shape) -> nn.Module:
        """D: packs of images of `shape`, rng -> numbers [B / pack] or [B / pack, 1]."""
        raise NotImplementedError

    def _fake(self, nets: Any, batch: Batch, rng: Rng) -> Tensor:
        """As many samples as the batch has images."""
        fake: Tensor = nets.G(nets.prior.draw(len(batch.x), rng), rng)
        return fake

    def _shown(self, x: Tensor, batch: Batch) -> Tensor:
        """What D is shown of images: the images."""
        return x

    def _changed(self, x: Tensor, rng: Rng) -> Tensor:
        """Images as D sees them while training."""
        return x

    def _after(self) -> Callable[[Any], None] | None:
        """The projection of D's weights after each of its steps."""
        return None

    # --- the game

    def _prior(self) -> Prior:
        return PRIORS[self.prior](self.n_latent)

    def _build(self, shape: Shape, rng: torch.Generator) -> AdversarialNets:
        G, D = self._generator(shape), self._discriminator(shape)
        for net, init in ((G, self.init), (D, self.init_d)):
            if init is not None:
                Init.parse(str(init))(net, rng)
        if self.spectral_norm:
            for module in list(D.modules()):
                if isinstance(module, (nn.Linear, nn.Conv2d)):
                    spectral_norm(module)
        return AdversarialNets(G=G, D=D, history=History(G=G, D=D) if self.history else None)

    def _stages(self, shape: Shape) -> Sequence[Stage]:
        optimizer = self._optimizer()
        optimizer_d = optimizer if self.optimizer_d is None else Optimizer.parse(str(self.optimizer_d), optimizer)
        players = [
            Player("D", ("D",), self._loss_d, optimizer_d, steps=self._steps(), after=self._after()),
            Player("G", ("G",), self._loss_g, optimizer),
        ]
        at_once = self.order == "simultaneous"
        apart = self._rows_apart and not (self.feature_matching or self.history)
        joint = self._joint if at_once and apart else None
        return [Stage("play", players, self._budget(), start=self._start, simultaneous=at_once, joint=joint)]

    def _steps(self) -> int | Callable[[int], int]:
        if isinstance(self.k, int):
            return self.k
        schedule = Schedule.parse(self.k)
        return lambda images: round(schedule(images))

    def _start(self, nets: Any, stream: Stream, rng: Rng) -> None:
        """Before the first round."""

    def _seen(self, nets: Any, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        """Data and samples as D sees them, with instance noise: [B / pack, pack C, H, W] or [B / pack, pack d]."""
        x = batch.x
        fake = self._fake(nets, batch, rng).view_as(x).to(x.dtype)
        x, fake = self._changed(x, rng), self._changed(fake, rng)
        sd = Schedule.parse(self.instance_noise)(batch.seen, batch.spent)
        if sd:
            x, fake = (v + sd * normal(v.shape, rng, v.dtype) for v in (x, fake))
        return self._packed(x), self._packed(fake)

    def _packed(self, x: Tensor) -> Tensor:
        if self.pack == 1:
            return x
        if len(x) % self.pack:
            raise ValueError(f"{len(x)} images are at hand for packs of {self.pack}, expected a multiple of it")
        packs: Tensor = x.unflatten(0, (-1, self.pack)).flatten(1, 2)
        return packs

    def _judge(self, nets: Any, x: Tensor, fake: Tensor, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        """D's outputs on data and on samples [B]; by one pass, row beside row, where rows are apart."""
        real, false = self._shown(x, batch), self._shown(fake, batch)
        if self._rows_apart:
            outputs = nets.D(torch.stack([real, false], 1).flatten(0, 1), rng).view(-1, 2)
            return outputs[:, 0], outputs[:, 1]
        return nets.D(real, rng).view(-1), nets.D(false, rng).view(-1)

    def _d_terms(
        self, nets: Any, x: Tensor, fake: Tensor, real: Tensor, false: Tensor, batch: Batch, rng: Rng
    ) -> tuple[Tensor, Logs]:
        loss: Tensor = self._pair.d(real, false, 1 - self.smoothing)
        logs = {"difference": real.mean() - false.mean()}
        if self._pair.boundary is not None:
            # The shares of data and of samples that D takes for what they are.
            logs["right on data"] = (real > self._pair.boundary).float().mean()
            logs["right on samples"] = (false < self._pair.boundary).float().mean()
        if self.penalty is not None:
            penalties, step = Penalties.parse(str(self.penalty)), int(batch.seen) // (len(batch.x) * rng.world)
            terms = penalties(lambda v: nets.D(self._shown(v, batch)), x, fake.detach(), rng, step)
            loss, logs = loss + sum(terms.values()), logs | terms
        return loss, logs

    def _loss_d(self, nets: Any, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        x, fake = self._seen(nets, batch, rng)
        loss, logs = self._d_terms(nets, x, fake, *self._judge(nets, x, fake, batch, rng), batch, rng)
        return self._remembered("D", nets, loss), logs

    def _loss_g(self, nets: Any, batch: Batch, rng: Rng) -> tuple[Tensor, Logs]:
        x, fake = self._seen(nets, batch, rng)
        w, logs, loss = self.feature_matching, {}, fake.new_zeros(())
        if w < 1:
            if self._pair.relativistic:
                real, false = self._judge(nets, x, fake, batch, rng)
            else:
                real = false = nets.D(self._shown(fake, batch), rng).view(-1)
            loss = (1 - w) * self._pair.g(real, false)
        if w:
            # The means of all processes: the square of a mean is not the mean of squares.
            features = [nets.D.features(self._shown(v, batch), rng).to(v.dtype) for v in (x, fake)]
            means = [all_sum(f.mean(0)) / rng.world for f in features]
            logs["matching"] = (means[0] - means[1]).square().sum()
            loss = loss + w * logs["matching"]
        return self._remembered("G", nets, loss), logs

    def _remembered(self, name: str, nets: Any, loss: Tensor) -> Tensor:
        """With the historical average of a player."""
        return loss + self.history * nets.history(name, nets[name]) if self.history else loss

    def _joint(self, nets: Any, batch: Batch, rng: Rng) -> tuple[dict[str, Tensor], Logs]:
        x, fake = self._seen(nets, batch, rng)
        real, false = self._judge(nets, x, fake, batch, rng)
        loss_d, logs = self._d_terms(nets, x, fake, real, false, batch, rng)
        return {"D": loss_d, "G": self._pair.g(real, false)}, logs

    def _decode(self, nets: Any, z: Tensor) -> Tensor:
        x: Tensor = nets.G(z)
        return x

    def discriminate(self, X: Any, y: Any = None, *, nets: Nets | None = None) -> NDArray[Any]:
        """D's outputs for images [n], logits or a critic's values; of packs [n // pack]. y [n]: their labels, where D
        is told.

        Without noise and dropout. Raises ValueError in one line for other images than `fit` saw.
        """
        used: Any = self._nets(nets)
        with self._answering(used):
            x = self._inside(self._read(X), used)
            labels = None if y is None else self.border_.index(self.border_.labels(np.asarray(y))).to(x.device)
            outputs = []
            for rows in torch.arange(len(x) - len(x) % self.pack, device=x.device).split(500 * self.pack):
                batch = Batch(x[rows], None if labels is None else labels[rows])
                outputs.append(used.D(self._shown(self._packed(batch.x), batch)).view(-1))
            return self.border_.answer(torch.cat(outputs))
