"""Chains of every machine: where they start, what they keep, and which of their states is a sample."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genlearn.maths.rng import make_rng
from genlearn.models.bm import BMNets, BoltzmannMachine
from genlearn.models.conditional_rbm import ConditionalRBM
from genlearn.models.dbm import DBM, DBMNets
from genlearn.models.energy import EnergyModel, GaussianNoise
from genlearn.models.rbm import RBM, RBMNets
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.deep_boltzmann import DeepBoltzmann
from genlearn.nets.general_boltzmann import GeneralBoltzmann
from genlearn.samplers import Chains, after, persistent


def states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def random(net: nn.Module) -> None:
    """Weights and biases that make a difference."""
    rng = make_rng(1)
    with torch.no_grad():
        for p in net.double().parameters():
            p.normal_(generator=rng)


# --- persistent states


def test_chains_that_the_processes_cannot_share_are_refused(monkeypatch):
    monkeypatch.setattr(persistent, "world", lambda: (0, 3))
    with pytest.raises(ValueError, match="n_chains is 20, expected a multiple of the 3 processes"):
        Chains(20, 6)
    assert Chains(21, 2, 6).states.shape == (21, 2, 6)


def test_each_process_moves_its_rows_and_keeps_those_of_all(monkeypatch):
    chains, moved = Chains(6, 2), torch.rand(6, 2, generator=make_rng(0))
    chains.states.copy_(torch.arange(12).view(6, 2))
    for rank in range(3):
        rng = make_rng(0)
        rng.rank, rng.world = rank, 3
        assert torch.equal(chains.mine(rng), torch.arange(4 * rank, 4 * rank + 4).view(2, 2))
    monkeypatch.setattr(persistent, "gather_rows", lambda x: torch.cat([moved[:4], x]))
    chains.keep(moved[4:])
    assert torch.equal(chains.states, moved)


def test_they_start_at_fair_coins_and_are_drawn_with_replacement():
    chains, n = Chains(40, 1000), 40_000
    chains.start(make_rng(0))
    assert ((chains.states == 0) | (chains.states == 1)).all()
    assert abs(chains.states.mean().item() - 0.5) < 5 * 0.5 / n**0.5
    chains.states.copy_(torch.arange(40.0)[:, None].expand(40, 1000))
    picked = chains.draw(n, make_rng(1))[:, 0]
    counts = torch.bincount(picked.long(), minlength=40)
    assert (counts - n / 40).abs().max() < 5 * (n / 40) ** 0.5


def test_samples_start_from_the_cold_chains_only():
    """In a machine that keeps the states (1, 0) and (0, 1), cold chains at the one and hot ones at the other."""
    net = RestrictedBoltzmann(2, 2, make_rng(0))
    with torch.no_grad():
        net.W.copy_(200 * torch.eye(2))
        net.a.fill_(-100)
        net.b.fill_(-100)
    nets = RBMNets(rbm=net, chains=Chains(5, 3, 2))
    nets.chains.states[:, 0, 0] = nets.chains.states[:, 1:, 1] = 1
    images = RBM(algorithm="parallel-tempering", n_hidden=2, n_gibbs=3)._draw(nets, 50, make_rng(0))
    assert torch.equal(images.round(), torch.tensor([[1.0, 0.0]]).expand(50, 2))


# --- the hook


class Quadratic(nn.Module):
    """|x - m|^2 / 2."""

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) - self.m).square().sum(1) / 2


COMMON = {"epochs": 1, "batch_size": 20, "random_state": 0, "precision": "float64"}
MODELS = {
    "pcd": RBM(n_hidden=3, n_chains=10, n_gibbs=4, **COMMON),
    "cd": RBM(n_hidden=3, algorithm="cd", n_gibbs=4, **COMMON),
    "tempering": RBM(n_hidden=3, algorithm="parallel-tempering", n_chains=10, n_temperatures=3, n_gibbs=4, **COMMON),
    "gaussian": RBM(n_hidden=3, visible="gaussian", n_gibbs=4, **COMMON),
    "labels": ConditionalRBM(n_hidden=3, n_chains=10, n_gibbs=4, **COMMON),
    "bm": BoltzmannMachine(n_hidden=3, n_chains=10, n_gibbs=4, **COMMON),
    "dbm": DBM(hidden=(3, 2), n_chains=10, n_gibbs=4, pretrain_epochs=1, **COMMON),
    "energy": EnergyModel(energy=Quadratic(), algorithm="sliced", n_steps=4, **COMMON),
    "energy of bits": EnergyModel(energy=Quadratic(), visible="binary", n_steps=4, **COMMON),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_sample_is_the_state_of_the_chain_after_its_steps(name):
    """And a chain from images x has as many rows as x, and depends on them."""
    X = np.tile(states(4).numpy(), (5, 1))
    model = MODELS[name].fit(X, np.arange(80) % 2)
    nets = model.nets_
    random(nets)
    with torch.no_grad():
        steps = list(itertools.islice(model._chain(nets, 6, make_rng(3)), 4))
        assert model._n_steps == 4
        assert torch.equal(model._draw(nets, 6, make_rng(3)), steps[-1])
        assert not torch.equal(steps[-2], steps[-1])
        x = torch.from_numpy(X[:9])
        assert next(model._chain(nets, 9, make_rng(0), x)).shape == (9, 4)
        assert not torch.equal(*(next(model._chain(nets, 16, make_rng(0), x)) for x in (x, 1 - x)))


def test_the_first_step_from_an_image_is_the_one_of_the_machine():
    """E[v'] after one step from v: up and down (RBM); v_i given the others, all resampled in turn (BM without t)."""
    n, x = 40_000, torch.tensor([1.0, 0.0, 0.0, 1.0]).double()
    rows, h = x.expand(n, 4), states(3)
    rbm = RestrictedBoltzmann(4, 3, make_rng(0))
    random(rbm)
    with torch.no_grad():
        p = rbm.p_hidden(x[None])
        law = torch.where(h.bool(), p, 1 - p).prod(1)
        got = next(RBM(n_hidden=3)._chain(RBMNets(rbm=rbm), n, make_rng(0), rows)).mean(0)
        assert (got - law @ rbm.mean_visible(h)).abs().max() < 5 * 0.5 / n**0.5
        assert (rbm.mean_visible(h)[0] - law @ rbm.mean_visible(h)).abs().max() > 0.05

        dbm = DeepBoltzmann((4, 3), make_rng(0))
        random(dbm)
        p = dbm.mean(1, [x[None], x[None]])
        law = torch.where(h.bool(), p, 1 - p).prod(1)
        # The first state is that of h ~ p(h | v), of v' and of h' ~ p(h | v'): a whole sweep.
        v = states(4)
        to_v = torch.where(v.bool(), dbm.mean(0, [h, h])[:, None], 1 - dbm.mean(0, [h, h])[:, None]).prod(2)
        to_h = torch.where(h.bool(), dbm.mean(1, [v, v])[:, None], 1 - dbm.mean(1, [v, v])[:, None]).prod(2)
        expected = law @ to_v @ to_h @ dbm.mean(0, [h, h])
        got = next(DBM(hidden=(3,))._chain(DBMNets(dbm=dbm), n, make_rng(0), rows)).mean(0)
        assert (got - expected).abs().max() < 5 * 0.5 / n**0.5

        bm = GeneralBoltzmann(4, 3, make_rng(0))
        random(bm)
        start = torch.cat([rows, torch.zeros(n, 3)], 1)
        late = after(30, BoltzmannMachine(n_hidden=3)._chain(BMNets(bm=bm), n, make_rng(0), rows)).mean(0)
        assert (late - bm.marginals()[:4]).abs().max() < 5 * 0.5 / n**0.5
        assert (bm.conditional_visible(start).mean(0) - bm.marginals()[:4]).abs().max() > 0.05


@pytest.mark.parametrize("d", [3, 1001])
def test_whitening_undoes_colouring(d):
    """With a full covariance, and with variances alone."""
    noise, u = GaussianNoise((d,)).double(), torch.randn(5, d, generator=make_rng(0)).double()
    noise.mean.normal_(generator=make_rng(1))
    noise.scale.add_(torch.rand(noise.scale.shape, generator=make_rng(2)))
    if d == 3:
        noise.scale.tril_()
    assert torch.allclose(noise.whiten(noise.colour(u)), u)
