"""Laws of codes against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from genlearn.maths.rng import make_rng
from genlearn.nets.priors import GaussianDensity, LabelledPrior, NormalPrior, UniformPrior


def codes(n: int = 50) -> torch.Tensor:
    """Correlated codes [n, 3] off the origin."""
    z = torch.randn(n, 3, generator=make_rng(0), dtype=torch.float64)
    return z @ torch.tensor([[2.0, 0.5, 0.0], [0.0, 1.0, -0.7], [0.0, 0.0, 0.3]]).double() + torch.tensor([3, -1, 5])


def test_log_densities():
    z = codes().div(6)
    torch.testing.assert_close(NormalPrior(3).log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(1))
    edge = math.sqrt(3) * torch.tensor([[0.999, 0.0], [0.0, -0.999], [1.001, 0.0], [0.0, -1.001]], dtype=torch.float64)
    inside = -2 * math.log(2 * math.sqrt(3))
    assert UniformPrior(2).log_prob(edge).tolist() == pytest.approx([inside, inside, -math.inf, -math.inf])


def test_a_gaussian_fitted_to_codes():
    """The mean and the covariance (over n) of the codes, a thousandth more on its diagonal."""
    z, law = codes(), GaussianDensity(3).double()
    law.fit(z)
    covariance = torch.cov(z.T, correction=0)
    covariance.diagonal().mul_(1.001)
    torch.testing.assert_close(law.mean, z.mean(0))
    torch.testing.assert_close(law.scale @ law.scale.T, covariance)
    torch.testing.assert_close(law.log_prob(z), MultivariateNormal(z.mean(0), covariance).log_prob(z))


def test_draws_of_a_gaussian_are_its_noise_coloured():
    law = GaussianDensity(3).double()
    law.fit(codes())
    noise = NormalPrior(3).double().draw(20, make_rng(4))
    torch.testing.assert_close(law.draw(20, make_rng(4)), law.mean + noise @ law.scale.T)


def test_codes_that_do_not_vary_have_a_density():
    law = GaussianDensity(2).double()
    law.fit(torch.ones(10, 2, dtype=torch.float64))
    assert torch.isfinite(law.log_prob(torch.ones(1, 2, dtype=torch.float64))).all()


def test_uniform_codes_fill_their_interval():
    z = UniformPrior(2).draw(5000, make_rng(0))
    assert z.abs().max() <= math.sqrt(3)
    assert z.abs().max() > 1.7
    assert abs(z.square().mean().item() - 1) < 5 * math.sqrt(0.8 / 10_000)  # the variance of z^2 is 4/5


def test_codes_with_classes():
    """[z, one-hot y]: classes as often as among the known labels, or as asked for; one law of z for all of them."""
    law = LabelledPrior(UniformPrior(2), 3).double()
    law.count(torch.tensor([0, 2, 2, -1, 2, -1]))
    assert law.frequencies.tolist() == [0.25, 0.0, 0.75]
    n = 20_000
    z, label = law.draw(n, make_rng(0)).split((2, 3), 1)
    assert torch.equal(label.sum(1), torch.ones(n).double()) and set(label.unique().tolist()) == {0.0, 1.0}
    assert ((label.mean(0) - law.frequencies).abs() <= 5 * math.sqrt(0.25 * 0.75 / n)).all()
    for k in (0, 2):
        assert abs(z[label[:, k] == 1].square().mean().item() - 1) < 5 * math.sqrt(0.8 / (0.4 * n))
    y = torch.tensor([2, 0, 0])
    codes = law.draw_classes(y, make_rng(1))
    assert torch.equal(codes[:, 2:].argmax(1), y) and torch.equal(
        codes[:, :2], UniformPrior(2).double().draw(3, make_rng(1))
    )
    inside = -2 * math.log(2 * math.sqrt(3))
    assert law.log_prob(codes).tolist() == pytest.approx([inside + math.log(p) for p in (0.75, 0.25, 0.25)])


def test_a_truncated_normal_law():
    """As torch.distributions would have it: N(0, 1) given |z| <= 0.7; the law itself again afterwards."""
    law, t, n = NormalPrior(3), 0.7, 30_000
    with law.truncated(t):
        z = law.draw(n, make_rng(0))
        with LabelledPrior(law, 2).truncated(t):
            assert LabelledPrior(law, 2).draw(n, make_rng(0))[:, :3].abs().max() <= t
    law.threshold = None
    assert z.dtype == torch.float32 and z.abs().max() <= t and z.abs().max() > 0.69
    normal = Normal(0.0, 1.0)
    share = 2 * normal.cdf(torch.tensor(t)).item() - 1
    for edge in (-0.4, 0.0, 0.3):
        expected = (normal.cdf(torch.tensor(edge)) - normal.cdf(torch.tensor(-t))).item() / share
        assert abs((z < edge).float().mean().item() - expected) < 5 * 0.5 / (3 * n) ** 0.5
    with law.truncated(0.1):
        pass
    assert law.draw(1000, make_rng(0)).abs().max() > 2
    for broken in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="expected a number above 0"), law.truncated(broken):
            pass
    with pytest.raises(ValueError, match="z is not normal"), UniformPrior(2).truncated(1.0):
        pass
