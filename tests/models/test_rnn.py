"""The recurrent nets on 8x8 digits: likelihood, gradients over time, completion, temperature."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genlearn.data import load
from genlearn.maths.rng import bernoulli_by_content
from genlearn.metrics import independent_pixels
from genlearn.models.rnn import AutoregressiveRNN


@pytest.fixture(scope="module")
def split() -> tuple[np.ndarray, np.ndarray]:
    """Digits of two grey levels: drawn ones hold 13.8 nats an image of noise that no model can tell."""
    data = load("digits")
    parts = data.train.x, np.concatenate([data.valid.x, data.test.x])
    train, test = ((np.asarray(x)[:, 0] > 127).astype(np.float32) for x in parts)
    return train, test


@pytest.fixture(scope="module")
def rows(split) -> AutoregressiveRNN:
    how = {"optimizer": "adamw", "weight_decay": 0.3, "learning_rate": "linear(1e-2, 0, over=budget)"}
    return AutoregressiveRNN(n_hidden=64, epochs=20, random_state=0, **how).fit(split[0])


def test_an_lstm_needs_three_tenths_fewer_nats_than_independent_pixels(split, rows):
    floor = independent_pixels(*split, "binary")["independent pixels"]
    (likelihood,) = rows.log_likelihoods(split[1]).values()
    assert likelihood.kind == rows.score_kind() == "exact"
    assert likelihood.values.mean() > 0.7 * floor
    assert np.allclose(likelihood.values, rows.score_samples(split[1]))
    bits = -likelihood.values.double().mean().item() / (64 * np.log(2))
    assert f"That is {bits:.3f} bits per dimension (64 values)." in likelihood.notes


def test_it_starts_from_independent_pixels(split):
    """One step at no rate to speak of: the state adds what its initial weights happen to say."""
    fresh = AutoregressiveRNN(images=1, learning_rate=1e-12, n_hidden=64, random_state=0).fit(split[0])
    floor = independent_pixels(*split, "binary")["independent pixels"]
    assert fresh.score(split[1]) == pytest.approx(floor, abs=1)


def test_samples_are_like_digits_and_colder_ones_are_likelier(split, rows):
    x = rows.sample(200, random_state=0)
    assert set(np.unique(x)) <= {0, 1}
    assert np.abs(x.mean(0) - split[0].mean(0)).max() < 0.15
    cold = rows.sample(200, temperature=0.5, random_state=0)
    assert rows.score(cold) > rows.score(x) + 3
    assert rows.temperature == 1
    with pytest.raises(ValueError, match="temperature is 0, expected a number above 0"):
        rows.sample(1, temperature=0)


def test_samples_grow_row_by_row(rows):
    frames, x = rows.paths(3, 9, random_state=0), rows.sample(3, random_state=0)
    for i, frame in enumerate(frames):
        assert np.array_equal(frame[:, :i], x[:, :i])
        assert (frame[:, i:] == 0.5).all()
    with pytest.raises(ValueError, match="n_times is 1, expected 2 or more"):
        rows.paths(3, 1)


def test_only_what_comes_first_can_be_known(split, rows):
    known = np.zeros((8, 8), bool)
    known[:3], known[3, :5] = True, True
    filled, free = rows.complete(split[1], known, random_state=0), rows.sample(385, random_state=0)
    assert np.array_equal(filled[:, known], split[1][:, known])
    wrong, by_chance = (np.abs(x - split[1])[:, ~known].mean() for x in (filled, free))
    assert wrong < 0.9 * by_chance
    for bad in (~known, known.T):
        with pytest.raises(
            ValueError, match=r"known pixels stand behind unknown ones.*known\[:k\], or --mask bottom"
        ) as error:
            rows.complete(split[1][:2], bad)
        assert "\n" not in str(error.value)


def test_colours_follow_one_another_within_a_pixel(digits):
    x = np.stack([digits.reshape(-1, 8, 8), 1 - digits.reshape(-1, 8, 8), 0 * digits.reshape(-1, 8, 8)], 1)
    for order in ("pixels", "rows"):
        model = AutoregressiveRNN(order=order, output="levels", n_hidden=8, n_units=2, epochs=1, random_state=0)
        frames = model.fit(x[:100]).paths(2, 193, random_state=0)
        assert frames.shape == (193, 2, 3, 8, 8)
        changed = [np.argwhere(a[0] != b[0]).tolist() for a, b in zip(frames, frames[1:], strict=False)]
        assert all(at in ([], [[i % 3, i // 24, i // 3 % 8]]) for i, at in enumerate(changed))
        assert np.array_equal(frames[-1], model.sample(2, random_state=0))


@pytest.mark.parametrize("output", ["levels", "logistics"])
def test_grey_levels_beat_independent_ones(split, digits, output):
    train, test = digits[:1400].reshape(-1, 8, 8), digits[1400:].reshape(-1, 8, 8)
    model = AutoregressiveRNN(output=output, n_hidden=32, n_units=4, epochs=5, learning_rate=1e-2, random_state=0).fit(
        train
    )
    (likelihood,) = model.log_likelihoods(test).values()
    uniform = -64 * np.log(256)
    assert likelihood.law == "levels"
    assert likelihood.values.mean() > uniform / 2
    if output == "levels":  # only it can tell that there are 17 levels
        assert likelihood.values.mean() > independent_pixels(train, test, "levels")["independent pixels"]
    shares = model.sample(100, random_state=0).mean(0)
    assert np.abs(shares - train.mean(0)).max() < 0.2


def test_the_gradient_of_a_tanh_net_dies_where_that_of_an_lstm_does_not(split):
    """Fresh nets, over 56 steps of one pixel."""
    norms = {}
    for cell in ("rnn", "gru", "lstm"):
        model = AutoregressiveRNN(cell=cell, order="pixels", n_hidden=64, images=1, learning_rate=1e-12, random_state=0)
        norms[cell] = model.fit(split[0]).memory(split[1][:50])
        assert norms[cell].shape == (64,)
    kept = {cell: norm[7] / norm[-1] for cell, norm in norms.items()}
    assert kept["rnn"] < 1e-10
    assert kept["gru"] > 1e-3 and kept["lstm"] > 1e-3


def test_rows_of_numbers_must_be_square_images_for_rows(digits):
    with pytest.raises(ValueError, match="rows of 63 numbers are no square images"):
        AutoregressiveRNN(epochs=1).fit(digits[:, :63])
    assert AutoregressiveRNN.from_preset("tiny", images=50).fit(digits[:, :63]).sample(2).shape == (2, 63)


def test_classes_are_told_and_drawn(digits, digit_labels):
    x = (digits.reshape(-1, 8, 8) > 0.5).astype(np.float32)
    rate = "linear(1e-2, 0, over=budget)"
    model = AutoregressiveRNN(n_hidden=64, epochs=20, learning_rate=rate, random_state=0).fit(
        x[:1400], digit_labels[:1400]
    )
    means = np.stack([x[:1400][digit_labels[:1400] == y].mean(0) for y in range(10)])
    for y in (0, 1, 4):
        drawn = model.sample(100, y=y, random_state=0).mean(0)
        assert np.square(means - drawn).sum((1, 2)).argmin() == y
    assert model.score_samples(x[1400:]).mean() > -20
    assert model.score(x[1400:], digit_labels[1400:]) > 0.85


def test_grey_pixels_are_drawn_before_a_binary_net_is_asked_about_them():
    """The same ones for each question: those whose log-likelihood `score_samples` gives."""
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8)).astype(np.uint8)
    how = {"order": "pixels", "n_hidden": 3, "images": 60, "epochs": None, "random_state": 0, "precision": "float64"}
    model = AutoregressiveRNN(**how).fit(x, np.arange(60) % 2)
    drawn = 255 * bernoulli_by_content(torch.from_numpy(x).double() / 255).numpy().astype(np.uint8)
    assert 0.4 < (drawn == 255).mean() < 0.6
    for ask in (model.score_samples, model.conditionals, model.predict_log_proba, model.memory):
        assert np.array_equal(ask(x), ask(drawn)), ask.__name__
        assert not np.array_equal(ask(x), ask(np.where(x > 127, 255, 0).astype(np.uint8)))  # not the nearest ones


def test_images_in_colour_get_a_mixture_of_logistics_and_others_two_levels(digits):
    x = digits[:50].reshape(-1, 8, 8).astype(np.float32)
    for images, law in ((np.stack([x, 1 - x, x], 1), "levels"), (x, "binary"), (x[:, None], "binary")):
        model = AutoregressiveRNN(n_hidden=4, n_units=2, n_mixture=3, epochs=1, random_state=0).fit(images)
        assert model.nets_.rnn.law.n_parameters == (9 if law == "levels" else 1)
        (likelihood,) = model.log_likelihoods(images).values()
        assert likelihood.law == law
        values = np.unique(model.sample(20, random_state=0))
        assert set(values) <= {0, 1} if law == "binary" else len(values) > 100
        said = {"output": "logistics" if law == "levels" else "binary"}
        assert model._choices(model.border_.inner_shape) == said
    assert AutoregressiveRNN(output="binary")._choices((3, 8, 8)) == {}
    forced = AutoregressiveRNN(output="binary", n_hidden=4, n_units=2, epochs=1).fit(np.stack([x, x, x], 1))
    assert forced.log_likelihoods(np.stack([x, x, x], 1))["exact"].law == "binary"
