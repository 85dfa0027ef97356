"""The mixture prior of the VAE: a density, that of its definition, and in every bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from genlearn._types import Batch
from genlearn.losses import importance_bound
from genlearn.maths.rng import make_rng, normal
from genlearn.models.conditional_vae import ConditionalVAE
from genlearn.models.vae import VAE
from genlearn.nets import MLP, VampPrior
from genlearn.train import Keeper, Stream
from stops import After

SMALL = {"prior": "vamp", "n_components": 5, "hidden": (7,), "n_latent": 3, "random_state": 0, "device": "cpu"}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=make_rng(seed), dtype=torch.float64)


def law(d: int, k: int = 4, pixels: bool = True) -> tuple[VampPrior, MLP]:
    """A prior of d dimensions with k pseudo-inputs, and its encoder, all with some weights."""
    encoder = MLP((6, 5, 2 * d), "tanh").double()
    prior = VampPrior(encoder, 6, d, k, pixels).double()
    rng = make_rng(3)
    with torch.no_grad():
        for p in (*encoder.parameters(), *prior.parameters()):
            p.normal_(generator=rng)
    return prior, encoder


def by_definition(prior: VampPrior, encoder: MLP) -> MixtureSameFamily:
    u = prior.inputs.sigmoid() if prior.pixels else prior.inputs
    mean, log_var = encoder(u).chunk(2, 1)
    return MixtureSameFamily(
        Categorical(torch.ones(len(u)).double()), Independent(Normal(mean, (0.5 * log_var).exp()), 1)
    )


@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize("d", [1, 3])
def test_it_is_the_mean_of_the_posteriors_at_the_pseudo_inputs(d, pixels):
    prior, encoder = law(d, pixels=pixels)
    z = random(40, d, seed=1)
    torch.testing.assert_close(prior.log_prob(z), by_definition(prior, encoder).log_prob(z))


def test_it_integrates_to_one():
    prior, _ = law(1)
    line = torch.linspace(-60, 60, 120_001, dtype=torch.float64)
    assert torch.trapezoid(prior.log_prob(line[:, None]).exp(), line).item() == pytest.approx(1, abs=1e-6)
    prior, _ = law(2)
    axis = torch.linspace(-30, 30, 1201, dtype=torch.float64)
    p = prior.log_prob(torch.cartesian_prod(axis, axis)).exp().view(1201, 1201)
    assert torch.trapezoid(torch.trapezoid(p, axis), axis).item() == pytest.approx(1, abs=1e-5)


def test_draws_have_the_moments_of_the_mixture():
    prior, encoder = law(2)
    n, expected = 20_000, by_definition(prior, encoder)
    z = prior.draw(n, make_rng(0))
    sd = expected.variance.sqrt()
    assert ((z.mean(0) - expected.mean).abs() < 5 * sd / n**0.5).all()
    assert ((z.std(0) / sd - 1).abs() < 0.05).all()
    assert torch.equal(z, prior.draw(n, make_rng(0)))


def test_one_pseudo_input_and_an_encoder_that_sees_nothing_give_a_single_normal():
    prior, encoder = law(2, k=1)
    with torch.no_grad():
        encoder.out.weight.zero_()
        encoder.out.bias.copy_(torch.tensor([0.5, -1.0, math.log(4), math.log(0.25)]))
    z = random(50, 2)
    single = Normal(torch.tensor([0.5, -1.0]).double(), torch.tensor([2.0, 0.5]).double())
    torch.testing.assert_close(prior.log_prob(z), single.log_prob(z).sum(1))
    drawn = prior.draw(100_000, make_rng(5))
    torch.testing.assert_close(drawn.mean(0), single.mean, rtol=0, atol=0.03)
    torch.testing.assert_close(drawn.std(0), single.stddev, rtol=0.02, atol=0)
    with pytest.raises(ValueError, match="z is not normal"), prior.truncated(0.7):
        pass


def test_it_begins_at_images_from_all_over_the_data():
    x = torch.rand(20, 16, generator=make_rng(0), dtype=torch.float64)
    for likelihood, image in (("bernoulli", x.clamp(0.01, 0.99)), ("gaussian", x)):
        model = VAE(likelihood=likelihood, **SMALL)
        nets = model._fresh_nets((16,), 0).double()
        model._start(nets, Stream(x, None, 10, 0, dtype=torch.float64), make_rng(0))
        torch.testing.assert_close(nets.prior.pseudo_inputs(), image[::4])
        model._start(nets, Stream(x[:3], None, 3, 0, dtype=torch.float64), make_rng(0))  # fewer images: some twice
        torch.testing.assert_close(nets.prior.pseudo_inputs(), image[[0, 1, 2, 0, 1]])


@pytest.fixture
def model() -> tuple[VAE, torch.Tensor]:
    made = VAE(binarize=False, precision="float64", **SMALL)
    nets = made._fresh_nets((16,), 0).double()
    with torch.no_grad():
        nets.prior.inputs.normal_(generator=make_rng(1))
    made.nets_ = nets
    return made, torch.rand(9, 16, generator=make_rng(5), dtype=torch.float64)


def terms(model: VAE, x: torch.Tensor, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(x | z) and log p(z) - log q(z | x) of one draw, by torch's own distributions: [B] each."""
    nets = model.nets_
    mean, log_var = nets.encoder(x).chunk(2, 1)
    q = Normal(mean, (0.5 * log_var).exp())
    z = mean + q.stddev * eps
    logits = nets.decoder(z) + nets.pixels.bias
    cost = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
    return -cost, by_definition(nets.prior, nets.encoder).log_prob(z) - q.log_prob(z).sum(1)


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_the_loss_takes_the_kl_at_the_draw(model, beta):
    made, x = model
    made.beta = beta
    log_p, minus_kl = terms(made, x, normal((9, 1, 3), make_rng(2), torch.float64)[:, 0])
    loss, logs = made._loss(made.nets_, Batch(x), make_rng(2))
    assert loss.item() == pytest.approx(-(log_p + beta * minus_kl).mean().item())
    assert logs["kl"].item() == pytest.approx(-minus_kl.mean().item())
    slope = torch.autograd.grad(loss, made.nets_.prior.inputs)[0]
    assert (slope.abs().sum(1) > 0).all()


def test_every_bound_is_of_this_prior(model):
    """The importance-weighted loss, the ELBO, IWAE: by the definition, from the same draws; they rise with K."""
    made, x = model
    noise = normal((50, 9, 3), make_rng(3), torch.float64)
    log_w = torch.stack([sum(terms(made, x, eps)) for eps in noise])
    torch.testing.assert_close(made._log_weights(made.nets_, x, noise), log_w)
    torch.testing.assert_close(made._elbo(made.nets_, x, noise), log_w.mean(0))
    torch.testing.assert_close(made._likelihoods(made.nets_, x, make_rng(3))["IWAE-50"].values, importance_bound(log_w))
    assert (importance_bound(log_w) > log_w.mean(0)).all()
    made.k = 4
    eps = normal((9, 4, 3), make_rng(7), torch.float64).transpose(0, 1)
    bound = importance_bound(torch.stack([sum(terms(made, x, one)) for one in eps])).mean()
    assert made._loss(made.nets_, Batch(x), make_rng(7))[0].item() == pytest.approx(-bound.item())


def test_pseudo_inputs_leave_batch_statistics_alone():
    """Of a convolutional encoder: they are those of images, while it learns too."""
    nets = VAE(network="conv", width=2, **SMALL)._fresh_nets((1, 16, 16), 0).train()
    before = {name: b.clone() for name, b in nets.named_buffers()}
    nets.prior.log_prob(torch.randn(4, 3))
    assert nets.encoder.training
    assert all(torch.equal(before[name], b) for name, b in nets.named_buffers())


def test_file_average_and_resume_keep_it(digits, tmp_path):
    """Every net has a prior of its own encoder; a stopped run resumes to the same bits."""

    def learn(folder: str, rounds: int | None, resume: bool) -> VAE:
        made = VAE(**SMALL, ema=700.0, epochs=3, batch_size=64)
        x, y = made._meet(digits, None)
        made._learn(
            x, y, resume, keeper=Keeper(tmp_path / folder), **({} if rounds is None else {"stop": After(rounds)})
        )
        return made

    whole = learn("whole", None, False)
    learn("cut", 34, False)
    torch.manual_seed(5)
    again = learn("cut", None, True)
    twin = VAE.load(whole.save(tmp_path / "model"))
    for other in (again, twin):
        for mine, theirs in ((whole.nets_, other.nets_), (whole.averaged_nets_, other.averaged_nets_)):
            assert all(
                torch.equal(a, b) for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True)
            )
        assert np.array_equal(whole.sample(5, random_state=1), other.sample(5, random_state=1))
        assert np.array_equal(whole.score_samples(digits[:5]), other.score_samples(digits[:5]))
    for nets in (whole.nets_, whole.averaged_nets_, twin.nets_, twin.averaged_nets_):
        assert nets.prior._encoder[0] is nets.encoder
    assert not torch.equal(whole.nets_.prior.inputs, whole.averaged_nets_.prior.inputs)
    start = whole._fresh_nets((64,), 0)
    assert not [name for name in start.prior.state_dict() if name.startswith("encoder")]


def test_it_learns(digits):
    """Of digits, better than what it begins with, its pseudo-inputs moved; likelihoods are finite."""
    common = {**SMALL, "n_latent": 5, "hidden": (30,), "n_components": 20, "learning_rate": 1e-2}
    first, later = (VAE(**common, epochs=n).fit(digits[:1200]) for n in (1, 20))
    assert later.score(digits[1200:]) > first.score(digits[1200:]) + 1.5
    moved = (later.nets_.prior.inputs - first.nets_.prior.inputs).abs().mean()
    assert moved > 0.05
    assert all(torch.isfinite(entry.values).all() for entry in later.log_likelihoods(digits[1200:1300]).values())


def test_what_does_not_go_together_is_refused(digits):
    with pytest.raises(ValueError, match=r"free_bits is 0\.5 with prior 'vamp', expected 0"):
        VAE(**SMALL, free_bits=0.5).fit(digits)
    with pytest.raises(ValueError, match="prior is 'vamp', expected 'normal' of a conditional VAE"):
        ConditionalVAE(**SMALL).fit(digits, np.zeros(len(digits), int))
