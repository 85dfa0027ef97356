"""A codebook, the convolutions around a grid of its codes, and a recurrent law of such grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, pad, relu

from genlearn.nets.levels import CategoricalLevels
from genlearn.nets.priors import Prior
from genlearn.nets.recurrent import Autoregressive, Cell
from genlearn.nets.scale import Shares
from genlearn.parallel import all_sum, gather_rows
from genlearn.shapes import Float, Int

CodebookRule: TypeAlias = Literal["averages", "loss"]
EPSILON = 1e-5


class Codebook(nn.Module):
    """K vectors e_k of D numbers: q(z) = e_k with the k of the smallest ||z - e_k||.

    averages: e_k = m_k / N_k, with N_k <- g N_k + (1 - g) n_k and m_k <- g m_k + (1 - g) sum z over the z of a batch
    that choose k, g = `decay`; loss: e_k descends ||e_k - z||^2. A code whose N_k falls below `revive` of the mean is
    moved to a z of the batch, chosen at random, and given the mean.

    Van den Oord, Vinyals and Kavukcuoglu 2017, equations 1 to 3, and 6 to 8 (averages).
    """

    vectors: Tensor
    uses: Tensor
    sums: Tensor
    spare: Tensor

    def __init__(self, n_codes: int, n_latent: int, rule: CodebookRule, decay: float = 0.99, revive: float = 0.05):
        super().__init__()
        vectors = torch.randn(n_codes, n_latent)
        if rule == "loss":
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
            self.register_buffer("sums", vectors.clone())
        self.register_buffer("uses", torch.ones(n_codes))
        self.register_buffer("spare", vectors.clone(), persistent=False)  # from a step's loss to its end
        self.averages, self.decay, self.revive = rule == "averages", decay, revive

    @property
    def perplexity(self) -> Float[Tensor, ""]:
        """exp of the entropy of the codes' recent use, 1 .. K: as many codes, used equally, say as much."""
        p = self.uses / self.uses.sum()
        perplexity: Tensor = torch.special.entr(p).sum().exp()
        return perplexity

    @torch.no_grad()
    def start(self, z: Float[Tensor, "n D"], rng: torch.Generator) -> None:
        """Put the codes on vectors [n, D] of the data, chosen at random, all of one use, which soon is outweighed."""
        self.vectors.copy_(self._some(z, rng))
        self.uses.fill_(1.0)
        if self.averages:
            self.sums.copy_(self.vectors * self.uses[:, None])

    def _some(self, z: Tensor, rng: torch.Generator) -> Tensor:
        rows = torch.randint(len(z), (len(self.vectors),), generator=rng, device=z.device)
        return z[rows].to(self.vectors.dtype)

    @torch.no_grad()
    def nearest(self, z: Float[Tensor, "*n D"]) -> Int[Tensor, "*n"]:
        """k of the nearest vectors: [..., D] -> [...]."""
        with torch.autocast(z.device.type, enabled=False):
            products = z.to(self.vectors.dtype) @ self.vectors.T
        return (self.vectors.square().sum(1) - 2 * products).argmin(-1)

    def forward(self, z: Float[Tensor, "n D"]) -> tuple[Float[Tensor, "n D"], Int[Tensor, "n"], Float[Tensor, ""]]:
        """The nearest vectors, whose gradient goes to z as it is (straight through); k; and the mean of
        ||z - e_k||^2 / D, whose gradient moves z alone (commitment)."""
        k = self.nearest(z)
        e = self.vectors.detach()[k]
        return z + (e - z).detach(), k, mse_loss(z, e)

    def distance(self, z: Float[Tensor, "n D"], k: Int[Tensor, "n"]) -> Float[Tensor, ""]:
        """The mean of ||z - e_k||^2 / D whose gradient moves e (rule loss)."""
        return mse_loss(self.vectors[k], z.detach().to(self.vectors.dtype))

    @torch.no_grad()
    def follow(self, z: Float[Tensor, "n D"], k: Int[Tensor, "n"], rng: torch.Generator) -> None:
        """Count the uses, of all processes, and move the averages; draw the vectors that dead codes will move to."""
        z = z.to(self.vectors.dtype)
        self.uses.lerp_(all_sum(k.bincount(minlength=len(self.vectors)).to(z.dtype)), 1 - self.decay)
        if self.averages:
            self.sums.lerp_(all_sum(torch.zeros_like(self.vectors).index_add_(0, k, z)), 1 - self.decay)
            total = self.uses.sum()
            smooth = (self.uses + EPSILON) / (total + len(self.uses) * EPSILON) * total
            self.vectors.copy_(self.sums / smooth[:, None])
        self.spare.copy_(self._some(gather_rows(z.contiguous()), rng))

    @torch.no_grad()
    def replace_dead(self) -> None:
        """Move the codes that are hardly used to the vectors that `follow` drew."""
        mean = self.uses.mean()
        dead = self.uses < self.revive * mean
        self.vectors.copy_(torch.where(dead[:, None], self.spare, self.vectors))
        self.uses.copy_(torch.where(dead, mean, self.uses))
        if self.averages:
            self.sums.copy_(torch.where(dead[:, None], self.vectors * mean, self.sums))


class _Block(nn.Module):
    """x + C_1x1 relu(C_3x3 relu(x)) (He et al. 2016, activation first)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        y: Tensor = x + self.second(relu(self.first(relu(x))))
        return y


def grid_size(shape: Sequence[int], halvings: int) -> tuple[int, int]:
    """The height and width of the codes of images (C, H, W), padded to whole codes."""
    return -(-shape[1] // 2**halvings), -(-shape[2] // 2**halvings)


class GridEncoder(nn.Module):
    """Convolutions of kernel 4 and stride 2, then two residual blocks: [B, C, H, W] -> [B, D, h, w].

    Images that do not halve evenly are padded with zeros at the right and below.
    """

    def __init__(self, shape: Sequence[int], halvings: int, width: int, n_latent: int) -> None:
        super().__init__()
        h, w = grid_size(shape, halvings)
        self.padding = (0, w * 2**halvings - shape[2], 0, h * 2**halvings - shape[1])
        layers: list[nn.Module] = []
        for n in [shape[0]] + [width] * (halvings - 1):
            layers += [nn.Conv2d(n, width, 4, 2, 1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, _Block(width), _Block(width), nn.Conv2d(width, n_latent, 1))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """A vector for each place of the grid."""
        z: Tensor = self.layers(pad(x, self.padding))
        return z.to(x.dtype)


class GridDecoder(nn.Module):
    """Two residual blocks, then transposed convolutions of kernel 4 and stride 2, whose every output has as many
    inputs (no checkerboard: Odena et al. 2016): [B, D, h, w] -> [B, C, H, W], with a bias a pixel."""

    def __init__(self, shape: Sequence[int], halvings: int, width: int, n_latent: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n in [width] * (halvings - 1) + [shape[0]]:
            layers += [nn.ReLU(), nn.ConvTranspose2d(width, n, 4, 2, 1)]
        self.layers = nn.Sequential(nn.Conv2d(n_latent, width, 3, 1, 1), _Block(width), _Block(width), *layers)
        self.bias = nn.Parameter(torch.zeros(*shape))

    def forward(self, z: Float[Tensor, "B D h w"]) -> Float[Tensor, "B C H W"]:
        """An image for each grid of vectors."""
        x: Tensor = self.layers(z)[..., : self.bias.shape[1], : self.bias.shape[2]] + self.bias
        return x


class CodePrior(Prior):
    """The law of a grid of codes k in 0 .. K - 1, in raster order, by a recurrent net: codes [n, d] are whole numbers.

    A step of the net is `values` codes. With classes p(k) = sum_y p(y) p(k | y), y by its share, -1 where unknown.
    """

    def __init__(self, n: int, n_codes: int, cell: Cell, n_hidden: int, values: int = 1, n_classes: int = 0) -> None:
        super().__init__(n)
        how: dict[str, Any] = {"cell": cell, "n_hidden": n_hidden, "n_classes": n_classes}
        self.net = Autoregressive(CategoricalLevels(n_codes), n // values, values, embedded=True, **how)
        self.shares = Shares(n_classes) if n_classes else None

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "{n} d"]:
        """n independent grids of codes [n, d]."""
        return self._draw(n, rng, None if self.shares is None else self.shares.draw(n, rng))

    def draw_classes(self, y: Int[Tensor, "n"], rng: torch.Generator) -> Float[Tensor, "n d"]:
        """A grid of each of the classes y [n]."""
        return self._draw(len(y), rng, y)

    def _draw(self, n: int, rng: torch.Generator, y: Tensor | None) -> Tensor:
        return self.net.draw(n, rng, y).flatten(1).to(self.mean.dtype)

    def log_prob(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        """log p(z) in nats, exactly: [n, d] -> [n]."""
        if self.shares is None:
            return self.log_prob_given(z)
        classes = (z.new_full((len(z),), y, dtype=torch.long) for y in (*range(len(self.shares.p) - 1), -1))
        by_class = torch.stack([self.log_prob_given(z, y) for y in classes], 1)
        return (self.shares.p.log() + by_class).logsumexp(1)

    def log_prob_given(self, z: Float[Tensor, "n d"], y: Int[Tensor, "n"] | None = None) -> Float[Tensor, "n"]:
        """log p(z | y) in nats, y [n] in -1 .. classes - 1, none: unknown."""
        return self.net.log_prob(z.long().unflatten(1, (self.net.n_steps, -1)), y).sum((1, 2))
