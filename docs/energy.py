"""Every picture and every number of docs/energy.md: `python docs/energy.py` writes docs/images/energy-*.png."""

from __future__ import annotations

import time
from itertools import islice, product
from pathlib import Path

import numpy as np
import torch
from sklearn.svm import SVC

from genlearn import DBM, DBN, RBM, StackedRBMClassifier
from genlearn.data import load
from genlearn.draw import bars, curves_png, filters, grid, pairs, titled
from genlearn.maths.ais import schedule
from genlearn.maths.partition import bracket
from genlearn.metrics import nearest, nearest_train
from genlearn.samplers import rbm_chain

IMAGES, START = Path(__file__).parent / "images", time.time()


def save(name, picture):
    """Write a picture of PIL or the bytes of a PNG, and say when."""
    path = IMAGES / f"energy-{name}.png"
    if isinstance(picture, bytes):
        path.write_bytes(picture)
    else:
        picture.quantize(64, kmeans=1).save(path, optimize=True)
    print(f"  [CPU {time.process_time():.0f} s] {path.name}, {path.stat().st_size / 1000:.0f} kB", flush=True)


print("1. From energy to probability")
J = np.array([[0, 2, -3], [2, 0, 1], [-3, 1, 0]])  # symmetric, zero diagonal
c = np.array([0.5, -1, 1])
s = np.array(list(product([0, 1], repeat=3)))  # all 8 states

E = -(s * (s @ J)).sum(1) / 2 - s @ c
Z = np.exp(-E).sum()
p = np.exp(-E) / Z
print(f"Z = {Z:.2f}, log Z = {np.log(Z):.3f}; the best state {s[p.argmax()]} has E = {E.min():.1f}, p = {p.max():.3f}")

rng = np.random.default_rng(0)
x = rng.integers(0, 2, (10_000, 3))  # 10,000 chains side by side
for _ in range(20):
    for i in range(3):
        x[:, i] = rng.random(10_000) < 1 / (1 + np.exp(-(c[i] + x @ J[i])))
seen = np.bincount(x @ [4, 2, 1], minlength=8) / 10_000
print(f"largest difference of a frequency from its probability: {abs(seen - p).max():.4f}")
names = ["".join(map(str, state)) for state in s]
save("states", bars({"exact": p, "10,000 Gibbs chains": seen}, names, "probability", "state"))

print("2. Boltzmann machines and RBMs")
data = load("mnist-mini")  # real MNIST digits, inside the package
train, test = data.train.x.numpy(), data.test.x.numpy()
train_y, test_y = data.train.y.numpy(), data.test.y.numpy()
print(f"{len(train):,} training and {len(test):,} test images")

plain = {"centred": False, "epochs": 30, "random_state": 0}  # the gradient as section 3 has it
rbm = RBM(n_hidden=256, **plain, learning_rate="linear(0.05, 0.001, over=270000)").fit(train)
net = rbm.nets_.rbm

pixels = torch.from_numpy(test / 255).float().flatten(1)
order = torch.randperm(784, generator=torch.Generator().manual_seed(0))
for what, v in {"digits": pixels, "upside down": pixels.flip(1), "pixels shuffled": pixels[:, order]}.items():
    print(f"mean free energy of test {what}: {net.free_energy(v).mean():.0f}")

rng = torch.Generator().manual_seed(0)
steps = [0, 1, 2, 5, 10, 50, 200, 1000]
v = torch.cat([pixels[:4], torch.rand(4, 784, generator=rng)]).bernoulli(generator=rng)
frames = [v]
with torch.no_grad():
    for step, (_, mean) in enumerate(islice(rbm_chain(net, v, rng), steps[-1]), 1):
        if step in steps:
            frames.append(mean)
strip = torch.stack(frames, 1).flatten(0, 1)  # rows: chains; columns: steps
save("gibbs", titled(grid(strip, columns=len(steps)), columns=steps))

print("3. Learning")
small = RBM(n_hidden=50, **plain, learning_rate=0.05).fit(train)
save("filters", filters(small.nets_.rbm.W, (28, 28), columns=10))

h = small.transform(test[:12])
save("reconstructions", titled(pairs(test[:12], small.inverse_transform(h)), rows=["image", "E[v | h]"]))
error = np.square((small.inverse_transform(small.transform(test)) - test.astype(float)) / 255).sum((1, 2, 3)).mean()
print(f"squared error of reconstructions from 50 probabilities: {error:.1f} per image")

ten_each = np.concatenate([np.flatnonzero(test_y == digit)[:10] for digit in range(10)])
codes = small.transform(test[ten_each]).reshape(10, 10, 50)  # digits, images, units
save("activations", titled(grid(codes, columns=1, pad=4, scale=6), rows=range(10)))

print("4. How good is it?")
lines = {}
for name, how in {"CD-1": ("cd", 1), "CD-10": ("cd", 10), "PCD-1": ("pcd", 1)}.items():
    epochs, scores = (1, 2, 4, 8, 16, 32), []
    for n in epochs:
        options = plain | {"algorithm": how[0], "k": how[1], "learning_rate": 0.05, "epochs": n}
        tiny = RBM(n_hidden=16, **options).fit(train)
        scores.append(tiny.log_likelihoods(test)["exact"].values.mean().item())
    lines[name] = epochs, scores
    print(f"{name}: exact log-likelihood after {epochs} epochs: {', '.join(f'{score:.1f}' for score in scores)}")
save("learning", curves_png(lines, "log p(v), nats per test image", "epochs"))

start = torch.from_numpy(train[:100] / 255).float().flatten(1)
for n in (100, 1_000, 10_000):
    path = {"betas": schedule(n), "rng": torch.Generator().manual_seed(0), "a_base": net.a_base}
    both = bracket(net.W.detach(), net.a.detach(), net.b.detach(), start=start, n_gibbs=1000, **path)
    print(f"{n:,} temperatures: {both.verdict}")
v = pixels.bernoulli(generator=torch.Generator().manual_seed(0))
log_p = -net.free_energy(v).mean() - both.forward.log_z
low, high = log_p + both.forward.log_z - both.forward.upper, log_p + both.forward.log_z - both.forward.lower
print(f"log p(v) = {log_p:.1f} [{low:.1f}, {high:.1f}] nats per test image")

print("5. Missing pixels")
twelve, known = test[20:32], np.zeros((1, 28, 28), bool)
known[:, :14] = True
fillings = [rbm.complete(twelve, known, random_state=seed) for seed in range(3)]
rows = [np.where(known, twelve, 128).astype(np.uint8), *fillings, twelve]
save("missing", titled(pairs(*rows), rows=["given", "one", "two", "three", "truth"]))

print("6. Stacking")
few = np.full(len(train_y), -1)  # -1: no label
few[np.concatenate([np.flatnonzero(train_y == digit)[:10] for digit in range(10)])] = np.repeat(range(10), 10)
for pretrain in (False, True):
    stacked = StackedRBMClassifier(hidden=(300, 300), pretrain=pretrain, epochs=100, random_state=0).fit(train, few)
    print(f"100 labels, pretrain={pretrain}: {100 * stacked.score(test, test_y):.1f} % of the test images right")

dbn = DBN(
    hidden=(400, 1024), pretrain_epochs=6, epochs=30, top_steps=12,
    learning_rate="linear(0.05, 0, over=272000)", weight_decay=2e-4, random_state=0,
).fit(train, train_y)  # fmt: skip
print(f"DBN: {100 * np.mean(dbn.predict(test) == test_y):.1f} % of the test images right")

belief, v = dbn.nets_.dbn, pixels[:12]
with torch.no_grad():
    first = belief.ascend(v, 1)  # [12, 400], as pictures of 20 x 20
    second = belief.top.p_hidden_pixels(first)  # [12, 1024], 32 x 32
first = first.view(-1, 20, 20).numpy().repeat(2, 1).repeat(2, 2)
rows = [np.pad(x, ((0, 0), (n, n), (n, n)), constant_values=1) for x, n in ((v.view(-1, 28, 28), 6), (first, 0))]
rows.append(np.pad(second.view(-1, 32, 32), ((0, 0), (4, 4), (4, 4)), constant_values=1))
save("layers", titled(pairs(*rows), rows=["image", "400 units", "1,024 units"]))

drawn = dbn.sample(500, y=np.arange(500) % 10, random_state=1)  # 1,000 Gibbs steps at the top
save("digits", titled(grid(drawn[:100], columns=10), columns=range(10)))
judge = SVC(C=10, gamma=0.02).fit(train.reshape(-1, 784) / 255, train_y)
for what, x, y in (("test", test, test_y), ("drawn", drawn, np.arange(500) % 10)):
    print(f"a support vector machine reads {100 * judge.score(x.reshape(-1, 784) / 255, y):.1f} % of {what} digits")

_, index = nearest(drawn[:10], train)
save("nearest", titled(pairs(drawn[:10], train[index[:, 0]]), rows=["drawn", "nearest"]))
copies = nearest_train(drawn, train, test)
print(f"median distance to the nearest training image, over that of test images: {copies.value:.2f}")
print(f"copies: {copies.details['copies']}")

print("7. The deep Boltzmann machine")
tiny = DBM(hidden=(12, 12), epochs=20, random_state=0).fit(train)
net = tiny.nets_.dbm.double()
v = pixels.double().bernoulli(generator=torch.Generator().manual_seed(0))
h = torch.tensor(list(product([0.0, 1.0], repeat=12))).double()  # all 4,096 states of the first hidden layer
with torch.no_grad():
    log_z = net.log_partition(schedule(2)).value  # exact: at most 20 units on one side
    above = h @ net.b[0] + torch.nn.functional.softplus(net.b[1] + h @ net.W[1]).sum(1)  # h_2 summed out
    exact = v @ net.a + torch.logsumexp(v @ net.W[0] @ h.T + above, 1) - log_z
    bounds = {n: net.bound(net.mean_field(v, n), log_z) for n in (0, 1, 2, 5, 10)}
print(f"exact log p(v): {exact.mean():.2f} nats per test image; bounds by mean-field steps:")
print(", ".join(f"{n}: {bound.mean():.2f}" for n, bound in bounds.items()))
print(f"the gap after 10 steps lies between {(exact - bounds[10]).min():.1e} and {(exact - bounds[10]).max():.2f}")

dbm = DBM(hidden=(200, 400), pretrain_epochs=5, epochs=15, random_state=0).fit(train)
save("dbm", grid(dbm.sample(40, random_state=0), columns=10))
net = dbm.nets_.dbm
log_z = net.log_partition(schedule(10_000), start=dbm.nets_.chains.states)
with torch.no_grad():
    bound = net.bound(net.mean_field(pixels.bernoulli(generator=torch.Generator().manual_seed(0)), 10), log_z.value)
print(f"estimate of the bound of the 784-200-400 machine: {bound.mean():.1f} nats per test image. {log_z.notes[0]}")
print(f"CPU time: {time.process_time():.0f} s, wall time: {time.time() - START:.0f} s")
