"""A tutorial shows the code of its script as it is, and every picture that the script writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"energy": ("energy.md", "energy.py", 10), "pixels": ("pixel-by-pixel.md", "pixel_by_pixel.py", 7)}


def read(name: str) -> tuple[str, str]:
    page, script, _ = PAGES[name]
    return (DOCS / page).read_text(), (DOCS / script).read_text()


def shown(name: str) -> list[str]:
    return re.findall(rf"!\[[^\]]+\]\(images/{name}-(\w+)\.png\)", read(name)[0])


PICTURES = [(name, picture) for name in PAGES for picture in shown(name)]


@pytest.mark.parametrize("name", PAGES)
def test_its_code_stands_in_the_script_in_the_same_order(name):
    page, script = read(name)
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) > PAGES[name][2]
    places = [script.find("\n" + block) for block in blocks]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("name", PAGES)
def test_it_shows_every_picture_that_the_script_writes(name):
    assert re.findall(r'^save\("(\w+)"', read(name)[1], re.MULTILINE) == shown(name)


@pytest.mark.parametrize(("name", "picture"), PICTURES)
def test_a_picture_is_there_and_small(name, picture):
    path = DOCS / "images" / f"{name}-{picture}.png"
    assert path.stat().st_size < 60_000
    with Image.open(path) as image:
        assert min(image.size) > 60
