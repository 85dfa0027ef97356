"""Critics against the distances that they estimate, and games near their equilibrium against theory."""

from __future__ import annotations

import pytest
import torch

from genlearn._types import Batch
from genlearn.losses import LOSSES, Penalties
from genlearn.maths.rng import make_rng, normal
from genlearn.models.adversarial import AdversarialNets
from genlearn.models.gan import GAN
from genlearn.models.wgan import WGAN
from genlearn.models.wgan_gp import WGANGP
from genlearn.nets import NormalPrior
from genlearn.train import Budget, Optimizer, Player, Stage, Stream, Training

COMMON = {"output": "linear", "precision": "float64", "random_state": 0}


def trained_critic(model, x, shift: float, rounds: int, lr: float | str, batch_size: int = 200):
    """D of a model after so many rounds against samples of N(shift, 1), G being left out."""
    model._fake = lambda nets, batch, rng: shift + normal(batch.x.shape, rng, batch.x.dtype)
    nets = model._fresh_nets((1,), 0).double()
    # Flat at first: on a line the penalty keeps a slope of the wrong sign, since the way to the other leads over 0.
    torch.nn.init.zeros_(nets.D.out.weight)
    player = Player("D", ("D",), model._loss_d, Optimizer("adam", lr=lr, betas=(0.5, 0.9)), after=model._after())
    stream = Stream(x, None, batch_size, 0, dtype=torch.float64)
    Training(nets, [Stage("critic", [player], Budget(rounds * batch_size))], stream, make_rng(1)).run()
    return nets.D


def difference(D, mu: float) -> float:
    """E[D(x)] - E[D(x + mu)], x ~ N(0, 1), on a fine grid of quantiles."""
    x = torch.special.ndtri((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000)[:, None]
    with torch.no_grad():
        return float((D(x) - D(x + mu)).mean())


@pytest.fixture(scope="module")
def x():
    return torch.randn(50_000, 1, generator=make_rng(0), dtype=torch.float64)


@pytest.mark.parametrize("mu", [-2.0, -1.0, -0.5, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0])
def test_a_penalised_critic_finds_the_earth_movers_distance(mu, x):
    """W1(N(0, 1), N(mu, 1)) = |mu|, within 5 %, after the share |mu| / (2 lambda) by which the slope exceeds 1."""
    model = WGANGP(hidden_d=(32, 32), penalty="gp(10)", **COMMON)
    D = trained_critic(model, x, mu, 300, "linear(0.01, 0, over=60000)")
    assert difference(D, mu) == pytest.approx(abs(mu) * (1 + abs(mu) / 20), rel=0.05)


@pytest.mark.parametrize("mu", [-1.5, 0.4, 2.0])
@pytest.mark.parametrize("c", [0.01, 0.3])
def test_a_clipped_linear_critic_finds_c_times_it(mu, c, x):
    """Of w x + b with |w| <= c, the best has w = -c sign(mu)."""
    D = trained_critic(WGAN(hidden_d=(), c=c, **COMMON), x, mu, 150, 0.01)
    assert difference(D, mu) == pytest.approx(c * abs(mu), rel=1e-9)


def test_every_weight_of_a_clipped_critic_is_within_c():
    model = WGAN.from_preset("tiny", c=0.02, random_state=0)
    model.fit(torch.rand(200, 6, generator=make_rng(0)))
    largest = {name: max(float(p.abs().max()) for p in model.nets_[name].parameters()) for name in ("D", "G")}
    assert largest["D"] <= 0.02 < largest["G"]


def test_d_trained_to_the_end_is_the_best_d_and_gives_the_divergence(x):
    """D* = p / (p + q), of logit mu^2 / 2 - mu x for N(0, 1) against N(mu, 1); V = -log 4 + 2 JSD (.111421 at mu 1)."""
    model = GAN(hidden_d=(), penalty=None, **COMMON)  # the logit is linear
    D = trained_critic(model, x, 1.0, 1000, "linear(0.05, 0, over=200000)")
    assert D.out.weight.item() == pytest.approx(-1, abs=0.05)
    assert D.out.bias.item() == pytest.approx(0.5, abs=0.05)
    v = torch.special.ndtri((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000)[:, None]
    with torch.no_grad():
        loss = LOSSES["non-saturating"].d(D(v), D(v + 1), 1.0)
    assert -2 * loss.item() == pytest.approx(-1.163451, abs=2e-3)


def dirac_eigenvalues(loss: str, penalty: str | None, scale: float) -> torch.Tensor:
    """Of the Jacobian of (-d L_G / d theta, -d L_D / d psi) at theta = psi = 0, L_D scaled to f(psi theta)."""
    model = GAN(loss=loss, penalty=None, precision="float64")
    batch = Batch(torch.zeros(1, 1, dtype=torch.float64))

    def field(point):
        theta, psi = point
        nets = AdversarialNets(prior=NormalPrior(1))
        model._fake = lambda nets, batch, rng: theta.view(1, 1)
        object.__setattr__(nets, "D", lambda x, rng=None: x * psi)
        loss_d = scale * model._loss_d(nets, batch, make_rng(0))[0]
        if penalty is not None:
            terms = Penalties.parse(penalty)(lambda x: x * psi, batch.x, theta.view(1, 1), make_rng(0))
            loss_d = loss_d + sum(terms.values())
        loss_g = model._loss_g(nets, batch, make_rng(0))[0]
        (d_theta,) = torch.autograd.grad(loss_g, theta, create_graph=True)
        (d_psi,) = torch.autograd.grad(loss_d, psi, create_graph=True)
        return torch.stack([-d_theta, -d_psi])

    def at(point):
        return field(point.unbind())

    jacobian = torch.autograd.functional.jacobian(at, torch.zeros(2, dtype=torch.float64), create_graph=False)
    return torch.linalg.eigvals(jacobian)


@pytest.mark.parametrize(
    ("loss", "scale", "slope"),
    [("minimax", 2.0, 0.5), ("non-saturating", 2.0, 0.5), ("wasserstein", 1.0, 1.0), ("relativistic", 1.0, 0.5)],
)
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 4.0])
def test_the_dirac_gan_cycles_and_r1_damps_it(loss, scale, slope, gamma):
    """+- i f'(0) without a penalty; with R1 -gamma / 2 +- sqrt(gamma^2 / 4 - f'(0)^2) (theorems 3.2 and 4.1)."""
    got = dirac_eigenvalues(loss, f"r1({gamma})" if gamma else None, scale)
    root = torch.tensor(gamma**2 / 4 - slope**2, dtype=torch.complex128).sqrt()
    expected = torch.stack([-gamma / 2 + root, -gamma / 2 - root])
    for values in (got, expected):
        assert len(values) == 2
    assert min((got - expected).abs().max(), (got.flip(0) - expected).abs().max()) < 1e-9
