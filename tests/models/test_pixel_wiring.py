"""That options, weights and numbers of the recurrent nets and of the codebook reach what they are of."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from genlearn._types import Batch
from genlearn.border import Border
from genlearn.maths.rng import make_rng
from genlearn.models.rnn import AutoregressiveRNN
from genlearn.models.vqvae import VQVAE
from genlearn.nets import Autoregressive, BinaryLevels, CategoricalLevels, Codebook, GridDecoder, GridEncoder
from genlearn.nets import LogisticMixtureLevels as Logistics
from genlearn.train import Stream

TINY = {"n_hidden": 5, "n_units": 2, "images": 200, "epochs": None, "random_state": 0}
CODES = {"width": 4, "n_latent": 2, "n_codes": 6, "halvings": 1, "random_state": 0}


def test_sizes_reach_the_recurrent_net():
    nets = AutoregressiveRNN(output="logistics", n_hidden=7, n_layers=2, n_units=3, n_mixture=4)._fresh_nets(
        (1, 6, 6), 0
    )
    assert (nets.rnn.cell.hidden_size, nets.rnn.cell.num_layers) == (7, 2)
    assert (nets.rnn.inside.units, nets.rnn.law.n_mixture) == (3, 4)
    for layer in range(2):  # both begin with memories
        assert (getattr(nets.rnn.cell, f"bias_ih_l{layer}")[7:14] >= 0).all()
        assert (getattr(nets.rnn.cell, f"bias_hh_l{layer}")[:14] == 0).all()


@pytest.mark.parametrize(("cell", "kind"), [("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)])
def test_the_cell_is_the_one_that_is_named(cell, kind):
    assert type(AutoregressiveRNN(cell=cell, **TINY)._fresh_nets((1, 6, 6), 0).rnn.cell) is kind
    model = VQVAE(prior_cell=cell, prior_hidden=7, **CODES)
    model.border_ = Border.of(np.zeros((1, 6, 6)), np.dtype("float32"), True, None)
    prior = model._fresh_nets((1, 6, 6), 0).prior.net.cell
    assert type(prior) is kind and prior.hidden_size == 7


def test_bits_per_dimension_of_the_journal_are_those_of_the_loss():
    model = AutoregressiveRNN(n_hidden=4, n_units=2)
    loss, logs = model._loss(model._fresh_nets((1, 6, 6), 0), Batch(torch.rand(9, 1, 6, 6)), make_rng(0))
    assert logs["bits per dimension"].item() == pytest.approx(loss.item() / (36 * math.log(2)))


@pytest.mark.parametrize("law", [BinaryLevels(), CategoricalLevels(5), Logistics(5, 2)])
def test_losses_and_scores_are_computed_in_full_precision_under_autocast(law):
    net, k = Autoregressive(law, 4, 4, n_hidden=5), torch.arange(32).view(2, 4, 4) % law.n_levels
    with torch.autocast("cpu", torch.bfloat16):
        theta, log_p = net(k), net.log_prob(k)
    assert theta.dtype == log_p.dtype == torch.float32
    assert torch.equal(log_p, law.log_prob(theta, k))


def test_a_class_that_is_not_given_is_unknown():
    net, k = Autoregressive(BinaryLevels(), 4, 4, n_hidden=5, n_classes=3), torch.zeros(2, 4, 4, dtype=torch.long)
    assert torch.equal(net(k), net(k, torch.tensor([-1, -1])))
    assert not torch.allclose(net(k), net(k, torch.tensor([0, 0])))


@pytest.fixture(scope="module")
def averaged() -> AutoregressiveRNN:
    """Averaged weights far from the raw ones; images of uint8."""
    x = np.random.default_rng(0).integers(0, 256, (100, 6, 6)).astype(np.uint8)
    return AutoregressiveRNN(ema=1e4, learning_rate=0.1, **TINY).fit(x, np.arange(100) % 2)


@pytest.mark.parametrize("ask", ["sample", "paths", "conditionals", "memory"])
def test_averaged_weights_answer_unless_others_are_given(averaged, ask):
    x = np.random.default_rng(1).integers(0, 256, (20, 6, 6)).astype(np.uint8)
    given = {"n": 20, "random_state": 0} if ask in ("sample", "paths") else {"X": x}
    answer = getattr(averaged, ask)(**given)
    assert np.array_equal(answer, getattr(averaged, ask)(**given, nets=averaged.averaged_nets_))
    assert not np.array_equal(answer, getattr(averaged, ask)(**given, nets=averaged.nets_))


def test_pixels_to_come_are_half_grey(averaged):
    assert (averaged.paths(2, random_state=0)[0] == 127).all()
    assert averaged.temperature == 1


def test_what_is_known_of_an_image_is_drawn_and_so_is_its_class(averaged, monkeypatch):
    """Grey known pixels of .3; classes by their probability, not the likeliest."""
    seen, draw = {}, averaged.averaged_nets_.rnn.draw
    monkeypatch.setattr(
        averaged.averaged_nets_.rnn,
        "draw",
        lambda n, rng, y, t, given: seen.update(y=y, k=given[0]) or draw(n, rng, y, t, given),
    )
    known = np.arange(36).reshape(6, 6) < 18
    averaged.complete(np.full((200, 6, 6), 77, np.uint8), known, random_state=0)
    first = seen["k"].flatten(1)[:200, :18].double()
    assert first.mean().item() == pytest.approx(77 / 255, abs=0.05)
    k = torch.zeros_like(seen["k"])
    told = torch.zeros_like(k, dtype=torch.bool)
    with torch.no_grad():
        averaged._complete(averaged.averaged_nets_, averaged._images(k).float(), averaged._images(told), make_rng(0))
    assert {0, 1} <= set(seen["y"].tolist())  # nothing is known, so the classes have their shares


def test_laws_start_near_the_shares_of_the_data():
    """A hundredth of the uniform law mixed in; equal components, spread over two sd, of half that scale."""
    shares = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    assert torch.allclose(CategoricalLevels(4).start(shares).exp(), torch.tensor([[0.9925] + [0.0025] * 3]))
    assert BinaryLevels().start(shares[:, :2]).sigmoid().item() == pytest.approx(0.005)
    even = torch.full((256,), 1 / 256, dtype=torch.float64)
    logits, mean, log_s = Logistics(256, 3).start(even).split(3, -1)
    sd = math.sqrt(((256**2 - 1) / 12) / 127.5**2)
    assert torch.equal(logits, torch.zeros(3).double())
    assert mean.tolist() == pytest.approx([-sd, 0, sd], abs=1e-9)
    assert log_s.exp().tolist() == pytest.approx([sd / 2] * 3)


@pytest.fixture(scope="module")
def colours() -> tuple[np.ndarray, np.ndarray]:
    """Images of 2 x 3 pixels and 3 channels that take few levels, and their classes, a third unknown."""
    rng = np.random.default_rng(0)
    return rng.choice([0, 1, 100, 254, 255], (60, 3, 2, 3)).astype(np.uint8), np.arange(60) % 3 - 1


@pytest.fixture(scope="module", params=["pixels", "rows"])
def levels(request, colours) -> AutoregressiveRNN:
    """Nets that have seen the data, and learned nothing."""
    how = {"order": request.param, "output": "levels", "precision": "float64", "learning_rate": 1e-12}
    return AutoregressiveRNN(**{**TINY, "images": 1}, **how).fit(*colours)


def test_values_come_in_raster_order_the_channels_of_a_pixel_together(levels):
    """Values between two of the 256 levels count as the nearest; a step is a value, or a row of them."""
    x = torch.arange(256).view(-1, 1, 1, 1).expand(-1, 3, 2, 3) + torch.arange(18).view(3, 2, 3)
    x = (x % 256).to(torch.uint8)
    k = levels._levels(levels.nets_, x.double() / 255)
    for off in (-0.4, 0.4):
        assert torch.equal(levels._levels(levels.nets_, (x.double() + off) / 255), k)
    assert k.shape == ((256, 2, 9) if levels.order == "rows" else (256, 18, 1))
    assert torch.equal(k.flatten(1), x.permute(0, 2, 3, 1).flatten(1).long())
    assert torch.equal(levels._images(k), x.long())


def test_a_net_of_levels_begins_with_their_shares(levels, colours):
    values = colours[0].transpose(0, 2, 3, 1).reshape(60, 18)
    shares = np.stack([np.bincount(place, minlength=256) for place in values.T]) / 60
    biases = levels._fresh_nets((3, 2, 3), 0).rnn.bias
    levels.nets_.rnn.start(torch.zeros(*biases.shape[:2], 256).double())
    levels._start(levels.nets_, Stream(torch.from_numpy(colours[0]), None, 60, 0, dtype=torch.float64), make_rng(0))
    expected = torch.from_numpy(0.99 * shares + 0.01 / 256)
    assert torch.allclose(levels.nets_.rnn.bias.detach().flatten(0, 1).exp(), expected)


def test_the_loss_is_told_the_classes_and_is_of_whole_images(levels, colours):
    x, y = torch.from_numpy(colours[0]).double() / 255, torch.from_numpy(colours[1])
    told, untold = (levels.nets_.rnn.log_prob(levels._levels(levels.nets_, x), c).flatten(1).sum(1) for c in (y, None))
    with torch.no_grad():
        loss, _ = levels._loss(levels.nets_, Batch(x, y), make_rng(0))
    assert loss.item() == pytest.approx(-told.mean().item())
    assert abs(told.mean() - untold.mean()) > 1e-3


def test_classes_are_summed_out_by_their_shares_the_unknown_one_too(levels, colours):
    """log p(x) = log sum_y p(y) p(x | y); of what is known of an image, by the known values alone."""
    nets, x = levels.nets_, torch.from_numpy(colours[0][:20]).double() / 255
    k = levels._levels(nets, x)
    with torch.no_grad():
        log_p = torch.stack([nets.rnn.log_prob(k, torch.full((20,), y)).flatten(1) for y in (0, 1, -1)], 1)
        told = (torch.arange(18) < 7).view(levels._steps((3, 2, 3))).expand_as(k)
        of_known = levels._by_class(nets, k, told)
    joint = log_p.sum(2).exp() @ torch.full((3,), 1 / 3).double()
    assert np.allclose(levels.score_samples(colours[0][:20]), joint.log())
    assert (log_p.sum(2)[:, 0] - log_p.sum(2)[:, 2]).abs().min() > 1e-4
    torch.testing.assert_close(of_known, log_p[..., :7].sum(2) - np.log(3))


def test_in_the_cold_the_likeliest_values_alone_are_drawn(levels):
    """By the temperature of the call, and by that of the model."""
    assert len(np.unique(levels.sample(30, y=1, random_state=0), axis=0)) > 20
    frozen = levels.sample(30, y=1, temperature=1e-9, random_state=0)
    assert np.array_equal(frozen[1:], frozen[:-1])
    same = copy.copy(levels)
    same.temperature = 1e-9
    assert np.array_equal(frozen, same.sample(30, y=1, random_state=1))


# --- codebook


def test_a_start_forgets_and_codes_begin_on_the_data():
    book, z = Codebook(8, 2, "averages"), torch.randn(50, 2, generator=make_rng(0))
    book.uses.fill_(7.0)
    book.start(z, make_rng(1))
    assert (book.uses == 1).all()
    assert torch.equal(book.sums, book.vectors)
    assert all((z == e).all(1).any() for e in book.vectors)
    assert len(book.vectors.unique(dim=0)) > 4  # chosen at random, each by itself


def test_codes_that_die_get_vectors_of_their_own_and_sums_that_keep_them_there():
    book = Codebook(8, 2, "averages", revive=0.5)
    z = torch.randn(50, 2, generator=make_rng(0))
    book.follow(z, torch.zeros(50, dtype=torch.long), make_rng(1))
    book.uses[1:] = 0.0
    book.replace_dead()
    assert len(book.vectors[1:].unique(dim=0)) > 3
    assert torch.allclose(book.sums[1:] / book.uses[1:, None], book.vectors[1:])


def test_both_ends_of_the_grid():
    """Images are padded at the right and below; the decoder adds a bias to every pixel of what is left."""
    torch.manual_seed(0)
    uneven, even = GridEncoder((1, 7, 5), 1, 3, 2), GridEncoder((1, 8, 6), 1, 3, 2)
    even.load_state_dict(uneven.state_dict())
    x = torch.rand(2, 1, 7, 5)
    assert torch.equal(uneven(x), even(torch.nn.functional.pad(x, (0, 1, 0, 1))))
    decoder = GridDecoder((1, 7, 5), 1, 3, 2)
    z, bias = torch.rand(2, 2, 4, 3), torch.rand(1, 7, 5)
    before = decoder(z)
    with torch.no_grad():
        decoder.bias.copy_(bias)
    assert torch.allclose(decoder(z) - before, bias.expand(2, -1, -1, -1), atol=1e-6)


def test_sizes_and_steps_reach_the_vqvae():
    x = torch.rand(50, 1, 6, 8, generator=make_rng(0))
    model = VQVAE(**CODES, prior_order="rows", epochs=1, prior_epochs=1, prior_rate=1e-12).fit(x)
    coder, prior = model._stages((1, 6, 8))
    assert prior.players[0].clip == 1.0
    nets = model._fresh_nets((1, 6, 8), 0)
    assert nets.encoder.layers[0].out_channels == 4
    assert (nets.prior.net.n_steps, nets.prior.net.n_values) == (3, 4)
    with torch.no_grad():
        model._start(nets, Stream(x, None, 50, 0), make_rng(0))
        z = model._z(nets, x)
        scaled = ((255 * x + 0.5) / 256 - x.mean()) / x.std(correction=0)
        torch.testing.assert_close(z, nets.encoder(scaled).movedim(1, -1).flatten(0, 2))
        assert nets.scale.mean.item() == pytest.approx(x.mean().item(), abs=1e-6)
        assert nets.noise.sd.item() == pytest.approx(x.var(0, correction=0).mean().sqrt().item())  # no error is known
        assert all((z == e).all(1).any() for e in nets.codebook.vectors)
        nets.codebook.uses[0], nets.codebook.vectors[0] = 0.0, 9.0
        coder.players[0].after(nets)
    assert (nets.codebook.vectors[0] < 9).all()
    # A net of codes that learned nothing has the shares of the codes at every place.
    k = torch.from_numpy(model.transform(x)).long()
    shares = torch.stack([(k == c).double().mean(0) for c in range(6)], 1)
    biases = model.nets_.prior.net.bias.double().flatten(0, 1)
    assert torch.allclose(biases.exp(), 0.99 * shares + 0.01 / 6, atol=1e-5)


def test_perplexity_is_of_the_nets_that_are_given():
    x = torch.rand(50, 1, 6, 8, generator=make_rng(0))
    model = VQVAE(**CODES, epochs=1, prior_epochs=1).fit(x)
    nets = model._fresh_nets((1, 6, 8), 1)
    with torch.no_grad():
        nets.codebook.vectors[1:] = 1e6
    assert model.perplexity(x, nets=nets) == 1
    assert model.perplexity(x) > 1


def test_the_net_of_codes_learns_the_codes_of_each_image_with_its_class():
    x, y = torch.rand(50, 1, 6, 8, generator=make_rng(0)), torch.arange(50) % 3 - 1
    model = VQVAE(**CODES, epochs=1, prior_epochs=1).fit(x, y)
    assert torch.allclose(model.nets_.prior.shares.p, torch.tensor([17, 16, 17]) / 50)
    batch = model._coded(model.nets_, Batch(x, y), make_rng(0))
    assert np.array_equal(batch.x, model.transform(x)) and torch.equal(batch.y, y)
    with torch.no_grad():
        loss, _ = model._loss_prior(model.nets_, batch, make_rng(0))
        told, untold = (model.nets_.prior.log_prob_given(batch.x, c).mean() for c in (y, None))
    assert loss.item() == pytest.approx(-told.item())
    assert abs(told - untold) > 1e-6
