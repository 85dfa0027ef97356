"""Laws of codes against torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from genlearn.maths.rng import make_rng
from genlearn.nets import priors
from genlearn.nets.priors import (
    CodeJitter,
    GaussianDensity,
    GaussianMixture,
    LabelledPrior,
    NormalPrior,
    UniformPrior,
)


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
    labelled = LabelledPrior(NormalPrior(3), 2)
    with labelled.truncated(t):
        assert labelled.draw(n, make_rng(0))[:, :3].abs().max() <= t
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


def clusters(n: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes [n, 2] of two well separated Gaussians, a quarter of them of the first, and where they come from [n]."""
    rng = make_rng(0)
    k = (torch.rand(n, generator=rng) > 0.25).long()
    scales = torch.tensor([[[0.3, 0.0], [0.0, 0.3]], [[1.0, 0.0], [0.8, 0.4]]]).double()
    eps = torch.randn(n, 2, generator=rng, dtype=torch.float64)
    return torch.tensor([[-5.0, 0.0], [4.0, 2.0]]).double()[k] + (scales[k] @ eps[..., None])[..., 0], k


def test_a_mixture_begins_in_every_cluster():
    """k-means++: codes near a mean that is drawn are not drawn again."""
    centres = 100 * torch.eye(8).double()
    z = centres.repeat_interleave(50, 0) + 0.01 * torch.randn(400, 8, generator=make_rng(0), dtype=torch.float64)
    means = GaussianMixture(8, 8).double()._begin(z)
    assert torch.equal(torch.cdist(means, centres).argmin(1).sort().values, torch.arange(8))


def test_a_mixture_of_one_is_the_gaussian():
    z, one, gaussian = codes(), GaussianMixture(3, 1).double(), GaussianDensity(3).double()
    one.fit(z)
    gaussian.fit(z)
    torch.testing.assert_close(one.means[0], z.mean(0))
    covariance = torch.cov(z.T, correction=0)
    least = 1e-3 * covariance.diagonal().mean()
    torch.testing.assert_close(one.scales[0] @ one.scales[0].T, covariance + least * torch.eye(3).double())
    assert (one.log_prob(z) - gaussian.log_prob(z)).abs().max() < 0.1


def test_a_mixture_finds_its_parts():
    """Weights, means and covariances of the parts, by the labels that it was not told; log p of torch's own mixture."""
    z, k = clusters()
    law = GaussianMixture(2, 2).double()
    law.fit(z)
    order = law.means[:, 0].argsort()
    least = 1e-3 * (z - z.mean(0)).square().mean() * torch.eye(2).double()
    for i, part in enumerate(order):
        mine = z[k == i]
        torch.testing.assert_close(law.weights[part], (k == i).double().mean(), atol=1e-3, rtol=0)
        torch.testing.assert_close(law.means[part], mine.mean(0), atol=1e-3, rtol=0)
        covariance = law.scales[part] @ law.scales[part].T - least
        torch.testing.assert_close(covariance, torch.cov(mine.T, correction=0), atol=5e-3, rtol=0)
    torchs = MixtureSameFamily(Categorical(law.weights), MultivariateNormal(law.means, scale_tril=law.scales))
    torch.testing.assert_close(law.log_prob(z), torchs.log_prob(z))


def test_no_step_lowers_the_likelihood(monkeypatch):
    """Up to the thousandth that is added to the covariances."""
    z, values = clusters(500)[0], []
    for n in range(12):
        monkeypatch.setattr(priors, "STEPS", n)
        law = GaussianMixture(2, 5).double()
        law.fit(z)
        values.append(law.log_prob(z).mean().item())
    assert all(b > a - 1e-6 for a, b in zip(values, values[1:], strict=False))
    assert values[-1] > values[0] + 1


def test_jitter_is_a_kernel_estimate_whose_width_is_the_distance_of_a_neighbour():
    z = codes(30)
    law = CodeJitter(3, 40, k=4).double()
    law.fit(z)
    widths = (z[:, None] - z).norm(dim=2).sort(1).values[:, 4] / math.sqrt(3)
    kernels = Independent(Normal(z, widths[:, None].expand(-1, 3)), 1)
    torchs = MixtureSameFamily(Categorical(torch.full((30,), 1 / 30).double()), kernels)
    x = codes(60)[30:]
    torch.testing.assert_close(law.log_prob(x), torchs.log_prob(x))
    assert law.weights[30:].sum() == 0
    few = CodeJitter(3, 10).double()
    few.fit(z)
    assert torch.equal(few.codes, z[::3])


def test_draws_of_densities_have_their_moments():
    """E z and E z z', which follow from the parts; n = 40,000 draws, five standard errors."""
    z, n = clusters()[0], 40_000
    mixture, jitter = GaussianMixture(2, 3).double(), CodeJitter(2, 200).double()
    for law in (mixture, jitter):
        law.fit(z)
    parts = {
        mixture: (mixture.weights, mixture.means, mixture.scales @ mixture.scales.mT),
        jitter: (jitter.weights, jitter.codes, jitter.widths[:, None, None].square() * torch.eye(2)),
    }
    for law, (w, means, covariances) in parts.items():
        x = law.draw(n, make_rng(1))
        square = x[:, :, None] * x[:, None]
        assert ((x.mean(0) - w @ means).abs() < 5 * x.std(0) / n**0.5).all()
        expected = torch.einsum("k,kij->ij", w, covariances + means[:, :, None] * means[:, None])
        assert ((square.mean(0) - expected).abs() < 5 * square.std(0) / n**0.5).all()


@pytest.mark.parametrize("law", [GaussianDensity(2), GaussianMixture(2, 3), CodeJitter(2, 5)])
@pytest.mark.parametrize("n", [1, 2, 50])
def test_densities_of_few_or_equal_codes(law, n):
    """Every number finite, the shapes as before, and `fitted` tells."""
    law = type(law)(*{GaussianDensity: (2,), GaussianMixture: (2, 3), CodeJitter: (2, 5)}[type(law)]).double()
    shapes = {name: t.shape for name, t in law.state_dict().items()}
    assert not law.fitted
    law.fit(torch.ones(n, 2, dtype=torch.float64))
    assert law.fitted
    assert {name: t.shape for name, t in law.state_dict().items()} == shapes
    assert torch.isfinite(law.log_prob(torch.ones(1, 2, dtype=torch.float64))).all()
    assert (law.draw(20, make_rng(0)) - 1).abs().max() < 1e-2


def test_a_mixture_too_large_is_refused_before_memory_is_asked_for():
    with pytest.raises(ValueError, match=r"of 10 densities of 5000 numbers .* the usual fix is density='jitter'"):
        GaussianMixture(5000, 10)
