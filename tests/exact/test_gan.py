"""The GAN's losses against the theory of the 2014 paper."""

from __future__ import annotations

import math

import pytest
import torch

from genlearn._types import Batch
from genlearn.losses.adversarial import LOSSES, discriminator_loss, generator_loss
from genlearn.maths.penalties import squared_gradient_norm
from genlearn.maths.rng import make_rng
from genlearn.models.gan import GAN


@pytest.mark.parametrize(("mu", "jsd"), [(0.5, 0.030311), (1.0, 0.111421), (2.0, 0.336831), (4.0, 0.632720)])
def test_value_at_the_optimal_discriminator(mu, jsd):
    """V(D*, G) = -log 4 + 2 JSD for N(0, 1) against N(mu, 1), where the logit of D* is mu^2 / 2 - mu x."""
    n = 400_000
    rng = make_rng(0)
    x = torch.randn(n, generator=rng, dtype=torch.float64)
    fake = torch.randn(n, generator=rng, dtype=torch.float64) + mu
    loss = discriminator_loss(mu**2 / 2 - mu * x, mu**2 / 2 - mu * fake)
    assert -2 * loss.item() == pytest.approx(-math.log(4) + 2 * jsd, abs=0.01)


@pytest.mark.parametrize("a", [-10.0, 0.0, 3.0])
def test_gradients_on_the_logit(a):
    """Saturating -sigma(a), non-saturating -(1 - sigma(a)): at a = -10, 4.54e-5 against .99995."""
    sigma = 1 / (1 + math.exp(-a))
    for form, expected in (("minimax", -sigma), ("non-saturating", -(1 - sigma))):
        logit = torch.tensor([a], dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(generator_loss(logit, form), logit)
        assert gradient.item() == pytest.approx(expected, rel=1e-9)


def test_the_penalty_of_a_linear_critic():
    w = torch.tensor([3.0, -4.0], dtype=torch.float64, requires_grad=True)
    penalty = squared_gradient_norm(lambda x: x @ w, torch.rand(6, 2, dtype=torch.float64))
    assert torch.allclose(penalty, torch.full((6,), 25.0, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(penalty.mean(), w)
    assert torch.allclose(gradient, 2 * w)


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("changes", [{}, {"penalty": "r1(2)+r2(1)"}, {"instance_noise": 0.3}], ids=str)
def test_joint_play_is_simultaneous_play(loss, changes, digits):
    """One forward pass for both players gives the gradients of their separate losses on the same noise."""
    model = GAN.from_preset(
        "goodfellow-2014", precision="float64", input_dropout_d=0.0, dropout_d=0.0, loss=loss, **changes
    )
    nets = model._fresh_nets((64,), 0).double()
    batch = Batch(torch.from_numpy(digits[:20]).double())
    losses, _ = model._joint(nets, batch, make_rng(1))
    for name, loss in (("D", model._loss_d), ("G", model._loss_g)):
        owned = list(nets[name].parameters())
        expected = torch.autograd.grad(loss(nets, batch, make_rng(1))[0], owned)
        got = torch.autograd.grad(losses[name], owned, retain_graph=True)
        for g, e in zip(got, expected, strict=True):
            assert torch.allclose(g, e, atol=1e-14)


def test_the_2014_recipe():
    """Sizes, ranges and schedules of the authors' mnist.yaml."""
    model = GAN.from_preset("goodfellow-2014")
    nets = model._fresh_nets((784,), 0)
    assert sum(p.numel() for p in nets["G"].parameters()) == 2_503_984
    assert sum(p.numel() for p in nets["D"].parameters()) == 1_231_441
    assert nets["D"].hidden[0].linear.weight.abs().max() <= 0.005
    assert 0.0499 < nets["G"].net.hidden[0][0].weight.abs().max() <= 0.05
    z = nets["prior"].draw(10_000, make_rng(0))
    assert z.abs().max() <= 3**0.5
    assert z.std().item() == pytest.approx(1, abs=0.01)
    optimizer = model._optimizer()
    sgd = optimizer.build(nets.named_parameters())
    for updates, momentum in ((0, 0.5), (62_500, 0.6), (125_000, 0.7), (200_000, 0.7)):
        optimizer.schedule(sgd, 100 * updates)
        assert sgd.param_groups[0]["lr"] == pytest.approx(0.1 / 1.000004**updates, rel=1e-6)
        assert sgd.param_groups[0]["momentum"] == pytest.approx(momentum)
