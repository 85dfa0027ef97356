"""Monitors read what they say: which images, which nets, which seed, how often."""

from __future__ import annotations

import copy
import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone

from genlearn import monitors
from genlearn.data import Data, load
from genlearn.data.part import Part
from genlearn.draw import grid
from genlearn.estimator import seeds
from genlearn.metrics import parzen
from genlearn.models.autoencoder import Autoencoder
from genlearn.models.conditional_gan import ConditionalGAN
from genlearn.models.conditional_rbm import ConditionalRBM
from genlearn.models.conditional_vae import ConditionalVAE
from genlearn.models.gan import GAN
from genlearn.models.rbm import RBM
from genlearn.models.vae import VAE
from genlearn.monitors import choose

COMMON = {"random_state": 3, "device": "cpu", "epochs": 3, "batch_size": 50, "ema": 1e5}


@pytest.fixture(scope="module")
def data() -> Data:
    """Digits; some labels of the validation part are not known."""
    whole = load("digits")
    y = whole.valid.y.clone()
    y[::3] = -1
    return dataclasses.replace(whole, valid=dataclasses.replace(whole.valid, y=y))


@pytest.fixture(scope="module")
def vae(data) -> VAE:
    return VAE.from_preset("tiny", **COMMON).fit(data)


@pytest.fixture(scope="module")
def classifier(data) -> ConditionalRBM:
    changes = COMMON | {"n_hidden": 12, "learning_rate": 0.3, "epochs": 5}
    return ConditionalRBM.from_preset("tiny", **changes).fit(data)


def chosen(model, data, folder, names=()) -> dict[str, monitors.Monitor]:
    return {m.name: m for m in choose(model, data, folder, names)}


def test_what_a_model_can_be_watched_by(vae, classifier, data, tmp_path):
    assert list(chosen(vae, data, tmp_path)) == ["samples", "score", "units"]
    assert list(chosen(vae, data, tmp_path, ["parzen", "gradients"])) == ["samples", "parzen", "score", "units"]
    assert list(chosen(classifier, data, tmp_path)) == ["samples", "score", "error"]
    assert list(chosen(GAN(), data, tmp_path)) == ["samples", "collapse", "verdicts"]
    assert list(chosen(Autoencoder(), data, tmp_path)) == ["reconstructions"]
    nothing = dataclasses.replace(data.valid, x=data.valid.x[:0], y=data.valid.y[:0])
    assert list(chosen(classifier, dataclasses.replace(data, valid=nothing), tmp_path)) == ["samples"]
    unlabelled = dataclasses.replace(data.valid, y=None)
    assert list(chosen(classifier, dataclasses.replace(data, valid=unlabelled), tmp_path)) == ["samples", "score"]
    with pytest.raises(ValueError, match="unknown monitor 'parzen'"):
        choose(vae, dataclasses.replace(data, valid=nothing), tmp_path, ["parzen"])


@pytest.mark.parametrize(("n", "every"), [(1412, 10_000), (20_000, 20_000)])
def test_once_an_epoch_or_ten_thousand_images(n, every, vae, data, tmp_path):
    x = data.train.x[:1].expand(n, 1, 8, 8)
    many = dataclasses.replace(data, train=dataclasses.replace(data.train, x=x))
    assert {m.every for m in choose(vae, many, tmp_path, ["parzen"])} == {every}


def test_the_sheet_shows_samples_of_the_given_nets_with_the_seed_of_watching(vae, data, tmp_path):
    look = chosen(vae, data, tmp_path)["samples"].run
    for images, nets in ((0, vae.nets_), (1, vae.averaged_nets_), (2, vae.nets_)):
        assert look(nets, images) == {}
    sheets = [np.asarray(Image.open(path)) for path in sorted(tmp_path.iterdir())]
    seed = seeds(3).watch % 2**32
    assert np.array_equal(sheets[0], np.asarray(grid(vae.sample(64, random_state=seed, nets=vae.nets_), columns=8)))
    assert np.array_equal(sheets[0], sheets[2])
    assert not np.array_equal(sheets[0], sheets[1])


def test_where_codes_get_their_law_at_the_end_reconstructions_are_shown(data, tmp_path):
    """Validation images in rows of eight, each above what the given nets make of its codes."""
    model = Autoencoder.from_preset("tiny", **COMMON).fit(data)
    look, x = chosen(model, data, tmp_path)["reconstructions"].run, data.valid.x[:32].numpy()
    for images, nets in ((0, model.nets_), (1, model.averaged_nets_)):
        assert look(nets, images) == {}
        rebuilt = model.inverse_transform(model.transform(x, nets=nets), nets=nets)
        rows = [part[i : i + 8] for i in range(0, 32, 8) for part in (x, rebuilt)]
        sheet = np.asarray(Image.open(tmp_path / f"reconstructions-{images:012d}.png"))
        assert np.array_equal(sheet, np.asarray(grid(np.concatenate(rows), columns=8)))


def test_points_in_the_plane_are_scattered_over_training_data(tmp_path, monkeypatch):
    ring, shown, scatter = load("ring", n=2000), [], monitors.draw.scatter
    model = GAN.from_preset("tiny", output="linear", **COMMON | {"images": 100}).fit(ring)
    monkeypatch.setattr(monitors.draw, "scatter", lambda *a: shown.append(a) or scatter(*a))
    for nets in (model.nets_, model.averaged_nets_):
        chosen(model, ring, tmp_path)["samples"].run(nets, 5)
        points, over = shown.pop()
        assert np.array_equal(points, model.sample(1000, random_state=seeds(3).watch % 2**32, nets=nets))
        assert np.array_equal(over, ring.train.x[:1000])
    assert Image.open(tmp_path / "images-000000000005.png").width > 100


def test_the_score_is_that_of_validation_images(vae, data):
    look = monitors.Score(vae, data, asked=False)
    for nets in (vae.nets_, vae.averaged_nets_):
        expected = vae.score_samples(data.valid.x[:200].numpy(), nets=nets).mean()
        assert look(nets, 0) == {"valid/lower bound": pytest.approx(float(expected))}
    assert look(vae.nets_, 0) != look(vae.averaged_nets_, 0)


def test_a_score_that_takes_an_estimate_of_log_z_is_watched_on_request_only(data):
    rbm = RBM(n_hidden=21, visible="gaussian", epochs=1, device="cpu", random_state=0).fit(data.train.x[:200] / 255)
    assert monitors.Score(rbm, data, asked=False)(rbm.nets_, 0) == {}
    assert list(monitors.Score(rbm, data, asked=True)(rbm.nets_, 0)) == ["valid/estimate"]


def test_sheets_are_drawn_by_short_chains(data, tmp_path):
    """A sheet costs at most 100 steps; the model keeps its own number."""
    rbm = RBM(n_hidden=8, n_gibbs=1000, epochs=1, device="cpu", random_state=0).fit(data)
    chosen(rbm, data, tmp_path)["samples"].run(rbm.nets_, 5)
    assert rbm.n_gibbs == 1000
    short = rbm.set_params(n_gibbs=100).sample(64, random_state=seeds(0).watch % 2**32)
    (sheet,) = tmp_path.iterdir()
    assert np.array_equal(np.asarray(Image.open(sheet)), np.asarray(grid(short, columns=8)))


def test_the_error_is_in_per_cent_of_validation_images_whose_label_is_known(classifier, data):
    x, y = data.valid.x.numpy(), data.valid.y.numpy()
    known, values = y >= 0, []
    for nets in (classifier.nets_, classifier.averaged_nets_):
        wrong = classifier.predict(x[known], nets=nets) != y[known]
        values.append(monitors.Error(classifier, data)(nets, 0)["valid/error"])
        assert values[-1] == pytest.approx(100 * wrong.mean())
    assert values[0] != values[1]
    nobody = dataclasses.replace(data.valid, y=torch.full_like(data.valid.y, -1))
    assert monitors.Error(classifier, dataclasses.replace(data, valid=nobody))(classifier.nets_, 0) == {}


def test_parzen_is_that_of_validation_images(vae, data, monkeypatch):
    draw, asked = vae.sample, []
    monkeypatch.setattr(vae, "sample", lambda n, **o: asked.append((n, o["random_state"])) or draw(300, **o))
    look, valid = monitors.Parzen(vae, data, seed=11), data.valid.x[:1000]
    for nets in (vae.nets_, vae.averaged_nets_):
        expected = parzen(draw(300, random_state=11, nets=nets), valid, valid).value
        assert look(nets, 0) == {"valid/parzen": expected}
    assert asked == [(10_000, 11)] * 2
    assert look(vae.nets_, 0) != look(vae.averaged_nets_, 0)


@pytest.fixture(scope="module")
def gan(data) -> GAN:
    return GAN.from_preset("tiny", **COMMON, hidden_d=()).fit(data)


@pytest.mark.parametrize(("sd", "named"), [(0.1, True), (2.0, False)])
def test_knowing_by_heart_is_named_where_it_is_more_than_noise(sd, named):
    """D says 0.2 more of training images: with standard deviation 2 and 500 images that is 1.6 standard errors."""

    class Fixed:
        pack, _n_classes = 1, 0

        def discriminate(self, x, y, nets):
            return np.asarray(x) + sd * np.tile([-1.0, 1.0], 250)

        def sample(self, n, **how):
            return np.full(n, -0.1)

    train, valid = (Part(torch.full((500,), value), None, "") for value in (0.2, 0.0))
    said = monitors.Verdicts(Fixed(), SimpleNamespace(train=train, valid=valid), 0)(None, 0)
    assert said["D overfitting"] == pytest.approx(2 / 3)
    assert ("by heart" in said["verdicts"]) == named


def test_what_d_says(gan, data, tmp_path):
    """Means of D over 500 training and validation images and over samples, and how far it knows the former by heart."""
    look = chosen(gan, data, tmp_path)["verdicts"].run
    said = look(gan.nets_, 0)
    n = min(500, len(data.valid))
    samples = gan.sample(n, random_state=seeds(3).watch % 2**32, nets=gan.nets_)
    for name, x in (("training", data.train.x[:n]), ("validation", data.valid.x[:n]), ("samples", samples)):
        expected = gan.nets_.D(torch.as_tensor(x).flatten(1) / 255).mean()
        assert said[f"D on {name}"] == pytest.approx(expected.item(), abs=1e-5)
        assert gan.discriminate(x, nets=gan.nets_).shape == (n,)
    # A linear D along the line from samples to training images.
    nets = copy.deepcopy(gan.nets_)
    difference = (data.train.x[:n] / 255.0).mean(0).flatten() - torch.as_tensor(samples / 255.0).mean(0).flatten()
    nets.D.out.weight.data.copy_(difference[None])
    for x, overfitting in ((torch.as_tensor(samples), 1.0), (data.train.x[:n], 0.0)):
        other = dataclasses.replace(data, valid=dataclasses.replace(data.valid, x=x, y=None))
        said = chosen(gan, other, tmp_path)["verdicts"].run(nets, 0)
        assert said["D on training"] > said["D on samples"]
        assert said["D overfitting"] == pytest.approx(overfitting, abs=1e-3)
        assert ("learns them by heart; what helps" in said["verdicts"]) == (overfitting == 1)
    best = gan.discriminate(data.train.x[:n], nets=nets).argsort()[-n // 2 :].copy()
    other = dataclasses.replace(data, valid=dataclasses.replace(data.valid, x=data.train.x[best], y=None))
    said = chosen(gan, other, tmp_path)["verdicts"].look(nets, 0)
    assert said["D overfitting"] < -0.1
    assert said["verdicts"] == "to D validation images look no less real than training images."
    nets.D.out.weight.data.mul_(-1)
    assert "D overfitting" not in chosen(gan, data, tmp_path)["verdicts"].run(nets, 0)


def test_collapse_is_said_with_its_remedies(gan, data, tmp_path, monkeypatch):
    """Samples that are training images are as varied; copies of one are not, and miss nine classes."""
    look = chosen(gan, data, tmp_path)["collapse"].run
    x, y = data.train.x, data.train.y
    monkeypatch.setattr(GAN, "sample", lambda self, n, random_state, nets: x[-n:].numpy())
    fine = look(gan.nets_, 0)
    assert fine["variety"] == pytest.approx(1, abs=0.1)
    assert fine["classes hit"] == 10
    assert fine["reverse KL of classes"] < 0.1
    assert fine["collapse"].endswith("as images do.")
    monkeypatch.setattr(GAN, "sample", lambda self, n, random_state, nets: x[:1].expand(n, 1, 8, 8).numpy())
    bad = look(gan.nets_, 0)
    assert (bad["variety"], bad["classes hit"]) == (0, 1)
    assert bad["reverse KL of classes"] == pytest.approx(-math.log((y == y[0]).double().mean().item()), abs=1e-6)
    assert "none is nearest to one of" in bad["collapse"] and "their loss: pack=4" in bad["collapse"]


def test_d_of_packs_and_of_labels_is_watched_too(data, tmp_path):
    known = dataclasses.replace(data, valid=load("digits").valid)
    for model, parts in (
        (GAN.from_preset("tiny", pack=2, **COMMON), data),
        (ConditionalGAN.from_preset("tiny", **COMMON), known),
    ):
        said = chosen(model.fit(parts), parts, tmp_path)["verdicts"].run(model.nets_, 0)
        assert np.isfinite([said[f"D on {name}"] for name in ("training", "validation", "samples")]).all()
    assert chosen(model, data, tmp_path)["verdicts"].run(model.nets_, 0) == {}  # labels that nobody knows


def test_units_that_gave_up_are_named(vae, data, tmp_path):
    nets = copy.deepcopy(vae.nets_)
    units = chosen(vae, data, tmp_path)["units"].run
    with torch.no_grad():
        nets.encoder.out.weight *= 50
        assert units(nets, 0) == {"valid/active units": 3.0, "units": "3 of 3 units of the code are active."}
        nets.encoder.out.weight[1] = 0
    said = units(nets, 0)
    assert said["valid/active units"] == 2
    assert said["units"].startswith("2 of 3 units of the code are active: 1 has collapsed to the prior")
    assert said["units"].endswith("; more are used with a warm-up, beta='linear(0, 1, over=2e5)', or free_bits=0.05")
    tried = clone(vae).set_params(beta="linear(0, 1, over=1e3)", free_bits=0.1).fit(data)
    tried.nets_.encoder.out.weight.data[1] = 0
    assert chosen(tried, data, tmp_path)["units"].run(tried.nets_, 0)["units"].endswith("not vary with the image")


def test_units_are_those_of_the_first_500_validation_images(vae, data, tmp_path):
    """Active is a variance of more than 0.01, of the means that the given nets make of validation images."""
    x = data.valid.x[:1]
    still = torch.cat([x.expand(500, *x.shape[1:]), data.train.x[:500]])
    other = dataclasses.replace(data, valid=dataclasses.replace(data.valid, x=still, y=None))
    assert chosen(vae, other, tmp_path)["units"].run(vae.nets_, 0)["valid/active units"] == 0
    nets = copy.deepcopy(vae.nets_)
    means = vae.transform(data.valid.x[:500].numpy(), nets=nets)
    with torch.no_grad():  # variances of .005, .005 and .02
        factors = np.sqrt([0.005, 0.005, 0.02]) / means.std(0)
        nets.encoder.out.weight[:3] *= torch.as_tensor(factors, dtype=torch.float32)[:, None]
    assert chosen(vae, data, tmp_path)["units"].run(nets, 0)["valid/active units"] == 1


def test_classes_are_no_units_of_a_code(data, tmp_path):
    known = dataclasses.replace(data, valid=load("digits").valid)
    model = ConditionalVAE.from_preset("tiny", **COMMON).fit(known)
    with torch.no_grad():
        model.nets_.encoder.out.weight[:3] *= 50
    said = chosen(model, known, tmp_path)["units"].run(model.nets_, 0)
    assert said == {"valid/active units": 3.0, "units": "3 of 3 units of the code are active."}


def test_a_class_that_200_samples_may_well_miss_is_not_called_lost(gan, data, tmp_path, monkeypatch):
    """One image in 141 is missed by a quarter of honest sets of 200; one in ten by none."""
    train = data.train
    monkeypatch.setattr(GAN, "sample", lambda self, n, random_state, nets: train.x[:1].expand(n, 1, 8, 8).numpy())
    for rare, lost in ((10, False), (141, True)):
        y = torch.zeros_like(train.y)
        y[-rare:] = 1
        other = dataclasses.replace(data, train=dataclasses.replace(train, y=y))
        said = chosen(gan, other, tmp_path)["collapse"].run(gan.nets_, 0)
        assert (said["classes hit"], "none is nearest to one of 1" in said["collapse"]) == (1, lost)
