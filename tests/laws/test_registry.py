"""Laws that every registered model obeys."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from zoo import NAMES, find, make, told

import genlearn
from genlearn import RBM, registry
from genlearn.files import checksum
from genlearn.maths.rng import make_rng
from genlearn.parameters import table
from genlearn.train import Diverged, Game, Keeper, Stop, Stream
from stops import After


def weights(model) -> list[torch.Tensor]:
    return list(model.nets_.state_dict().values())


def draw(model, n: int, X: np.ndarray) -> np.ndarray:
    """n samples, or the codes or labels of n images where a model has no sampler."""
    if hasattr(model, "sample"):
        return model.sample(n, random_state=0)
    return model.transform(X[:n]) if hasattr(model, "transform") else model.predict_proba(X[:n])


def needs_sampler(name: str) -> None:
    if not hasattr(make(name), "sample"):
        pytest.skip(f"{name} has no sampler")


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


def test_clone_and_repeat(name, digits):
    """`fit` is idempotent, and the same seed gives the same bits."""
    model = make(name)
    before = model.get_params()
    model.fit(*told(digits[:600]))
    assert model.get_params() == before
    twin = clone(model).fit(*told(digits[:600]))
    assert same(model, twin)
    assert same(model, make(name).fit(*told(digits[600:0:-1])).fit(*told(digits[:600])))
    assert not same(model, make(name, random_state=4).fit(*told(digits[:600])))


def test_samples_have_the_shape_type_and_range_of_the_data(name, digits):
    needs_sampler(name)
    images = digits.reshape(-1, 8, 8)
    for X, high in ((digits, 1), (images, 1), ((255 * images[:, None]).astype(np.uint8), 255)):
        samples = make(name).fit(*told(X[:200])).sample(3, random_state=0)
        assert samples.shape == (3, *X.shape[1:])
        assert samples.dtype == X.dtype
        assert samples.min() >= 0
        assert high / 10 < samples.max() <= high


def test_bytes_and_floats_are_the_same_images(name, digits):
    """uint8 is x / 255 on the way in and round(255 x) on the way out."""
    needs_sampler(name)
    whole = (255 * digits[:200]).round().astype(np.uint8)
    as_bytes = make(name).fit(*told(whole)).sample(20, random_state=0)
    as_floats = make(name).fit(*told(whole.astype(np.float32) * np.float32(1 / 255))).sample(20, random_state=0)
    assert np.abs(as_bytes - 255 * as_floats).max() <= 0.5 + 1e-3


def test_other_ranges_are_mapped_and_mapped_back(name, digits):
    needs_sampler(name)
    X = 40 * digits[:200] - 20
    with pytest.warns(UserWarning, match=r"pixels lie in \[-20, 20\]"):
        model = make(name).fit(*told(X))
    samples = model.sample(50, random_state=0)
    assert samples.min() < -10
    assert samples.min() >= -20
    assert samples.max() <= 20


def test_one_seed_an_image(name, digits):
    needs_sampler(name)
    model = make(name).fit(*told(digits))
    many = model.sample(130, random_state=5)
    assert np.array_equal(many[:7], model.sample(7, random_state=5))
    assert model.sample(0).shape == (0, 64)
    for n in (-1, 2.5, "3"):
        with pytest.raises(ValueError, match=f"n is {n!r}, expected the number of images"):
            model.sample(n)
    with pytest.raises(NotFittedError):
        make(name).sample(3)
    with pytest.raises(MemoryError, match="n is 1,000,000,000,000,000, whose images take more memory than there is"):
        model.sample(10**15)  # at once
    assert not np.array_equal(many, model.sample(130, random_state=6))
    assert len(np.unique(many, axis=0)) > 110  # means given a dozen hidden units may coincide
    assert not np.array_equal(many[:30], many[100:])  # every block has noise of its own


def test_save_and_load_give_the_same_bits(name, digits, tmp_path):
    model = make(name, ema=500.0).fit(*told(digits))
    model.save(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"model.json", "weights.safetensors"}
    twin = find(name).load(tmp_path)
    assert type(twin) is type(model)
    assert same(model, twin)
    assert np.array_equal(draw(model, 5, digits), draw(twin, 5, digits))
    if hasattr(model, "score_samples"):
        assert np.array_equal(model.score_samples(digits[:5]), twin.score_samples(digits[:5]))


def test_a_model_of_another_format_is_refused_in_one_line(name, digits, tmp_path):
    make(name).fit(*told(digits[:100])).save(tmp_path)
    about = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(about | {"format": 99}))
    with pytest.raises(ValueError, match="format 99") as error:
        find(name).load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_player_changes_only_what_it_owns(name):
    model = make(name)
    x = torch.rand(100, 64, generator=make_rng(0))
    inside, y = model._meet(x, torch.arange(100) % 2)
    nets = model._fresh_nets((64,), 0)
    stream, rng = Stream(inside, y, 50, 0), make_rng(1)
    for stage in model._stages((64,)):
        stream.select(stage.labelled)
        if stage.start is not None:
            with torch.no_grad():
                stage.start(nets, stream, rng)
        game = Game(stage, nets)
        for playing in game.players:
            before = {n: p.detach().clone() for n, p in nets.named_parameters()}
            move = game.move(playing, game._batch(stream, rng, 0), rng)
            assert all(torch.equal(before[n], p) for n, p in nets.named_parameters()), "a loss moved a parameter"
            playing.step(move, nets, 50)
            changed = {n for n, p in nets.named_parameters() if not torch.equal(before[n], p)}
            assert changed
            assert changed <= set(playing.names)


def test_a_stopped_run_resumes_to_the_same_bits(name, digits, tmp_path):
    """A checkpoint carries all state: networks, averages, optimisers, generators, chains, stream."""

    def learn(folder, rounds: int | None, resume: bool):
        model = make(name, ema=700.0, epochs=3, batch_size=64)
        x, y = model._meet(*told(digits))
        stop = Stop() if rounds is None else After(rounds)
        model._learn(x, y, resume, keeper=Keeper(tmp_path / folder), stop=stop)
        return model

    whole = learn("whole", None, False)
    for rounds in (1, 17, 40):
        # Everything global is disturbed in between: a resumed run must not depend on it.
        cut = learn(f"cut{rounds}", 2 * rounds, False)
        assert not same(cut, whole)
        torch.manual_seed(rounds)
        again = learn(f"cut{rounds}", None, True)
        assert same(again, whole)
        assert np.array_equal(draw(again, 3, digits), draw(whole, 3, digits))


def test_labels_choose_and_are_told(name, digits, digit_labels, tmp_path):
    """Labels may be any numbers or texts, -1 is unknown; what was learned from them survives a file."""
    model = make(name)
    if not model._uses_labels:
        needs_sampler(name)
        with pytest.raises(ValueError, match="knows no classes"):
            model.fit(digits[:100]).sample(2, y=0)
        return
    y = np.where(np.arange(200) % 5 == 0, -1, digit_labels[:200] + 3)
    model.set_params(epochs=10).fit(digits[:200], y)
    assert model.classes_.tolist() == list(range(3, 13))
    model.save(tmp_path)
    twin = find(name).load(tmp_path)
    if hasattr(model, "predict"):
        p = model.predict_proba(digits[:20])
        assert p.shape == (20, 10)
        assert np.allclose(p.sum(1), 1, atol=1e-5)
        assert np.array_equal(model.classes_[p.argmax(1)], twin.predict(digits[:20]))
    if hasattr(model, "_sample_class"):
        many = model.sample(120, y=[3, 7] * 60, random_state=1)
        assert np.array_equal(many[:1], twin.sample(1, y=3, random_state=1))
        assert not np.array_equal(many, model.sample(120, y=[4, 8] * 60, random_state=1))
        with pytest.raises(ValueError, match="y has the label 99, expected one of"):
            model.sample(2, y=99)
        with pytest.raises(ValueError, match="expected one label or 2 of them"):
            model.sample(2, y=[3, 4, 5])
    texts = make(name).fit(digits[:100], np.array(["even", "odd"])[digit_labels[:100] % 2])
    assert texts.classes_.tolist() == ["even", "odd"]
    if hasattr(texts, "predict"):
        assert set(texts.predict(digits[:20])) <= {"even", "odd"}


def test_completion_keeps_what_is_known(name, digits):
    model = make(name)
    if not hasattr(model, "complete"):
        pytest.skip(f"{name} does not complete")
    images = (255 * digits[:200].reshape(-1, 8, 8)).astype(np.uint8)
    model.fit(*told(images))
    known = np.zeros((8, 8), bool)
    known[:4] = True
    filled = model.complete(images[:5], known, random_state=0)
    assert filled.shape == (5, 8, 8)
    assert filled.dtype == np.uint8
    assert np.array_equal(filled[:, :4], images[:5, :4])
    hidden = images[:5].copy()
    hidden[:, 4:] = 200
    assert np.array_equal(filled, model.complete(hidden, known, random_state=0))
    assert filled[:, 4:].std() > 0
    with pytest.raises(ValueError, match="known is int64 of shape"):
        model.complete(images[:5], known.astype(int))


def test_hasattr_tells_the_truth(name, digits):
    model = make(name).fit(*told(digits[:100]))
    for capability in registry.CAPABILITIES:
        assert hasattr(model, capability) == hasattr(make(name), capability)
    listed = {entry.name: entry.capabilities for entry in registry.models()}.get(name, ())
    assert all(hasattr(model, capability) for capability in listed)
    if hasattr(model, "transform"):
        codes = model.transform(digits[:4])
        assert codes.shape == (4, model._n_features_out)
    if hasattr(model, "inverse_transform"):
        assert model.inverse_transform(np.zeros((4, model._n_features_out))).shape == digits[:4].shape
    if hasattr(model, "log_likelihoods"):
        for likelihood in model.log_likelihoods(digits[:30]).values():
            assert likelihood.values.shape == (30,)
            assert torch.isfinite(likelihood.values).all()


def test_every_parameter_has_help_and_a_valid_default(name):
    for parameter in table(find(name)).values():
        assert parameter.help, parameter.name
        parameter.check(parameter.default)
        if type(None) in parameter.kinds and not parameter.is_object:
            assert parameter.parse("none") is None
        if parameter.default is not None and not isinstance(parameter.default, (str, tuple)):
            assert parameter.parse(str(parameter.default)) == parameter.default


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0, expected an integer at least 1"),
        ({"epochs": -1}, "epochs is -1, expected a number above 0 or none"),
        ({"images": float("inf")}, "images is inf, expected a number at least 1 or none"),
        ({"optimizer": "adamm"}, "did you mean 'adam'"),
        ({"learning_rate": "linear(1)"}, "learning_rate: 'linear(1)' is no schedule"),
        ({"learning_rate": "constant(-1)"}, "learning_rate is 'constant(-1)', expected a number above 0"),
        ({"random_state": -3}, "random_state is -3"),
        ({"precision": "float16"}, "expected auto, float32, float64, bf16"),
        ({"epochs": None}, "expected a budget"),
    ],
)
def test_parameters_out_of_range_are_refused_in_one_line(name, changes, message, digits):
    with pytest.raises(ValueError, match="expected") as error:
        make(name, **changes).fit(*told(digits))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("precision", ["float64", "bf16"])
def test_precisions(name, precision, digits):
    model = make(name, precision=precision).fit(*told(digits[:600]))
    assert model.nets_ is not None
    expected = torch.float64 if precision == "float64" else torch.float32
    assert all(p.dtype == expected for p in model.nets_.parameters())
    assert np.isfinite(draw(model, 3, digits)).all()


class Low(TorchDispatchMode):
    """Counts the operations of which some input is bf16, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = tree_leaves((args, kwargs))
        low = any(isinstance(x, torch.Tensor) and x.dtype == torch.bfloat16 for x in tensors)
        self.seen[func.overloadpacket.__name__] += low
        return func(*args, **(kwargs or {}))


def check(low: Low) -> None:
    """What is random, and losses with their logarithms, is not rounded to 8 bits."""
    losses = ("softplus", "log_sigmoid_forward", "_log_softmax", "logsumexp", "exp", "log", "mse_loss", "pow")
    draws = ("normal_", "uniform_", "random_", "bernoulli_", "lt", "rand_like", "randn_like")
    assert {op: low.seen[op] for op in (*losses, *draws) if low.seen[op]} == {}


def test_bf16_is_inside_of_nets_only(name, digits):
    if name == "proof":
        pytest.skip("a model of the tests, with a loss of its own")
    images, *labels = told(digits[:300])
    with Low() as low:
        make(name, precision="bf16").fit(images, *labels)
    assert low.seen.total() > 0 or name == "bm"
    check(low)


@pytest.mark.parametrize("algorithm", ["cd", "pcd", "parallel-tempering", "nce", "score-matching"])
def test_no_energy_is_taken_in_bf16(algorithm, digits):
    """Small differences of sums over all pixels are learned."""
    with Low() as low:
        RBM(n_hidden=5, algorithm=algorithm, epochs=1, precision="bf16").fit(digits[:300])
    check(low)
    assert low.seen["mv"] == low.seen["dot"] == 0
    if algorithm in ("nce", "score-matching"):
        assert low.seen.total() == 0


@pytest.mark.parametrize(
    "optimizer",
    ["sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "adamax", "nadam", "radam"],
)
def test_every_optimiser_moves_every_player(name, optimizer, digits):
    model = make(name, optimizer=optimizer, epochs=1).fit(*told(digits[:300]))
    start = model._fresh_nets((64,), 0)
    for stage in model._stages((64,)):
        for player in stage.players:
            pairs = zip(player.parameters(start), player.parameters(model.nets_), strict=True)
            assert not [name for (name, a), (_, b) in pairs if torch.equal(a, b)]


def test_nan_in_the_data_is_named(name, digits):
    X = digits.copy()
    X[7, 3], X[9, 1] = np.nan, np.inf
    with pytest.raises(ValueError, match="2 NaN or inf values, the first in row 7") as error:
        make(name).fit(*told(X))
    assert "\n" not in str(error.value)


def test_labels_of_the_wrong_length(name, digits):
    with pytest.raises(ValueError, match="5 labels, expected 1797"):
        make(name).fit(digits, np.arange(5))


def test_channels_last_is_refused_with_the_fix(name):
    with pytest.raises(ValueError, match=r"numpy.moveaxis"):
        make(name).fit(np.zeros((4, 8, 8, 3), np.uint8))


def test_unknown_model_and_attribute():
    with pytest.raises(ValueError, match="did you mean 'rbm'"):
        registry.model("rbmm")
    assert genlearn.RBM is registry.model("rbm")
    with pytest.raises(AttributeError, match="no attribute"):
        genlearn.NoSuchModel  # noqa: B018


def test_numbers_of_numpy_are_saved(name, digits, tmp_path):
    make(name, batch_size=np.int64(40), weight_decay=np.float32(0.5)).fit(*told(digits[:100])).save(tmp_path)
    assert find(name).load(tmp_path).batch_size == 40


def test_a_model_of_an_absent_device_is_loaded_where_there_is_one(name, digits, tmp_path):
    make(name).fit(*told(digits[:100])).save(tmp_path)
    about = json.loads((tmp_path / "model.json").read_text())
    about["parameters"]["device"] = "mps"
    del about["sha256"]
    (tmp_path / "model.json").write_text(json.dumps({**about, "sha256": checksum(about)}))
    if not torch.backends.mps.is_available():
        assert find(name).load(tmp_path).device == "auto"
    assert find(name).load(tmp_path, device="cpu").device == "cpu"


def test_parameters_that_blow_up_are_named(name, digits):
    with pytest.raises(Diverged, match="usual fix is a smaller learning rate") as error:
        make(name, learning_rate=1e39, optimizer="sgd", epochs=3, batch_size=500).fit(*told(digits))
    assert "\n" not in str(error.value)
