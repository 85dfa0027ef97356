"""The RBM with label units against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn

from genlearn._types import Batch
from genlearn.maths.ais import schedule
from genlearn.maths.rng import make_rng
from genlearn.models.conditional_rbm import ConditionalRBM
from genlearn.models.rbm import RBMNets
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.constant import Constant

D, K, H = 4, 3, 3


def states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


@pytest.fixture
def net() -> RestrictedBoltzmann:
    rng = make_rng(9)
    net = RestrictedBoltzmann(D, H, rng, n_classes=K).double()
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(generator=rng)
        net.a.mul_(0.5)
        net.a_base.normal_(generator=rng)
    return net


def log_joint(net: RestrictedBoltzmann) -> Tensor:
    """log p(v, y, h) [2^D, K, 2^H] from E = -a.v - c.y - b.h - v W h - y U h, written out."""
    v, h = states(D), states(H)
    (W, U), (a, c) = net.W.split((D, K)), net.a.split((D, K))
    minus_energy = (v @ a)[:, None, None] + c[:, None] + h @ net.b + (v @ W @ h.T)[:, None] + U @ h.T
    return minus_energy - minus_energy.logsumexp((0, 1, 2))


def model(**settings) -> ConditionalRBM:
    return ConditionalRBM(n_hidden=H, **{"algorithm": "cd", **settings})


def gradients(loss: Tensor, net: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [net.W, net.a, net.b]))


def loss(model: ConditionalRBM, net: nn.Module, v: Tensor, y: Tensor, seed: int = 0) -> Tensor:
    return model._loss(RBMNets(rbm=net), Batch(v, y), make_rng(seed))[0]


DATA = torch.tensor([3, 3, 5, 9, 14, 15, 0, 6]), torch.tensor([0, 1, 2, 2, 0, 1, 1, 0])


# --- the machine


def test_marginals_and_conditionals(net):
    p, v, h = log_joint(net).detach().exp(), states(D), states(H)
    rows, y = v.repeat_interleave(K, 0), torch.arange(K).repeat(len(v))
    x = net.with_label(rows, y)
    assert torch.allclose(torch.softmax(-net.free_energy(x), 0).view(-1, K), p.sum(2))
    assert torch.allclose(net.p_hidden(x).view(-1, K, H), p @ h / p.sum(2, keepdim=True))
    assert torch.allclose(net.label_logits(v).softmax(1), p.sum(2) / p.sum((1, 2))[:, None])
    log_z = net.log_partition(schedule(2)).value
    assert torch.allclose(net.log_unnormalised(v) - log_z, p.sum((1, 2)).log())
    assert torch.allclose(net.p_hidden_pixels(v), p.sum(1) @ h / p.sum((1, 2))[:, None])
    mean = net.mean_visible(h)
    assert torch.allclose(mean[:, :D], torch.einsum("vyh,vd->hd", p, v) / p.sum((0, 1))[:, None])
    assert torch.allclose(mean[:, D:], p.sum(0).T / p.sum((0, 1))[:, None])


def test_the_base_is_the_machine_without_hidden_units(net):
    with torch.no_grad():
        net.W.zero_()
        net.a.copy_(net.a_base)
    p = log_joint(net).detach().exp()
    assert torch.allclose(net.base_mean(), torch.cat([p.sum((1, 2)) @ states(D), p.sum((0, 2))]))
    # exp(a_base.v) adds up to Z_base; the hidden units double it each, where b = 0.
    log_z = (states(D) @ net.a[:D]).logsumexp(0) + net.a[D:].logsumexp(0)
    assert net.log_z_base().item() == pytest.approx(log_z.item(), abs=1e-12)


def test_visible_units_are_drawn_with_one_label(net):
    n = 40_000
    mean = net.mean_visible(states(H)[[5]]).detach()
    x = net.sample_visible(mean.expand(n, -1), make_rng(0))
    assert (x[:, D:].sum(1) == 1).all()
    assert ((x.mean(0) - mean[0]).abs() < 5 * (mean[0] * (1 - mean[0]) / n).sqrt()).all()


# --- objectives


def test_the_joint_objective_tends_to_the_likelihood_of_images_and_labels(net):
    """CD after many steps: each entry is a mean of 80,000 pairs of numbers in [0, 1]."""
    i, y = DATA
    exact = gradients(-log_joint(net).logsumexp(2)[i, y].mean(), net)
    copies = 10_000
    got = gradients(loss(model(k=25, centred=False), net, states(D)[i].repeat(copies, 1), y.repeat(copies)), net)
    for g, e in zip(got, exact, strict=True):
        assert (g - e).abs().max() < 5 * (0.5 / (copies * len(i))) ** 0.5
    assert max(float(e.abs().max()) for e in exact) > 0.1


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_unknown_labels_give_the_likelihood_of_images(net, share):
    """-1 for all rows, or for half of them."""
    i, y = DATA
    log_p = log_joint(net)
    known = torch.arange(len(i)) >= share * len(i)
    value = torch.where(known, log_p.logsumexp(2)[i, y], log_p.logsumexp((1, 2))[i])
    exact, copies = gradients(-value.mean(), net), 10_000
    labels = torch.where(known, y, -1).repeat(copies)
    got = gradients(loss(model(k=25, centred=False), net, states(D)[i].repeat(copies, 1), labels), net)
    for g, e in zip(got, exact, strict=True):
        assert (g - e).abs().max() < 5 * (0.5 / (copies * len(i))) ** 0.5


def log_posterior(net: RestrictedBoltzmann) -> Tensor:
    return log_joint(net).logsumexp(2).log_softmax(1)


def test_the_discriminative_objective_is_the_likelihood_of_labels(net):
    """And no more: rows without a label do not count, and the biases of the pixels rest."""
    i, y = DATA
    exact = gradients(-log_posterior(net)[i, y].mean(), net)
    got = gradients(loss(model(objective="discriminative"), net, states(D)[i], y), net)
    assert all(torch.allclose(g, e, atol=1e-12) for g, e in zip(got, exact, strict=True))
    assert (got[1][:D] == 0).all()
    y = y.clone()
    y[[1, 4, 5]] = -1
    exact = gradients(-log_posterior(net)[i, y][y >= 0].mean(), net)
    got = gradients(loss(model(objective="discriminative"), net, states(D)[i], y), net)
    assert all(torch.allclose(g, e, atol=1e-12) for g, e in zip(got, exact, strict=True))


def test_the_hybrid_objective_is_the_sum(net):
    """In expectation over the chains of the joint part."""
    i, y = DATA
    log_p, copies = log_joint(net), 10_000
    exact = gradients(-log_posterior(net)[i, y].mean() - 0.3 * log_p.logsumexp(2)[i, y].mean(), net)
    hybrid = model(objective="hybrid", alpha=0.3, k=25, centred=False)
    got = gradients(loss(hybrid, net, states(D)[i].repeat(copies, 1), y.repeat(copies)), net)
    for g, e in zip(got, exact, strict=True):
        assert (g - e).abs().max() < 0.3 * 5 * (0.5 / (copies * len(i))) ** 0.5


def test_nce_of_images_and_labels_is_stationary_at_the_truth(net):
    p, v = log_joint(net).detach().logsumexp(2).exp(), states(D)
    log_z = torch.logsumexp(torch.cat([net.log_unnormalised(v)]), 0).item()
    nets = RBMNets(rbm=net, log_z=Constant(log_z).double())
    rows = torch.multinomial(p.flatten(), 100 * 500, replacement=True, generator=make_rng(0))
    parameters, rng, estimator = list(nets.parameters()), make_rng(1), model(algorithm="nce", n_noise=3)

    def z_scores() -> Tensor:
        batches = (Batch(v[part // K], part % K) for part in rows.chunk(100))
        flat = [torch.autograd.grad(estimator._loss(nets, batch, rng)[0], parameters) for batch in batches]
        g = torch.stack([torch.cat([x.flatten() for x in grads]) for grads in flat])
        return g.mean(0).abs() / (g.std(0) / 100**0.5)

    assert z_scores().max() < 5
    with torch.no_grad():
        nets.log_z.value += 0.2
    assert z_scores().max() > 10


@pytest.mark.parametrize("algorithm", ["cd", "pcd", "nce"])
@pytest.mark.parametrize("objective", ["joint", "discriminative", "hybrid"])
def test_every_objective_plays_with_every_algorithm(objective, algorithm):
    X = states(D).numpy()
    y = (X.sum(1) > 2) * 1
    y[:3] = -1
    unfitted = model(objective=objective, algorithm=algorithm, n_chains=4, centred=algorithm == "pcd",
                     sparsity=0.0 if algorithm == "nce" else 0.1, epochs=2, batch_size=8, random_state=0)  # fmt: skip
    if (objective, algorithm) == ("discriminative", "nce"):
        with pytest.raises(ValueError, match="no log Z to learn; the usual fix is objective='hybrid'"):
            unfitted.fit(X, y)
        return
    fitted = unfitted.fit(X, y)
    assert fitted.classes_.tolist() == [0, 1]
    assert np.isfinite(fitted.predict_log_proba(X)).all()


def test_centring_is_at_the_means_of_pixels_and_labels(net):
    """Of the labels as well: the softmax of their biases."""
    i, y = DATA
    got = []
    for centred in (False, True):
        net.active.fill_(0.5)
        got.append(gradients(loss(model(centred=centred), net, states(D)[i], y), net))
    (dW, da, db), mu, lam = got[0], net.base_mean(), net.active
    dW = dW - torch.outer(mu, db) - torch.outer(da, lam)
    for g, e in zip(got[1], [dW, da - dW @ lam, db - mu @ dW], strict=True):
        assert torch.allclose(g, e, atol=1e-12)


def test_nce_begins_at_its_log_z():
    """Of the machine without weights, labels among its units."""
    X = states(D).numpy()
    estimator = model(algorithm="nce", learning_rate=1e-12, epochs=1, precision="float64", random_state=0)
    nets = estimator.fit(X, np.arange(16) % K).nets_
    with torch.no_grad():
        nets.rbm.W.zero_()
    assert nets.log_z.value.item() == pytest.approx(nets.rbm.log_partition(schedule(2)).value, abs=1e-6)


# --- the public face


def fitted(net: RestrictedBoltzmann, **settings) -> ConditionalRBM:
    """A model that has learned, as it were, the machine."""
    X = states(D).numpy()
    estimator = model(precision="float64", epochs=1, random_state=0, **settings).fit(X, np.array(list("abc" * 6))[:16])
    with torch.no_grad():
        for name in ("W", "a", "b", "a_base"):
            getattr(estimator.nets_.rbm, name).copy_(getattr(net, name))
    return estimator


def fits(v: Tensor, p: Tensor) -> None:
    """Chi-square of the rows of v over all states."""
    counts = torch.bincount((v @ 2.0 ** torch.arange(D - 1, -1, -1).double()).long(), minlength=len(p))
    expected = len(v) * p
    assert expected.min() > 5
    assert float(((counts - expected).square() / expected).sum()) < chi2.ppf(0.999, len(p) - 1)


def test_images_of_a_class_have_its_law(net):
    """Bits drawn from the means of `sample` are exact draws of p(v | y): chi-square over all states."""
    estimator, n, p = fitted(net, n_gibbs=30), 6000, log_joint(net).detach().exp().sum(2)
    y = np.array(list("abc"))[np.arange(n) % K]
    mean = torch.from_numpy(estimator.sample(n, y=y, random_state=1))
    v = (torch.rand(n, D, generator=make_rng(2), dtype=torch.float64) < mean).double()
    for k in range(K):
        fits(v[k::K], p[:, k] / p[:, k].sum())
    mean = torch.from_numpy(estimator.sample(n, random_state=1))
    fits((torch.rand(n, D, generator=make_rng(3), dtype=torch.float64) < mean).double(), p.sum(1))
    assert all((p[:, k] / p[:, k].sum() - p.sum(1)).abs().sum() > 0.19 for k in range(K))  # which differ


def test_scores_and_codes_and_predictions_are_exact(net):
    estimator, p, v = fitted(net), log_joint(net).detach().exp(), states(D)
    assert estimator.score_kind() == "exact"
    assert np.allclose(estimator.score_samples(v.numpy()), p.sum((1, 2)).log())
    assert np.allclose(estimator.transform(v.numpy()), p.sum(1) @ states(H) / p.sum((1, 2))[:, None])
    assert np.allclose(estimator.predict_proba(v.numpy()), p.sum(2) / p.sum((1, 2))[:, None])
    assert (estimator.predict(v.numpy()) == np.array(list("abc"))[p.sum(2).argmax(1)]).all()


def test_completions_sum_the_label_out(net):
    estimator, v, n = fitted(net, n_gibbs=30), states(D), 4000
    p = log_joint(net).detach().exp().sum((1, 2))
    known = np.array([True, True, False, False])
    agree = (v[:, 0] == 1) & (v[:, 1] == 0)
    mean = ((p * agree) @ v / p[agree].sum()).numpy()
    filled = estimator.complete(np.tile([1.0, 0, 0.5, 0.5], (n, 1)), known, random_state=0)
    assert (np.abs(filled.mean(0) - mean) < 5 * filled.std(0) / n**0.5 + 1e-12).all()


@pytest.mark.parametrize("objective", ["joint", "discriminative", "hybrid"])
def test_digits_are_classified(digits, digit_labels, objective):
    test = np.arange(len(digits)) % 4 == 0
    estimator = ConditionalRBM(
        n_hidden=60, objective=objective, epochs=15, batch_size=30, learning_rate="linear(0.3, 0, over=20000)",
        random_state=0,
    ).fit(digits[~test], digit_labels[~test])  # fmt: skip
    assert (estimator.predict(digits[test]) == digit_labels[test]).mean() > 0.85
