"""What depends on time, on a clock that a round moves on by a second."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from genlearn._types import Nets
from genlearn.maths.rng import make_rng
from genlearn.train import Budget, Keeper, Monitor, Optimizer, Player, Stage, Stream, Training
from stops import After


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("genlearn.train.loop.time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


def play(stages, resume=False, **options) -> Training:
    """Rounds of 10 images; a tick after each."""
    stream = Stream(torch.zeros(40, 1), None, 10, 0)
    training = Training(Nets(x=nn.Linear(1, 1, bias=False)), stages, stream, make_rng(0), tick=10, **options)
    training.run(resume)
    return training


def stage(clock, name: str = "s", **options) -> Stage:
    def loss(nets, batch, rng):
        clock[0] += 1
        return nets["x"].weight.sum(), {}

    return Stage(name, [Player("x", ("x",), loss, Optimizer("sgd", 0.1))], **options)


@pytest.mark.parametrize(
    ("first", "rounds"),
    [
        ({}, [5, 5]),
        ({"budget": Budget(minutes=2 / 60)}, [2, 8]),
        ({"budget": Budget(images=20)}, [2, 8]),
        ({"share": 0.25}, [2, 8]),
    ],
)
def test_a_stage_has_its_minutes_or_its_share_of_what_is_left(clock, first, rounds):
    done = play([stage(clock, "a", **first), stage(clock, "b")], budget=Budget(minutes=10 / 60)).progress.players
    assert list(done.values()) == [10 * n for n in rounds]


def test_the_minutes_of_a_stage_begin_with_it(clock):
    t = play([stage(clock, "a", budget=Budget(images=20)), stage(clock, "b", budget=Budget(minutes=3 / 60))])
    assert t.progress.players == {"a/x": 20, "b/x": 30}


def test_a_start_counts_in_the_time_of_its_stage(clock):
    def start(nets, stream, rng):
        clock[0] += 4

    t = play([stage(clock, "a", start=start), stage(clock, "b")], budget=Budget(minutes=20 / 60))
    assert t.progress.players == {"a/x": 60, "b/x": 100}
    assert t.progress.spent["start"] == 4
    assert t.progress.spent["play"] == 16


def test_checkpoints_are_as_far_apart_as_asked(clock, tmp_path):
    class Written(Keeper):
        images: list[int] = []  # noqa: RUF012

        def save(self, images, tree):
            self.images.append(images)
            return super().save(images, tree)

    play([stage(clock, budget=Budget(images=100))], keeper=Written(tmp_path), keep_every=2.5)
    assert Written.images == [30, 60, 90, 100]


def test_a_monitor_may_take_a_tenth_of_the_time_of_play(clock):
    def dear(nets, images):
        looks.append(images)
        clock[0] += 1
        return {}

    looks: list[int] = []
    monitor = Monitor("dear", 10, dear)
    play([stage(clock, budget=Budget(images=300))], monitors=[monitor])
    # The first look costs nothing that is known; the second waits until both are a tenth of the rounds.
    assert looks == [10, 200, 300]
    assert (monitor.last, monitor.total) == (1, 3)


def test_progress_is_told_as_the_share_of_the_stage(clock):
    told: list[float] = []
    stages = [stage(clock, "a", budget=Budget(images=20)), stage(clock, "b", budget=Budget(images=40))]
    play(stages, on_tick=lambda progress, done: told.append(done))
    assert told == [0.5, 1, 0.25, 0.5, 0.75, 1]
    told.clear()
    play([stage(clock, budget=Budget(minutes=4 / 60))], on_tick=lambda progress, done: told.append(done))
    assert told == pytest.approx([0.25, 0.5, 0.75, 1])


def test_a_resumed_run_knows_how_much_of_its_minutes_is_spent(clock, tmp_path):
    """From its first batch on: rates that fall over the budget must not jump back."""
    told: list[float] = []

    def loss(nets, batch, rng):
        told.append(batch.spent)
        clock[0] += 1
        return nets["x"].weight.sum(), {}

    def stages():
        player = Player("x", ("x",), loss, Optimizer("sgd", 0.1))
        return [Stage("a", [player], Budget(images=10)), Stage("b", [player], Budget(minutes=4 / 60))]

    play(stages(), keeper=Keeper(tmp_path), stop=After(3))
    play(stages(), resume=True, keeper=Keeper(tmp_path))
    assert told == pytest.approx([0, 0, 0.25, 0.5, 0.75])
