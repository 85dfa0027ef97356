"""Every picture and every number of docs/autoencoders.md: `python docs/autoencoders.py` writes
docs/images/autoencoders-*.png."""

from __future__ import annotations

import io
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.linalg import subspace_angles
from scipy.stats import norm
from sklearn.neighbors import KNeighborsClassifier

from genlearn import GSN, VAE, Autoencoder, DenoisingAutoencoder
from genlearn.data import load
from genlearn.draw import clouds, curves_png, grid, pairs, titled
from genlearn.losses import importance_bound, log_normal
from genlearn.metrics import nearest_train, parzen, principal_images, reconstruction
from genlearn.nets import CodeJitter, GaussianDensity, GaussianMixture

IMAGES, START = Path(__file__).parent / "images", time.time()


def save(name, picture):
    """Write a picture of PIL or the bytes of a PNG in few colours, and say when."""
    path = IMAGES / f"autoencoders-{name}.png"
    picture = Image.open(io.BytesIO(picture)).convert("RGB") if isinstance(picture, bytes) else picture
    picture.quantize(64, kmeans=1).save(path, optimize=True)
    print(f"  [CPU {time.process_time():.0f} s] {path.name}, {path.stat().st_size / 1000:.0f} kB", flush=True)


print("1. Principal components")
data = load("mnist-mini")  # real MNIST digits, inside the package
x, x_test = (part.x.numpy() / np.float32(255) for part in (data.train, data.test))
y, y_test = data.train.y.numpy(), data.test.y.numpy()
print(f"{len(x):,} training and {len(x_test):,} test images")

rows = x.reshape(-1, 784).astype(float)
mean = rows.mean(0)
_, s, V = np.linalg.svd(rows - mean, full_matrices=False)  # V: principal directions, one a row


def directions(model, k):
    """The k directions [784, k] in which images move with the numbers of a linear code."""
    images = model.inverse_transform(np.concatenate([np.zeros((1, k)), np.eye(k)])).reshape(k + 1, 784)
    return (images[1:] - images[0]).T


common = {"density": "gaussian", "learning_rate": "linear(3e-3, 0, over=budget)", "random_state": 0}
linear = {k: Autoencoder(hidden=(), loss="mse", n_latent=k, epochs=60, **common).fit(x) for k in (2, 10, 30)}
for k in linear:
    angles = np.rad2deg(subspace_angles(directions(linear[k], k), V[:k].T))
    print(f"{k} codes: largest angle to the principal components {angles.max():.1f} degrees")

print("2. Depth")
deep = {k: Autoencoder(n_latent=k, epochs=30, **common).fit(x) for k in (2, 10, 30)}
for k in deep:
    for name, model in {"linear": linear[k], "deep": deep[k]}.items():
        score = reconstruction(model.inverse_transform(model.transform(x_test)), k, x, x_test)
        floor = ", ".join(f"{value:.2f} ({floor})" for floor, value in score.floor.items())
        print(f"{k} codes, {name}: {score.value:.2f} [{score.interval[0]:.2f}, {score.interval[1]:.2f}]; {floor}")

few = x_test[:12]
rows_of = [few]
for k in (2, 10, 30):
    rows_of += [principal_images(x, few, k).reshape(few.shape), deep[k].inverse_transform(deep[k].transform(few))]
names = ["image", *(f"{name} {k}" for k in (2, 10, 30) for name in ("PCA", "deep"))]
save("reconstructions", titled(pairs(*rows_of), rows=names))

print("3. Two numbers an image")
rate = {"learning_rate": "linear(2e-3, 0, over=budget)", "random_state": 0}
plane = VAE(n_latent=2, hidden=(500, 250), epochs=30, **rate).fit(x)
codes = {
    "PCA": [(part.reshape(-1, 784) - mean) @ V[:2].T for part in (x, x_test)],
    "linear autoencoder": [linear[2].transform(part) for part in (x, x_test)],
    "deep autoencoder": [deep[2].transform(part) for part in (x, x_test)],
    "VAE": [plane.transform(part) for part in (x, x_test)],
}
save("codes", clouds({name: codes[name][1] for name in ("PCA", "deep autoencoder", "VAE")}, y_test))
for name, (z, z_test) in codes.items():
    right = KNeighborsClassifier(15).fit(z, y).score(z_test, y_test)
    print(f"{name}: 15 nearest neighbours of 2 codes name {100 * right:.1f} % of the test digits right")

steps = norm.ppf((np.arange(14) + 0.5) / 14)  # equal shares of N(0, 1)
z = np.stack(np.meshgrid(steps, -steps), -1).reshape(-1, 2)
save("manifold", grid(plane.inverse_transform(z), columns=14, pad=0, scale=1))

print("4. Noise")
rng = np.random.default_rng(0)
hit, white = rng.random(x_test.shape) < 0.4, rng.random(x_test.shape) < 0.5
noisy = np.where(hit, white, x_test).astype(np.float32)  # four pixels in ten are black or white, whatever they were
dae = DenoisingAutoencoder(noise="salt-and-pepper", level=0.4, n_latent=100, epochs=20, **rate).fit(x)
clean = dae.denoise(noisy)


def error(images):
    """The mean squared error of test images, of all pixels together."""
    return np.square(images.reshape(-1, 784) - x_test.reshape(-1, 784)).sum(1).mean()


linear_best = min((error(principal_images(x, noisy, k).numpy()), k) for k in (10, 20, 30, 40, 60, 80))
print(f"squared error: noisy {error(noisy):.1f}, best PCA {linear_best[0]:.1f} ({linear_best[1]} components)")
print(f"denoised {error(clean):.1f}")
projected = principal_images(x, noisy[:12], linear_best[1]).reshape(few.shape)
save("denoised", titled(pairs(few, noisy[:12], projected, clean[:12]), rows=["image", "noisy", "PCA", "denoised"]))

print("5. A chain")
gsn = GSN(
    hidden=(400,), level=0.25, walkback=3, epochs=20, learning_rate="linear(3e-3, 0, over=budget)", random_state=0
)
gsn.fit(x)
times = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256]
walk = [x_test[:5], *islice(gsn.chain(X=x_test[:5], random_state=0), times[-1])]
strip = np.stack([walk[t] for t in times], 1).reshape(-1, 1, 28, 28)
save("chains", titled(grid(strip, columns=len(times)), columns=times))

print("6. A law of the codes")
vae, vamp = VAE(epochs=30, **rate).fit(x), VAE(prior="vamp", epochs=30, **rate).fit(x)
z, samplers = torch.from_numpy(deep[30].transform(x)), {}
laws = {"Gaussian": GaussianDensity(30), "mixture": GaussianMixture(30, 20), "jitter": CodeJitter(30, 1000)}
for name, law in laws.items():
    law.fit(z)
    samplers[name] = deep[30].inverse_transform(law.draw(2000, torch.Generator().manual_seed(0)))
samplers |= {"VAE": vae.sample(2000, random_state=0), "VampPrior": vamp.sample(2000, random_state=0)}
save("samples", titled(pairs(*(images[:14] for images in samplers.values())), rows=samplers))
samplers["training images"] = x[:2000]
for name, images in samplers.items():
    copies, windows = nearest_train(images, x, x_test), parzen(images, data.valid.x.numpy() / 255, x_test)
    print(f"{name}: nearest {copies.value:.2f}, Parzen {windows.value:.0f} ± {windows.se:.0f}")

print("7. Bounds")
tight = VAE(k=5, epochs=30, **rate).fit(x)
bits = torch.from_numpy(x_test[:500]).flatten(1).bernoulli(generator=torch.Generator().manual_seed(0))
draws = [1, 2, 5, 10, 20, 50, 100, 1000]


@torch.no_grad()
def log_weights(nets, n):
    """log p(x, z) / q(z | x) of n draws of z for each image: [n, 500]."""
    mean, log_var = nets.encoder(bits).chunk(2, 1)
    rng, log_w = torch.Generator().manual_seed(1), []
    for _ in range(n):
        z = mean + (0.5 * log_var).exp() * torch.randn(mean.shape, generator=rng)
        log_p = nets.pixels(bits, nets.decoder(z)) + nets.prior.log_prob(z)
        log_w.append(log_p - log_normal(z, mean, 0.5 * log_var))
    return torch.stack(log_w)


lines = {}
for name, model in {"trained with k = 1": vae, "k = 5": tight, "VampPrior": vamp}.items():
    log_w = log_weights(model.nets_, 1000)
    bounds = [torch.stack([importance_bound(w) for w in log_w.split(k)]).mean().item() for k in draws]
    lines[name] = draws[:-1], bounds[:-1]
    active = (model.transform(x_test).var(0) > 0.01).sum()
    print(f"{name}: " + ", ".join(f"{bound:.1f} ({k})" for k, bound in zip(draws, bounds, strict=True)))
    print(f"  {active} of 20 units active")
save("bounds", curves_png(lines, "bound of log p(x), nats an image", "draws an image"))

print("8. And back")
k, d, n = 10, 784, len(rows)
variances = s**2 / n
noise = variances[k:].sum() / (d - k)  # what the other components leave, evenly spread
best = -0.5 * (d * np.log(2 * np.pi) + np.log(variances[:k]).sum() + (d - k) * np.log(noise) + d)
back = VAE(n_latent=k, hidden=(), likelihood="gaussian", epochs=60, **rate).fit(x)
W = directions(back, k)
sigma = back.nets_.pixels.log_sigma.exp().item()
exact = torch.distributions.LowRankMultivariateNormal(
    torch.from_numpy(back.inverse_transform(np.zeros((1, k))).ravel().astype(float)),
    torch.from_numpy(W.astype(float)),
    torch.full((d,), sigma**2, dtype=torch.float64),
)
reached, bound = exact.log_prob(torch.from_numpy(rows)).mean().item(), back.score(x)
angles = np.rad2deg(subspace_angles(W, V[:k].T))
print(
    f"log-likelihood of training images: probabilistic PCA {best:.2f}, linear VAE {reached:.2f}, its ELBO {bound:.2f}"
)
print(f"largest angle {angles.max():.1f} degrees; sigma {sigma:.4f} against {noise**0.5:.4f}")
print(f"CPU time: {time.process_time():.0f} s, wall time: {time.time() - START:.0f} s")
