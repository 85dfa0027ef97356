"""`genlearn reproduce mode-collapse`: the same table after a kill, statistics as by hand, bad input in one line."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from PIL import Image
from typer.testing import CliRunner

from genlearn.cli import app
from genlearn.metrics import over_seeds
from genlearn.reproduce import protocol as protocols
from genlearn.reproduce.mode_collapse import ModeCollapse
from genlearn.reproduce.protocol import Looks, recorded, results, train
from genlearn.reproduce.stacked_mnist import StackedMNIST
from genlearn.reproduce.table import VERDICTS, rows, summary, verdict, words

METHODS, WHOLE = ModeCollapse.METHODS, ModeCollapse.whole()
TINY = {"hidden": (8,), "hidden_d": (8,), "learning_rate": 1e-2}
SMALL = ["--epochs", "0.01", "--data", "ring", "--set", "hidden=8", "--set", "hidden_d=8"]


def command(*arguments):
    answer = CliRunner().invoke(app, ["reproduce", *map(str, arguments)], prog_name="genlearn")
    return answer.exit_code, answer.stdout, answer.stderr


def test_from_end_to_end(tmp_path):
    code, out, err = command("mode-collapse", "--out", tmp_path, "--seeds", 2, *SMALL, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told == json.loads((tmp_path / "results.json").read_text())
    assert list(told["runs"]["ring"]) == list(METHODS)
    for runs in told["runs"]["ring"].values():
        assert [run["seed"] for run in runs] == [0, 1]
        assert all(sum(run["looks"][-1]["counts"]) == 2500 for run in runs)
    assert told["shortened"] == (
        "0.01 epochs for 400, hidden=(8,) for (400, 400, 400, 400), hidden_d=(8,) for (200, 200, 200), 2 seeds for 5"
    )
    for name in ("end", "ring-training", "ring-modes"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.format == "PNG" and min(image.size) > 200
    assert not list(tmp_path.rglob("*.safetensors"))

    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("ring/*/*.json")}
    assert len(files) == 2 * len(METHODS)
    code, out, err = command("mode-collapse", "--out", tmp_path, "--seeds", 2, *SMALL)
    assert code == 0 and "shortened: 0.01 epochs for 400" in out and "6.3 ± 0.5; 98.2; 0.45" in out, err
    assert command("mode-collapse", "--out", tmp_path, "--table")[1] == out
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.glob("ring/*/*.json")}


def test_some_methods_now_and_the_others_later(tmp_path):
    some = ("--method", "GAN", "--method", "packing by 3")
    code, out, err = command("mode-collapse", "--out", tmp_path, "--seeds", 1, *SMALL, *some)
    assert code == 0 and "packing by 3" in out, err
    first = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("ring/*/*.json"))
    assert first == ["ring/gan/0.json", "ring/packing-by-3/0.json"]
    assert command("mode-collapse", "--out", tmp_path, "--seeds", 1, *SMALL, "--method", "packing by 4")[0] == 0
    assert len(list(tmp_path.glob("ring/*/*.json"))) == 3


def test_killed_and_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr(ModeCollapse, "METHODS", {name: METHODS[name] for name in ("GAN", "packing by 2")})
    monkeypatch.setattr(protocols, "KEEP_EVERY", 0.0)
    monkeypatch.setattr("genlearn.train.monitor.FREE", 1e9)  # every look, however busy the machine is
    protocol = ModeCollapse(("ring",), 2, 5, n=1000, settings=TINY)
    train(protocol, tmp_path / "whole")
    whole, look, left = results(protocol, tmp_path / "whole"), Looks.__call__, 8

    def killed(self, nets, images):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return look(self, nets, images)

    monkeypatch.setattr(Looks, "__call__", killed)
    with pytest.raises(KeyboardInterrupt):
        train(protocol, tmp_path / "killed")
    half = tmp_path / "killed" / "ring" / "packing-by-2" / "0"
    assert list(half.glob("*.safetensors")) and not half.with_suffix(".json").exists()
    train(protocol, tmp_path / "killed")
    assert recorded(ModeCollapse, tmp_path / "killed") == recorded(ModeCollapse, tmp_path / "whole")
    again = results(protocol, tmp_path / "killed")
    for method, runs in whole["ring"].items():
        for run, other in zip(runs, again["ring"][method], strict=True):
            assert [look["images"] for look in run["looks"]][-1] == (5000 if method == "GAN" else 10_000)
            assert run["looks"] == other["looks"]


def test_intervals_are_those_of_student():
    # 2.5 +- 3.182446 * sqrt(5/3) / 2, of a table of t with 3 degrees of freedom.
    mean = over_seeds([1, 2, 3, 4])
    assert (mean.value, mean.n, mean.excludes_zero) == (2.5, 4, True)
    assert mean.low == pytest.approx(2.5 - 3.182446 * math.sqrt(5 / 3) / 2, abs=1e-6)
    assert mean.high == pytest.approx(2.5 + 3.182446 * math.sqrt(5 / 3) / 2, abs=1e-6)
    same = over_seeds([2, 2])
    assert (same.value, same.low, same.high) == (2, 2, 2)
    one = over_seeds([3])
    assert math.isnan(one.low) and not one.excludes_zero and one.to_json()["interval"] is None
    with pytest.raises(ValueError, match="there are no values"):
        over_seeds([])


def run(seed, hit, kl, diverged="", quality=0.5):
    return {"seed": seed, "diverged": diverged, "looks": [{"hit": hit, "high_quality": quality, "reverse_kl": kl}]}


def test_differences_are_within_seeds():
    plain = [run(0, 6, 0.4), run(1, 6, 0.5), run(2, 7, 0.3)]
    runs = {
        "GAN": plain,
        # Seed 2 is not there yet, seed 3 has no partner: differences over seeds 0 and 1 alone, 2 and 1.
        "packing by 2": [run(0, 8, 0.1), run(1, 7, 0.1), run(3, 1, 0.1)],
        # 2, 2, 1: 5/3 +- 4.302653 * sqrt(1/3) / sqrt(3).
        "packing by 4": [run(0, 8, 0.4), run(1, 8, 0.4), run(2, 8, 0.4)],
        "historical averaging": [run(0, 6, 0.4), run(1, 0, 0, "the loss became NaN"), run(2, 7, 0.3)],
        "WGAN-GP": [],
    }
    found = summary(WHOLE, {"ring": runs})["ring"]
    assert "WGAN-GP" not in found and found["GAN"]["differences"] == {}
    assert found["GAN"]["means"]["modes"].value == pytest.approx(19 / 3)
    assert found["packing by 2"]["differences"]["modes"].value == 1.5
    assert found["packing by 2"]["differences"]["modes"].n == 2
    more = found["packing by 4"]["differences"]["modes"]
    assert (more.value, more.low, more.high) == pytest.approx(
        (5 / 3, 5 / 3 - 4.302653 / 3, 5 / 3 + 4.302653 / 3), abs=1e-6
    )
    # One that diverged has no modes, and all its samples in one place.
    lost = found["historical averaging"]["differences"]
    assert lost["modes"].value == -2 and lost["reverse KL"].value == pytest.approx((math.log(8) - 0.5) / 3)
    cells = rows(WHOLE, summary(WHOLE, {"ring": runs}))
    assert cells[2][6] == "+1.7 [+0.2, +3.1]*" and cells[2][3] == "8.0 [8.0, 8.0]"
    said = words(replace(WHOLE, epochs=2), summary(WHOLE, {"ring": runs}))
    assert "ring: historical averaging diverged in 1 of 3 runs, counted as no modes." in said
    assert f"ring: {VERDICTS[1]}: packing by 4." in said
    assert f"ring: {VERDICTS[2]}: packing by 2; historical averaging." in said
    assert not any("less is of high quality" in line for line in said)
    runs["packing by 3"] = [run(seed, 8, 0.4, quality=0.1) for seed in range(3)]
    runs["feature matching"] = [run(seed, 8, 0.4, quality=0.9) for seed in range(3)]
    said = words(WHOLE, summary(WHOLE, {"ring": runs}))
    assert "ring: but less is of high quality, the interval excludes zero: packing by 3 (-40.0 points)." in said


@pytest.mark.parametrize(
    ("modes", "kl", "said"),
    [
        ([1, 1.1], [-1, -1.1], 0), ([1, 1.1], [-1, 1], 1), ([0, 1], [-1, -1.1], 1), ([0, 1], [-1, 1], 2),
        ([1, 1.1], [1, 1.1], 3), ([-1, -1.1], [-1, 1], 4), ([0, 1], [1, 1.1], 4), ([1], [-1], 5),
    ],
)  # fmt: skip
def test_what_is_said_of_a_remedy(modes, kl, said):
    assert verdict({"modes": over_seeds(modes), "reverse KL": over_seeds(kl)}) == VERDICTS[said]


@pytest.mark.parametrize("experiment", [ModeCollapse, StackedMNIST])
def test_methods_have_equal_rows_and_updates(experiment):
    """And no other budget than the epochs, whatever the model has by itself."""
    protocol = replace(experiment.whole(), epochs=4)
    models = [protocol.model(method, 0) for method in protocol.METHODS]
    assert {m.batch_size / m.pack for m in models} == {protocol.ROWS}
    assert {m.epochs / m.pack / m.k for m in models} == {4}
    assert {(m.images, m.minutes) for m in models} == {(None, None)}


def test_seeds_are_outermost():
    protocol = replace(WHOLE, seeds=2, epochs=4)
    order = list(protocol.runs())
    assert [seed for seed, _, _ in order] == [0] * 18 + [1] * 18
    assert WHOLE.shortened == "" and "2 seeds for 5" in protocol.shortened
    assert ModeCollapse.quick().shortened


def test_what_is_refused(tmp_path):
    for arguments, said in (
        (["mode-colapse"], "unknown experiment 'mode-colapse': did you mean 'mode-collapse'?"),
        (["mode-collapse", "--data", "rings"], "unknown toy density 'rings'"),
        (["mode-collapse", "--set", "hiden=8"], "unknown parameter of GAN 'hiden': did you mean 'hidden'?"),
        (["mode-collapse", "--set", "batch_size=8"], "--set batch_size: it is the protocol's own"),
        (["stacked-mnist", "--set", "images=5"], "--set images: it is the protocol's own"),
        (["mode-collapse", "--set", "learning_rate=0"], "learning_rate is 0.0, expected a number above 0 or"),
        (["mode-collapse", "--method", "packing"], "unknown method 'packing': did you mean 'packing by"),
        (["mode-collapse", "--table"], "holds no results"),
    ):
        code, out, err = command(*arguments, "--out", tmp_path / "none")
        assert (code, out) == (1, "") and said in err and err.count("\n") == 1, err
    assert not (tmp_path / "none").exists()
    assert command("mode-collapse", "--seeds", 0)[0] == 2


def test_a_folder_keeps_its_protocol(tmp_path, monkeypatch):
    monkeypatch.setattr(ModeCollapse, "METHODS", {"GAN": {}})
    protocol = ModeCollapse(("ring",), 1, 1, n=200, settings=TINY)
    train(protocol, tmp_path)
    with pytest.raises(ValueError, match=r"was made with epochs=1, not 2; the usual fix is another --out"):
        train(ModeCollapse(("ring",), 1, 2, n=200, settings=TINY), tmp_path)
    more = ModeCollapse(("ring",), 2, 1, n=200, settings=TINY)
    train(more, tmp_path)
    assert [run["seed"] for run in results(more, tmp_path)["ring"]["GAN"]] == [0, 1]
    (tmp_path / "ring" / "gan" / "0.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        results(more, tmp_path)
