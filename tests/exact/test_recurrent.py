"""Recurrent nets over pixels against enumeration, the published equations, and recomputation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from genlearn.maths.rng import make_rng
from genlearn.models.rnn import AutoregressiveRNN
from genlearn.nets import Autoregressive, BinaryLevels, CategoricalLevels, LogisticMixtureLevels

CELLS = ("rnn", "gru", "lstm")
ALL = torch.tensor(list(product([0, 1], repeat=16)))  # every 4 x 4 binary image
SHAPES = {"pixels": (16, 1), "rows": (4, 4)}


def net(cell: str, order: str, law=None, **how) -> Autoregressive:
    """Weights far from zero, in float64."""
    torch.manual_seed(0)
    law = BinaryLevels() if law is None else law
    made = Autoregressive(law, *SHAPES[order], cell=cell, n_hidden=5, units=6, **how).double()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.5 * torch.randn(p.shape, dtype=p.dtype, generator=make_rng(1)))
    return made


@pytest.mark.parametrize("order", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_probabilities_of_all_images_sum_to_one(cell, order):
    with torch.no_grad():
        log_p = net(cell, order, n_layers=2).log_prob(ALL.view(-1, *SHAPES[order])).sum((1, 2))
    assert log_p.exp().sum() == pytest.approx(1, abs=1e-12)
    assert log_p.std() > 0.5  # it is far from uniform


@pytest.mark.parametrize("order", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_value_depends_on_those_before_it_and_on_all_of_them(cell, order):
    made, k = net(cell, order), ALL[12345].view(1, *SHAPES[order])
    base = made(k).flatten()
    for i in range(16):
        flipped = k.clone()
        flipped.view(-1)[i] = 1 - flipped.view(-1)[i]
        moved = (made(flipped).flatten() - base).abs() > 1e-12
        assert not moved[: i + 1].any()
        assert moved[i + 1 :].all()


@pytest.mark.parametrize("order", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_truncated_gradients_are_whole_where_the_length_covers_the_sequence(cell, order):
    made, k = net(cell, order), ALL[::5000].view(-1, *SHAPES[order])
    steps = SHAPES[order][0]

    def gradient(bptt):
        return torch.autograd.grad(made.log_prob(k, bptt=bptt).sum(), list(made.parameters()))

    whole, covered, cut = gradient(None), gradient(steps), gradient(steps // 2)
    assert all(torch.equal(a, b) for a, b in zip(whole, covered, strict=True))
    assert not all(torch.allclose(a, b) for a, b in zip(whole, cut, strict=True))
    # The state is carried over: what is cut is the gradient alone.
    assert torch.allclose(made(k, bptt=1), made(k), atol=1e-12)


def test_truncation_drops_just_the_paths_across_a_stretch():
    """Two stretches: the gradient is that of a net whose second half starts from the state as a constant."""
    made, k = net("lstm", "pixels"), ALL[::5000].view(-1, 16, 1)
    cut = torch.autograd.grad(made.log_prob(k, bptt=8).sum(), made.cell.weight_hh_l0)[0]
    x = made.inputs(k)
    first, state = made.cell(x[:, :8])
    second, _ = made.cell(x[:, 8:], tuple(s.detach() for s in state))
    theta = made.out(torch.cat([first, second], 1))[..., None] + made.bias
    by_hand = torch.autograd.grad(made.law.log_prob(theta, k).sum(), made.cell.weight_hh_l0)[0]
    assert torch.allclose(cut, by_hand)


def split(cell: torch.nn.RNNBase, x, h):
    """W x + b and U h + c of each gate, of one layer."""
    ours = torch.nn.functional.linear(x, cell.weight_ih_l0, cell.bias_ih_l0)
    theirs = torch.nn.functional.linear(h, cell.weight_hh_l0, cell.bias_hh_l0)
    return ours, theirs


def test_an_lstm_step_is_that_of_the_paper():
    """i, f, o = sigmoid(W x + U h + b); c = f c + i tanh(W x + U h + b); h = o tanh(c): with the forget gate of Gers,
    Schmidhuber and Cummins 2000."""
    made = net("lstm", "rows")
    x, h, c = (torch.randn(3, n, dtype=torch.float64, generator=make_rng(n)) for n in (20, 5, 6))
    c = c[:, :5]
    ours, theirs = split(made.cell, x, h)
    i, f, g, o = (ours + theirs).chunk(4, 1)
    new_c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    new_h = o.sigmoid() * new_c.tanh()
    out, (got_h, got_c) = made.cell(x[:, None], (h[None], c[None]))
    assert torch.allclose(out[:, 0], new_h)
    assert torch.allclose(got_h[0], new_h) and torch.allclose(got_c[0], new_c)


def test_a_gru_step_is_that_of_the_paper():
    """r, z = sigmoid(W x + U h); h' = z h + (1 - z) tanh(W x + r (U h)): Cho et al. 2014, equations 5 to 8, with the
    reset gate after the product, as in cuDNN."""
    made = net("gru", "rows")
    x, h = (torch.randn(3, n, dtype=torch.float64, generator=make_rng(n)) for n in (20, 5))
    (ri, zi, ni), (rh, zh, nh) = (part.chunk(3, 1) for part in split(made.cell, x, h))
    r, z = (ri + rh).sigmoid(), (zi + zh).sigmoid()
    expected = z * h + (1 - z) * (ni + r * nh).tanh()
    assert torch.allclose(made.cell(x[:, None], h[None])[0][:, 0], expected)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_memories_of_one_to_t_steps_at_the_start(cell):
    """A gate sigmoid(b), b = log U(1, T - 1), forgets a share 1 / (1 + e^b) a step: over 2 to T steps."""
    torch.manual_seed(0)
    fresh = Autoregressive(BinaryLevels(), 100, 1, cell=cell, n_hidden=400)
    forget = (fresh.cell.bias_ih_l0 + fresh.cell.bias_hh_l0)[400:800]
    steps = 1 + forget.exp()
    assert steps.min() >= 2 and steps.max() <= 100 and 40 < steps.mean() < 62
    if cell == "lstm":
        assert torch.equal(fresh.cell.bias_ih_l0[:400], -forget)


@pytest.mark.parametrize("order", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_drawing_with_the_kept_state_is_recomputing_from_scratch(cell, order):
    """Same bits: given the first values of what was drawn, each one is computed again from the first step on."""
    made = net(cell, order, n_layers=2).float()
    k = made.draw(20, make_rng(3))
    for i in range(16):
        known = (torch.arange(16) < i).view(SHAPES[order]).expand(20, -1, -1)
        assert torch.equal(made.draw(20, make_rng(3), given=(k, known)), k)
    # The same probabilities as those of the parallel pass.
    double = made.double()
    theta = double(k)
    chosen = torch.empty(20, 16, dtype=torch.float64)

    class Told(BinaryLevels):
        place = 0

        def draw(self, theta, rng, temperature=1.0):
            chosen[:, self.place], self.place = theta[:, 0], self.place + 1
            return k.view(20, 16)[:, self.place - 1]

    double.law = Told()
    double.draw(20, make_rng(3))
    assert torch.allclose(chosen, theta.view(20, 16), atol=1e-12)


@pytest.mark.parametrize("order", SHAPES)
def test_what_is_drawn_has_the_law(order):
    """10,000 draws against all 65,536 probabilities, by the mean of log p and the frequencies of the first pixels."""
    made = net("gru", order)
    with torch.no_grad():
        log_p = made.log_prob(ALL.view(-1, *SHAPES[order])).sum((1, 2))
        k = made.draw(10_000, make_rng(0))
        drawn = made.log_prob(k).sum((1, 2))
    entropy = -(log_p.exp() * log_p).sum()
    assert -drawn.mean() == pytest.approx(entropy.item(), abs=5 * drawn.std().item() / 100)
    p = (log_p.exp()[:, None] * ALL).sum(0)
    assert torch.allclose(k.view(-1, 16).double().mean(0), p, atol=5 * 0.5 / 100)


def test_temperature_sharpens_the_law():
    made, cold = net("gru", "pixels"), 0.5
    k = made.draw(20_000, make_rng(0), temperature=cold)
    theta = made(k[:1] * 0)[0, 0, 0]
    assert k[:, 0, 0].double().mean() == pytest.approx((theta / cold).sigmoid().item(), abs=0.02)


def test_levels_sum_to_one_and_agree():
    for law in (BinaryLevels(), CategoricalLevels(256), LogisticMixtureLevels(256, 4)):
        theta = 3 * torch.randn(50, law.n_parameters, dtype=torch.float64, generator=make_rng(0))
        log_p = law.log_probs(theta)
        assert torch.allclose(log_p.exp().sum(1), torch.ones(50, dtype=torch.float64), atol=1e-12)
        k = torch.randint(law.n_levels, (50,), generator=make_rng(1))
        assert torch.allclose(law.log_prob(theta, k), log_p.gather(1, k[:, None])[:, 0])
        many = law.draw(theta[:1].expand(20_000, -1), make_rng(2), 2.0).bincount(minlength=law.n_levels) / 20_000
        expected = (log_p[0] / 2).softmax(0)
        assert (many - expected).abs().max() < 0.02
        shares = torch.rand(7, law.n_levels, dtype=torch.float64, generator=make_rng(3)).softmax(1)
        mean = law.mean(law.start(shares))
        assert torch.allclose(mean, shares @ torch.linspace(0, 1, law.n_levels, dtype=torch.float64), atol=0.02)


def test_a_mixture_of_logistics_is_the_difference_of_its_distribution():
    law = LogisticMixtureLevels(256, 3)
    theta = torch.randn(5, 9, dtype=torch.float64, generator=make_rng(0))
    logits, mean, log_s = theta.split(3, 1)
    edges = (2 * torch.arange(257, dtype=torch.float64) - 1) / 255 - 1
    cdf = ((edges[:, None, None] - mean) / log_s.exp()).sigmoid()
    cdf[0], cdf[-1] = 0, 1
    expected = (cdf.diff(dim=0) * logits.softmax(1)).sum(2).T
    assert torch.allclose(law.log_probs(theta).exp(), expected, atol=1e-14)
    # Far in the tail, where the difference of two distribution functions would be 0.
    far = torch.tensor([[0.0, -1.0, -6.0]])
    assert LogisticMixtureLevels(256, 1).log_prob(far, torch.tensor([200])).item() == pytest.approx(
        -(2 * 200 / 255 - 1 / 255) * np.exp(6) + np.log(-np.expm1(-2 / 255 * np.exp(6))), rel=1e-5
    )


def labels() -> np.ndarray:
    """Unknown, or one of two classes."""
    return np.random.default_rng(0).integers(-1, 2, 300)


@pytest.fixture(scope="module", params=["pixels", "rows"])
def fitted(request) -> AutoregressiveRNN:
    """A model of 3 x 3 images of two classes and unknown ones."""
    y = labels()
    bright = np.where(y[:, None, None] == 1, 0.8, 0.3)
    x = (np.random.default_rng(1).random((300, 3, 3)) < bright).astype(np.float64)
    return AutoregressiveRNN(
        order=request.param, n_hidden=6, n_units=3, epochs=5, precision="float64", random_state=0
    ).fit(x, y)


NINE = np.array(list(product([0.0, 1.0], repeat=9))).reshape(-1, 3, 3)


def test_with_classes_scores_sum_to_one_and_are_those_of_samples(fitted):
    p = np.exp(fitted.score_samples(NINE))
    assert p.sum() == pytest.approx(1, abs=1e-12)
    drawn = fitted.sample(20_000, random_state=0).reshape(-1, 9) @ 2 ** np.arange(8, -1, -1)
    seen = np.bincount(drawn.astype(int), minlength=512) / 20_000
    assert np.abs(seen - p).max() < 5 * np.sqrt(p.max() / 20_000)
    assert abs(seen @ np.log(p) - p @ np.log(p)) < 0.05
    assert fitted.score_kind() == "exact"


def test_predict_is_bayes_over_the_known_classes(fitted):
    """p(y | x) p(x) = p(y) p(x | y), p(y) the shares of the labels that are known."""
    shares = np.bincount(labels()[labels() >= 0]) / (labels() >= 0).sum()
    k = torch.from_numpy(NINE).long().view(-1, *fitted._steps((1, 3, 3)))
    given = [fitted.nets_.rnn.log_prob(k, torch.full((512,), y)).sum((1, 2)).detach().exp().numpy() for y in (0, 1)]
    joint = shares * np.stack(given, 1)
    p = fitted.predict_proba(NINE)
    assert np.allclose(p, joint / joint.sum(1, keepdims=True), atol=1e-12)
    assert np.allclose(joint.sum(1) @ p, shares, atol=1e-12)  # the mean of p(y | x) over x is p(y)
    assert p.std(0).min() > 0.02
    assert np.array_equal(fitted.predict(NINE), p.argmax(1))
    assert fitted.score(NINE, p.argmax(1)) == 1


def test_conditionals_are_ratios_of_sums(fitted):
    p, x = np.exp(fitted.score_samples(NINE)), NINE.reshape(-1, 9)
    for image, got in zip(NINE[::50], fitted.conditionals(NINE[::50]), strict=True):
        for i in range(9):
            same = (x[:, :i] == image.ravel()[:i]).all(1)
            assert got.ravel()[i] == pytest.approx(p[same & (x[:, i] == 1)].sum() / p[same].sum())


def test_completions_have_the_law_given_what_is_known(fitted):
    known = (np.arange(9) < 5).reshape(3, 3)
    image = NINE[0b101100000]
    drawn = fitted.complete(np.repeat(image[None], 5_000, 0), known, random_state=0).reshape(-1, 9)
    assert np.array_equal(np.unique(drawn[:, :5], axis=0), image.reshape(1, 9)[:, :5])
    seen = np.bincount((drawn[:, 5:] @ [8, 4, 2, 1]).astype(int), minlength=16) / 5_000
    p = np.exp(fitted.score_samples(NINE))[(NINE.reshape(-1, 9)[:, :5] == image.ravel()[:5]).all(1)]
    assert np.abs(seen - p / p.sum()).max() < 5 * 0.5 / np.sqrt(5_000)


@pytest.mark.parametrize("order", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_over_time_is_that_of_small_changes(cell, order):
    """d log p(k_T | ..) / d s_t by differences, s_t (of two layers) changed in the middle of the sequence."""
    made, k = net(cell, order, n_layers=2), ALL[[54321, 777]].view(2, *SHAPES[order])
    x, t, eps = made.inputs(k), SHAPES[order][0] - 3, 1e-6

    def log_p(parts):
        h, _ = made.cell(x[:, t + 1 :], tuple(parts) if len(parts) > 1 else parts[0])
        theta = made.out(h[:, -1]).unflatten(1, made.bias.shape[1:]) + made.bias[-1]
        if made.inside is not None:
            theta = theta + made.inside(h[:, -1], made.values(k[:, -1]))
        return made.law.log_prob(theta, k[:, -1]).sum(1)

    with torch.no_grad():
        _, state = made.cell(x[:, : t + 1])
        parts, squares = state if isinstance(state, tuple) else (state,), torch.zeros(2).double()
        for part, layer, unit in product(range(len(parts)), range(2), range(5)):
            moved = {sign: [p.clone() for p in parts] for sign in (1, -1)}
            for sign in moved:
                moved[sign][part][layer, :, unit] += sign * eps
            squares += ((log_p(moved[1]) - log_p(moved[-1])) / (2 * eps)).square()
    assert made.memory(k)[t].item() == pytest.approx(squares.sqrt().mean().item(), rel=1e-5)
