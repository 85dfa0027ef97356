"""Who may import whom: walks the AST of every module and fails on anything else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from genlearn import registry

SOURCE = Path(__file__).parents[1] / "src" / "genlearn"

FLOOR = {"_types", "compute", "files", "parallel", "progress", "shapes", "words"}
GROUND = FLOOR | {"maths"}
BASE = GROUND | {"train", "data", "draw"}
FACE = {"parameters", "storage", "border", "hooks", "capabilities", "estimator"}
TRAINED = BASE | FACE | {"nets", "losses", "samplers"}
ALLOWED = {
    "_types": set(),
    "compute": set(),
    "files": set(),
    "parallel": set(),
    "record": {"compute", "parallel", "words"},
    "progress": set(),
    "shapes": set(),
    "words": set(),
    "maths": FLOOR,
    "nets": GROUND,
    "losses": GROUND | {"nets"},
    "samplers": GROUND | {"nets"},
    "train": GROUND,
    "data": GROUND,
    "draw": GROUND,
    "metrics": GROUND,
    "parameters": BASE,
    "storage": BASE,
    "border": BASE,
    "hooks": GROUND | {"nets"},
    "capabilities": BASE | {"nets", "samplers", "border", "hooks"},
    "estimator": BASE | FACE,
    "models": TRAINED,
    "registry": TRAINED | {"models"},
    "monitors": TRAINED | {"metrics"},
    "run": TRAINED | {"record", "models", "registry", "metrics", "monitors"},
    "lab": BASE | {"nets", "losses", "samplers"},
    "reproduce": TRAINED | {"models", "metrics"},
    "report": TRAINED | {"models", "registry", "metrics", "run"},
    "cli": FLOOR | TRAINED | {"models", "registry", "metrics", "run", "report", "reproduce", "lab"},
    "__main__": {"cli"},
}


def floor_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """The rooms of genlearn that a module imports, at any depth and in any function."""
    package = ["genlearn", *path.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{stem}.{alias.name}" for alias in node.names] if stem == "genlearn" else [stem]
        for name in names:
            parts = name.split(".")
            if parts[0] == "genlearn" and len(parts) > 1 and parts[1] != "__version__":
                yield parts[1]


MODULES = sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path):
    floor = floor_of(path)
    above = {name for name in imports(path) if name != floor and name not in ALLOWED[floor]}
    assert not above, f"{floor} may not import {sorted(above)}"


def test_the_walk_sees_imports():
    assert "train" in set(imports(SOURCE / "estimator.py"))
    assert "models" not in ALLOWED["train"]
    assert "models" not in ALLOWED["metrics"]


def test_type_checkers_see_the_models_of_the_registry():
    tree = ast.parse((SOURCE / "models" / "__init__.py").read_text())
    shown = {f"{n.module}:{a.name}" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
    shown -= {"typing:TYPE_CHECKING", "__future__:annotations", "genlearn.models.energy:EnergyModel"}
    assert shown == {entry.path for entry in registry.models()}
