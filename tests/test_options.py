"""The common options mean what they say, and what is random has seeds of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genlearn._types import Batch, Nets
from genlearn.data import load
from genlearn.estimator import seeds
from genlearn.maths.rng import Seeds, make_rng
from genlearn.models.dbm import DBM
from genlearn.models.dbn import DBN
from genlearn.models.gan import GAN
from genlearn.models.rbm import RBM
from genlearn.models.stacked_rbm import StackedRBMClassifier
from genlearn.models.vae import VAE
from genlearn.train import Optimizer, Progress, Schedule, Stream, Training


@pytest.fixture
def trained(monkeypatch) -> list[Training]:
    """The trainings that were run."""
    kept, run = [], Training.run
    monkeypatch.setattr(Training, "run", lambda self, resume=False: kept.append(self) or run(self, resume))
    return kept


@pytest.mark.parametrize(
    ("rate", "start"),
    [
        (RBM()._rate(784), 0.1),
        (RBM(centred=False)._rate(784), 0.05),
        (RBM(algorithm="nce")._rate(784), 0.05),
        (RBM(visible="gaussian", n_hidden=4)._rate(64), 0.05),
        (RBM(visible="gaussian", n_hidden=500)._rate(3072), 1 / 1268),
        (DBM().learning_rate, 0.03),
        (DBN().learning_rate, 0.05),
    ],
)
def test_what_is_learned_from_chains_ends_at_a_rate_of_0(rate, start):
    """Else the end of a training is as noisy as its steps are long."""
    schedule = Schedule.parse(rate)
    assert [schedule(10**6, spent) for spent in (0, 0.5, 1)] == pytest.approx([start, start / 2, 0])


def vae(**changes) -> VAE:
    return VAE.from_preset("tiny", **{"random_state": 0, "device": "cpu", **changes})


def played(trained: list[Training]) -> Progress:
    return trained[-1].progress


@pytest.mark.parametrize("rate", [float("inf"), float("nan"), "constant(inf)", "linear(0.1, inf, over=9)"])
def test_a_rate_is_a_finite_number_from_start_to_end(rate):
    with pytest.raises(ValueError, match=r"learning_rate is .*expected a number above 0"):
        vae(learning_rate=rate).check_parameters()


@pytest.mark.parametrize(("batch", "epochs", "rounds"), [(50, 2, 8), (30, 2, 14), (200, 0.5, 1), (1000, 2, 2)])
def test_batches_and_epochs(batch, epochs, rounds, digits, trained):
    """Batches run across the end of an epoch; one cannot be larger than the set."""
    sizes, model = [], vae(batch_size=batch, epochs=epochs)
    loss = model._loss
    model._loss = lambda nets, b, rng: sizes.append(len(b.x)) or loss(nets, b, rng)
    model.fit(digits[:200])
    assert sizes == [min(batch, 200)] * rounds
    assert model.n_iter_ == played(trained).rounds == rounds


@pytest.mark.parametrize("model", [DBN, DBM, StackedRBMClassifier, GAN, VAE])
def test_images_bound_all_stages_together(model, digits, digit_labels, trained):
    """Though each stage asks for epochs of 1,797 images."""
    model.from_preset("tiny", images=500, batch_size=50, epochs=10, random_state=0).fit(digits, digit_labels)
    p, stages = played(trained), len(trained[-1].stages)
    assert p.finished
    assert p.images == 50 * p.rounds
    assert 500 <= p.images < 500 + 50 * stages
    firsts = {f"{stage.name}/{stage.players[0].name}" for stage in trained[-1].stages}
    assert sum(n for name, n in p.players.items() if name in firsts) == p.images
    assert all(n > 0 for n in p.players.values())


def test_minutes_bound_all_stages_together(digits, trained, monkeypatch):
    """By a clock on which every look takes a second."""
    clock = iter(range(100_000))
    monkeypatch.setattr("genlearn.train.loop.time.perf_counter", lambda: next(clock))
    DBN.from_preset("tiny", minutes=2, epochs=None, pretrain_epochs=1e3, batch_size=10, random_state=0).fit(digits[:40])
    p, stages = played(trained), len(trained[-1].stages)
    assert 120 <= p.seconds < 120 + 20 * stages
    assert p.seconds == sum(p.spent.values())
    assert min(p.players.values()) > 100  # each stage has its share


def test_no_limit_is_no_limit(digits, trained):
    vae(epochs=None, images=600).fit(digits[:100])
    assert played(trained).images == 600
    with pytest.raises(ValueError, match="epochs, images and minutes are all none"):
        vae(epochs=None).fit(digits)


@pytest.mark.parametrize(
    ("option", "value", "optimizer"),
    [
        ("optimizer", "nadam", Optimizer("nadam")),
        ("learning_rate", "linear(1, 0, over=10)", Optimizer(lr="linear(1, 0, over=10)")),
        ("momentum", 0.2, Optimizer(momentum=0.2)),
        ("betas", (0.1, 0.2), Optimizer(betas=(0.1, 0.2))),
        ("betas", [0.1, 0.2], Optimizer(betas=(0.1, 0.2))),
        ("weight_decay", 0.3, Optimizer(weight_decay=0.3)),
    ],
)
def test_the_optimiser_that_was_asked_for(option, value, optimizer):
    for model in (VAE(), RBM(optimizer="adam", learning_rate=1e-3, momentum=0.9)):
        (stage,) = model.set_params(**{option: value})._stages((9,))
        assert [player.optimizer for player in stage.players] == [optimizer]


@pytest.mark.parametrize("epochs", [(1, 3), (2, 1)])
def test_stages_have_their_own_epochs(epochs, digits, trained):
    DBN.from_preset("tiny", pretrain_epochs=epochs[0], epochs=epochs[1], batch_size=50).fit(digits[:100])
    assert list(played(trained).players.values()) == [100 * n for n in (epochs[0], epochs[0], epochs[1])]


def test_half_life_of_the_average(digits, trained):
    """After every round by 2^(-B / half-life), the half-life at most a tenth of the images seen."""
    for ema in (0.0, 300.0):
        model = vae(ema=ema, optimizer="sgd", epochs=1, batch_size=50).fit(digits[:100])
        assert (model.averaged_nets_ is None) == (trained[-1].average is None) == (ema == 0)
    assert trained[-1].average.half_life == 300.0
    first = trained[-1]
    assert model.averaged_nets_ is first.average.nets
    steps = [2.0 ** (-50 / 5), 2.0 ** (-50 / 10)]
    start, once = (vae(optimizer="sgd", epochs=None, images=n, batch_size=50) for n in (1, 50))
    once.fit(digits[:100])
    name = "encoder.out.weight"
    zero = start._fresh_nets((64,), Seeds.of(int(np.random.RandomState(0).randint(2**31 - 1))).build).get_parameter(
        name
    )
    one, two = once.nets_.get_parameter(name), model.nets_.get_parameter(name)
    expected = one + steps[0] * (zero - one)
    expected = two + steps[1] * (expected - two)
    torch.testing.assert_close(model.averaged_nets_.get_parameter(name), expected)


@pytest.mark.parametrize(
    ("precision", "cast", "dtype"),
    [("float32", False, torch.float32), ("float64", False, torch.float64), ("bf16", True, torch.float32)],
)
def test_precision(precision, cast, dtype, digits):
    seen, model = [], vae(precision=precision, epochs=1)
    loss = model._loss

    def look(nets, batch, rng):
        seen.append((torch.is_autocast_enabled("cpu"), batch.x.dtype, nets.encoder.out.weight.dtype))
        return loss(nets, batch, rng)

    model._loss = look
    model.fit(digits[:100])
    assert set(seen) == {(cast, dtype, dtype)}


def test_precision_by_itself(digits, trained, monkeypatch):
    """Convolutions on a processor with units for it."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    vae(precision="auto", epochs=1).fit(digits[:100])
    vae(precision="auto", epochs=1, network="conv", width=4).fit(digits[:100].reshape(-1, 8, 8))
    assert [t.progress.precision for t in trained] == ["float32", "bf16"]


def test_device(digits, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr("genlearn.estimator.pick_device", lambda name: asked.append(name) or torch.device("cpu"))
    vae(device="cuda", epochs=1).fit(digits[:100])
    assert asked == ["cuda"]


def test_random_state(digits):
    """An integer repeats, none does not, a generator of numpy gives the next seed."""

    def weights(random_state) -> torch.Tensor:
        return next(vae(epochs=1, random_state=random_state).fit(digits[:100]).nets_.parameters())

    assert torch.equal(weights(4), weights(4))
    assert not torch.equal(weights(4), weights(5))
    assert not torch.equal(weights(None), weights(None))
    rng = np.random.RandomState(4)
    assert torch.equal(weights(rng), weights(4))
    assert not torch.equal(weights(rng), weights(4))


# --- seeds


def same_stream(a: int, b: int) -> bool:
    return torch.equal(torch.rand(9, generator=make_rng(a)), torch.rand(9, generator=make_rng(b)))


def test_a_seed_has_independent_children():
    own = seeds(3)
    assert own == seeds(3) != seeds(4)
    assert len({*own, *seeds(4)}) == 8
    many = torch.stack([torch.randn(20_000, generator=make_rng(seed)) for seed in own])
    assert (torch.corrcoef(many) - torch.eye(4)).abs().max() < 0.04  # 5.6 standard deviations


def test_each_use_has_the_seed_that_is_meant_for_it(digits, monkeypatch):
    """The generator of play is the last that `fit` makes: building has its own."""
    own, model, used = seeds(3), vae(random_state=3, epochs=1), {}
    fresh = model._fresh_nets
    model._fresh_nets = lambda shape, seed: used.update(build=seed) or fresh(shape, seed)
    monkeypatch.setattr(
        "genlearn.estimator.Stream", lambda x, y, b, seed, **o: used.update(order=seed) or Stream(x, y, b, seed, **o)
    )
    monkeypatch.setattr(
        "genlearn.estimator.make_rng", lambda seed, device="cpu": used.update(play=seed) or make_rng(seed, device)
    )
    model.fit(digits[:100])
    assert used == {name: getattr(own, name) for name in ("build", "play", "order")}


def test_layers_of_torch_and_our_own_begin_with_different_numbers():
    model, drawn = vae(), []
    build = model._build
    model._build = lambda shape, rng: drawn.extend([torch.rand(9), torch.rand(9, generator=rng)]) or build(shape, rng)
    model._fresh_nets((9,), 0)
    assert not torch.equal(*drawn)


def test_the_first_z_are_not_the_initial_weights(monkeypatch):
    model = GAN.from_preset("goodfellow-2014", images=100, random_state=0, hidden=(100,), hidden_d=(4,), n_latent=100)
    kept: dict[str, torch.Tensor] = {}
    loss = model._joint

    def look(nets: Nets, batch, rng):
        if not kept:
            kept["z"] = nets["prior"].draw(100, make_copy(rng)).flatten()
            kept["W"] = nets["G"].net.hidden[0][0].weight.detach().flatten().clone()
        return loss(nets, batch, rng)

    model._joint = look
    model.fit(np.random.default_rng(0).random((100, 9), dtype=np.float32))
    assert abs(torch.corrcoef(torch.stack([kept["z"], kept["W"]]))[0, 1]) < 0.05


def make_copy(rng: torch.Generator) -> torch.Generator:
    return torch.Generator().set_state(rng.get_state())


def test_what_is_global_is_neither_used_nor_touched(digits):
    """Weights follow from the seed alone, those of torch's own layers too; fit leaves what is global alone."""
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        nets = [m.from_preset("tiny", random_state=0, epochs=1).fit(digits[:100]).nets_ for m in (RBM, VAE, GAN)]
        assert torch.equal(state, torch.get_rng_state())
        weights.append(torch.cat([p.flatten() for n in nets for p in n.parameters()]))
    assert torch.equal(*weights)
    torch.manual_seed(0)
    theirs = torch.randn(64, 12)
    ours = RBM.from_preset("tiny", random_state=0)._fresh_nets((64,), 0).rbm.W
    assert abs(torch.corrcoef(torch.stack([theirs.flatten(), ours.flatten()]))[0, 1]) < 0.1
    first = VAE.from_preset("tiny")._fresh_nets((64,), 0).encoder.hidden[0][0].weight
    torch.manual_seed(0)
    assert not torch.equal(first, torch.nn.Linear(64, 16).weight)


def test_data_by_name_is_loaded_and_only_its_training_part_learned(trained):
    vae(epochs=1).fit("digits")
    assert torch.equal(trained[-1].stream.x, load("digits").train.x)


# --- dropout of the classifiers


@pytest.mark.parametrize(("inputs", "hidden"), [(0.4, 0.0), (0.0, 0.4)])
def test_dropout_of_the_stacked_classifier(inputs, hidden, digits, digit_labels):
    model = StackedRBMClassifier(hidden=(300, 300), input_dropout=inputs, dropout=hidden, pretrain=False, epochs=1)
    shares: list[list[float]] = []

    def look(layer, arguments) -> None:
        shares[-1].append((arguments[0] == 0).double().mean().item())

    build, loss = model._build, model._loss

    def watched(shape, rng):
        nets = build(shape, rng)
        for layer in (*(part[0] for part in nets.mlp.hidden), nets.mlp.out):
            layer.register_forward_pre_hook(look)
        return nets

    model._build = watched
    model._loss = lambda *arguments: shares.append([]) or loss(*arguments)
    model.set_params(images=100, random_state=0).fit(0.5 * digits + 0.1, digit_labels)
    assert shares[0] == [pytest.approx(p, abs=0.03) for p in (inputs, hidden, hidden)]
    shares.append([])
    model.predict(0.5 * digits[:60] + 0.1)
    assert shares[-1] == [0, 0, 0]


def test_dropout_of_the_boltzmann_classifier(digits, digit_labels):
    model = DBM.from_preset("tiny", hidden=(200, 150), dropout=0.4, random_state=0, epochs=1)
    model.fit(digits[:100], digit_labels[:100])
    shares: list[float] = []
    mlp = model.nets_.mlp
    mlp.out.register_forward_pre_hook(lambda m, a: shares.append((a[0] == 0).double().mean().item()))
    inputs: list[torch.Tensor] = []
    mlp.hidden[1].register_forward_pre_hook(lambda m, a: inputs.append(a[0]))
    x = model._with_means(model.nets_, Batch(torch.from_numpy(digits[:100])), make_rng(0))
    model._cross_entropy(model.nets_, x._replace(y=torch.zeros(100, dtype=torch.int64)), make_rng(0))
    assert shares == [pytest.approx(0.4, abs=0.03)]
    assert (inputs[0][:, :200] == 0).double().mean().item() == pytest.approx(0.4, abs=0.03)
    model.predict(digits[:100])
    assert shares[-1] == 0
