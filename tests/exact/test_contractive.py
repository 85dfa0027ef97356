"""Contractive autoencoders: their penalty against Jacobians that are written down, their walk against the SVD."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from genlearn.maths.jacobian import along_leading, squared_jacobian_norm
from genlearn.maths.rng import make_rng
from genlearn.models.contractive import CAENets, ContractiveAutoencoder
from genlearn.models.layers import climb, contractive
from genlearn.nets import TiedLayer
from genlearn.samplers import after, tangent_chain
from genlearn.train import Batch

B, D, H = 3, 6, 4


def random(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """In float64, no number zero."""
    with torch.no_grad():
        for p in module.double().parameters():
            p.normal_(generator=make_rng(seed))
    return module


def written_down(f, x: Tensor, create_graph: bool = False) -> Tensor:
    """df/dx of every row [B, H, D]."""
    return torch.stack([jacobian(lambda row: f(row[None])[0], row, create_graph=create_graph) for row in x])


@pytest.fixture
def x() -> Tensor:
    return torch.rand(B, D, generator=make_rng(1)).double()


@pytest.fixture
def nets() -> CAENets:
    model = ContractiveAutoencoder(hidden=(5,), n_latent=H, n_codes=10)
    return random(model._fresh_nets((D,), 0))


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softplus"])
def test_the_penalty_of_a_layer_is_the_norm_of_its_jacobian(activation, x):
    """And its slope in the weights that of autograd's; in float32 to 1e-5."""
    layer = random(TiedLayer(D, H, activation, make_rng(0)))
    expected = written_down(layer.encode, x, True).square().sum((1, 2))
    got = layer.squared_jacobian_norm(x)
    torch.testing.assert_close(got, expected)
    slopes = [torch.autograd.grad(value.sum(), [layer.W, layer.b]) for value in (got, expected)]
    torch.testing.assert_close(*slopes)
    with torch.no_grad():
        single = layer.float().squared_jacobian_norm(x.float())
    torch.testing.assert_close(single.double(), expected.detach(), rtol=1e-5, atol=0)


def test_of_a_deep_encoder_too(nets, x):
    f = partial(climb, nets.layers)
    expected = written_down(f, x, True).square().sum((1, 2))
    got = squared_jacobian_norm(f, x)
    torch.testing.assert_close(got, expected)
    weights = nets.layers[0].W
    torch.testing.assert_close(
        *(torch.autograd.grad(value.sum(), weights, retain_graph=True)[0] for value in (got, expected))
    )


def test_the_estimate_is_unbiased(nets, x):
    """The mean over all 2^H probes of signs is the norm itself; a single one is not."""
    f = partial(climb, nets.layers)
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=H))).double()
    probes = signs[:, None].expand(-1, B, -1)
    expected = squared_jacobian_norm(f, x)
    torch.testing.assert_close(squared_jacobian_norm(f, x, probes), expected)
    assert not torch.allclose(squared_jacobian_norm(f, x, probes[:1]), expected, rtol=1e-2)


def test_the_loss_is_the_reconstruction_and_the_penalty(nets, x):
    layer = nets.layers[0]
    loss, logs = contractive(layer, x, lambda x, out: (x - out).square().sum(1), make_rng(0), 0.3)
    error = (layer.encode(x) @ layer.W.T + layer.a - x).square().sum(1).mean()
    norm = written_down(layer.encode, x).square().sum((1, 2)).mean()
    torch.testing.assert_close(loss, error + 0.3 * norm)
    torch.testing.assert_close(logs["jacobian"], norm)
    whole = ContractiveAutoencoder(hidden=(5,), n_latent=H, greedy=False, contraction=0.3, n_probes=4000)
    loss, logs = whole._loss(nets, Batch(x), make_rng(0))
    torch.testing.assert_close(loss, logs["reconstruction"] + 0.3 * logs["jacobian"])
    expected = squared_jacobian_norm(partial(climb, nets.layers), x).mean()
    torch.testing.assert_close(logs["jacobian"], expected, rtol=0.05, atol=0)
    p = whole._decode(nets, whole._encode(nets, x))
    h = (whole._encode(nets, x) @ nets.layers[1].W.T + nets.layers[1].a).sigmoid()
    torch.testing.assert_close(p, (h @ layer.W.T + layer.a).sigmoid())
    torch.testing.assert_close(logs["reconstruction"], -(x * p.log() + (1 - x) * (1 - p).log()).sum(1).mean())


@pytest.mark.parametrize("rank", [0, 1, 2, 4, 9])
def test_a_step_is_along_the_leading_singular_vectors(rank, x):
    """U_k S_k^2 U_k' eps by an SVD that is written down; rank 0 and ranks beyond the last mean all of them."""
    layer = random(TiedLayer(D, H, "tanh", make_rng(0)), 3)
    with torch.no_grad():
        # Singular values far apart, so that the iterations settle.
        layer.W.copy_(torch.linalg.qr(layer.W).Q * torch.tensor([1.0, 0.2, 0.04, 0.008]))
        layer.b.mul_(0.1)
    eps = torch.randn(B, H, generator=make_rng(4)).double()
    with torch.no_grad():
        h, got = along_leading(layer.encode, x, eps, rank, make_rng(5))
    u, s, _ = torch.linalg.svd(written_down(layer.encode, x), full_matrices=False)
    k = rank or H
    expected = torch.einsum("bhk,bk,bik,bi->bh", u[..., :k], s[..., :k] ** 2, u[..., :k], eps)
    torch.testing.assert_close(h, layer.encode(x).detach())
    torch.testing.assert_close(got, expected.detach(), rtol=0, atol=1e-4)
    assert expected.abs().max() > 0.1


def test_the_walk_moves_the_code_by_the_jacobian_of_noise_in_the_image(x):
    """With g the identity on codes: the move has mean 0 and covariance step^2 (J J')^2."""
    layer, n, step = random(TiedLayer(D, H, "tanh", make_rng(0)), 3), 40_000, 0.7
    with torch.no_grad():
        layer.W.mul_(0.3)
        layer.b.mul_(0.3)
    start = x[:1].expand(n, -1)
    with torch.no_grad():
        after_one = after(1, tangent_chain(layer.encode, lambda h: h, start, step, 0, make_rng(0)))
        move = after_one - layer.encode(x[:1])
    j = written_down(layer.encode, x[:1])[0].detach()
    covariance = step**2 * torch.linalg.matrix_power(j @ j.T, 2)
    products = move[:, :, None] * move[:, None]
    assert (move.mean(0).abs() < 5 * move.std(0) / n**0.5).all()
    assert ((products.mean(0) - covariance).abs() < 5 * products.std(0) / n**0.5).all()
    assert covariance.abs().max() > 0.1


def test_contraction_contracts(digits):
    """A smaller Jacobian of the code, for about the same reconstruction."""
    norms, errors = [], []
    for contraction in (0.0, 0.03):
        options = {"hidden": (), "n_latent": 100, "epochs": 20, "batch_size": 50, "n_codes": 100, "random_state": 0}
        model = ContractiveAutoencoder(contraction=contraction, **options).fit(digits)
        norms.append(squared_jacobian_norm(partial(climb, model.nets_.layers), torch.from_numpy(digits[:200])).mean())
        errors.append(np.square(model.inverse_transform(model.transform(digits)) - digits).sum(1).mean())
    assert norms[1] < 0.8 * norms[0]
    assert errors[1] < 1.15 * errors[0]


def test_a_walk_from_a_digit_goes_on_from_where_it_is(digits):
    """`chain` from given images: a step leads away from their reconstructions, but not to those of others."""
    model = ContractiveAutoencoder.from_preset("tiny", epochs=20, step_size=0.5, random_state=0).fit(digits)
    x = digits[:50]
    first = next(model.chain(50, x, random_state=0))
    still = model.inverse_transform(model.transform(x))
    near, far = (np.square(first - other).mean() for other in (still, still[::-1]))
    assert 0 < near < 0.5 * far
    assert first.min() >= 0 and first.max() <= 1
