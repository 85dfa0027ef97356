"""What the energy family reaches on real MNIST in minutes on two cores (make test-all)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from judge import judged, train_judge

from genlearn.data import load
from genlearn.maths.ais import salakhutdinov
from genlearn.maths.partition import bracket
from genlearn.maths.rng import bernoulli, make_rng
from genlearn.metrics import nearest
from genlearn.models.dbm import DBM
from genlearn.models.dbn import DBN
from genlearn.models.rbm import RBM
from genlearn.models.stacked_rbm import StackedRBMClassifier

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("real_mnist"), pytest.mark.timeout(3000)]


@pytest.fixture(scope="module")
def mnist():
    return load("mnist")


def error(model, part) -> float:
    return 100 * float((model.predict(part.x.numpy()) != part.y.numpy()).mean())


def some_labels(mnist, n: int) -> torch.Tensor:
    """The first n labels of train; the others are unknown."""
    y = mnist.train.y.clone()
    y[n:] = -1
    return y.numpy()


def test_ten_thousand_labels(mnist):
    model = StackedRBMClassifier(**FEW, random_state=0).fit(mnist.train.x.numpy(), some_labels(mnist, 10_000))
    e = error(model, mnist.test)
    print(f"stacked RBM 500-500, 10,000 labels: {e:.2f} % of 10,000 test images wrong")
    assert e <= 3.0


FEW = {
    "hidden": (500, 500), "pretrain_epochs": 10, "epochs": 40, "dropout": 0.3,
    "learning_rate": "linear(1e-3, 0, over=400000)",
}  # fmt: skip


def test_pretraining_helps_where_labels_are_few(mnist):
    """At 1,000 labels a network that starts from RBMs is at least a point better than one that starts at random."""
    y, errors = some_labels(mnist, 1000), {}
    for pretrain in (True, False):
        options = FEW | {"epochs": 100, "learning_rate": "linear(1e-3, 0, over=100000)"}
        model = StackedRBMClassifier(**options, pretrain=pretrain, random_state=0).fit(mnist.train.x.numpy(), y)
        errors[pretrain] = error(model, mnist.test)
    print(f"1,000 labels: {errors[True]:.2f} % pretrained, {errors[False]:.2f} % from random weights")
    assert errors[True] < errors[False] - 1


def test_a_dbn_draws_the_digit_that_is_asked_for(mnist):
    """A held-out CNN recognises it; no class is one image over and over."""
    model = DBN(
        pretrain_epochs=6,
        epochs=25,
        top_steps=15,
        learning_rate="linear(0.03, 0, over=1350000)",
        ema=20_000.0,
        random_state=0,
    ).fit(mnist)
    net = train_judge(mnist.train.x, mnist.train.y)
    accuracy = float((judged(net, mnist.test.x) == mnist.test.y).double().mean())
    y = np.arange(500) % 10
    images = model.sample(500, y=y, random_state=0)
    recognised = float((judged(net, torch.from_numpy(images)).numpy() == y).mean())
    neighbours = nearest(images, mnist.train.x)[1][:, 0].numpy()
    distinct = min(len(set(neighbours[y == k])) for k in range(10))
    print(f"judge {accuracy:.2%} on test; DBN error {error(model, mnist.test):.2f} %; {recognised:.1%} recognised; ")
    print(f"at least {distinct} distinct nearest training images a class")
    assert accuracy >= 0.99
    assert recognised >= 0.9
    assert distinct >= 2


def test_a_dbm_is_not_worse_than_an_rbm(mnist):
    """The bound of the DBM, which is below its likelihood, against the likelihood of an RBM of its first layer."""
    rbm = RBM(n_hidden=500, epochs=10, learning_rate="linear(0.05, 0, over=540000)", random_state=0).fit(mnist)
    dbm = DBM(**DEEP, random_state=0).fit(mnist)
    x = mnist.test.x.numpy()
    of_rbm = rbm.log_likelihoods(x)["AIS"].values.mean().item()
    bound = dbm.log_likelihoods(x)["bound"]
    print(f"RBM {of_rbm:.2f}, DBM at least {bound.values.mean():.2f} nats {bound.shift}; {' '.join(bound.notes)}")
    assert bound.values.mean() > of_rbm - 2


DEEP = {
    "pretrain_epochs": 10, "epochs": 8, "learning_rate": "linear(0.01, 0, over=430000)", "weight_decay": 2e-4,
    "momentum": "linear(0.5, 0.9, over=3e5)",
}  # fmt: skip


def test_forward_and_reverse_ais_meet(mnist):
    model = RBM(n_hidden=100, epochs=10, learning_rate="linear(0.05, 0, over=540000)", random_state=0).fit(mnist)
    net, rng = model.nets_.rbm, make_rng(0)
    start = bernoulli(mnist.train.x[:100].flatten(1).float() / 255, rng)
    W, a, b = (t.detach() for t in (net.W, net.a, net.b))
    both = bracket(W, a, b, start=start, n_gibbs=1000, betas=salakhutdinov(), rng=rng, a_base=net.a_base)
    print(both.verdict)
    assert abs(both.gap) < 1
    assert "trusted" in both.verdict
