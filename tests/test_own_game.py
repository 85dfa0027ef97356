"""docs/own-game.py: a game of three players from what is public, and it learns."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import math
from pathlib import Path

FILE = Path(__file__).parents[1] / "docs" / "own-game.py"


def test_it_learns(capsys):
    spec = importlib.util.spec_from_file_location("own_game", FILE)
    game = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(game)
    hits, journal = game.main(images=40_000)
    last = {name: journal.curve(name)[1][-1] for name in journal.names}
    assert last["E/loss"] < 1.3  # 2 for a constant
    assert hits >= 4
    assert math.isfinite(last["D/loss"]) and abs(last["D/loss"] - math.log(2)) < 0.2
    assert all(last[f"{player}/gradient"] > 0 for player in "DGE")
    assert last["D/penalty"] > 0
    assert "of 8 modes" in capsys.readouterr().out


def test_it_is_short_and_imports_public_names_only():
    source = FILE.read_text()
    assert len(source.splitlines()) < 60
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.module.startswith("genlearn")]
    rooms = {"data", "losses", "maths", "nets", "train"}  # no estimator
    assert {node.module for node in ours} == {f"genlearn.{room}" for room in rooms}
    for node in ours:
        public = importlib.import_module(node.module).__all__
        assert {alias.name for alias in node.names} <= {*public}, node.module
