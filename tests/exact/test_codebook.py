"""The codebook by hand: two codes, their gradients, averages and uses; the law of the grids by enumeration."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from genlearn.maths.rng import make_rng
from genlearn.nets import Codebook, CodePrior, GridDecoder, GridEncoder


def two(rule: str, **how) -> Codebook:
    """e_0 = (0, 0), e_1 = (4, 0)."""
    made = Codebook(2, 2, rule, **how).double()
    with torch.no_grad():
        made.vectors.copy_(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
        if rule == "averages":
            made.sums.copy_(made.vectors)
    return made


Z = torch.tensor([[1.0, 1.0], [3.0, -1.0], [5.0, 2.0]], dtype=torch.float64)
K = torch.tensor([0, 1, 1])
E = torch.tensor([[0.0, 0.0], [4.0, 0.0], [4.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize("rule", ["averages", "loss"])
def test_the_gradient_goes_straight_through(rule):
    book, z = two(rule), Z.clone().requires_grad_()
    e, k, commitment = book(z)
    assert torch.equal(k, K)
    assert torch.equal(e, E)
    weights = torch.tensor([[1.0, 2.0], [-3.0, 0.5], [0.0, 7.0]], dtype=torch.float64)
    # d f(e) / d z is d f / d e, as if e were z; f = sum w e^2, so 2 w e.
    (gradient,) = torch.autograd.grad((weights * e.square()).sum(), z, retain_graph=True)
    assert torch.equal(gradient, 2 * weights * E)
    # Commitment: mean (z - e)^2 = (1 + 1 + 1 + 1 + 1 + 4) / 6, its gradient 2 (z - e) / 6.
    assert commitment.item() == pytest.approx(9 / 6)
    if rule == "loss":  # codes are a parameter
        assert torch.autograd.grad(commitment, book.vectors, retain_graph=True, allow_unused=True) == (None,)
    assert torch.allclose(torch.autograd.grad(commitment, z)[0], (Z - E) / 3)


def test_the_codebook_loss_moves_codes_alone():
    book, z = two("loss"), Z.clone().requires_grad_()
    distance = book.distance(z, K)
    assert distance.item() == pytest.approx(9 / 6)
    of_z, of_e = torch.autograd.grad(distance, [z, book.vectors], allow_unused=True)
    assert of_z is None
    assert torch.allclose(of_e, torch.tensor([[-1.0, -1.0], [0.0, -1.0]], dtype=torch.float64) / 3)


def test_the_averages_by_hand():
    """N <- .9 N + .1 n, m <- .9 m + .1 sum z: N = (.9 + .1, .9 + .2), m_0 = .1 (1, 1), m_1 = .9 (4, 0) + .1 (8, 1)."""
    book = two("averages", decay=0.9)
    book.follow(Z, K, make_rng(0))
    uses = torch.tensor([1.0, 1.1], dtype=torch.float64)
    sums = torch.tensor([[0.1, 0.1], [4.4, 0.1]], dtype=torch.float64)
    assert torch.allclose(book.uses, uses)
    assert torch.allclose(book.sums, sums)
    assert torch.allclose(book.vectors, sums / uses[:, None], rtol=1e-4)
    p = uses / 2.1
    assert book.perplexity.item() == pytest.approx((-(p * p.log()).sum()).exp().item())


def test_averages_reach_the_means_of_what_chooses_them():
    book = two("averages", decay=0.5)
    for _ in range(60):
        book.follow(Z, book.nearest(Z), make_rng(0))
    assert torch.allclose(book.vectors, torch.tensor([[1.0, 1.0], [4.0, 0.5]], dtype=torch.float64), rtol=1e-4)
    assert book.perplexity.item() == pytest.approx(3 / 2 ** (2 / 3))  # shares 1/3 and 2/3


def lost(book: Codebook) -> None:
    """Code 1 far from all z."""
    with torch.no_grad():
        book.vectors[1] = 100.0
        if book.averages:
            book.sums[1] = 100.0


@pytest.mark.parametrize("rule", ["averages", "loss"])
def test_a_code_that_is_not_chosen_is_moved_to_the_data(rule):
    book = two(rule, decay=0.5, revive=0.2)
    lost(book)
    for i in range(10):
        k = book.nearest(Z)
        book.follow(Z, k, make_rng(i))
        book.replace_dead()
        if (book.vectors[1] < 50).all():
            break
    # Uses (2, 1/2), then (5/2, 1/4), less than a fifth of their mean.
    assert i == 1
    assert book.uses.tolist() == [2.5, 1.375]
    assert any(torch.equal(book.vectors[1], z) for z in Z)
    never = two(rule, decay=0.5, revive=0.0)
    lost(never)
    for _ in range(10):
        never.follow(Z, never.nearest(Z), make_rng(0))
        never.replace_dead()
    assert (never.nearest(Z) == 0).all()


@pytest.mark.parametrize("values", [1, 2])
@pytest.mark.parametrize("n_classes", [0, 2])
def test_a_net_of_codes_gives_all_grids_a_probability_that_sums_to_one(values, n_classes):
    torch.manual_seed(0)
    prior = CodePrior(4, 5, "gru", 6, values, n_classes).double()
    with torch.no_grad():
        for p in prior.net.parameters():
            p.add_(torch.randn(p.shape, dtype=p.dtype))
    grids = torch.tensor(list(product(range(5), repeat=4)), dtype=torch.float64)

    def check(p, drawn):
        assert p.sum().item() == pytest.approx(1, abs=1e-12)
        seen = (drawn @ torch.tensor([125.0, 25, 5, 1]).double()).long().bincount(minlength=625) / len(drawn)
        assert (seen - p).abs().max() < 5 * (p.max() / len(drawn)).sqrt()

    with torch.no_grad():
        if n_classes:
            prior.shares.fit(torch.tensor([0, 1, 1, -1, 0, 1, 1, 1]))
            given = {y: prior.log_prob_given(grids, torch.full((625,), y)).exp() for y in (0, 1, -1)}
            check(given[0], prior.draw_classes(torch.zeros(10_000, dtype=torch.long), make_rng(1)))
            mixed = (2 * given[0] + 5 * given[1] + given[-1]) / 8
            assert torch.allclose(prior.log_prob(grids).exp(), mixed, atol=1e-12)
            assert all((given[0] - given[y]).abs().max() > 0.02 for y in (1, -1))
        check(prior.log_prob(grids).exp(), prior.draw(20_000, make_rng(0)))


@pytest.mark.parametrize(("shape", "halvings"), [((1, 28, 28), 2), ((3, 7, 10), 2), ((1, 9, 5), 3), ((1, 8, 8), 1)])
def test_images_of_any_size_come_back_in_theirs(shape, halvings):
    encoder, decoder = (net(shape, halvings, 4, 3) for net in (GridEncoder, GridDecoder))
    z = encoder(torch.rand(2, *shape))
    assert z.shape == (2, 3, -(-shape[1] // 2**halvings), -(-shape[2] // 2**halvings))
    assert decoder(z).shape == (2, *shape)


def test_every_output_of_a_transposed_convolution_has_as_many_inputs():
    """All weights one on a constant grid: no checkerboard inside."""
    decoder = GridDecoder((1, 64, 64), 2, 4, 3)
    for name, p in decoder.named_parameters():
        torch.nn.init.ones_(p) if name.endswith("weight") else torch.nn.init.zeros_(p)
    inside = decoder(torch.ones(1, 3, 16, 16))[0, 0, 28:36, 28:36]
    assert torch.equal(inside, inside[0, 0].expand(8, 8))
