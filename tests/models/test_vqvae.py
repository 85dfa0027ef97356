"""The autoencoder with a codebook on 8x8 digits."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from genlearn.models.vqvae import VQVAE

HOW = {"n_codes": 32, "n_latent": 8, "halvings": 1, "width": 8, "prior_hidden": 32, "random_state": 0}


@pytest.fixture(scope="module", params=["averages", "loss"])
def model(request, digits) -> VQVAE:
    how = {"epochs": 8, "prior_epochs": 8, "learning_rate": 5e-3, "prior_rate": 1e-2}
    return VQVAE(codebook=request.param, **how, **HOW).fit(digits[:1400].reshape(-1, 8, 8))


def test_it_reconstructs_with_most_of_its_codes(model, digits):
    x = digits[1400:].reshape(-1, 8, 8)
    k = model.transform(x)
    assert k.shape == (397, 16)
    assert np.array_equal(k, k.round()) and k.min() >= 0 and k.max() < 32
    assert np.square(model.inverse_transform(k) - x).mean() < 0.4 * x.var(0).mean()
    assert 16 < model.perplexity(x) <= 32
    assert 16 < model.journal_.curve("vqvae/perplexity")[1][-1] <= 32


def test_its_net_of_codes_beats_independent_codes(model, digits):
    train, test = (model.transform(x.reshape(-1, 8, 8)).astype(int) for x in (digits[:1400], digits[1400:]))
    counts = 1 + np.stack([np.bincount(place, minlength=32) for place in train.T])
    floor = np.log(counts / counts.sum(1, keepdims=True))[np.arange(16), test].sum(1).mean()
    log_p = model.nets_.prior.log_prob(torch.from_numpy(test).float()).mean().item()
    assert log_p > 0.9 * floor
    drawn = model.sample(300, random_state=0)
    assert np.abs(drawn.mean(0) - digits[:1400].mean(0).reshape(8, 8)).max() < 0.2


def test_classes_are_told_to_the_net_of_codes_and_drawn(digits, digit_labels):
    """Every third label is unknown; a step is a row of codes."""
    x, y = digits[:1400].reshape(-1, 8, 8), np.where(np.arange(1400) % 3, digit_labels[:1400], -1)
    how = {"epochs": 5, "prior_epochs": 20, "learning_rate": 5e-3, "prior_rate": 1e-2, "prior_order": "rows"}
    model = VQVAE(**how, **HOW).fit(x, y)
    assert model.nets_.prior.net.n_steps == 4
    assert torch.allclose(
        model.nets_.prior.shares.p[[0, -1]], torch.tensor([(y == 0).mean(), (y == -1).mean()]).float()
    )
    means = np.stack([x[digit_labels[:1400] == y].mean(0) for y in range(10)])
    for y in (0, 1, 4):
        drawn = model.sample(100, y=y, random_state=0).mean(0)
        assert np.square(means - drawn).sum((1, 2)).argmin() == y


def test_codes_out_of_range_and_images_that_are_none_are_refused(model, digits):
    with pytest.raises(ValueError, match="codes go from 0 to 32, expected whole numbers from 0 to 31"):
        model.inverse_transform([[0] * 15 + [32]])
    with pytest.raises(ValueError, match=r"Z has shape \(0, 16\), expected \(n, 16\)"):
        model.inverse_transform(np.zeros((0, 16)))
    with pytest.raises(ValueError, match="halvings is 4, expected at most 3 for images of 8 x 8"):
        VQVAE(**HOW | {"halvings": 4}).fit(digits)
    with pytest.raises(ValueError, match="rows of 63 numbers are no square images"):
        VQVAE(**HOW).fit(digits[:, :63])
    with pytest.raises(ValueError, match=r"truncation is 0\.5"):
        model.sample(1, truncation=0.5)


@pytest.mark.parametrize(
    ("budget", "seen"),
    [
        ({"images": 3000, "epochs": None}, (1500, 1500)),
        ({"images": 3000, "epochs": 2}, (400, 400)),
        ({"images": 3000, "epochs": 2, "prior_epochs": 5}, (400, 1000)),
        ({"images": 3000, "epochs": None, "prior_epochs": 1}, (1500, 200)),
        ({"images": 500, "epochs": 2}, (300, 200)),
    ],
)
def test_the_net_of_codes_gets_all_that_the_codes_leave_of_a_budget(digits, budget, seen):
    """Half and half of 500 images, in whole batches of 100."""
    model = VQVAE(**HOW, **budget)
    stages = {
        name: model.fit(digits[:200].reshape(-1, 8, 8)).journal_.curve(f"{name}/loss")[0] for name in ("vqvae", "prior")
    }
    ends = stages["vqvae"][-1], stages["prior"][-1]
    assert (ends[0], ends[1] - ends[0]) == seen


@pytest.fixture(scope="module")
def small(digits, digit_labels) -> tuple[VQVAE, np.ndarray]:
    """3 codes at 2 x 2 places of 4 x 4 images: 81 grids. Every third label is unknown."""
    x = digits.reshape(-1, 4, 2, 4, 2).mean((2, 4))
    how = {"n_codes": 3, "n_latent": 4, "halvings": 1, "width": 8, "prior_hidden": 8, "precision": "float64"}
    model = VQVAE(**how, epochs=4, learning_rate=5e-3, prior_rate=1e-2, ema=2000.0, random_state=0)
    return model.fit(x[:1400], np.where(np.arange(1400) % 3, digit_labels[:1400], -1)), x


def test_the_bound_lies_below_the_sum_over_all_grids_of_codes(small):
    """log p(x) = log sum_k P(k) N(x; x_hat(k), s^2 I), and the bound is the term of k(x)."""
    model, x = small
    grids, test = np.array(list(product(range(3), repeat=4))), x[1400:]
    nets = model.averaged_nets_
    images = torch.from_numpy(model.inverse_transform(grids.astype(float)))
    s = np.sqrt(np.square(model.inverse_transform(model.transform(x[:1400])) - x[:1400]).mean())
    log_p = torch.distributions.Normal(images, s.item()).log_prob(torch.from_numpy(test)[:, None]).sum((2, 3))
    with torch.no_grad():
        log_prior = nets.prior.log_prob(torch.from_numpy(grids).double())
    assert log_prior.exp().sum().item() == pytest.approx(1)
    joint = (log_prior + log_p).numpy()
    exact, bound = np.logaddexp.reduce(joint, axis=1), model.score_samples(test)
    chosen = model.transform(test).astype(int) @ [27, 9, 3, 1]
    assert np.allclose(bound, joint[np.arange(len(test)), chosen])
    assert (bound <= exact).all()
    assert 0.01 < (exact - bound).mean() < 5
    (elbo,) = model.log_likelihoods(test).values()
    assert (elbo.kind, elbo.law) == (model.score_kind(), "gaussian") == ("lower bound", "gaussian")
    assert np.allclose(elbo.values, bound)
    assert elbo.notes == (f"It is of densities, N(x_hat, s^2) of a pixel in [0, 1] with s = {s:.3f}.",)
