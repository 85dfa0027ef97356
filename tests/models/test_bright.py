"""Contrastive models at their defaults on bright pictures in colour, where the input of a unit swings most."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genlearn import DBM, DBN, RBM, ConditionalRBM, StackedRBMClassifier
from genlearn.models.stack import ascend, layer_rate


def pictures(n: int, bright: float) -> np.ndarray:
    """[n, 3, 32, 32]: smooth fields around a brightness of their own, as photographs have."""
    rng = np.random.default_rng(0)
    coarse = rng.normal(bright, 0.5, (n, 1, 1, 1)) + rng.normal(0, 1, (n, 3, 4, 4)).repeat(8, 2).repeat(8, 3)
    return (255 / (1 + np.exp(-coarse))).astype(np.uint8)


def codes(model, x):
    """Means of the first hidden layer, and pixels back from the last one."""
    v, nets = x.flatten(1), model.nets_
    if "rbms" in nets:
        rbm = nets.rbms[0]
        return ascend([rbm], v), rbm.mean_visible(ascend([rbm], v))
    if "dbm" in nets:
        state = nets.dbm.mean_field(v, 10)
        return state[1], nets.dbm.mean(0, state)
    p = nets.dbn.ascend(v, 1) if "dbn" in nets else model._encode(nets, v)
    return p, model._decode(nets, model._encode(nets, v))


@pytest.mark.parametrize("bright", [0.0, 1.5])
@pytest.mark.parametrize(
    "model",
    [
        RBM(n_hidden=100, epochs=20),
        RBM(n_hidden=100, epochs=20, algorithm="cd"),
        ConditionalRBM(n_hidden=100, epochs=20),
        DBN(hidden=(100, 100), pretrain_epochs=20, epochs=10),
        DBM(hidden=(100, 100), pretrain_epochs=20, epochs=10),
        StackedRBMClassifier(hidden=(100,), pretrain_epochs=20, epochs=1),
    ],
    ids=lambda m: f"{type(m).__name__}-{getattr(m, 'algorithm', '')}",
)
def test_units_stay_alive_on_colour(model, bright):
    """No unit that is off, or on, for every picture; and more of a picture comes back than the mean of all."""
    X = pictures(1000, bright)
    model.random_state = 0
    model.fit(X, np.arange(1000) % 2)
    x = torch.from_numpy(X).float() / 255
    with torch.no_grad():
        p, back = codes(model, x)
    alive = (p.std(0) > 0.05).float().mean()
    error, mean = (back - x.flatten(1)).square().mean(), x.flatten(1).var(0).mean()
    print(f"{alive:.2f} of the units alive, error {error:.4f}, of the mean {mean:.4f}")
    assert alive > 0.8
    assert error < 0.8 * mean


@pytest.mark.parametrize("kind", [DBN, DBM, StackedRBMClassifier])
def test_every_layer_has_the_step_of_its_own_width(kind):
    for rate, expected in ((None, [0.1, 0.025]), (0.3, [0.3, 0.3])):
        stages = kind(hidden=(10, 2000), pretrain_rate=rate)._stages((784,))[:2]
        assert [stage.players[0].optimizer.lr for stage in stages] == expected


def test_the_step_of_a_layer_is_bounded_by_its_width():
    assert [layer_rate(None, n) for n in (10, 500, 2000)] == [0.1, 0.1, 0.025]
    assert layer_rate(0.3, 2000) == 0.3
