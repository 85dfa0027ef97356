"""log Z between a forward and a reverse estimate, of machines with hidden base biases and label units."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from genlearn import registry
from genlearn.maths import partition
from genlearn.maths.ais import AIS, ais, estimate, log_z_exact, reverse_ais, salakhutdinov, schedule
from genlearn.maths.partition import WRONG_WAY, Bracket, LogZ, bracket, log_partition, settling
from genlearn.maths.rng import make_rng

CASES = ["binary", "label", "gaussian"]
K = 3


def states(n: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def visible_states(d: int, n_classes: int = 0) -> Tensor:
    """All binary v [.., d], followed by every one-hot label."""
    v = states(d)
    if not n_classes:
        return v
    label = torch.eye(n_classes, dtype=torch.float64)
    return torch.cat([v.repeat_interleave(n_classes, 0), label.repeat(len(v), 1)], 1)


def machine(d: int, h: int, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    rng = make_rng(seed)
    W, a, b = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in ((d, h), (d,), (h,)))
    return scale * W, a, b


def log_joint(W: Tensor, a: Tensor, b: Tensor, v: Tensor) -> Tensor:
    """-E(v, h) for the given v and every h [n, 2^H]."""
    h = states(len(b))
    return (v @ a)[:, None] + h @ b + v @ W @ h.T


def bases(d: int, h: int) -> dict[str, Tensor]:
    return {"a_base": torch.linspace(-1, 1, d).double(), "b_base": torch.linspace(0.8, -0.6, h).double()}


def sides(case: str, d: int = 6, h: int = 4, seed: int = 3, scale: float = 0.5) -> tuple[tuple, dict]:
    """A machine, and the options that describe it."""
    options = {"label": {"n_classes": K}, "binary": {}, "gaussian": {"visible": "gaussian"}}[case]
    if case == "gaussian":
        options["sigma"] = torch.linspace(0.6, 1.5, d, dtype=torch.float64)
    return machine(d, h, seed, scale), options | bases(d, h)


def exact(W, a, b, options: dict) -> float:
    """log Z written out; for Gaussian units, by the enumeration that test_ais holds against quadrature."""
    if options.get("visible") == "gaussian":
        return log_z_exact(W, a, b, visible="gaussian", sigma=options["sigma"])
    k = options.get("n_classes", 0)
    return float(log_joint(W, a, b, visible_states(len(a) - k, k)).flatten().logsumexp(0))


def draw(W, a, b, options: dict, n: int, seed: int = 7) -> Tensor:
    """n independent exact samples of v."""
    rng = make_rng(seed)
    if options.get("visible") == "gaussian":
        h, sigma = states(len(b)), options["sigma"]
        x = h @ W.T
        p = torch.softmax(h @ b + (a / sigma * x + x.square() / 2).sum(1), 0)
        mean = (a + sigma * x)[torch.multinomial(p, n, replacement=True, generator=rng)]
        return mean + sigma * torch.randn(n, len(a), generator=rng, dtype=torch.float64)
    k = options.get("n_classes", 0)
    v = visible_states(len(a) - k, k)
    p = torch.softmax(log_joint(W, a, b, v).logsumexp(1), 0)
    return v[torch.multinomial(p, n, replacement=True, generator=rng)]


def is_one(w: Tensor) -> None:
    """The mean of w is 1 to within four standard errors, which are small."""
    error = float(w.std()) / math.sqrt(len(w))
    assert 1e-4 < error < 0.05
    assert abs(float(w.mean()) - 1) < 4 * error


# --- forward


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rough", [2, 4])
def test_ais_from_a_base_with_hidden_biases_is_unbiased_in_z(case, rough):
    parameters, options = sides(case)
    estimate = ais(*parameters, betas=schedule(rough), n_chains=40_000, rng=make_rng(0), **options)
    is_one((estimate.log_w - exact(*parameters, options)).exp())


@pytest.mark.parametrize("case", CASES)
def test_without_weights_every_chain_is_exact(case):
    """Where nothing but the hidden biases changes along the path, log w is log Z."""
    (W, a, b), options = sides(case)
    options["a_base"] = a
    estimate = ais(0 * W, a, b, betas=schedule(3), n_chains=4, rng=make_rng(0), **options)
    assert torch.allclose(estimate.log_w, torch.tensor(exact(0 * W, a, b, options)).double(), atol=1e-12)


@pytest.mark.parametrize(("d", "h"), [(7, 3), (4, 6)])
def test_enumeration_with_a_label(d, h):
    parameters = machine(d, h, 2)
    options = {"n_classes": K}
    assert log_z_exact(*parameters, n_classes=K) == pytest.approx(exact(*parameters, options), abs=1e-12)


def test_labels_of_the_base_are_drawn_from_their_softmax():
    """A path of two ends that are the same: v after it has the law of the base; and so does its start."""
    from genlearn.maths.ais import AnnealedPath

    W, a, b = machine(5, 2, 1)
    path = AnnealedPath(0 * W, a, b, n_classes=K)
    v = path.draw(path.a_base.repeat(50_000, 1), make_rng(0))
    p = torch.cat([a[:-K].sigmoid(), a[-K:].softmax(0)])
    assert (v[:, -K:].sum(1) == 1).all()
    assert ((v.mean(0) - p).abs() < 5 * (p * (1 - p) / len(v)).sqrt()).all()


# --- reverse


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rough", [2, 4])
def test_reverse_ais_is_unbiased_in_one_over_z(case, rough):
    parameters, options = sides(case)
    v = draw(*parameters, options, 40_000)
    estimate = reverse_ais(*parameters, v, betas=schedule(rough), rng=make_rng(0), **options)
    is_one((exact(*parameters, options) - estimate.log_w).exp())


@pytest.mark.parametrize("case", CASES)
def test_the_two_bracket_log_z_on_average(case):
    """E[log w] of a single chain is below log Z forward and above it in reverse (Jensen), by five standard errors."""
    (parameters, options), betas, n = sides(case, scale=1.0), schedule(3), 4000
    log_z = exact(*parameters, options)
    forward = ais(*parameters, betas=betas, n_chains=n, rng=make_rng(0), **options).log_w
    reverse = reverse_ais(*parameters, draw(*parameters, options, n), betas=betas, rng=make_rng(1), **options).log_w
    assert forward.mean() + 5 * forward.std() / n**0.5 < log_z < reverse.mean() - 5 * reverse.std() / n**0.5


def test_a_reverse_estimate_is_minus_the_log_mean_of_one_over_w():
    parameters, options = sides("binary")
    v = draw(*parameters, options, 500)
    r = reverse_ais(*parameters, v, betas=schedule(3), rng=make_rng(0), **options)
    w = (-r.log_w).exp()
    mean, error = float(w.mean()), float(w.std()) / math.sqrt(len(w))
    assert r.log_z == pytest.approx(-math.log(mean), abs=1e-12)
    assert (r.lower, r.upper) == pytest.approx((-math.log(mean + 3 * error), -math.log(mean - 3 * error)), abs=1e-12)
    assert r.ess == pytest.approx(float(w.sum() ** 2 / (w**2).sum()))


# --- both, and what to think of them


@pytest.mark.parametrize("case", CASES)
def test_the_gap_closes_with_the_number_of_temperatures(case):
    """Twelve gaps, each from 20 chains: far above 0 for a path of one step, around 0 for a long one."""
    parameters, options = sides(case, scale={"binary": 3.0, "label": 5.0, "gaussian": 1.5}[case])

    def gaps(n: int) -> Tensor:
        runs = [
            bracket(
                *parameters, start=draw(*parameters, options, 20, seed=i), n_gibbs=1, betas=schedule(n),
                rng=make_rng(i), n_chains=20, **options,
            )
            for i in range(12)
        ]  # fmt: skip
        return torch.tensor([both.gap for both in runs])

    rough, fine = gaps(2), gaps(200)
    assert rough.median() > 1
    assert abs(fine.mean()) < 3 * fine.std() / 12**0.5 < 0.2


@pytest.mark.parametrize("case", CASES)
def test_a_long_path_can_be_trusted(case):
    parameters, options = sides(case, scale=1.0)
    start = draw(*parameters, options, 30)
    both = bracket(*parameters, start=start, n_gibbs=20, betas=schedule(500), rng=make_rng(0), **options)
    log_z, reach = exact(*parameters, options), both.forward.log_z - both.forward.lower
    assert both.verdict.startswith(f"log Z can be trusted to about {max(reach, abs(both.gap)):.2f} nats")
    assert both.forward.lower < log_z < both.forward.upper
    assert both.reverse.lower < log_z < both.reverse.upper
    assert reach < 0.3


def test_few_temperatures_are_noticed():
    parameters = machine(8, 4, 5, 4.0)
    start = draw(*parameters, {}, 100)
    far = {"start": start, "n_gibbs": 10, "rng": make_rng(0), "a_base": torch.zeros(8).double()}
    both = bracket(*parameters, betas=schedule(2), **far)
    assert both.gap > 2
    assert both.verdict.startswith(f"log Z is uncertain by about {both.gap:.1f} nats: forward {both.forward.log_z:.2f}")
    assert both.verdict.endswith("may be too high by that much; the usual fix is more temperatures.")
    assert bracket(*parameters, betas=schedule(100), **far).verdict.startswith("log Z can be trusted")


def double_well(depth: float, tilt: float) -> tuple[Tensor, Tensor, Tensor]:
    """Six pixels and four units, which are all off together or, less likely by exp(-tilt), all on."""
    W = torch.full((6, 4), depth).double()
    return W, -W.sum(1) / 2 - tilt / 6, -W.sum(0) / 2


def test_chains_that_do_not_mix_are_noticed():
    """They start in the smaller of two wells and cannot leave it."""
    parameters = double_well(8.0, tilt=6.0)
    options = {"betas": schedule(500), "a_base": torch.zeros(6).double(), "n_gibbs": 20}
    stuck = bracket(*parameters, start=torch.ones(1, 6).double(), rng=make_rng(0), **options)
    assert stuck.gap < -3
    assert stuck.verdict.startswith("Do not trust log Z")
    assert "the wrong way round" in stuck.verdict
    well = bracket(*parameters, start=draw(*parameters, {}, 100), rng=make_rng(0), **options)
    assert well.verdict.startswith("log Z can be trusted")


@pytest.mark.parametrize("temperatures", [2, 4])
def test_chains_that_do_not_mix_are_noticed_though_hardly_any_chain_counts(temperatures):
    """The interval of the forward estimate has no end, and yet a gap of so many nats is not chance.

    Where no chain of the base meets the larger well, which is one start in nine, nobody could tell.
    """
    far = {"a_base": torch.zeros(6).double(), "betas": schedule(temperatures), "n_gibbs": 20, "n_chains": 300}
    far["rng"], parameters = make_rng(1), double_well(8.0, tilt=12.0)
    stuck = bracket(*parameters, start=torch.ones(1, 6).double(), **far)
    assert stuck.forward.ess < 5 and stuck.forward.lower == -math.inf
    assert stuck.verdict.startswith("Do not trust log Z")
    well = bracket(*parameters, start=draw(*parameters, {}, 100), **far)
    assert not well.verdict.startswith("Do not trust log Z")


@pytest.mark.parametrize(("scale", "temperatures", "n"), [(2.0, 2, 1), (2.0, 3, 4), (4.0, 8, 10)])
def test_from_exact_states_the_gap_is_seldom_negative(scale, temperatures, n):
    """P(gap <= -g) <= (1 + g) e^-g, over 4,000 brackets of n chains each way, to five standard errors of a count."""
    parameters, options = sides("binary", scale=scale)
    both = bracket(
        *parameters, start=draw(*parameters, options, 4000 * n), n_gibbs=0, betas=schedule(temperatures),
        rng=make_rng(0), n_chains=4000 * n, **options,
    )  # fmt: skip
    log_f, log_r = both.forward.log_w.view(-1, n), -both.reverse.log_w.view(-1, n)
    gap = -(log_f.logsumexp(1) + log_r.logsumexp(1) - 2 * math.log(n))
    assert (gap < -0.5).sum() > 20
    for g in (0.5, 1, 2, 3, 4, WRONG_WAY):
        p = (1 + g) * math.exp(-g)
        assert (gap <= -g).double().mean() < p + 5 * math.sqrt(p * (1 - p) / len(gap))


def verdict(gap: float, ess: float = 9.0, reach: float = 0.1) -> str:
    """Of a forward estimate of 5 nats and a reverse one beside it, which reach so far away from each other."""
    forward = AIS(torch.full((10,), 5.0), 5.0, 5.0 - reach, 5.1, ess)
    return Bracket(forward, AIS(forward.log_w, 5.0 + gap, gap - 9.0, 5.0 + gap + reach, ess)).verdict


def test_the_wrong_way_round_is_a_chance_of_one_per_cent():
    assert (1 + WRONG_WAY) * math.exp(-WRONG_WAY) == pytest.approx(0.01, rel=0.01)
    assert verdict(-6.7, ess=1.0, reach=math.inf).startswith("Do not trust log Z: forward 5.00, reverse -1.70, 1 of 10")
    assert verdict(-6.6, ess=1.0, reach=math.inf).startswith("log Z is uncertain by about 6.6 nats")
    assert verdict(-1.1).startswith("Do not trust")  # where three standard errors are less than a nat
    assert verdict(-1.1, reach=0.6).startswith("log Z is uncertain by about 1.1 nats")
    assert "too high; the usual fix is more Gibbs steps" in verdict(-1.1)


@pytest.mark.parametrize("gap", [-1.5, 1.5, 40.0])
def test_no_gap_of_more_than_a_nat_is_trusted(gap):
    """Not even one whose sign is that of noise; the advice names the direction."""
    words = verdict(gap, reach=math.inf)
    assert words.startswith(f"log Z is uncertain by about {abs(gap):.1f} nats")
    assert ("between the two: likelihoods may be too high by that much" in words) == (gap > 0)
    assert ("too high or too low" in words) == (gap < 0)


def test_few_chains_that_count_are_not_trusted_whatever_the_gap():
    for gap in (-0.9, 0.0, 0.9):
        words = verdict(gap, ess=0.9)
        assert words.startswith("log Z is uncertain by about 1.0 nats") and "too high or too low" in words
    both = "forward 5.00, reverse 5.00, 1 of 10 chains count."
    assert verdict(0.0, ess=1.1) == f"log Z can be trusted to about 0.10 nats: {both}"
    assert verdict(-0.9).startswith("log Z can be trusted to about 0.90 nats")
    assert verdict(0.9).startswith("log Z can be trusted to about 0.90 nats")


@pytest.mark.parametrize("case", CASES)
def test_reverse_chains_begin_at_the_start_or_after_the_gibbs_steps(case):
    """On a path of one step, a chain's weight is log p*(v) / p*_base(v) + log Z_base of the v where it begins."""
    (W, a, b), options = sides(case)
    v = draw(W, a, b, options, 3)
    far = {"start": v, "betas": schedule(2), "n_chains": 300, "rng": make_rng(0), **options}
    still, moved = (bracket(W, a, b, n_gibbs=n, **far).reverse.log_w for n in (0, 1))

    def log_p(W, a, b) -> Tensor:
        if case != "gaussian":
            return log_joint(W, a, b, v).logsumexp(1)
        u = v / options["sigma"]
        return (b + u @ W).exp().log1p().sum(1) - ((v - a) / options["sigma"]).square().sum(1) / 2

    base = 0 * W, options["a_base"], options["b_base"]
    expected = log_p(W, a, b) - log_p(*base) + exact(*base, options)
    assert torch.allclose(still, expected.repeat(100), atol=1e-12)
    assert len(moved.unique()) > 20


# --- enumeration or AIS


@pytest.mark.parametrize(("d", "h", "options", "enumerated"), [
    (2, 21, {}, True), (21, 3, {}, True), (21, 21, {}, False), (6, 21, {"n_classes": K}, False),
    (6, 3, {"n_classes": K}, True), (2, 21, {"visible": "gaussian"}, False), (21, 3, {"visible": "gaussian"}, True),
])  # fmt: skip
def test_small_machines_are_enumerated(d, h, options, enumerated):
    W, a, b = machine(d, h, 0, 0.1)
    options = options | {"a_base": torch.zeros(d).double()}
    z = log_partition(W, a, b, betas=schedule(50), **options)
    assert (z.lower == z.value == z.upper) == enumerated
    if enumerated:
        options.pop("a_base")
        assert z == LogZ(log_z_exact(W, a, b, **options), z.value, z.value)
        assert z.shift == (0, 0)
    elif d < 10:  # from the visible side
        x = torch.nn.functional.softplus
        if "n_classes" in options:
            v = visible_states(d - K, K)
            log_z = float((v @ a + x(b + v @ W).sum(1)).logsumexp(0))
        else:
            grid = torch.cartesian_prod(*[torch.arange(-9, 9, 0.05, dtype=torch.float64)] * 2)
            log_p = -(grid - a).square().sum(1) / 2 + x(b + grid @ W).sum(1)
            log_z = float(log_p.logsumexp(0)) + 2 * math.log(0.05)
        assert z.lower < log_z < z.upper < z.lower + 0.5


def test_a_start_brings_a_verdict_and_leaves_the_estimate():
    parameters = machine(22, 21, 0, 0.2)
    plain = log_partition(*parameters, betas=schedule(100))
    start = torch.ones(3, 22).double()
    noted = log_partition(*parameters, betas=schedule(100), start=start, n_gibbs=5)
    assert plain.notes == ()
    assert noted[:3] == plain[:3]
    assert noted.notes[0].startswith("log Z can be trusted")


def test_the_interval_of_a_likelihood_is_the_other_way_round():
    assert LogZ(10.0, 9.0, 12.0).shift == (-2.0, 1.0)


def test_the_longer_half_of_an_interval_stands_on_both_sides():
    """It holds log Z = 0 of 1,000 samples of 100 skewed weights, but for 1 in 160; the shorter half misses 1 in 28."""
    weights = 1.2 * torch.randn(1000, 100, generator=make_rng(0)).double() - 0.72
    forward = [estimate(log_w) for log_w in weights]
    found = [LogZ.around(f) for f in forward]
    assert sum(f.upper < 0 for f in forward) > 20
    assert sum(z.upper < 0 or z.lower > 0 for z in found) < 20
    assert all(z.value - z.lower == pytest.approx(z.upper - z.value) for z in found if math.isfinite(z.lower))
    assert LogZ.around(forward[0], "words") == (*found[0][:3], ("words",))


@pytest.mark.parametrize(
    ("settled", "found", "lengths"),
    [
        (0.2, [(0.1, 0.1)], [1451]),
        (0.2, [(-0.1, 0.3), (0.0, 0.1)], [1451, 14_501]),
        (0.2, [(-0.3, 0.1), (-3.0, 0.1)], [1451, 14_501]),
        (0.2, [(9.0, 0.1), (3.0, 0.1), (0.5, 0.1)], [1451, 14_501, 58_001]),
        (0.2, [(99.0, 0.1), (80.0, 0.1)], [1451, 14_501]),
        (5.0, [(0.9, 0.1)], [1451]),
        (5.0, [(2.0, 0.1), (0.5, 0.1)], [1451, 14_501]),
        (5.0, [(0.1, 2.0), (0.1, 0.1)], [1451, 14_501]),
    ],
)
def test_temperatures_as_needed(monkeypatch, settled, found, lengths):
    """Every tenth first, all where they do not settle it, four times as many where a gap is left that may close.

    The noise of the reverse estimate, nine nats here, is not asked: log Z is the forward one.
    """
    seen, left = [], iter(found)

    def bracket(*args, betas, **rest):
        assert (betas[0], betas[-1]) == (0, 1) and (betas.diff() > 0).all()
        seen.append(len(betas))
        gap, noise = next(left)
        end = AIS(torch.zeros(1), 0.0, -noise, 0.0, 1.0)
        return partition.Bracket(end, AIS(torch.zeros(1), gap, gap, gap + 9, 1.0))

    monkeypatch.setattr(partition, "bracket", bracket)
    machine = torch.zeros(30, 40), torch.zeros(30), torch.zeros(40)
    got = partition.log_partition(*machine, betas=salakhutdinov(), start=torch.zeros(1, 30), settled=settled)
    assert seen == lengths
    assert got.lower == -found[-1][1]
    assert len(got.notes) == 1


@pytest.mark.filterwarnings("error")  # one value has no spread to ask for
def test_log_z_is_wanted_as_well_as_the_mean_is_known(monkeypatch):
    """The standard error of four values, 0 and 8, is 2.3; of a hundred of 0 and 1 it is below 0.2."""
    assert settling(torch.tensor([0.0, 8.0])) == pytest.approx(4)
    assert settling(torch.tensor([0.0, 8.0, 0.0, 8.0])) == pytest.approx(8 / 3**0.5 / 2)
    assert settling(torch.tensor([0.0, 1.0]).repeat(50)) == settling(torch.zeros(1)) == 0.2
    seen = []

    def bracket(*args, betas, **rest):
        seen.append(len(betas))
        return partition.Bracket(AIS(torch.zeros(1), 0.0, -0.4, 0.0, 1.0), AIS(torch.zeros(1), 0.1, 0.1, 0.1, 1.0))

    monkeypatch.setattr(partition, "bracket", bracket)
    machine = torch.zeros(30, 40), torch.zeros(30), torch.zeros(40)
    for settled in (0.41, 0.39):
        partition.log_partition(*machine, betas=salakhutdinov(), start=torch.zeros(1, 30), settled=settled)
    assert seen == [1451, 1451, 14_501]


@pytest.mark.parametrize("name", ["rbm", "dbn", "dbm"])
def test_models_want_log_z_as_well_as_their_mean_is_known(name, monkeypatch):
    sizes = {"n_hidden": 30} if name == "rbm" else {"hidden": (30, 30)}
    model = registry.model(name)(**sizes, epochs=1, random_state=0)
    x = torch.rand(100, 30, generator=make_rng(0)).round()
    asked = []
    monkeypatch.setattr(partition, "SETTLED", 0.0)

    def log_partition(*args, settled, start, **options):
        assert start.shape[1] == 30  # without a start there is no verdict
        asked.append(settled)
        return LogZ(5.0, 4.0, 6.0)

    for module in ("boltzmann", "deep_boltzmann"):
        monkeypatch.setattr(f"genlearn.nets.{module}.log_partition", log_partition)
    (likelihood,) = model.fit(x).log_likelihoods(x[:10]).values()
    assert asked == [pytest.approx(settling(likelihood.values))]
    assert asked[0] > 0
    monkeypatch.setattr("genlearn.nets.boltzmann.log_partition", lambda *args, **options: LogZ(7.0, 4.0, 8.0))
    monkeypatch.setattr("genlearn.nets.deep_boltzmann.log_partition", lambda *args, **options: LogZ(7.0, 4.0, 8.0))
    (less,) = model.log_likelihoods(x[:10]).values()
    torch.testing.assert_close(less.values, likelihood.values - 2)


def test_finer_temperatures_hold_the_coarse_ones():
    fine = partition.finer(torch.tensor([0.0, 0.2, 1.0]).double(), 4)
    torch.testing.assert_close(fine, torch.tensor([0, 0.05, 0.1, 0.15, 0.2, 0.4, 0.6, 0.8, 1]).double())


def test_large_machines_take_fewer_temperatures(monkeypatch):
    """A bound on the time: 14,501 temperatures up to 2^20 weights, then in proportion, never below 1,000."""
    full = salakhutdinov()
    for weights, n in ((784 * 500, 14_501), (2**20, 14_501), (3072 * 500, 7_251), (10 * 2**20, 1_451), (10**9, 1_037)):
        betas = partition.thinned(full, weights)
        assert len(betas) == n
        assert (betas[0], betas[-1]) == (0, 1) and (betas.diff() > 0).all()
    assert torch.equal(partition.thinned(schedule(1000), 10**9), schedule(1000))
    seen = []
    monkeypatch.setattr(partition, "WORK", 500)
    monkeypatch.setattr(
        partition, "ais", lambda *args, betas, **rest: seen.append(len(betas)) or AIS(*args[1:2], *4 * [0.0])
    )
    partition.log_partition(torch.zeros(30, 40), torch.zeros(30), torch.zeros(40), betas=full)
    assert seen == [4835]
