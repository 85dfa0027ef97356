"""Every picture and every number of docs/pixels.md: `python docs/pixels.py` writes
docs/images/pixels-*.png."""

from __future__ import annotations

import time
from itertools import product
from pathlib import Path

import numpy as np

from genlearn import VQVAE, AutoregressiveRNN
from genlearn.data import load
from genlearn.draw import curves_png, grid, pairs, titled
from genlearn.metrics import independent_pixels

IMAGES, START = Path(__file__).parent / "images", time.time()


def save(name, picture):
    """Write a picture of PIL or the bytes of a PNG, and say when."""
    path = IMAGES / f"pixels-{name}.png"
    if isinstance(picture, bytes):
        path.write_bytes(picture)
    else:
        picture.quantize(64, kmeans=1).save(path, optimize=True)
    print(f"  [CPU {time.process_time():.0f} s] {path.name}, {path.stat().st_size / 1000:.0f} kB", flush=True)


print("1. A probability for every image")
digits = load("digits")
x = digits.train.x.numpy()[:, 0] / 255
small = x.reshape(-1, 4, 2, 4, 2).mean((2, 4)) > 0.4  # 4 x 4 pixels of two levels
net = AutoregressiveRNN(n_hidden=32, epochs=20, learning_rate=1e-2, random_state=0).fit(small.astype(float))

every = np.array(list(product([0.0, 1.0], repeat=16))).reshape(-1, 4, 4)  # all 65,536 images
p = np.exp(net.score_samples(every).astype(np.float64))
print(f"their probabilities sum to {p.sum():.6f}")
best = p.argsort()[::-1][:10]
print(
    f"the ten likeliest have {100 * p[best].sum():.1f} %, and {100 * np.mean(p < 1e-6):.0f} % have less than 1e-6 each"
)
save("likeliest", titled(grid(0.8 * every[best], columns=10), [f"{100 * v:.1f} %" for v in p[best]], size=12))

print("2. Memory")
binary = [(part.x.numpy()[:, 0] > 127).astype(np.float32) for part in (digits.train, digits.test)]
floor = independent_pixels(*binary, "binary")["independent pixels"]
print(f"independent pixels: {floor:.1f} nats an image")
lines = {}
for cell in ("rnn", "gru", "lstm"):
    how = {"cell": cell, "order": "pixels", "n_hidden": 64, "random_state": 0}
    fresh = AutoregressiveRNN(images=1, learning_rate=1e-9, **how).fit(binary[0])
    norms = fresh.memory(binary[1])
    lines[cell] = np.arange(1, 65), np.log10(norms / norms[-1])
    print(f"{cell}: over 56 steps the gradient of a fresh net falls to {norms[7] / norms[-1]:.0e}")
    rate = "linear(1e-2, 0, over=budget)"
    trained = AutoregressiveRNN(epochs=20, learning_rate=rate, **how).fit(binary[0])
    norms = trained.memory(binary[1])
    print(f"  trained: {trained.score(binary[1]):.1f} nats an image, the gradient falls to {norms[7] / norms[-1]:.0e}")
save("memory", curves_png(lines, "log10 of the norm of the gradient", "step"))

print("3. Rows of digits")
data = load("mnist-mini")  # real MNIST digits, inside the package
train, test = data.train.x.numpy(), data.test.x.numpy()
lstm = AutoregressiveRNN(n_hidden=128, epochs=8, learning_rate="linear(4e-3, 0, over=budget)", random_state=0)
lstm.fit(train, data.train.y.numpy())

exact = lstm.log_likelihoods(test)["exact"]
print(f"{exact.values.mean():.1f} nats a test image. {exact.notes[0]}")
print(f"independent pixels: {independent_pixels(train, test, 'binary')['independent pixels']:.1f}")

growing = lstm.paths(4, 9, random_state=1).swapaxes(0, 1).reshape(-1, 1, 28, 28)
save("growing", grid(growing, columns=9))

drawn = lstm.sample(12, random_state=2)
save("expected", titled(pairs(drawn, lstm.conditionals(drawn)), rows=["drawn", "expected"]))

chosen = [lstm.sample(10, y=np.arange(10), temperature=t, random_state=0) for t in (1, 0.7, 0.4)]
save("classes", titled(pairs(*chosen), range(10), ["temperature 1", "0.7", "0.4"]))

known = np.zeros((1, 28, 28), bool)
known[:, :14] = True
upper = np.where(known, test[:12], 128).astype(np.uint8)
rows = [upper, *(lstm.complete(test[:12], known, random_state=seed) for seed in range(3)), test[:12]]
save("completed", titled(pairs(*rows), rows=["given", "one", "two", "three", "truth"]))

print("4. A codebook")
words = VQVAE(n_codes=64, width=32, epochs=6, prior_hidden=128, prior_epochs=10, random_state=0).fit(train)
k = words.transform(test)
print(f"{k.shape[1]} codes an image, perplexity {words.perplexity(test):.0f} of 64")
save("words", titled(pairs(test[:12], words.inverse_transform(k[:12])), rows=["image", "49 codes"]))
save("written", grid(words.sample(36, random_state=0), columns=12))
print(f"CPU time: {time.process_time():.0f} s, wall time: {time.time() - START:.0f} s")
