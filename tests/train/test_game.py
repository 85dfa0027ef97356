"""What a stage gives its players: modes, the clock, clipping, shares of the budget, one average, a finish."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from genlearn._types import Batch, Nets
from genlearn.maths.rng import make_rng
from genlearn.train import Budget, Game, Journal, Keeper, Monitor, Optimizer, Player, Stage, Stop, Stream, Training
from genlearn.train.stop import Stopped

SGD = Optimizer("sgd", lr=0.1)


def nets() -> Nets:
    torch.manual_seed(0)
    return Nets(x=nn.Linear(1, 2), y=nn.Linear(1, 1, bias=False)).double()


def stream(n: int = 40, batch: int = 10) -> Stream:
    return Stream(torch.zeros(n, 1, dtype=torch.float64), None, batch, 0, dtype=torch.float64)


def pull(name: str, size: float = 1.0):
    """A loss whose gradient is `size` for every weight of a net."""
    return lambda nets, batch, rng: (size * sum(p.sum() for p in nets[name].parameters()), {})


def test_the_gradient_is_clipped_to_its_norm_and_the_norm_before_is_told():
    n, player = nets(), Player("x", ("x",), pull("x", 3.0), SGD, clip=0.5)
    before = [p.detach().clone() for p in n["x"].parameters()]
    journal = Journal()
    Training(n, [Stage("s", [player], Budget(images=10))], stream(), make_rng(0), journal, layers=True).run()
    moved = torch.cat([(b - p).flatten() for b, p in zip(before, n["x"].parameters(), strict=True)])
    assert moved.norm().item() == pytest.approx(0.1 * 0.5)
    assert journal.curve("x/gradient") == ([10], [pytest.approx(3 * math.sqrt(4))])
    assert journal.curve("x/gradient of x") == ([10], [pytest.approx(6.0)])
    gentle = Player("x", ("x",), pull("x", 0.1), SGD, clip=0.5)  # shorter than the limit: as it is
    start = n["x"].weight.detach().clone()
    Training(n, [Stage("s", [gentle], Budget(images=10))], stream(), make_rng(0)).run()
    assert torch.allclose(start - n["x"].weight, torch.full((2, 1), 0.01, dtype=torch.float64))


@pytest.mark.parametrize("clip", [None, 5.0])
def test_norms_are_read_every_tenth_round(clip):
    rounds = iter(range(1000))
    loss = lambda n, b, r: ((1 + next(rounds)) * n["y"].weight.sum(), {})  # noqa: E731
    journal = Journal()
    stage = Stage("s", [Player("y", ("y",), loss, SGD, clip=clip)], Budget(images=250))
    Training(nets(), [stage], stream(), make_rng(0), journal, tick=250).run()
    assert journal.curve("y/gradient")[1] == [pytest.approx((1 + 11 + 21) / 3)]


@pytest.mark.parametrize("together", [False, True])
def test_the_clock_of_a_batch_needs_no_preparation(together):
    seen = []

    def loss(nets: Nets, batch: Batch, rng):
        seen.append(batch.seen)
        return pull("x")(nets, batch, rng)

    stage = Stage("s", [Player("x", ("x",), loss, SGD)], Budget(images=30), simultaneous=together)
    Training(nets(), [stage], stream(), make_rng(0)).run()
    assert seen == [0, 10, 20]


def test_batches_are_prepared_without_gradient_and_with_their_labels():
    told = []

    def prepare(n: Nets, batch: Batch, rng) -> Batch:
        told.append((torch.is_grad_enabled(), batch.y.tolist(), batch.seen))
        return batch

    x = torch.zeros(4, 1, dtype=torch.float64)
    stage = Stage("s", [Player("x", ("x",), pull("x"), SGD)], Budget(images=8), prepare=prepare)
    Training(nets(), [stage], Stream(x, torch.full((4,), 3), 4, 0), make_rng(0)).run()
    assert told == [(False, [3] * 4, 0), (False, [3] * 4, 4)]


def test_the_clock_of_a_batch_counts_what_its_player_has_seen():
    seen: dict[str, list[int]] = {"x": [], "y": []}

    def loss(name):
        def f(nets: Nets, batch: Batch, rng):
            seen[name].append(batch.seen)
            return pull(name)(nets, batch, rng)

        return f

    players = [Player("x", ("x",), loss("x"), SGD, steps=2), Player("y", ("y",), loss("y"), SGD)]
    stages = [Stage(s, players, Budget(images=40), prepare=lambda n, b, r: Batch(b.x)) for s in "ab"]
    Training(nets(), stages, stream(), make_rng(0)).run()
    assert seen == {"x": [0, 10, 20, 30] * 2, "y": [0, 10] * 2}  # a stage begins anew


@pytest.mark.parametrize("together", [False, True])
def test_a_player_asks_for_the_gradient_of_what_it_owns_alone(together):
    n, asked = nets(), []

    def loss(name):
        def f(n: Nets, batch: Batch, rng):
            asked.append({name.partition(".")[0] for name, p in n.named_parameters() if p.requires_grad})
            return pull(name)(n, batch, rng)

        return f

    def joint(n: Nets, batch: Batch, rng):
        return {name: loss(name)(n, batch, rng)[0] for name in "xy"}, {}

    players = [Player(name, (name,), loss(name), SGD) for name in "xy"]
    game = Game(Stage("s", players, simultaneous=together, joint=joint if together else None), n)
    game.round(stream(), make_rng(0), 0)
    assert asked == ([{"x", "y"}] * 2 if together else [{"x"}, {"y"}])
    assert not any(p.requires_grad or p.grad is not None for p in n.parameters())


def test_modules_that_nobody_owns_are_in_evaluation_mode():
    n = Nets(
        G=nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)),
        judge=nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)),
        mixed=nn.ModuleDict({"frozen": nn.BatchNorm1d(2), "learned": nn.Linear(2, 2), "act": nn.Dropout(0.5)}),
    )
    player = Player("G", ("G", "mixed.learned"), lambda *a: (n["G"][0].weight.sum(), {}), SGD)
    Game(Stage("s", [player]), n.train())
    assert all(m.training for m in n["G"].modules())
    assert not any(m.training for m in n["judge"].modules())
    assert [n["mixed"][k].training for k in ("frozen", "learned", "act")] == [False, True, True]


def test_a_frozen_net_moves_no_running_statistic_and_is_neither_copied_nor_saved_twice(tmp_path):
    n = Nets(y=nn.Linear(1, 1), judge=nn.BatchNorm1d(1)).double()
    loss = lambda nets, batch, rng: (nets["judge"](nets["y"](batch.x + 5)).square().sum(), {})  # noqa: E731
    stage = Stage("s", [Player("y", ("y",), loss, SGD)], Budget(images=40))
    before = {k: v.clone() for k, v in n["judge"].state_dict().items()}
    keeper = Keeper(tmp_path)
    t = Training(n, [stage], stream(), make_rng(0), ema=20.0, keeper=keeper)
    t.run()
    assert all(torch.equal(before[k], v) for k, v in n["judge"].state_dict().items())
    assert t.average.nets["judge"].weight is n["judge"].weight
    assert t.average.nets["y"].weight is not n["y"].weight
    assert set(keeper.latest()["average"]) == {"y.weight", "y.bias"}


def test_buffers_are_those_of_the_nets_in_the_average_too():
    n = Nets(x=nn.Sequential(nn.Linear(1, 3), nn.BatchNorm1d(3))).double()
    loss = lambda nets, batch, rng: (nets["x"](batch.x + torch.rand(10, 1, generator=rng)).square().sum(), {})  # noqa: E731
    t = Training(n, [Stage("s", [Player("x", ("x",), loss, SGD)], Budget(images=40))], stream(), make_rng(0), ema=20.0)
    t.run()
    assert n["x"][1].running_mean.abs().max() > 0
    assert torch.equal(t.average.nets["x"][1].running_mean, n["x"][1].running_mean)


def test_one_average_for_the_run_and_the_next_stage_is_built_on_it():
    """After the first stage its nets hold the averaged values; at the end only the last player's stand apart."""
    seen = []

    def start(n: Nets, s, r) -> None:
        seen.append(n["x"].weight.detach().clone())

    stages = [
        Stage("a", [Player("x", ("x",), pull("x"), SGD)], Budget(images=100)),
        Stage("b", [Player("y", ("y",), pull("y"), SGD)], Budget(images=100), start=start),
    ]
    n = nets()
    first = n["x"].weight.item() if n["x"].weight.numel() == 1 else n["x"].weight[0].item()
    t = Training(n, stages, stream(), make_rng(0), ema=1e9)  # at most a tenth of what was seen so far
    t.run()
    raw, average = first, first
    for i in range(1, 11):
        raw -= 0.1
        average += (1 - 2.0 ** (-10 / i)) * (raw - average)
    assert seen[0][0].item() == pytest.approx(average)
    assert n["x"].weight[0].item() == pytest.approx(average)
    assert t.average.nets["x"].weight is n["x"].weight
    assert t.average.nets["y"].weight.item() - n["y"].weight.item() == pytest.approx(average - raw)


def test_finish_runs_once_on_the_nets_and_once_on_the_average_with_the_same_noise():
    n = Nets(y=nn.Linear(1, 1, bias=False), code=nn.BatchNorm1d(1, affine=False)).double()

    def finish(nets: Nets, s: Stream, rng) -> None:
        nets["code"].running_mean.copy_(
            nets["y"].weight[0].detach() + torch.rand(1, generator=rng, dtype=torch.float64)
        )

    stage = Stage("s", [Player("y", ("y",), pull("y"), SGD)], Budget(images=100), finish=finish)
    t = Training(n, [stage], stream(), make_rng(0), ema=1000.0)
    t.run()
    fitted = (
        n["code"].running_mean - n["y"].weight[0],
        t.average.nets["code"].running_mean - t.average.state["y.weight"][0],
    )
    assert torch.allclose(*fitted)
    assert not torch.allclose(n["code"].running_mean, t.average.nets["code"].running_mean)


@pytest.mark.parametrize(("images", "expected"), [(400, [100, 100, 200]), (1000, [120, 120, 760])])
def test_one_budget_is_shared_by_the_stages(images, expected):
    """Shares of what is left: what a stage leaves, because its own budget was smaller, goes to the later ones."""
    stages = [
        Stage("a", [Player("x", ("x",), pull("x"), SGD)], Budget(images=120), share=0.5),
        Stage("b", [Player("y", ("y",), pull("y"), SGD)], Budget(epochs=3), share=0.5),
        Stage("c", [Player("x", ("x",), pull("x"), SGD)]),
    ]
    p = Training(nets(), stages, stream(), make_rng(0), budget=Budget(images=images)).run()
    assert p.images == images
    assert list(p.players.values()) == expected
    assert list(p.players) == ["a/x", "b/y", "c/x"]


def test_minutes_bound_the_whole_fit_with_its_monitors(tmp_path):
    """Every second of the wall is on one account."""
    import time

    slow = Monitor("slow", 10, lambda n, i: time.sleep(0.02) or {"x": 1.0})
    stages = [Stage(s, [Player("y", ("y",), pull("y"), SGD)]) for s in "ab"]
    began = time.perf_counter()
    t = Training(
        nets(), stages, stream(), make_rng(0), monitors=[slow], keeper=Keeper(tmp_path), tick=10,
        budget=Budget(minutes=0.3 / 60),
    )  # fmt: skip
    p = t.run()
    wall = time.perf_counter() - began
    assert p.finished
    assert p.seconds == pytest.approx(sum(p.spent.values()))
    assert 0.3 <= p.seconds <= wall
    assert set(p.spent) == {"start", "play", "monitors", "saving"}
    assert p.spent["monitors"] >= slow.total > 0


def test_a_monitor_is_rare_where_it_is_dear():
    cheap, dear = Monitor("cheap", 10, lambda n, i: {}), Monitor("dear", 10, lambda n, i: {})
    dear.last, dear.total = 5.0, 5.0
    assert cheap.affordable(0.0)
    assert not dear.affordable(99.0)
    assert dear.affordable(100.0)


def test_a_stop_breaks_off_what_is_long_and_nothing_else(tmp_path):
    """Asked within a monitor, or within the start of a stage: that is left at once, and a checkpoint is there."""
    stop, looks = Stop(), []

    def look(n, images):
        looks.append(images)
        stop.ask(15)
        raise AssertionError("never reached")

    stage = Stage("s", [Player("y", ("y",), pull("y"), SGD)], Budget(images=1000))
    t = Training(
        nets(), [stage], stream(), make_rng(0), stop=stop, monitors=[Monitor("m", 50, look)], tick=50,
        keeper=Keeper(tmp_path),
    )  # fmt: skip
    p = t.run()
    assert (p.finished, p.images, looks, stop.reason) == (False, 60, [50], 15)
    assert Keeper(tmp_path).latest()["progress"]["images"] == 60
    again = Training(nets(), [stage], stream(), make_rng(0), keeper=Keeper(tmp_path)).run(resume=True)
    assert again.finished
    assert again.images == 1000

    def start(n, s, r):
        stop.ask(2)
        raise AssertionError("never reached")

    stop = Stop()
    begun = Stage("s", [Player("y", ("y",), pull("y"), SGD)], Budget(images=1000), start=start)
    assert Training(nets(), [begun], stream(), make_rng(0), stop=stop).run().images == 0

    stop = Stop()
    ended = Stage("s", [Player("y", ("y",), pull("y"), SGD)], Budget(images=20), finish=start)
    assert not Training(nets(), [ended], stream(), make_rng(0), stop=stop).run().finished


def test_work_is_broken_off_once():
    """A second signal while the first unwinds raises nothing more, nor does one after it."""
    stop, cleared = Stop(), []

    def work() -> None:
        try:
            stop.ask(2)
        finally:
            stop.ask(15)
            cleared.append(stop.reason)

    with pytest.raises(Stopped), stop.breakable():
        work()
    stop.ask(2)
    assert cleared == [15]
    assert stop.reason == 2
    with pytest.raises(Stopped), stop.breakable():
        raise AssertionError("never reached")


def test_monitors_see_the_average_once_at_the_end_and_not_after_a_stop():
    looks = []

    def look(n: Nets, images: int):
        looks.append((n, images))
        return {}

    stage = Stage("s", [Player("y", ("y",), pull("y"), SGD)], Budget(images=60))
    t = Training(nets(), [stage], stream(), make_rng(0), ema=20.0, monitors=[Monitor("m", 1000, look)], tick=10)
    t.run()
    assert looks == [(t.average.nets, 60)]  # not due by its number of images: the end has a look of its own
    looks.clear()
    stop = Stop()
    stopping = lambda progress, done: stop.ask()  # noqa: E731
    Training(
        nets(), [stage], stream(), make_rng(0), stop=stop, monitors=[Monitor("m", 10, look)], tick=10, on_tick=stopping
    ).run()
    assert looks == []


def test_rounds_are_counted_from_the_start_of_a_stage_and_setups_are_without_gradient():
    numbers, modes = [], []

    def setup(n: Nets, s: Stream, rng) -> None:
        modes.append((torch.is_grad_enabled(), n.y.training))

    player = Player("y", ("y",), pull("y"), SGD, steps=lambda number: numbers.append(number) or 1)
    stages = [Stage(name, [player], Budget(images=20), start=setup, finish=setup) for name in "ab"]
    Training(nets(), stages, stream(), make_rng(0), ema=20.0).run()
    assert numbers == [0, 10, 0, 10]
    assert len(modes) == 5  # the last finish on the average too
    assert not any(grad for grad, _ in modes)
    assert [training for _, training in modes] == [True, False, True, False, False]


def test_a_joint_loss_needs_the_flag():
    stage = Stage("s", [Player("y", ("y",), pull("y"), SGD)], Budget(images=10), joint=lambda n, b, r: ({}, {}))
    with pytest.raises(ValueError, match="expected simultaneous=True beside it"):
        Training(nets(), [stage], stream(), make_rng(0)).run()


def play(player: Player, **options) -> None:
    Training(nets(), [Stage("s", [player], Budget(images=20))], stream(), make_rng(0), **options).run()


@pytest.mark.parametrize(("made", "message"), [
    (lambda: Player("x", "x", pull("x"), SGD), r"player 'x' owns 'x', expected names, as in owns=\('x',\)"),
    (lambda: Player("x", ("x",), pull("x"), SGD, clip=0.0), "clip of player 'x' is 0.0, expected a number above 0"),
    (lambda: Player("x", ("x",), pull("x"), SGD, clip=-1.0), "clip of player 'x' is -1.0, expected a number above 0"),
    (lambda: Stage("s", []), r"stage 's' has the players \[\], expected one at least"),
    (lambda: Stage("s", 2 * [Player("x", ("x",), pull("x"), SGD)]), "of different names"),
    (lambda: Optimizer("lion"), "unknown optimiser 'lion': expected one of sgd"),
    (lambda: Optimizer(lr=-1.0), "lr is -1.0, expected a rate above 0"),
    (lambda: Optimizer(lr="linear(0.1, over=5)"), "is no schedule"),
    (lambda: Optimizer(momentum="slow"), "is no schedule"),
    (lambda: play(Player("x", ("x",), pull("x"), SGD, steps=0)), "player 'x' plays 0 steps in round 0, expected 1 at"),
    (lambda: play(Player("x", ("x",), pull("x"), SGD, steps=lambda seen: int(seen == 0))), "plays 0 steps in round 1"),
    (lambda: play(Player("x", ("z",), pull("x"), SGD)), "owns z, which names no parameter of the nets x, y"),
    (lambda: play(Player("x", ("x", "y"), pull("x"), SGD)), "player 'x' owns y.weight, which its loss does not use"),
    (lambda: play(Player("x", ("x",), lambda n, b, r: n["x"].weight.sum(), SGD)),
     r"the loss of player 'x' gave a Tensor of shape \(\) alone, expected \(scalar tensor, logs\)"),
    (lambda: play(Player("x", ("x",), lambda n, b, r: (n["x"].weight, {}), SGD)), "gave a Parameter of shape"),
    (lambda: play(Player("x", ("x",), lambda n, b, r: (torch.ones(()), {}), SGD)), "of shape .* without gradient"),
    (lambda: play(Player("x", ("x",), lambda n, b, r: (n["x"].weight.sum(), {"a": 0.5}), SGD)),
     "log 'a' of player 'x' is 0.5, expected a scalar tensor"),
])  # fmt: skip
def test_what_breaks_the_contract_is_one_line_with_a_name(made, message):
    with pytest.raises(ValueError, match=message) as error:
        made()
    assert "\n" not in str(error.value)


def test_folders_are_made_and_a_start_empties_them(tmp_path):
    def go(**options):
        journal, keeper = Journal(str(tmp_path / "a" / "run")), Keeper(str(tmp_path / "a" / "kept"))
        stage = Stage("s", [Player("x", ("x",), pull("x"), SGD)], Budget(images=40))
        Training(nets(), [stage], stream(), make_rng(0), journal, keeper=keeper, tick=20).run(**options)
        kept = Journal(tmp_path / "a" / "run")
        kept.read()
        return [row["images"] for row in kept.rows]

    assert go() == go() == [20, 40]
    assert go(resume=True) == [20, 40]


def test_to_resume_takes_a_keeper():
    with pytest.raises(ValueError, match="resume=True without a keeper"):
        Training(nets(), [Stage("s", [Player("x", ("x",), pull("x"), SGD)])], stream(), make_rng(0)).run(resume=True)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adagrad", "rmsprop"])
def test_a_gradient_of_another_layout_moves_the_right_weights(optimizer):
    """Kernels lie channels last; a gradient may not, or be one number for all. Fused optimisers go through memory."""
    net = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
    direction = torch.randn(4, 3, 2, 2, generator=make_rng(0))
    direction += 0.1 * direction.sign()

    def loss(nets, batch, rng):
        return (nets["net"].weight * direction).sum() + nets["net"].bias.sum(), {}

    before = net.weight.detach().clone()
    player = Player("net", ("net",), loss, Optimizer(optimizer, lr=0.01))
    stream = Stream(torch.zeros(4, 1), None, 4, 0)
    Game(Stage("play", [player]), Nets(net=net)).round(stream, make_rng(0), 0)
    moved = before - net.weight
    assert torch.equal(moved.sign(), direction.sign())
    if optimizer in ("sgd", "momentum"):
        torch.testing.assert_close(moved, 0.01 * direction, atol=1e-6, rtol=1e-4)
