"""docs/mode-collapse.md shows the code of docs/mode_collapse.py as it is, and every picture that it writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
PAGE, SCRIPT = (DOCS / "mode-collapse.md").read_text(), (DOCS / "mode_collapse.py").read_text()
SHOWN = re.findall(r"!\[[^\]]+\]\(images/modes-(\w+)\.png\)", PAGE)


def test_its_code_stands_in_the_script_in_the_same_order():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    places = [SCRIPT.find("\n" + block) for block in blocks]
    assert -1 not in places
    assert places == sorted(places)


def test_it_shows_every_picture_that_the_script_writes():
    assert re.findall(r'^save\("(\w+)"', SCRIPT, re.MULTILINE) == SHOWN


@pytest.mark.parametrize("name", SHOWN)
def test_a_picture_is_there_and_small(name):
    path = DOCS / "images" / f"modes-{name}.png"
    assert path.stat().st_size < 90_000
    with Image.open(path) as image:
        assert min(image.size) > 100
