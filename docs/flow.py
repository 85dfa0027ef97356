"""Every picture and every number of docs/flow.md: `python docs/flow.py` writes docs/images/flow-*.png."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from sklearn.svm import SVC

from genlearn import FlowMatching
from genlearn.data import load, modes
from genlearn.draw import curves_png, grid, pairs, scatter, titled
from genlearn.metrics import mode_coverage

IMAGES = Path(__file__).parent / "images"


def save(name, picture):
    """Write a picture of PIL or the bytes of a PNG, and say when."""
    path = IMAGES / f"flow-{name}.png"
    if isinstance(picture, bytes):
        path.write_bytes(picture)
    else:
        picture.quantize(64, kmeans=1).save(path, optimize=True)
    print(f"  [CPU {time.process_time():.0f} s] {path.name}, {path.stat().st_size / 1000:.0f} kB", flush=True)


print("1. Points in the plane")
ring = load("ring")
flow = FlowMatching.from_preset("plane", images=500_000, random_state=0).fit(ring)
frames = flow.paths(400, 5, random_state=0)  # [5, 400, 2]: t = 0, 1/4, .. 1
centres, sd = modes("ring")
coverage = mode_coverage(flow.sample(2500, random_state=0), centres, sd)
print(f"{coverage.hit} of 8 modes, {coverage.high_quality:.1%} within 3 sd, reverse KL {coverage.reverse_kl:.3f}")
save("ring", scatter(frames[-1], ring.train.x[:1000].numpy()))
ends = np.linalg.norm(frames[-1] - frames[0], axis=1)
lengths = np.linalg.norm(np.diff(frames, axis=0), axis=2).sum(0)
print(f"the paths are {np.mean(lengths / ends):.2f} times as long as the straight lines between their ends")

log_p = flow.score_samples(ring.test.x)
mixture = -0.5 * ((ring.test.x.numpy()[:, None] - centres) ** 2).sum(2) / sd**2 - np.log(2 * np.pi * sd**2) - np.log(8)
exact = np.logaddexp.reduce(mixture, axis=1)
print(f"log p of test points: {log_p.mean():.2f} nats by the flow, {exact.mean():.2f} by the mixture itself")

print("2. Digits")
data = load("mnist-mini")  # real MNIST digits, inside the package
digits = FlowMatching(width=16, images=150_000, random_state=0).fit(data)
save("samples", grid(digits.sample(48, random_state=0), columns=12))
steps = digits.paths(5, 9, random_state=0).swapaxes(0, 1)
times = ["t = 0", *(f"{i}/8" for i in range(1, 8)), "1"]
save("paths", titled(grid(steps.reshape(45, *steps.shape[2:]), columns=9, scale=2), times))

journal = digits.journal_
bins = [name for name in journal.names if name.startswith("flow/t ")]
save("loss", curves_png({name[5:]: journal.curve(name) for name in bins}, "loss a pixel"))

print("3. How many steps?")
rows = [digits.set_params(n_steps=n).sample(12, random_state=0) for n in (1, 2, 4, 10, 40)]
save("steps", titled(pairs(*rows), rows=["1 step", "2", "4", "10", "40"]))
far = [np.abs(r.astype(float) - rows[-1]).mean() for r in rows[:-1]]
print("grey levels from 40 steps:", ", ".join(f"{n} {d:.1f}" for n, d in zip((1, 2, 4, 10), far, strict=True)))

print("4. Codes")
test, labels = data.test.x.numpy(), data.test.y.numpy()
z = digits.transform(test[:200])
back = digits.inverse_transform(z)
error = np.abs(back - test[:200].astype(float))
print(f"codes: mean {z.mean():.2f}, standard deviation {z.std():.2f}")
print(f"there and back: {error.mean():.2f} grey levels a pixel, at most {error.max():.0f}")
a, b = z[:6, None], z[6:12, None]
angle = np.linspace(0, np.pi / 2, 9)[None, :, None]  # along the sphere on which normal codes lie
morphs = digits.inverse_transform((np.cos(angle) * a + np.sin(angle) * b).reshape(54, -1))
save("morphs", grid(morphs, columns=9))

print("5. A chosen class")
judge = SVC().fit(data.train.x.numpy().reshape(len(data.train), -1), data.train.y.numpy())
asked = np.repeat(np.arange(10), 20)
drawn = {w: digits.sample(y=asked, guidance=w, random_state=0) for w in (0, 1, 2, 4)}
for w, x in drawn.items():
    print(f"guidance {w}: {(judge.predict(x.reshape(200, -1)) == asked).mean():.1%} are read as the digit asked for")
save("classes", titled(pairs(*[drawn[w][::17] for w in drawn]), rows=[f"w = {w}" for w in drawn]))

print("6. What it is worth")
entry = digits.log_likelihoods(test[:200])
for name, value in entry.items():
    print(f"{name}: {value.values.mean():.2f} nats; {value.notes[0] if value.notes else ''}")
