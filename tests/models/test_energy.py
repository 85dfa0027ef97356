"""Energy models: any module as the energy, against Gaussians and small binary machines."""

from __future__ import annotations

import copy
import itertools
import json
import math
import warnings

import joblib
import numpy as np
import pytest
import torch
from scipy.stats import chi2, kstest
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator
from torch import Tensor, nn

from genlearn._types import Batch
from genlearn.maths.rng import make_rng, normal, uniform
from genlearn.models.energy import EnergyModel, GaussianNoise
from genlearn.samplers import bit_chain, langevin_chain
from genlearn.train import Stream

COMBINATIONS = [
    ("nce", "gaussian"), ("nce", "binary"), ("score-matching", "gaussian"), ("sliced", "gaussian"),
    ("denoising", "gaussian"), ("ratio-matching", "binary"),
]  # fmt: skip


class Gaussian(nn.Module):
    """1/2 |A (x - m)|^2 + c, of precision A' A [B, d]."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.A, self.m, self.c = nn.Parameter(torch.eye(d)), nn.Parameter(torch.zeros(d)), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * ((x - self.m) @ self.A.T).square().sum(1) + self.c

    @property
    def precision(self) -> np.ndarray:
        return (self.A.T @ self.A).detach().numpy()

    @property
    def log_z(self) -> float:
        """log of the integral of exp(-E)."""
        return float(len(self.m) / 2 * math.log(2 * math.pi) - self.A.detach().slogdet()[1] - self.c.detach())


class Machine(nn.Module):
    """-v' U v - b.v over bits, of any shape."""

    def __init__(self, d: int, seed: int | None = None, scale: float = 1.0) -> None:
        super().__init__()
        self.U, self.b = nn.Parameter(torch.zeros(d, d)), nn.Parameter(torch.zeros(d))
        if seed is not None:
            for p in self.parameters():
                nn.init.normal_(p, 0, scale, generator=make_rng(seed))

    def forward(self, v: Tensor) -> Tensor:
        v = v.flatten(1)
        return -((v @ self.U) * v).sum(1) - v @ self.b


class Scaled(nn.Module):
    """exp(s) |x|^2 / 2, for any number of columns."""

    def __init__(self) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * self.s.exp() * x.flatten(1).square().sum(1)


def gaussian_data(d: int = 5, n: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlated points, their mean and covariance."""
    rng = np.random.default_rng(d + 1)
    mixing = np.eye(d) + 0.3 * rng.standard_normal((d, d))
    X = rng.standard_normal((n, d)) @ mixing + rng.standard_normal(d)
    return X, X.mean(0), np.cov(X.T, bias=True)


def bits(d: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=d)), dtype=torch.float64)


def model(energy: nn.Module | None = None, **changes) -> EnergyModel:
    common = {"precision": "float64", "device": "cpu", "random_state": 0, "batch_size": 200, "epochs": 2}
    return EnergyModel(energy=Gaussian(2) if energy is None else energy, **{**common, **changes})


def same(a: EnergyModel, b: EnergyModel) -> bool:
    pairs = zip(a.nets_.state_dict().values(), b.nets_.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


# --- learning


def test_score_matching_finds_the_moments_of_a_gaussian():
    """With the whole set as a batch nothing is random: precision and mean to a thousandth."""
    X, mean, C = gaussian_data()
    fitted = model(Gaussian(5), algorithm="score-matching", batch_size=2000, epochs=900,
                   learning_rate="linear(0.1, 0, over=1800000)").fit(X).nets_.energy  # fmt: skip
    assert np.abs(fitted.precision @ C - np.eye(5)).max() < 1e-3
    assert np.abs(fitted.m.numpy() - mean).max() < 1e-3


@pytest.mark.parametrize(("algorithm", "sigma"), [("sliced", 0.0), ("denoising", 0.5)])
def test_the_stochastic_forms_find_the_moments(algorithm, sigma):
    X, mean, C = gaussian_data()
    fitted = model(Gaussian(5), algorithm=algorithm, sigma=sigma or 0.1, epochs=150,
                   learning_rate="linear(0.05, 0, over=300000)").fit(X).nets_.energy  # fmt: skip
    assert np.abs(fitted.precision @ (C + sigma**2 * np.eye(5)) - np.eye(5)).max() < 0.1
    assert np.abs(fitted.m.numpy() - mean).max() < 0.1


def test_nce_finds_the_moments_and_log_z():
    X, mean, C = gaussian_data()
    learnt = model(Gaussian(5), epochs=100, learning_rate="linear(0.03, 0, over=200000)").fit(X)
    energy = learnt.nets_.energy
    assert np.abs(energy.precision @ C - np.eye(5)).max() < 0.1
    assert np.abs(energy.m.numpy() - mean).max() < 0.1
    assert learnt.nets_.log_z.value.item() == pytest.approx(energy.log_z, abs=0.02)
    # -E - log Z is the log-density of the Gaussian, in nats.
    u = np.linalg.solve(np.linalg.cholesky(C), (X - mean).T)
    log_p = -0.5 * (u**2).sum(0) - 0.5 * np.linalg.slogdet(2 * np.pi * C)[1]
    assert learnt.score_kind() == "estimate"
    assert np.abs(learnt.score_samples(X) - log_p).mean() < 0.05
    assert learnt.score(X) == pytest.approx(log_p.mean(), abs=0.02)


def machine_data(d: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws of a machine by enumeration, and log p of all its states."""
    log_p = torch.log_softmax(-Machine(d, seed=1, scale=1.5).double()(bits(d)), 0).detach()
    rows = torch.multinomial(log_p.exp(), n, replacement=True, generator=make_rng(2))
    return bits(d)[rows].numpy(), log_p.numpy()


@pytest.mark.parametrize("settings", [
    {"algorithm": "nce"}, {"algorithm": "ratio-matching"}, {"algorithm": "ratio-matching", "n_flips": 1},
], ids=str)  # fmt: skip
def test_a_binary_machine_is_learnt(settings):
    """KL(true || learnt) by enumeration, against that of the best independent bits; nce knows its normaliser."""
    d, n = 4, 4000
    X, log_p = machine_data(d, n)
    learnt = model(Machine(d), visible="binary", epochs=60, learning_rate="linear(0.05, 0, over=240000)", **settings)
    learnt.fit(X)
    energies = learnt.nets_.energy(bits(d))
    log_q = torch.log_softmax(-energies, 0).numpy()
    mean = X.mean(0)
    independent = (bits(d).numpy() * np.log(mean) + (1 - bits(d).numpy()) * np.log(1 - mean)).sum(1)
    kl, floor = ((np.exp(log_p) * (log_p - q)).sum() for q in (log_q, independent))
    assert kl < floor / 10
    if settings["algorithm"] == "nce":
        assert learnt.nets_.log_z.value.item() == pytest.approx(torch.logsumexp(-energies, 0).item(), abs=0.02)
        assert np.exp(learnt.score_samples(bits(d).numpy())).sum() == pytest.approx(1, abs=0.02)


def test_the_noise_is_the_gaussian_of_the_data():
    """Mean and covariance (with a thousandth on the diagonal), log_prob its density, draws of its law."""
    X, mean, C = gaussian_data(3)
    noise = GaussianNoise((1, 3, 1)).double()
    noise.fit(Stream(torch.from_numpy(X).view(-1, 1, 3, 1), None, 10, 0, dtype=torch.float64))
    C = C + 0.001 * np.diag(np.diag(C))
    law = torch.distributions.MultivariateNormal(torch.from_numpy(mean), torch.from_numpy(C))
    x = noise.draw(20_000, make_rng(0))
    assert x.shape == (20_000, 1, 3, 1)
    assert torch.allclose(noise.log_prob(x), law.log_prob(x.flatten(1)), rtol=1e-10)
    u = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.from_numpy(C)), (x.flatten(1) - noise.mean).T,
                                      upper=False)  # fmt: skip
    assert all(kstest(row.numpy(), "norm").pvalue > 1e-3 for row in u)
    assert torch.corrcoef(u).sub(torch.eye(3)).abs().max() < 5 / 20_000**0.5


def test_binary_noise_is_that_of_the_best_independent_bits():
    X = machine_data(3, 500)[0]
    X[:, 1] = 0  # kept off by a hundredth
    noise = model(Machine(3), visible="binary").fit(X).nets_.noise
    p = np.maximum(X.mean(0), 0.01)
    expected = (bits(3).numpy() * np.log(p) + (1 - bits(3).numpy()) * np.log(1 - p)).sum(1)
    assert np.allclose(noise.log_prob(bits(3)).numpy(), expected)
    x = noise.draw(40_000, make_rng(0))
    assert x.shape == (40_000, 3)
    assert (np.abs(x.mean(0).numpy() - p) < 5 * np.sqrt(p * (1 - p) / 40_000)).all()


# --- samples


def test_the_langevin_chain_keeps_the_law_of_a_double_well():
    """Kolmogorov-Smirnov against quadrature, with a step so long that the unadjusted chain would be far off."""
    energy = lambda x: 2 * (x.square() - 1).square().sum(1)  # noqa: E731
    grid = np.linspace(-3, 3, 20_001)
    density = np.exp(-2 * (grid**2 - 1) ** 2)
    cdf = np.cumsum(density) / density.sum()
    x = 0.5 * torch.randn(4000, 1, generator=make_rng(1), dtype=torch.float64)
    x = next(itertools.islice(langevin_chain(energy, x, 0.3, make_rng(0)), 150, None))
    assert kstest(x[:, 0].numpy(), lambda t: np.interp(t, grid, cdf)).pvalue > 1e-3


def test_a_langevin_step_is_a_proposal_and_a_decision_of_each_row():
    """y = x - step/2 E'(x) + sqrt(step) eps, taken with probability p(y) q(x | y) / p(x) q(y | x)."""
    n, step, rng = 1000, 0.5, make_rng(1)
    energy, gradient = (lambda x: x.square().square().sum(1)), (lambda x: 4 * x**3)
    x = torch.randn(n, 2, generator=make_rng(0), dtype=torch.float64)
    y = x - step / 2 * gradient(x) + step**0.5 * normal((n, 2), rng, x.dtype)
    log_q = lambda y, x: torch.distributions.Normal(x - step / 2 * gradient(x), step**0.5).log_prob(y).sum(1)  # noqa: E731
    ratio = energy(x) - energy(y) + log_q(x, y) - log_q(y, x)
    taken = uniform((n,), rng, x.dtype) < ratio.exp()
    assert 0.2 < taken.double().mean() < 0.8
    assert torch.allclose(next(langevin_chain(energy, x, step, make_rng(1))), torch.where(taken[:, None], y, x))


def test_the_langevin_chain_never_enters_where_the_energy_is_nan():
    energy = lambda x: (x - x.log()).sum(1)  # noqa: E731
    for x in itertools.islice(langevin_chain(energy, torch.full((100, 1), 0.2), 1.0, make_rng(0)), 20):
        assert (x > 0).all()


def test_the_bit_chain_has_the_law_of_the_energy():
    """Chi-square over all states of 5 bits, of chains far apart in time."""
    energy, n = Machine(5, seed=3, scale=0.5).double(), 4000
    with torch.no_grad():
        v = next(itertools.islice(bit_chain(energy, torch.zeros(n, 5).double(), make_rng(0)), 60, None))
        expected = n * torch.softmax(-energy(bits(5)), 0).numpy()
    code = (v @ (2.0 ** torch.arange(4, -1, -1)).double()).long()
    observed = torch.bincount(code, minlength=32).numpy()
    assert expected.min() > 5
    assert ((observed - expected) ** 2 / expected).sum() < chi2.ppf(0.999, len(expected) - 1)


def test_samples_have_the_law_of_the_model():
    """A (x - m) is standard normal, for a model that is still far from its data, where the chains start."""
    X, _, C = gaussian_data(2)
    learnt = model(algorithm="sliced", epochs=3, n_steps=150).fit(X)
    energy = learnt.nets_.energy
    assert np.abs(energy.precision @ C - np.eye(2)).max() > 0.5
    u = energy.A.numpy() @ (learnt.sample(1000, random_state=0) - energy.m.numpy()).T
    assert all(kstest(row, "norm").pvalue > 1e-3 for row in u)
    assert abs(np.corrcoef(u)[0, 1]) < 5 / 1000**0.5


def test_images_come_back_as_they_went_in(digits):
    """Bits of images, and real images through a convolution."""
    X = (digits[:200, :16].reshape(-1, 4, 4) > 0.5).astype(np.uint8) * 255
    drawn = model(Machine(16), visible="binary", n_steps=2).fit(X).sample(3, random_state=0)
    assert drawn.shape == (3, 4, 4)
    assert set(np.unique(drawn)) <= {0, 255}
    conv = nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 36, 1), nn.Flatten(0))
    for algorithm in ("nce", "sliced", "denoising"):
        learnt = model(conv, algorithm=algorithm, epochs=1, n_steps=2).fit(digits[:200].reshape(-1, 8, 8))
        assert learnt.sample(3, random_state=0).shape == (3, 8, 8)


# --- the contract


@pytest.mark.parametrize("algorithm", ["nce", "score-matching", "sliced", "denoising"])
def test_clone_and_repeat_and_the_argument_is_untouched(algorithm):
    energy = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    before = {name: p.clone() for name, p in energy.state_dict().items()}
    X = gaussian_data(2, 400)[0]
    first = model(energy, algorithm=algorithm).fit(X)
    assert first.get_params()["energy"] is energy
    assert all(torch.equal(before[name], p) for name, p in energy.state_dict().items())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in energy.parameters())
    twin = clone(first)
    assert twin.energy is not energy
    assert same(first, twin.fit(X))
    assert same(first, clone(first).fit(X[::-1]).fit(X))
    assert not torch.equal(first.nets_.energy[0].weight, energy[0].weight)


@pytest.mark.parametrize(("algorithm", "visible"), COMBINATIONS)
def test_two_processes_play_the_game_of_one(algorithm, visible):
    """The loss of a batch is the mean of those of its halves, each with its own rows of the same noise."""
    estimator = model(Machine(3, seed=4), algorithm=algorithm, visible=visible, n_flips=2, nu=3)
    nets = estimator._fresh_nets((3,), 0).double()
    x = torch.rand(10, 3, generator=make_rng(1)).double()
    losses = []
    for rank in (0, 1):
        rng = make_rng(5)
        rng.rank, rng.world = rank, 2
        losses.append(estimator._loss(nets, Batch(x.chunk(2)[rank]), rng)[0].item())
    assert losses[0] != losses[1]
    whole = estimator._loss(nets, Batch(x), make_rng(5))[0].item()
    assert sum(losses) / 2 == pytest.approx(whole, rel=1e-12)


def test_there_are_nu_noise_points_for_each_datum():
    seen = []
    estimator = model(nu=7)
    nets = estimator._fresh_nets((2,), 0).double()
    nets.energy.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    estimator._loss(nets, Batch(torch.zeros(10, 2).double()), make_rng(0))
    assert sorted(seen) == [10, 70]


def test_frozen_parameters_stay():
    energy = Gaussian(2)
    energy.m.requires_grad_(False)
    fitted = model(energy).fit(gaussian_data(2, 400)[0]).nets_.energy
    assert torch.equal(fitted.m, torch.zeros(2).double())
    assert not torch.equal(fitted.A, torch.eye(2).double())


@pytest.mark.parametrize(("algorithm", "visible"), COMBINATIONS)
def test_hasattr_tells_the_truth(algorithm, visible):
    """Only nce knows the normaliser; no algorithm claims codes."""
    unfitted = model(Machine(2), algorithm=algorithm, visible=visible)
    X = (gaussian_data(2, 200)[0] > 0).astype(float)
    for estimator in (unfitted, clone(unfitted).fit(X)):
        assert hasattr(estimator, "sample")
        assert hasattr(estimator, "score_samples") == hasattr(estimator, "score") == (algorithm == "nce")
        assert not hasattr(estimator, "transform")
    assert hasattr(estimator, "score_kind") == (algorithm == "nce")


@pytest.mark.parametrize("algorithm", ["nce", "denoising"])
def test_save_and_load_give_the_same_bits(algorithm, tmp_path):
    X = gaussian_data(2, 400)[0]
    learnt = model(algorithm=algorithm, ema=300.0, n_steps=3).fit(X)
    learnt.save(tmp_path)
    assert isinstance(learnt.energy, Gaussian)
    assert {p.name for p in tmp_path.iterdir()} == {"model.json", "weights.safetensors"}
    assert json.loads((tmp_path / "model.json").read_text())["parameters"]["energy"] == {"object": "Gaussian"}
    given = Gaussian(2)
    twin = EnergyModel.load(tmp_path, energy=given)
    assert type(twin) is EnergyModel
    assert twin.energy is given
    assert torch.equal(given.A, torch.eye(2))
    assert same(learnt, twin)
    assert np.array_equal(learnt.sample(5, random_state=0), twin.sample(5, random_state=0))
    if algorithm == "nce":
        assert np.array_equal(learnt.score_samples(X), twin.score_samples(X))
    assert same(learnt, clone(twin).fit(X))


def one_line(error: pytest.ExceptionInfo[ValueError]) -> bool:
    return "\n" not in str(error.value)


def test_files_hold_no_code(tmp_path):
    model().fit(gaussian_data(2, 200)[0]).save(tmp_path)
    with pytest.raises(
        ValueError, match=r"energy was a Gaussian, and files hold no code; .*load\(folder, energy=...\)"
    ) as error:
        EnergyModel.load(tmp_path)
    assert one_line(error)
    with pytest.raises(ValueError, match="the nets do not fit the weights") as error:
        EnergyModel.load(tmp_path, energy=nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)))
    assert one_line(error)


@pytest.mark.parametrize(("changes", "message"), [
    ({"energy": lambda x: x.sum(1)}, "energy is of type function, expected a torch.nn.Module"),
    ({"energy": nn.Flatten(0)}, "energy has no parameter to be learned"),
    ({"energy": nn.Linear(2, 1)}, r"energy maps x of shape \(2, 2\) to \(2, 1\), expected \(2,\); .*nn.Flatten"),
    ({"energy": Gaussian(3)}, r"energy fails on x of shape \(2, 2\): The size of tensor"),
    ({"algorithm": "ratio-matching"}, "visible is 'gaussian' .*, expected 'binary'"),
    ({"algorithm": "sliced", "visible": "binary"}, "visible is 'binary' with algorithm 'sliced'"),
    ({"algorithm": "nse"}, "did you mean 'nce'"),
    ({"nu": 0}, "nu is 0, expected an integer at least 1"),
    ({"sigma": 0}, "sigma is 0, expected a number above 0"),
    ({"batch_size": 0}, "batch_size is 0, expected an integer at least 1"),
    ({"epochs": None}, "expected a budget"),
    ({"energy": Machine(2), "algorithm": "ratio-matching", "visible": "binary", "n_flips": 3}, "between 1 and 2"),
])  # fmt: skip
def test_bad_input_is_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        model(**changes).fit(np.zeros((20, 2)) + np.eye(20, 2))
    assert one_line(error)


@pytest.mark.parametrize("algorithm", ["nce", "score-matching", "sliced", "denoising"])
def test_bf16_and_flat_values(algorithm):
    """Training is in full precision all the same; a column that never changes has no infinite density."""
    types = set()
    X = np.column_stack([gaussian_data(2, 400)[0], np.ones(400)]).astype(np.float32)

    def learnt(precision: str) -> EnergyModel:
        torch.manual_seed(0)
        energy = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1), nn.Flatten(0))
        energy.register_forward_hook(lambda module, given, out: types.add(out.dtype))
        return model(energy, algorithm=algorithm, precision=precision, n_steps=3, random_state=0).fit(X)

    low, full = learnt("bf16"), learnt("float32")
    assert np.isfinite(low.sample(4, random_state=0)).all()
    assert types == {torch.float32}
    for a, b in zip(low.nets_.state_dict().values(), full.nets_.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("algorithm", ["nce", "sliced"])
def test_check_estimator(algorithm):
    energy = Scaled()
    # One check compares checksums of a parameter and of its deep copy, which differ for any module of torch.
    assert joblib.hash(energy) != joblib.hash(copy.deepcopy(energy))
    expected = {"check_estimators_overwrite_params": "the checksum of a module is not that of its copy"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(EnergyModel(energy=energy, algorithm=algorithm, epochs=1, device="cpu"),
                                  on_skip=None, expected_failed_checks=expected)  # fmt: skip
    assert sum(r["status"] == "passed" for r in results) > 30
    assert {r["check_name"] for r in results if r["status"] not in ("passed", "skipped")} == set(expected)
