"""Stacks of autoencoders of one layer: what each learns from, and what a classifier takes of them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from genlearn.maths.rng import make_rng
from genlearn.models.layers import LayerNets, climb, denoising, greedy_layers, layers
from genlearn.models.stacked_autoencoder import StackedAutoencoderClassifier
from genlearn.nets import TiedLayer
from genlearn.train import Batch, Budget, Optimizer, Stream


@pytest.fixture
def nets() -> LayerNets:
    made = LayerNets(layers=layers((6, 4, 3), "sigmoid", make_rng(0))).double()
    with torch.no_grad():
        for p in made.parameters():
            p.normal_(generator=make_rng(1))
    return made


@pytest.fixture
def pictures() -> Stream:
    return Stream(torch.rand(40, 1, 2, 3, generator=make_rng(2)).double(), None, 8, 0, dtype=torch.float64)


def test_a_layer_has_the_same_weights_up_and_down():
    layer, x = TiedLayer(5, 3, "tanh", make_rng(0)).double(), torch.rand(4, 5, generator=make_rng(1)).double()
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_(generator=make_rng(2))
    h = layer.encode(x)
    assert torch.allclose(h, (x @ layer.W + layer.b).tanh())
    assert torch.allclose(layer.outputs(h), h @ layer.W.T + layer.a)


@pytest.mark.parametrize(("activation", "factor"), [("sigmoid", 4), ("tanh", 1)])
def test_layers_begin_as_glorot_and_bengio_have_it(activation, factor):
    layer, limit = TiedLayer(60, 50, activation, make_rng(0)), factor * (6 / 110) ** 0.5
    assert 0.95 * limit < layer.W.abs().max() <= limit
    assert not layer.a.any() and not layer.b.any()


def test_each_layer_learns_on_what_the_ones_below_make(nets, pictures):
    x = pictures.x.flatten(1)
    h = (x @ nets.layers[0].W + nets.layers[0].b).sigmoid()
    assert torch.allclose(climb(nets.layers, pictures.x), (h @ nets.layers[1].W + nets.layers[1].b).sigmoid())
    loss = partial(denoising, corrupt=lambda x, rng: x / 2)
    stages = greedy_layers(2, Budget(epochs=2.0), Optimizer("sgd", 0.1), loss, ("mse", "bce"))
    with torch.no_grad():
        for i, (stage, below) in enumerate(zip(stages, (x, h), strict=True)):
            assert [n for n, _ in stage.players[0].parameters(nets)] == [f"layers.{i}.{p}" for p in ("W", "a", "b")]
            batch = stage.prepare(nets, Batch(pictures.x), make_rng(0))
            assert torch.allclose(batch.x, below)
            stage.start(nets, pictures, make_rng(0))
            mean = below.mean(0)
            assert torch.allclose(nets.layers[i].a, mean.clamp(0.01, 0.99).logit() if i else mean)
            got, _ = stage.players[0].loss(nets, batch, make_rng(0))
            layer = nets.layers[i]
            out = (below / 2 @ layer.W + layer.b).sigmoid() @ layer.W.T + layer.a
            costs = binary_cross_entropy_with_logits(out, below, reduction="none") if i else (out - below).square()
            assert torch.allclose(got, costs.sum(1).mean())


def test_the_classifier_starts_with_the_weights_of_its_layers(pictures):
    model = StackedAutoencoderClassifier(hidden=(5, 4))
    model._meet(np.zeros((3, 6), np.float32), np.arange(3))
    nets = model._build((1, 2, 3), make_rng(0)).double()
    with torch.no_grad():
        for p in nets.parameters():
            p.normal_(generator=make_rng(1))
        model._stages((1, 2, 3))[-1].start(nets, pictures, make_rng(0))
        assert torch.allclose(nets.mlp.features(pictures.x), climb(nets.layers, pictures.x))


def test_labels_of_few_digits_are_enough(digits, digit_labels):
    """Chance is .1."""
    y = np.where(np.arange(1000) < 100, digit_labels[:1000], -1)
    model = StackedAutoencoderClassifier(hidden=(100,), pretrain_epochs=10, epochs=150, batch_size=10, random_state=0)
    assert (model.fit(digits[:1000], y).predict(digits[1000:]) == digit_labels[1000:]).mean() > 0.7
