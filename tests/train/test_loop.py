"""The game: order of play, fresh batches, averages, stops, checkpoints."""

from __future__ import annotations

import errno
import json
import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from genlearn._types import Nets
from genlearn.files import write_atomically
from genlearn.maths.rng import make_rng
from genlearn.train import Budget, Diverged, Journal, Keeper, Monitor, Optimizer, Player, Stage, Stop, Stream, Training
from genlearn.train.average import Average
from genlearn.train.checkpoint import read, write
from stops import After

SGD = Optimizer("sgd", lr=0.1)


def two() -> Nets:
    torch.manual_seed(0)
    return Nets(x=nn.Linear(1, 1, bias=False), y=nn.Linear(1, 1, bias=False)).double()


def saddle(nets, batch, rng):
    """V(x, y) = x y: what one player ascends the other descends (the Dirac-GAN's caricature)."""
    return (nets["x"].weight * nets["y"].weight).sum(), {}


def minus(nets, batch, rng):
    return -saddle(nets, batch, rng)[0], {}


def training(stages, nets, **options) -> Training:
    stream = Stream(torch.zeros(40, 1, dtype=torch.float64), None, 10, 0, dtype=torch.float64)
    return Training(nets, stages, stream, make_rng(0), **options)


@pytest.mark.parametrize("simultaneous", [False, True])
def test_order_of_play(simultaneous):
    nets = two()
    x, y = nets["x"].weight.item(), nets["y"].weight.item()
    players = [Player("x", ("x",), saddle, SGD), Player("y", ("y",), minus, SGD)]
    training([Stage("s", players, Budget(images=30), simultaneous=simultaneous)], nets).run()
    for _ in range(3):
        new_x = x - 0.1 * y
        x, y = new_x, y + 0.1 * (x if simultaneous else new_x)
    assert nets["x"].weight.item() == pytest.approx(x, rel=1e-12)
    assert nets["y"].weight.item() == pytest.approx(y, rel=1e-12)


def test_simultaneous_players_see_one_batch_and_one_noise():
    seen: dict[str, list[float]] = {"x": [], "y": []}

    def loss(name):
        def f(nets, batch, rng):
            seen[name].append(torch.rand((), generator=rng).item() + batch.x.sum().item())
            return nets[name].weight.sum(), {}

        return f

    players = [Player(n, (n,), loss(n), SGD) for n in ("x", "y")]
    training([Stage("s", players, Budget(images=40), simultaneous=True)], two()).run()
    assert seen["x"] == seen["y"]
    assert len(set(seen["x"])) == 4


def test_every_step_draws_a_fresh_batch_and_the_budget_counts_the_first_player():
    rows = []

    def loss(nets, batch, rng):
        rows.append(batch.y.tolist())
        return nets["x"].weight.sum(), {}

    def other(nets, batch, rng):
        rows.append(batch.y.tolist())
        return nets["y"].weight.sum(), {}

    stream = Stream(torch.zeros(40, 1), torch.arange(40), 10, 0)
    players = [Player("x", ("x",), loss, SGD, steps=lambda n: 1 if n else 3), Player("y", ("y",), other, SGD)]
    progress = Training(two(), [Stage("s", players, Budget(images=40))], stream, make_rng(0), Journal()).run()
    assert progress.images == 40
    assert progress.rounds == 2
    assert sorted(sum(rows[:4], [])) == list(range(40))


def test_owned_sets_are_disjoint():
    players = [Player("x", ("x",), saddle, SGD), Player("y", ("y", "x.weight"), minus, SGD)]
    with pytest.raises(ValueError, match=r"x.weight is owned by 'x' and 'y'"):
        training([Stage("s", players, Budget(images=10))], two()).run()
    with pytest.raises(ValueError, match="names no parameter"):
        training([Stage("s", [Player("x", ("xx",), saddle, SGD)], Budget(images=10))], two()).run()


def test_a_name_owns_itself_and_what_is_below_it():
    nets = Nets(x=nn.Linear(1, 1), xx=nn.Linear(1, 1))
    names = lambda *owns: [name for name, _ in Player("x", owns, saddle, SGD).parameters(nets)]  # noqa: E731
    assert names("x") == ["x.weight", "x.bias"]
    assert names("x.weight", "xx") == ["x.weight", "xx.weight", "xx.bias"]


def test_after_projects_and_start_runs_once():
    calls = []

    def clip(nets):
        nets["x"].weight.clamp_(-0.01, 0.01)

    nets = two()
    player = Player("x", ("x",), lambda n, b, r: (n["x"].weight.sum() * 5, {}), SGD, after=clip)
    stage = Stage("s", [player], Budget(images=50), start=lambda n, s, r: calls.append(1))
    training([stage], nets).run()
    assert nets["x"].weight.item() == pytest.approx(-0.01)
    assert calls == [1]


def test_prepare_maps_every_batch():
    nets, got = two(), []

    def loss(n, batch, rng):
        got.append(batch.x)
        return n["x"].weight.sum(), {}

    stage = Stage(
        "s", [Player("x", ("x",), loss, SGD)], Budget(images=20), prepare=lambda n, b, r: b._replace(x=b.x + 5)
    )
    training([stage], nets).run()
    assert all((x == 5).all() for x in got)


def test_average():
    """After many rounds the average of a constant is the constant; the half-life is in images."""
    nets = two()
    average = Average(nets, [nets["x"].weight], half_life=100.0)
    start = nets["x"].weight.item()
    with torch.no_grad():
        nets["x"].weight.fill_(start + 1)
    for i in range(20):
        average.update(images=10_000 + 10 * i, batch_size=10)
    assert average.nets["x"].weight.item() == pytest.approx(start + 0.75)  # two half-lives


@pytest.mark.parametrize("where", ["loss", "parameter"])
def test_nan_stops_with_names_and_keeps_the_last_good_checkpoint(where, tmp_path):
    rounds = iter(range(100))

    def loss(nets, batch, rng):
        value = nets["x"].weight.sum()
        if next(rounds) == 5:
            if where == "loss":
                return value * float("nan"), {}
            value = value + torch.sqrt(value - value.detach())  # finite, with an infinite gradient
        return value, {}

    stage = Stage("s", [Player("hero", ("x",), loss, SGD)], Budget(images=300))
    keeper = Keeper(tmp_path)
    with pytest.raises(Diverged) as error:
        training([stage], two(), keeper=keeper, keep_every=0, tick=20).run()
    message = str(error.value)
    assert "player 'hero'" in message
    assert "round" in message
    assert "'x.weight' is no longer finite" in message
    assert f"last good checkpoint is {keeper.paths()[-1].name}" in message
    assert "\n" not in message
    if where == "loss":
        assert "round 5" in message
    state = keeper.latest()
    assert state is not None
    assert torch.isfinite(state["nets"]["x.weight"]).all()


def test_monitors_change_nothing():
    def run(monitors):
        nets = two()
        player = Player("x", ("x",), lambda n, b, r: ((n["x"].weight * torch.rand((), generator=r)).sum(), {}), SGD)
        journal = Journal()
        training([Stage("s", [player], Budget(images=400))], nets, journal=journal, monitors=monitors, tick=20).run()
        return nets["x"].weight.item(), journal

    seen = []
    watch = Monitor("watch", 100, lambda nets, images: seen.append(images) or {"watch": torch.rand(()).item()})
    alone, _ = run([])
    watched, journal = run([watch])
    assert alone == watched
    assert seen == [100, 200, 300, 400]
    assert journal.curve("watch")[0] == seen


def test_stages_follow_each_other_and_resume_in_the_middle(tmp_path):
    def stages():
        noisy = lambda name: lambda n, b, r: ((n[name].weight * torch.rand((), generator=r)).sum(), {})  # noqa: E731
        return [
            Stage("first", [Player("x", ("x",), noisy("x"), Optimizer("adam"))], Budget(images=200)),
            Stage(
                "second",
                [Player("y", ("y",), noisy("y"), Optimizer("adam"))],
                Budget(epochs=5),
                start=lambda n, s, r: n["y"].weight.copy_(n["x"].weight),
            ),
        ]

    whole = two()
    training(stages(), whole).run()
    for cut in (3, 20, 21, 33):
        nets = two()
        first = training(stages(), nets, keeper=Keeper(tmp_path / str(cut)), stop=After(cut))
        assert not first.run().finished
        again = two()
        assert training(stages(), again, keeper=Keeper(tmp_path / str(cut))).run(resume=True).finished
        assert torch.equal(again["y"].weight, whole["y"].weight)


def test_a_longer_budget_continues_a_finished_run(tmp_path):
    def run(images, resume=False, folder="a"):
        nets = two()
        player = Player("x", ("x",), lambda n, b, r: ((n["x"].weight * torch.rand((), generator=r)).sum(), {}), SGD)
        training([Stage("s", [player], Budget(images=images))], nets, keeper=Keeper(tmp_path / folder)).run(resume)
        return nets["x"].weight

    run(200)
    assert torch.equal(run(500, resume=True), run(500, folder="b"))


def test_checkpoints_are_whole_or_absent(tmp_path, monkeypatch):
    tree = {"a": torch.arange(3), "b": {"c": 1.5, "d": torch.ones(2, 2), "e": {}}, "f": [1, 2]}
    write(tmp_path / "c", tree)
    back = read(tmp_path / "c")
    assert torch.equal(back["a"], tree["a"])
    assert torch.equal(back["b"]["d"], tree["b"]["d"])
    assert (back["b"]["c"], back["f"], back["b"]["e"]) == (1.5, [1, 2], {})

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="what was there before is untouched") as error:
        write(tmp_path / "c", {"a": torch.zeros(9)})
    assert "\n" not in str(error.value)
    assert torch.equal(read(tmp_path / "c")["a"], tree["a"])
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_damaged_and_foreign_checkpoints_are_one_line(tmp_path):
    write(tmp_path / "c", {"a": torch.arange(300)})
    content = (tmp_path / "c").read_bytes()
    (tmp_path / "short").write_bytes(content[:-100])
    (tmp_path / "other").write_bytes(content.replace(b"format", b"fermat"))
    flipped = bytearray(content)
    flipped[-1000] ^= 4  # one bit of one number
    (tmp_path / "flipped").write_bytes(flipped)
    (tmp_path / "text").write_bytes(content.replace(b"state", b"stale"))
    for name in ("short", "other", "missing", "flipped", "text"):
        with pytest.raises(ValueError, match="usual fix") as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)


def test_the_keeper_forgets_the_oldest(tmp_path):
    keeper = Keeper(tmp_path, keep=2)
    for images in (100, 20_000, 3000):
        keeper.save(images, {"images": images})
    assert [p.name for p in keeper.paths()] == ["images-000000003000.safetensors", "images-000000020000.safetensors"]
    assert keeper.latest() == {"images": 20_000}


def test_the_journal_survives_a_kill(tmp_path):
    journal = Journal(tmp_path)
    for images in (10, 20, 30):
        journal.log(images, 0.1, {"loss": images / 10})
    journal.close()
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"images": 40, "lo')
    reader = Journal(tmp_path)
    reader.read()
    assert reader.curve("loss")[0] == [10, 20, 30]
    again = Journal(tmp_path)
    again.rewind(20)
    assert again.curve("loss") == ([10, 20], [1.0, 2.0])
    assert [json.loads(line)["images"] for line in (tmp_path / "journal.jsonl").read_text().splitlines()] == [10, 20]
    assert again.names == ["loss"]


def test_the_journal_keeps_rows_sentences_and_events(tmp_path):
    """In memory and in its folder alike; where a quantity was looked at twice, the later look."""
    looks = [
        (10, 0.12345, {"loss": 1.0, "what": "early"}),
        (10, 1.5, {"loss": 2.0}),
        (20, 2.0, {"loss": float("nan"), "score": 3.0}),
        (30, 3.0, {"what": "late"}),
    ]
    journal, memory, folder = Journal(tmp_path), Journal(), tmp_path / "tensorboard"
    for look in looks:
        journal.log(*look)
        memory.log(*look)
    journal.close()
    events = EventAccumulator(str(folder)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")][:2] == [(10, 1), (10, 2)]
    assert [(e.step, e.value) for e in events.Scalars("score")] == [(20, 3)]
    assert [e.step for e in events.Tensors("what/text_summary")] == [10, 30]
    again = Journal(tmp_path)
    again.read()
    for j in (journal, memory, again):
        assert [row["seconds"] for row in j.rows] == [0.123, 1.5, 2, 3]
        images, values = j.curve("loss")
        assert (images, values[0]) == ([10, 20], 2)
        assert math.isnan(values[1])
        assert j.names == ["loss", "score"]
        assert j.sentences == {"what": "late"}


def test_a_journal_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(OSError, match=r"could not write .*journal\.jsonl: .*; put that right and resume") as error:
        Journal(tmp_path).log(10, 0.1, {"loss": 1.0})
    assert error.value.errno == errno.EISDIR
    assert "\n" not in str(error.value)


def test_write_to_a_read_only_place_is_one_line(tmp_path):
    with pytest.raises(OSError, match="could not write") as error:
        write_atomically(tmp_path / "no" / "such" / "folder", b"x")
    assert "\n" not in str(error.value)


def test_monitors_move_no_running_statistic():
    """Nets are watched in evaluation mode, and go on in training mode."""

    def run(monitors):
        nets = Nets(x=nn.Sequential(nn.Linear(1, 3), nn.BatchNorm1d(3))).double()
        with torch.no_grad():
            nets["x"][0].weight.fill_(1.0)
        player = Player(
            "x", ("x",), lambda n, b, r: (n["x"](b.x + torch.rand(10, 1, generator=r)).square().sum(), {}), SGD
        )
        training([Stage("s", [player], Budget(images=100))], nets, monitors=monitors, tick=20).run()
        assert nets["x"].training
        return nets.state_dict()

    def look(nets, images):
        nets["x"](torch.ones(5, 1, dtype=torch.float64))
        return {}

    torch.manual_seed(0)
    alone = run([])
    torch.manual_seed(0)
    watched = run([Monitor("look", 20, look)])
    assert all(torch.equal(alone[name], watched[name]) for name in alone)


def test_a_finished_minutes_budget_is_not_played_again(tmp_path):
    def run(resume):
        player = Player("x", ("x",), lambda n, b, r: (n["x"].weight.sum(), {}), SGD)
        return training([Stage("s", [player], Budget(minutes=0.001))], two(), keeper=Keeper(tmp_path)).run(resume)

    first = run(False)
    assert first.finished
    assert run(True).rounds == first.rounds


def test_a_fresh_start_forgets_older_checkpoints(tmp_path):
    def run(images):
        player = Player("x", ("x",), lambda n, b, r: (n["x"].weight.sum(), {}), SGD)
        return training([Stage("s", [player], Budget(images=images))], two(), keeper=Keeper(tmp_path)).run()

    run(400)
    run(100)
    assert [p.name for p in Keeper(tmp_path).paths()] == ["images-000000000100.safetensors"]


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    keeper = Keeper(tmp_path)
    keeper.save(1, {"images": 1})
    keeper.save(2, {"images": 2}).write_bytes(b"cut short")
    with pytest.warns(UserWarning, match="no readable checkpoint"):
        assert keeper.latest() == {"images": 1}


def test_simultaneous_players_play_one_step():
    players = [Player("x", ("x",), saddle, SGD, steps=2), Player("y", ("y",), minus, SGD)]
    with pytest.raises(ValueError, match="expected steps=1"):
        training([Stage("s", players, Budget(images=10), simultaneous=True)], two()).run()


def test_schedules_and_the_global_generator_resume(tmp_path):
    """The rate follows the images that the player has seen; a net of torch may draw from the global generator."""

    def run(folder, cut=None, resume=False):
        nets = two()
        spec = Optimizer("momentum", lr="linear(0.5, 0, over=300)", momentum="linear(0, 0.9, over=300)")
        player = Player("x", ("x",), lambda n, b, r: ((n["x"].weight * torch.rand(())).sum(), {}), spec)
        torch.manual_seed(cut or 99)  # what is global before must not matter
        training(
            [Stage("s", [player], Budget(images=300))], nets, keeper=Keeper(tmp_path / folder),
            stop=Stop() if cut is None else After(cut),
        ).run(resume)  # fmt: skip
        return nets["x"].weight

    whole = run("whole")
    assert not torch.equal(run("cut", cut=11), whole)
    assert torch.equal(run("cut", resume=True), whole)


def test_a_resumed_run_keeps_the_rhythm_of_its_monitors(tmp_path):
    seen = []

    def run(resume=False, **options):
        player = Player("x", ("x",), lambda n, b, r: (n["x"].weight.sum(), {}), SGD)
        watch = Monitor("watch", 100, lambda nets, images: seen.append(images) or {})
        options |= {"keeper": Keeper(tmp_path), "monitors": [watch], "tick": 10}
        training([Stage("s", [player], Budget(images=300))], two(), **options).run(resume)

    run(stop=After(12))
    run(resume=True)
    assert seen == [100, 200, 300]


def test_a_resumed_training_keeps_the_precision_that_it_began_with(tmp_path):
    """Another machine may choose another one."""
    seen = []

    def loss(nets, batch, rng):
        seen.append(torch.is_autocast_enabled("cpu"))
        return saddle(nets, batch, rng)

    def run(precision, **options):
        stage = Stage("s", [Player("x", ("x",), loss, SGD)], Budget(images=100))
        t = training([stage], two(), precision=precision, keeper=Keeper(tmp_path), **options)
        t.run(resume=bool(seen))
        return t.progress.precision

    assert run("bf16", stop=After(3)) == run("float32") == "bf16"
    assert seen == 10 * [True]
    with pytest.raises(ValueError, match="precision is 'float64', but training began with 'bf16'"):
        run("float64")


def test_the_global_generator_is_seeded_by_that_of_the_players():
    def first(seed):
        drawn = []
        loss = lambda n, b, r: (n["x"].weight.sum(), drawn.append(torch.rand(()).item()) or {})  # noqa: E731
        t = training([Stage("s", [Player("x", ("x",), loss, SGD)], Budget(images=10))], two())
        t.rng.manual_seed(seed)
        t.run()
        return drawn

    assert first(1) == first(1) != first(2)


def test_a_resumed_run_keeps_its_checkpoint_until_the_next(tmp_path):
    keeper, there = Keeper(tmp_path), []

    def loss(nets, batch, rng):
        there.append(len(keeper.paths()))
        return nets["x"].weight.sum(), {}

    for images, resume in ((20, False), (40, True)):
        stage = Stage("s", [Player("x", ("x",), loss, SGD)], Budget(images=images))
        training([stage], two(), keeper=keeper).run(resume)
    assert there == [0, 0, 1, 1]


def test_the_logs_of_a_joint_loss_are_kept_once_and_a_monitor_without_numbers_leaves_no_row():
    def joint(nets, batch, rng):
        return {n: nets[n].weight.sum() for n in "xy"}, {"right": torch.tensor(0.25)}

    players = [Player(n, (n,), saddle, SGD) for n in "xy"]
    stage = Stage("s", players, Budget(images=10), simultaneous=True, joint=joint)
    journal = Journal()
    training([stage], two(), journal=journal, monitors=[Monitor("silent", 10, lambda n, i: {})]).run()
    assert journal.curve("x/right") == ([10], [0.25])
    assert "y/right" not in journal.names
    assert len(journal.rows) == 1
