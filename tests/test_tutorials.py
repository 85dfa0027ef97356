"""Every tutorial docs/NAME.md shows the code of docs/NAME.py as it is, and every picture that it writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"
TUTORIALS = sorted(path.stem for path in DOCS.glob("*.md") if path.with_suffix(".py").exists())


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def shown(name: str) -> list[str]:
    return re.findall(rf"!\[[^\]]+\]\(images/{name}-(\w+)\.png\)", page(name))


@pytest.mark.parametrize("name", TUTORIALS)
def test_its_code_stands_in_the_script_in_the_same_order(name):
    script = (DOCS / f"{name}.py").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page(name), re.DOTALL)
    assert len(blocks) > 1
    places = [script.find("\n" + block) for block in blocks]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("name", TUTORIALS)
def test_it_shows_every_picture_that_the_script_writes(name):
    assert re.findall(r'^save\("(\w+)"', (DOCS / f"{name}.py").read_text(), re.MULTILINE) == shown(name)


@pytest.mark.parametrize(("name", "picture"), [(name, picture) for name in TUTORIALS for picture in shown(name)])
def test_a_picture_is_there_and_small(name, picture):
    path = DOCS / "images" / f"{name}-{picture}.png"
    assert path.stat().st_size < 90_000
    with Image.open(path) as image:
        assert min(image.size) > 60
