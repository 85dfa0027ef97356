"""Pictures before and after -> one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from genlearn.files import write_atomically
from genlearn.report.pictures import Picture, embed

LARGEST = 320  # pixels a side, on the page


def side_by_side(name: str, before: Image.Image, after: Image.Image) -> Picture:
    """Before at the left, after at the right, at most 320 pixels high and wide each; small ones are enlarged."""
    scale = min(1.0, LARGEST / max(before.size)) if max(before.size) > LARGEST / 4 else LARGEST // 4 / max(before.size)
    size = (max(1, round(before.width * scale)), max(1, round(before.height * scale)))
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    sheet = Image.new("RGB", (2 * size[0] + 4, size[1]), "white")
    for x, image in ((0, before), (size[0] + 4, after)):
        shown = image.convert("RGBA").resize(size, how)
        sheet.paste(shown, (x, 0), shown)
    return embed(sheet, f"{name}, before at the left and after at the right", name)


def write_changes(title: str, about: str, pictures: Sequence[Picture], out: Path) -> Path:
    """Write the page: inline pictures, no script, nothing from outside."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    html = environment.get_template("changes.html.j2").render(title=title, about=about, pictures=pictures)
    write_atomically(out, html.encode())
    return out
