"""Persistent chains: states that training moves on from update to update."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlearn.maths.rng import Rng, bernoulli
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.parallel import gather_rows, world
from genlearn.samplers.gibbs import from_hidden
from genlearn.shapes import Float


class Chains(nn.Module):
    """The states of n persistent chains [n, ...], a buffer: the same in every process, each of which moves its rows.

    Raises a one-line ValueError where n is no multiple of the processes.
    """

    states: Tensor

    def __init__(self, n: int, *shape: int) -> None:
        super().__init__()
        if n % world()[1]:
            raise ValueError(f"n_chains is {n}, expected a multiple of the {world()[1]} processes")
        self.register_buffer("states", torch.zeros(n, *shape))

    def start(self, rng: torch.Generator) -> None:
        """Fair coins: not the data, to meet what mass there is elsewhere."""
        self.states.uniform_(generator=rng).lt_(0.5)

    def mine(self, rng: Rng) -> Float[Tensor, "n ..."]:
        """The rows of this process [n / processes, ...]."""
        return self.states.chunk(rng.world)[rng.rank]

    def keep(self, states: Float[Tensor, "n ..."]) -> None:
        """Store what has become of the rows of every process."""
        self.states.copy_(gather_rows(states))

    def draw(self, n: int, rng: torch.Generator) -> Float[Tensor, "{n} ..."]:
        """n of the states, picked at random with replacement [n, ...]."""
        return self.states[torch.randint(len(self.states), (n,), generator=rng, device=rng.device)]


@torch.no_grad()
def from_chains(
    net: RestrictedBoltzmann, chains: Chains, k: int, rng: Rng
) -> tuple[Float[Tensor, "n D"], Float[Tensor, "n H"]]:
    """(v, p(h | v)) after k steps of the persistent chains, whose states are h [n, H], and which move on.

    Tieleman 2008.
    """
    v, p = from_hidden(net, chains.mine(rng), k, rng)
    chains.keep(bernoulli(p, rng))
    return v, p
