"""Every picture and every number of docs/photos.md: `python docs/photos.py` writes docs/images/photos-*.png."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from genlearn.data import load
from genlearn.draw import curves_png, grid, pairs, titled
from genlearn.metrics import nearest
from genlearn.run import Run

IMAGES, WORK = Path(__file__).parent / "images", Path("runs/photos")


def save(name, picture):
    """Write a picture of PIL or the bytes of a PNG, and say when."""
    path = IMAGES / f"photos-{name}.png"
    if isinstance(picture, bytes):
        path.write_bytes(picture)
    else:
        picture.quantize(128, kmeans=1).save(path, optimize=True)
    print(f"  [{time.time() - START:.0f} s] {path.name}, {path.stat().st_size / 1000:.0f} kB", flush=True)


START = time.time()
shutil.rmtree(WORK, ignore_errors=True)

print("1. A folder")
rng = np.random.default_rng(0)
for name, photo in zip(("temple", "flower"), load_sample_images().images, strict=True):
    (WORK / "pictures" / name).mkdir(parents=True)
    for i in range(1000):
        side = rng.integers(96, 257)
        top, left = rng.integers(0, [photo.shape[0] - side, photo.shape[1] - side])
        crop = Image.fromarray(photo[top : top + side, left : left + side])
        crop.resize((64, 64), Image.Resampling.LANCZOS).save(WORK / "pictures" / name / f"{i:04d}.png")

data = load(WORK / "pictures", size=32)
print(data)
save("real", grid(data.train.x[::44][:36].numpy(), columns=12))


def train(out, *settings):
    """As in a shell."""
    budget = ["--images", "120000", "--precision", "bf16", "--seed", "0"]
    command = ["train", "dcgan", "--data", str(WORK / "pictures"), "--size", "32", *budget, "--out", str(WORK / out)]
    subprocess.run([sys.executable, "-m", "genlearn", *command, *settings], check=True)
    return Run.open(WORK / out)


print("2. A DCGAN")
run = train("dcgan")
sheets = sorted((run.path / "samples").glob("*.png"))
shown = [sheets[i] for i in (0, 2, 6, len(sheets) - 1)]
early = [np.asarray(Image.open(path).convert("RGB"))[:264, :264] for path in shown]
seen = [f"{int(path.stem.partition('-')[2]):,} images" for path in shown]
save("progress", titled(grid(np.stack(early).transpose(0, 3, 1, 2), columns=4, scale=1), seen))

dcgan = run.model()
samples = dcgan.sample(36, random_state=0)
save("samples", grid(samples, columns=12))

print("3. Is it a copy?")
train_x = data.train.x.numpy()
distances, twins = nearest(samples[:12], train_x)
between, _ = nearest(data.test.x.numpy(), train_x)
save("nearest", titled(pairs(samples[:12], train_x[twins[:, 0]]), rows=["samples", "nearest"]))
print(f"distance to the nearest training picture: samples {distances.mean():.2f}, test pictures {between.mean():.2f}")
for name, sentence in run.journal().sentences.items():
    print(f"{name}: {sentence}")

print("4. What augmentation does")
bare = train("bare", "--set", "augment=none")
lines = {}
for name, one in (("augmented", run), ("as they are", bare)):
    images, values = one.journal().curve("D overfitting")
    lines[name] = (images, values)
    print(f"{name}: D overfitting {values[-1]:.2f}")
save("overfitting", curves_png(lines, "D overfitting"))
save("bare", grid(bare.model().sample(36, random_state=0), columns=12))

print("5. The space of z")
z = np.random.default_rng(3).standard_normal((4, 2, dcgan.n_latent))
angle = np.linspace(0, np.pi / 2, 12)[None, :, None]
path = np.cos(angle) * z[:, :1] + np.sin(angle) * z[:, 1:]
save("morphs", grid(dcgan.inverse_transform(path.reshape(48, -1)), columns=12))
tight = [dcgan.sample(12, truncation=t, random_state=1) for t in (0.5, 1.0, 2.0)]
save("truncation", titled(pairs(*tight), rows=["0.5", "1", "2"]))
