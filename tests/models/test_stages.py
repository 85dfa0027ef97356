"""What the options of a model in stages make of each stage: optimiser, budget, share, labels, numbers of steps."""

from __future__ import annotations

import numpy as np
import pytest

from genlearn.models import bm, conditional_rbm, dbm, dbn, rbm
from genlearn.models.autoencoder import Autoencoder
from genlearn.models.stacked_rbm import StackedRBMClassifier
from genlearn.nets.deep_boltzmann import DeepBoltzmann
from genlearn.nets.general_boltzmann import GeneralBoltzmann
from genlearn.train import Optimizer

MINE = {"optimizer": "nadam", "learning_rate": 0.3, "momentum": 0.2, "weight_decay": 0.1, "epochs": 7}
MAIN = Optimizer("nadam", lr=0.3, momentum=0.2, weight_decay=0.1)
FIRST = {"hidden": (3, 2), "pretrain_epochs": 4, "pretrain_rate": 0.6}
CD = Optimizer("momentum", lr=0.6, momentum=0.9)
X = np.random.default_rng(0).random((40, 6)).astype(np.float32)
Y = np.arange(40) % 2
TINY = {"epochs": 1, "batch_size": 20, "random_state": 0}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (StackedRBMClassifier(**FIRST, **MINE), [(CD, 4, 0.5, 0), (CD, 4, 0.5, 0), (MAIN, 7, 1, 1)]),
        (
            Autoencoder(**FIRST, **MINE, code_rate=0.05, pretrain=True, activation="sigmoid"),
            [(CD, 4, 0.5, 0), (CD, 4, 0.5, 0), (Optimizer("momentum", 0.05, 0.9), 4, 1, 0), (MAIN, 7, 1, 0)],
        ),
        (
            dbn.DBN(**FIRST, **MINE),
            [(Optimizer("nadam", 0.6, 0.2, weight_decay=0.1), 4, 0.5, 0)] * 2 + [(MAIN, 7, 1, 0)],
        ),
        (
            dbm.DBM(**FIRST, **MINE, fine_tune=3, fine_tune_rate=0.04),
            [(Optimizer("nadam", 0.6, 0.2, weight_decay=0.1), 4, 0.5, 0)] * 2
            + [(MAIN, 7, 1, 0), (Optimizer("adam", 0.04, 0.2), 3, 1, 1)],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_stage_has_its_optimiser_epochs_share_and_labels(model, expected, monkeypatch):
    monkeypatch.setattr(type(model), "_n_classes", 2, raising=False)
    stages = model._stages((6,))
    got = [(p.optimizer, s.budget.epochs, s.share, s.labelled) for s in stages for p in s.players]
    assert got == expected


def watch(monkeypatch, place, name: str, i: int) -> list:
    """The i-th argument of every call of a function from now on."""
    seen, f = [], getattr(place, name)

    def g(*arguments):
        seen.append(arguments[i])
        return f(*arguments)

    monkeypatch.setattr(place, name, g)
    return seen


@pytest.mark.parametrize(
    ("algorithm", "name", "i"),
    [("cd", "from_hidden", 2), ("pcd", "from_chains", 2), ("parallel-tempering", "from_tempered_chains", 3)],
)
def test_steps_of_an_rbm(algorithm, name, i, monkeypatch):
    options = {"n_hidden": 2, "k": 3, "n_chains": 4, "n_temperatures": 3, "n_gibbs": 8, **TINY}
    k = watch(monkeypatch, rbm, name, i)
    model = rbm.RBM(algorithm=algorithm, **options).fit(X)
    assert k == [3, 3]
    n = watch(monkeypatch, rbm, "after", 0)
    model.complete(X[:2], np.arange(6) < 3)
    assert n == [8]
    if algorithm != "cd":
        shape = {"pcd": (4, 2), "parallel-tempering": (4, 3, 2)}[algorithm]
        assert model.nets_.chains.states.shape == shape


def test_the_temperatures_run_from_1_to_0(monkeypatch):
    betas = watch(monkeypatch, rbm, "from_tempered_chains", 2)
    rbm.RBM(algorithm="parallel-tempering", n_hidden=2, n_temperatures=3, **TINY).fit(X)
    assert betas == [[1, 0.5, 0]] * 2


def test_steps_of_an_rbm_with_labels(monkeypatch):
    model = conditional_rbm.ConditionalRBM(n_hidden=2, n_gibbs=8, **TINY).fit(X, Y)
    n = watch(monkeypatch, conditional_rbm, "after", 0)
    model.sample(2, y=1)
    assert n == [8]


@pytest.mark.parametrize("clamped", ["mean-field", "gibbs"])
def test_steps_of_a_boltzmann_machine(clamped, monkeypatch):
    """13 hidden units are too many for sums over their states."""
    k = watch(monkeypatch, bm, "after", 0)
    settled, means = watch(monkeypatch, bm, "settle", 3), watch(monkeypatch, GeneralBoltzmann, "mean_hidden", 2)
    model = bm.BoltzmannMachine(clamped=clamped, n_hidden=13, k=2, n_clamped=4, n_chains=6, n_gibbs=7, **TINY).fit(X)
    assert (k, settled, means) == ([2, 2], *([[4, 4], []] if clamped == "gibbs" else [[], [4, 4]]))
    assert len(model.nets_.chains.states) == 6
    means.clear()
    model.transform(X)
    assert means == [4]
    ends = watch(monkeypatch, bm, "islice", 2)
    starts = watch(monkeypatch, bm, "islice", 1)
    model.complete(X[:2], np.arange(6) < 3)
    assert (starts, ends) == ([3], [7])


def test_steps_of_a_deep_belief_network(monkeypatch):
    k = watch(monkeypatch, dbn, "from_hidden", 2)
    model = dbn.DBN(hidden=(3, 2), pretrain_epochs=1, k=3, top_steps=5, n_gibbs=4, **TINY).fit(X)
    assert k == [3] * 4 + [5] * 2
    n, turns = watch(monkeypatch, dbn, "after", 0), watch(monkeypatch, model, "_resample", 0)
    model.sample(2)
    model.complete(X[:2], np.arange(6) < 3)
    assert n == [4]
    assert len(turns) == 4


def test_steps_of_a_deep_boltzmann_machine(monkeypatch):
    k, n = watch(monkeypatch, dbm, "after", 0), watch(monkeypatch, DeepBoltzmann, "mean_field", 2)
    options = {"hidden": (3, 2), "pretrain_epochs": 1, "k": 2, "n_chains": 6, "n_mean_field": 4, "n_gibbs": 7}
    model = dbm.DBM(**options, fine_tune=1, **TINY).fit(X, Y)
    assert k == [2, 2]
    assert len(model.nets_.chains.states) == 6
    for what in (model.transform, model.score_samples, model.log_likelihoods, model.predict):
        before = len(n)
        what(X)
        assert len(n) > before
    assert set(n) == {4}
    k.clear()
    model.complete(X[:2], np.arange(6) < 3)
    assert k == [8]  # the first step draws the even layers only
