"""What a trained model answers: with which nets, of which images, in which blocks, and what its scores are worth."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from itertools import islice, product
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import is_classifier
from sklearn.model_selection import cross_val_score
from torch import nn

from genlearn.capabilities import Capabilities, Encoder
from genlearn.data import Data, load
from genlearn.models.bm import BoltzmannMachine
from genlearn.models.conditional_rbm import ConditionalRBM
from genlearn.models.dbm import DBM
from genlearn.models.dbn import DBN
from genlearn.models.denoising import DenoisingAutoencoder
from genlearn.models.energy import EnergyModel
from genlearn.models.gan import GAN
from genlearn.models.rbm import RBM
from genlearn.models.stacked_rbm import StackedRBMClassifier
from genlearn.models.vae import VAE

COMMON = {"random_state": 0, "device": "cpu", "epochs": 3, "batch_size": 50}
KNOWN = np.arange(64) < 32


@pytest.fixture(scope="module")
def labelled(digits, digit_labels) -> ConditionalRBM:
    """A model with nearly every capability, whose averaged weights lag far behind."""
    model = ConditionalRBM.from_preset(
        "tiny", n_hidden=10, ema=1e5, **COMMON | {"learning_rate": 0.3, "batch_size": 10}
    )
    return model.fit(digits[:300], digit_labels[:300])


@pytest.fixture(scope="module")
def latent(digits) -> VAE:
    return VAE.from_preset("tiny", ema=1e5, **COMMON).fit(digits[:300])


@pytest.fixture(scope="module")
def noisy(digits) -> DenoisingAutoencoder:
    return DenoisingAutoencoder.from_preset("tiny", ema=1e5, **COMMON).fit(digits[:300])


CALLS: dict[str, Callable[[Any, np.ndarray], Any]] = {
    "sample": lambda m, X: lambda **nets: m.sample(3, random_state=0, **nets),
    "sample of a class": lambda m, X: lambda **nets: m.sample(3, y=1, random_state=0, **nets),
    "chain": lambda m, X: lambda **nets: np.stack(list(islice(m.chain(3, random_state=0, **nets), 2))),
    "complete": lambda m, X: lambda **nets: m.complete(X, KNOWN, random_state=0, **nets),
    "denoise": lambda m, X: lambda **nets: m.denoise(X, **nets),
    "transform": lambda m, X: lambda **nets: m.transform(X, **nets),
    "inverse_transform": lambda m, X: lambda **nets: m.inverse_transform(np.ones((2, m._n_features_out)), **nets),
    "predict_log_proba": lambda m, X: lambda **nets: m.predict_log_proba(X, **nets),
    "predict_proba": lambda m, X: lambda **nets: m.predict_proba(X, **nets),
    "predict": lambda m, X: lambda **nets: m.predict(X, **nets),
    "score_samples": lambda m, X: lambda **nets: m.score_samples(X, **nets),
    "score": lambda m, X: lambda **nets: m.score(X, **nets),
    "log_likelihoods": lambda m, X: lambda **nets: next(iter(m.log_likelihoods(X, **nets).values())).values.numpy(),
}


@pytest.mark.parametrize("call", CALLS)
def test_averaged_weights_answer_and_others_where_they_are_given(call, labelled, latent, noisy, digits, tmp_path):
    model = (
        noisy
        if call == "denoise"
        else labelled
        if call in ("chain", "complete") or "predict" in call or "class" in call
        else latent
    )
    ask = CALLS[call](model, digits[300:500])
    assert not torch.equal(*(next(nets.parameters()) for nets in (model.nets_, model.averaged_nets_)))
    assert np.array_equal(ask(), ask(nets=model.averaged_nets_))
    assert not np.array_equal(ask(), ask(nets=model.nets_))
    twin = type(model).load(model.save(tmp_path))
    assert np.array_equal(CALLS[call](twin, digits[300:500])(), ask())


def test_every_public_method_takes_nets(labelled, noisy):
    methods = {n: f for c in (Capabilities, Encoder) for n, f in vars(c).items() if not n.startswith("_")}
    for name in methods:
        model = labelled if hasattr(labelled, name) else noisy
        assert "nets" in inspect.signature(getattr(model, name)).parameters, name
    assert labelled.score_kind(nets=labelled.nets_) == labelled.score_kind()


def test_without_an_average_the_raw_weights_answer(digits):
    model = VAE.from_preset("tiny", **COMMON).fit(digits[:100])
    assert model.averaged_nets_ is None
    assert np.array_equal(model.transform(digits), model.transform(digits, nets=model.nets_))


def test_a_loaded_average_shares_what_was_not_averaged(digits, digit_labels, tmp_path):
    """In a file there is one copy of it, in memory too."""
    model = DBN.from_preset("tiny", ema=500.0, **COMMON).fit(digits[:200], digit_labels[:200])
    twin = DBN.load(model.save(tmp_path))
    for owner in (model, twin):
        pairs = zip(owner.nets_.state_dict().values(), owner.averaged_nets_.state_dict().values(), strict=True)
        assert {a.data_ptr() == b.data_ptr() for a, b in pairs} == {True, False}
    for a, b in zip(model.averaged_nets_.state_dict().values(), twin.averaged_nets_.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not any(p.requires_grad for p in [*twin.nets_.parameters(), *twin.averaged_nets_.parameters()])
    assert not any(m.training for m in [*twin.nets_.modules(), *twin.averaged_nets_.modules()])


# --- blocks


@pytest.mark.parametrize("shape", [(8, 8), (3, 60, 60)])
def test_image_i_does_not_depend_on_how_many_are_drawn(shape, monkeypatch):
    """Whole blocks are drawn, of a size that follows from the shape of an image alone."""
    images = np.random.default_rng(0).random((20, *shape), dtype=np.float32)
    model = GAN.from_preset("tiny", activation="tanh", hidden_d=(2,), random_state=0, images=20, epochs=None).fit(
        images
    )
    block = 64 if shape == (8, 8) else 2**18 // 10_800
    asked, decode = [], model._decode
    monkeypatch.setattr(model, "_decode", lambda nets, z: asked.append(len(z)) or decode(nets, z))
    many = model.sample(130, random_state=1)
    assert asked == [block] * -(-130 // block)
    assert np.array_equal(model.sample(1, random_state=1), many[:1])
    assert np.array_equal(model.sample(block + 1, random_state=1), many[: block + 1])
    assert len(np.unique(many.reshape(130, -1), axis=0)) == 130


def test_images_beyond_the_first_block_have_their_own_class_and_their_own_known_pixels(labelled):
    """Told by hooks that give back what they are told."""
    model, n = copy.copy(labelled), labelled.border_.block + 20
    y, known = np.arange(n) % 10, np.random.default_rng(0).random((n, 64)) < 0.5
    model._sample_class = lambda nets, y, rng: (y / 10.0)[:, None].expand(-1, 64)
    assert np.allclose(model.sample(y=y), y[:, None] / 10)
    model._complete = lambda nets, x, known, rng: known.to(x.dtype)
    assert (model.complete(np.zeros((n, 64), np.float32), known) == 0).all()


def test_a_row_does_not_depend_on_how_many_there_are(labelled, digits):
    for method in (labelled.transform, labelled.score_samples, labelled.predict_proba):
        assert np.array_equal(method(digits[:130])[:3], method(digits[:3]))
    filled = labelled.complete(digits[:130], KNOWN, random_state=0)
    assert np.array_equal(filled[:3], labelled.complete(digits[:3], KNOWN, random_state=0))


# --- what a score is


def states(d: int) -> np.ndarray:
    return np.array(list(product([0.0, 1.0], repeat=d)))


@pytest.mark.parametrize(
    "model",
    [
        RBM(n_hidden=3, binarize=False),
        RBM(n_hidden=3, algorithm="nce", n_noise=2),
        ConditionalRBM(n_hidden=3),
        BoltzmannMachine(n_hidden=2, n_chains=10),
    ],
)
def test_an_exact_score_is_a_probability_of_binary_images(model):
    X = states(5)[np.random.default_rng(0).integers(0, 8, 200)]
    model.set_params(precision="float64", learning_rate=0.2, **COMMON).fit(X, X[:, 2] > 0)
    assert model.score_kind() == "exact"
    assert np.exp(model.score_samples(states(5))).sum() == pytest.approx(1, abs=1e-9)
    assert model._scorer(model.nets_)(torch.from_numpy(states(5))).std() > 0.1  # and not all the same


@pytest.mark.parametrize("model", [DBN(hidden=(3, 4)), DBM(hidden=(3, 4), n_chains=10), VAE(hidden=(4,), n_latent=2)])
def test_a_lower_bound_sums_to_less(model, monkeypatch):
    monkeypatch.setattr("genlearn.models.dbn.N_DRAWS", 20_000)  # of 16 draws the mean is as often above as below
    X = states(5)[np.random.default_rng(0).integers(0, 8, 200)]
    changes = {"pretrain_epochs": 1} if hasattr(model, "pretrain_epochs") else {}
    model.set_params(precision="float64", **COMMON, **changes).fit(X)
    assert model.score_kind() == "lower bound"
    assert 0.1 < np.exp(model.score_samples(states(5))).sum() < 1 + 1e-9


@pytest.mark.parametrize("model", [RBM(n_hidden=4), VAE(hidden=(4,), n_latent=2, binarize=False)])
def test_a_grey_image_is_scored_as_one_drawn_from_what_it_shows(model):
    """From nothing but its content: neither place, number, seed, type nor earlier calls matter."""
    grey = np.random.default_rng(0).integers(1, 255, (50, 4)).astype(np.uint8)
    model.set_params(**COMMON, precision="float64").fit(grey)
    every, scores = model.score_samples((255 * states(4)).astype(np.uint8)), model.score_samples(grey)
    assert all(np.isclose(every, score, rtol=0, atol=1e-12).any() for score in scores)
    assert len(np.unique(scores.round(9))) > 4
    order = np.random.default_rng(1).permutation(50)
    np.testing.assert_allclose(model.score_samples(grey[order]), scores[order], rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.score_samples(np.repeat(grey[:7], 30, axis=0)), np.repeat(scores[:7], 30))
    assert model.score(grey) == pytest.approx(scores.mean())
    if isinstance(model, RBM):  # of the other likelihoods too, one binarisation is scored
        values = model.log_likelihoods(grey)["exact"].values.numpy()
        assert all(np.isclose(every, value, rtol=0, atol=1e-12).any() for value in values)


def test_densities_are_scored_as_they_are():
    X = np.random.default_rng(0).normal(0.5, 0.1, (200, 3))
    model = VAE(likelihood="gaussian", hidden=(4,), n_latent=1, **COMMON, precision="float64").fit(X)
    assert len(np.unique(model.score_samples(X))) == 200


def test_one_binarisation_a_seed(latent, digits):
    a, b, c = (latent.log_likelihoods(digits[:20], random_state=s)["ELBO"].values for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


# --- what may be asked about


@pytest.fixture(scope="module")
def data(digits, digit_labels) -> Data:
    return load((255 * digits.reshape(-1, 1, 8, 8)).astype(np.uint8), digit_labels)


def test_a_part_is_answered_and_a_whole_set_is_not(data, tmp_path):
    model = ConditionalRBM.from_preset("tiny", n_hidden=4, **COMMON).fit(data)
    asks = ["score_samples", "transform", "predict", "predict_proba", "score", "log_likelihoods"]
    for ask in (*(getattr(model, a) for a in asks), lambda X: next(model.chain(2, X))):
        for X in (data, "digits", tmp_path):
            with pytest.raises(ValueError, match="expected images, or one part of a data set") as error:
                ask(X)
            assert "\n" not in str(error.value)
    assert np.array_equal(model.transform(data.valid), model.transform(data.valid.x.numpy()))
    known = np.ones((1, 8, 8), bool)
    assert np.array_equal(model.complete(data.test, known), data.test.x.numpy())


def test_fit_takes_a_set_a_part_or_arrays_and_a_set_means_its_training_part(data):
    y = data.train.y.numpy()
    fits = ((data,), (data.train,), (data.train.x, y), (data.train.x.numpy(), y), (data.train, y))
    models = [ConditionalRBM.from_preset("tiny", **COMMON, binarize=False).fit(*given) for given in fits]
    for model in models[1:]:
        assert torch.equal(model.nets_.rbm.W, models[0].nets_.rbm.W)
    other = ConditionalRBM.from_preset("tiny", **COMMON, binarize=False).fit(data, (y > 4).astype(int))
    assert other.classes_.tolist() == [0, 1]  # labels that are given go before those of the set


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 8, 8), (3, 8, 8)])
def test_other_shapes_are_named(latent, shape):
    model, other = VAE.from_preset("tiny", **COMMON).fit(np.ones((20, *shape), np.float32)), (2, 5, 5)
    for ask in (model.score_samples, model.transform, model.log_likelihoods):
        with pytest.raises(ValueError, match="has images of shape") as error:
            ask(np.ones((3, *other), np.float32))
        assert f"{other}, expected {shape}" in str(error.value)


def test_another_scale_warns(latent, digits):
    with pytest.warns(UserWarning, match=r"X lies in \[0, 255\], but fit saw images in \[0, 1\]"):
        latent.transform(255 * digits)
    with pytest.warns(UserWarning, match=r"X lies in \[0, 1\], but fit saw images in \[0, 200\]"):
        VAE.from_preset("tiny", likelihood="gaussian", **COMMON).fit(200 * digits[:50]).transform(digits)


def test_codes_of_another_width(latent):
    with pytest.raises(ValueError, match=r"Z has shape \(2, 5\), expected \(n, 3\)"):
        latent.inverse_transform(np.ones((2, 5)))


# --- scikit-learn's words


def test_what_classifies_is_a_classifier():
    for model in (ConditionalRBM(), DBN(), DBM(fine_tune=1), StackedRBMClassifier()):
        assert is_classifier(model), model
    assert not any(is_classifier(model) for model in (RBM(), VAE(), GAN(), DBM()))


def test_what_learned_no_labels_classifies_nothing(digits):
    model = ConditionalRBM.from_preset("tiny", **COMMON).fit(digits[:100])
    assert not hasattr(model, "predict")
    assert not is_classifier(model)
    with pytest.raises(ValueError, match="was fitted without labels"):
        model.sample(2, y=1)


@pytest.mark.parametrize(
    "model",
    [
        ConditionalRBM(n_hidden=12, objective="discriminative", learning_rate=0.5, epochs=15),
        DBN(hidden=(32,), learning_rate=0.05, pretrain_rate=0.05, pretrain_epochs=20, epochs=2),
    ],
)
def test_cross_validation_stratifies_and_gives_accuracy(model, digits, digit_labels):
    """Of labels in order: without stratification no fold would know the labels that it is asked for."""
    rows = np.flatnonzero(digit_labels < 3)[:300]
    rows = rows[np.argsort(digit_labels[rows], kind="stable")]
    model.set_params(random_state=0, device="cpu", batch_size=10, binarize=False)
    scores = cross_val_score(model, digits[rows], digit_labels[rows], cv=3)
    assert ((scores > 0.7) & (scores <= 1)).all()
    fitted = copy.deepcopy(model).fit(digits[rows], digit_labels[rows])
    share = (fitted.predict(digits[rows]) == digit_labels[rows]).mean()
    assert fitted.score(digits[rows], digit_labels[rows]) == pytest.approx(share)
    assert fitted.score(digits[rows]) == pytest.approx(fitted.score_samples(digits[rows]).mean())


def test_frames_come_back_where_that_is_asked(digits):
    frame = pd.DataFrame(digits[:60].astype(np.float64), columns=[f"p{i}" for i in range(64)], index=range(7, 67))
    model = RBM.from_preset("tiny", n_hidden=3, **COMMON).set_output(transform="pandas")
    for codes in (model.fit(frame).transform(frame), model.fit_transform(frame)):
        assert isinstance(codes, pd.DataFrame)
        assert list(codes.columns) == ["rbm0", "rbm1", "rbm2"]
        assert list(codes.index) == list(frame.index)
    assert model.n_features_in_ == 64
    assert list(model.feature_names_in_[:2]) == ["p0", "p1"]
    model.fit(digits[:60].reshape(-1, 8, 8))
    assert not hasattr(model, "n_features_in_")


# --- files


def test_other_parameters_after_fit_are_saved_unless_they_mean_other_nets(digits, tmp_path):
    model = RBM.from_preset("tiny", **COMMON).fit(digits[:100])
    RBM.load(model.set_params(learning_rate=0.7, n_gibbs=3).save(tmp_path)).transform(digits[:3])
    model.set_params(n_hidden=30)
    with pytest.raises(ValueError, match="n_hidden was 12, is 30: that is another model; the usual fix") as error:
        model.save(tmp_path)
    assert "\n" not in str(error.value)
    assert RBM.load(model.set_params(n_hidden=12).save(tmp_path)).n_hidden == 12


def test_what_is_known_of_the_data_is_in_the_file(digits, tmp_path):
    with pytest.warns(UserWarning, match="pixels lie in"):
        model = RBM.from_preset("tiny", **COMMON).fit(6 * digits[:100] - 2)
    twin = RBM.load(model.save(tmp_path))
    assert (twin.border_.range, twin.border_.seen) == ((-2.0, 4.0), (-2.0, 4.0))
    assert (twin.n_iter_, twin.n_features_in_) == (6, 64)
    assert np.array_equal(twin.sample(2, random_state=0), model.sample(2, random_state=0))


class Square(nn.Module):
    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.width = width
        self.mean = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean).square().sum(1) / self.width


def test_objects_are_given_again_on_load(tmp_path):
    X = np.random.default_rng(0).normal(3.0, 1.0, (100, 2))
    model = EnergyModel(energy=Square(), algorithm="score-matching", n_steps=2, **COMMON).fit(X)
    assert EnergyModel.load(model.save(tmp_path), energy=Square()).averaged_nets_ is None
    twin = EnergyModel.load(tmp_path, energy=Square(0.1))  # the net that is given, with the weights of the file
    assert twin.energy.width == 0.1
    assert torch.equal(next(twin.nets_.parameters()), next(model.nets_.parameters()))
    for given in ({"n_steps": 3, "energy": Square()}, {"nothing": 3, "energy": Square()}):
        with pytest.raises(ValueError, match="is given, but it is no parameter that is an object"):
            EnergyModel.load(tmp_path, **given)
    with pytest.raises(ValueError, match="holds a EnergyModel, expected a VAE"):
        VAE.load(tmp_path)


def test_a_decoder_of_another_shape_is_named(digits, monkeypatch):
    model = VAE(hidden=(4,), n_latent=2, epochs=1, random_state=0).fit(digits[:100])
    monkeypatch.setattr(VAE, "_decode", lambda self, nets, z: nets.decoder(z)[:, :63])
    with pytest.raises(ValueError, match=r"VAE drew images of shape \(64, 63\), expected \(64, 64\) or rows"):
        model.sample(2)


def test_truncation_keeps_z_near_the_middle(digits):
    """Each image is that of its own code, cut; models without a normal z say so."""
    model = GAN.from_preset("tiny", random_state=0, epochs=1).fit(digits[:200])
    codes = []
    model.nets_.G.register_forward_pre_hook(lambda module, inputs: codes.append(inputs[0]))
    near, whole = (model.sample(50, truncation=t, random_state=0) for t in (0.5, None))
    assert codes[0].abs().max() <= 0.5 < codes[1].abs().max()
    assert not np.array_equal(near, whole)
    assert np.array_equal(near[:7], model.sample(7, truncation=0.5, random_state=0))
    assert np.array_equal(whole, model.sample(50, random_state=0))
    with pytest.raises(ValueError, match="but RBM draws no z"):
        RBM.from_preset("tiny", random_state=0).fit(digits[:200]).sample(2, truncation=0.5)
    uniform = GAN.from_preset("tiny", prior="uniform", random_state=0, epochs=1).fit(digits[:200])
    with pytest.raises(ValueError, match="z is not normal"):
        uniform.sample(2, truncation=0.5)


def test_codes_that_are_not_finite_are_refused():
    model = GAN.from_preset("tiny", random_state=0).fit(np.random.default_rng(0).random((20, 64)))
    z = np.zeros((2, model.n_latent))
    assert model.inverse_transform(z).shape == (2, 64)
    z[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"Z has shape .* and NaN or inf values, expected "):
        model.inverse_transform(z)
