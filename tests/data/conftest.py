from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a cache of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GENLEARN_CACHE", str(folder))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def save(photos: Path) -> Save:
    """save(name, array or image, **options of Pillow) writes an image below `photos`; no array: noise of that size."""

    def write(name: str, image: Image.Image | np.ndarray | int = 16, **options: object) -> Path:
        if isinstance(image, int):
            rng = np.random.default_rng(sum(map(ord, name)) * 1000 + len(name))
            image = rng.integers(0, 256, (image, image, 3), dtype=np.uint8)
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **options)
        return path

    return write
