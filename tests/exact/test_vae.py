"""The bounds of the VAE against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from genlearn.losses.elbo import importance_bound, kl_standard_normal, log_bernoulli, log_normal
from genlearn.maths.rng import make_rng, normal
from genlearn.models.vae import VAE


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=make_rng(seed), dtype=torch.float64)


def test_kl_and_log_densities():
    mean, log_var, x = random(6, 4), random(6, 4, seed=1), random(6, 4, seed=2)
    q = Normal(mean, (0.5 * log_var).exp())
    assert torch.allclose(kl_standard_normal(mean, log_var), kl_divergence(q, Normal(0.0, 1.0)).sum(1))
    assert torch.allclose(log_normal(x, mean, 0.5 * log_var), q.log_prob(x).sum(1))
    bits = (x > 0).double()
    assert torch.allclose(log_bernoulli(bits, mean), Bernoulli(logits=mean).log_prob(bits).sum(1))


@pytest.fixture(scope="module")
def linear() -> tuple[VAE, torch.Tensor, torch.Tensor]:
    """A linear Gaussian VAE (no hidden layers), x = W z + c + s eps, with some weights; log p(x) is in closed form."""
    x = np.random.default_rng(0).normal(size=(50, 5)) @ np.diag([2, 1, 1, 0.5, 0.5])
    model = VAE(
        n_latent=2,
        hidden=(),
        likelihood="gaussian",
        epochs=300,
        learning_rate=0.01,
        precision="float64",
        random_state=0,
    ).fit(x)
    nets, x = model.nets_, torch.tensor(x)
    W, c = nets["decoder"].out.weight, nets["decoder"].out.bias + nets["pixels"].bias
    covariance = W @ W.T + (2 * nets["pixels"].log_sigma).exp() * torch.eye(5)
    log_p = torch.distributions.MultivariateNormal(c, covariance).log_prob(x)
    return model, x, log_p


def test_elbo_is_below_the_likelihood_and_iwae_rises_to_it(linear):
    model, x, log_p = linear
    noise = normal((512, len(x), 2), make_rng(1), torch.float64)
    log_w = model._log_weights(model.nets_, x, noise)
    corners = 2**0.5 * torch.eye(2, dtype=torch.float64)[:, None]  # their first three moments are those of N(0, I):
    elbo = model._elbo(model.nets_, x, torch.cat([corners, -corners]))  # exact, as log p(x | z) is quadratic in z
    bounds = [log_w[:64].mean()] + [
        torch.stack([importance_bound(w) for w in log_w.split(k)]).mean() for k in (2, 8, 64, 512)
    ]
    assert (elbo < log_p).all()
    assert elbo.mean().item() == pytest.approx(bounds[0].item(), abs=0.05)
    assert all(a < b + 1e-3 for a, b in zip(bounds, bounds[1:], strict=False))
    assert bounds[-1].item() == pytest.approx(log_p.mean().item(), abs=0.02)
    assert bounds[0] < bounds[-1] - 0.003


def test_elbo_equals_the_likelihood_at_the_true_posterior(linear):
    model, x, log_p = linear
    nets = model.nets_
    W, c = nets["decoder"].out.weight, nets["decoder"].out.bias + nets["pixels"].bias
    s2 = (2 * nets["pixels"].log_sigma).exp()
    precision = torch.eye(2) + W.T @ W / s2
    # The posterior of a linear Gaussian model is Gaussian; rotate z so that its covariance is diagonal.
    values, R = torch.linalg.eigh(precision)
    W = W @ R
    mean = (x - c) @ W / s2 / values
    log_var = -values.log().expand_as(mean)
    eps = random(4000, 2, seed=4)
    z = mean[:, None] + (0.5 * log_var)[:, None].exp() * torch.cat([eps, -eps])
    fit = log_normal(
        x[:, None].expand(-1, 8000, -1).flatten(0, 1), (z @ W.T + c).flatten(0, 1), nets["pixels"].log_sigma
    ).view(len(x), -1)
    elbo = fit.mean(1) - kl_standard_normal(mean, log_var)
    assert torch.allclose(elbo, log_p, atol=0.1)


def test_beta_weighs_the_kl(digits):
    small, large = (VAE(beta=b, epochs=15, random_state=0).fit(digits).journal_.rows[-1]["vae/kl"] for b in (0.1, 10))
    assert small > 4 * large
