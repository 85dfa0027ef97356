"""The pictures and numbers of docs/modes.md: `python docs/modes.py` writes docs/images/modes-*.png.

What takes hours comes from two folders of `genlearn reproduce mode-collapse`: their names are the script's arguments.
"""

from __future__ import annotations

import io
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from genlearn import GAN
from genlearn.data import load, modes
from genlearn.draw import scatters
from genlearn.metrics import mode_coverage

IMAGES = Path(__file__).parent / "images"
GRID, RING = (Path(name) for name in sys.argv[1:] or ("runs/mode-collapse-grid", "runs/mode-collapse"))


def save(name, picture, side=1000):
    """Write the bytes of a PNG in few colours, and say when."""
    path = IMAGES / f"modes-{name}.png"
    with Image.open(io.BytesIO(picture)) as image:
        image.thumbnail((side, side))
        image.convert("RGB").quantize(48, kmeans=1).save(path, optimize=True)
    print(f"  [CPU {time.process_time():.0f} s] {path.name}, {path.stat().st_size / 1000:.0f} kB", flush=True)


print("1. Three numbers")
centres, sd = modes("ring")
rng = np.random.default_rng(0)
noise = rng.standard_normal((2500, 2))
samples = {
    "the law itself": centres[rng.integers(8, size=2500)] + sd * noise,
    "one mode": centres[np.zeros(2500, int)] + sd * noise,
    "too wide": centres[rng.integers(8, size=2500)] + 5 * sd * noise,
    "one in ten elsewhere": centres[np.where(rng.random(2500) < 0.9, 0, rng.integers(8, size=2500))] + sd * noise,
}
for name, x in samples.items():
    seen = mode_coverage(x, centres, sd)
    print(f"{name}: {seen.hit} modes, {100 * seen.high_quality:.1f} % of high quality, KL {seen.reverse_kl:.3f}")
save("laws", scatters({"ring": samples}, {"ring": centres}, size=1.6))
print(f"log 8 = {math.log(8):.3f}; of the law itself about {7 / 5000:.4f} and {100 * (1 - math.exp(-4.5)):.1f} %")

print("2. Seen")
data = load("ring")
nets = {
    "n_latent": 2, "hidden": (128, 128), "hidden_d": (128,), "network": "maxout", "output": "linear",
    "init": "normal(0.02)", "init_d": "normal(0.02)", "penalty": None, "order": "simultaneous",
    "learning_rate": 5e-4, "betas": (0.8, 0.999), "random_state": 0,
}  # fmt: skip
cells = {}
remedies = {"batch normalisation in G": {"normalise": True}, "packing by 4": {"pack": 4, "batch_size": 400}}
for name, changes in ({"GAN": {}} | remedies).items():
    cells[name] = {}
    for updates in (500, 1000, 2000, 4000):
        model = GAN(**nets, **changes, epochs=None, images=updates * changes.get("batch_size", 100)).fit(data)
        x = model.sample(2500, random_state=0)
        seen = mode_coverage(x, centres, sd)
        print(f"{name}, {updates} updates: {seen.hit} modes, KL {seen.reverse_kl:.2f}", flush=True)
        cells[name][f"{updates} updates"] = x
save("seen", scatters(cells, dict.fromkeys(cells, centres)))


def told(folder):
    """Print what an experiment found; its folder."""
    if not (folder / "results.json").exists():
        sys.exit(f"{folder} holds no results.json: make it by genlearn reproduce mode-collapse --out {folder}")
    found = json.loads((folder / "results.json").read_text())
    for name, methods in found["summary"].items():
        for method, row in methods.items():
            means = ", ".join(f"{key} {mean['mean']:.2f} {mean['interval']}" for key, mean in row["means"].items())
            print(f"{name}, {method}, {row['seeds']} seeds: {means}")
    print(*found["words"], sep="\n")
    return folder


print("3. Cured? The grid")
folder = told(GRID)
save("grid", (folder / "end.png").read_bytes())
save("progress", (folder / "grid-training.png").read_bytes(), 720)
save("modes", (folder / "grid-modes.png").read_bytes())

print("4. Harder still: the ring")
folder = told(RING)
save("end", (folder / "end.png").read_bytes())
save("training", (folder / "ring-training.png").read_bytes())
save("curves", (folder / "ring-modes.png").read_bytes())
