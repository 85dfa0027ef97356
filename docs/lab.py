"""Every picture and every number of docs/lab.md: `python docs/lab.py` writes docs/images/lab-*.png."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image

from genlearn import lab
from genlearn.draw import bars, curves_png

IMAGES = Path(__file__).parent / "images"


def save(name, picture):
    """Write the bytes of a PNG with 64 colours."""
    path = IMAGES / f"lab-{name}.png"
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(64).save(path, optimize=True)
    print(f"  {path.name}, {path.stat().st_size / 1000:.0f} kB", flush=True)


print("1. Entropy and cross-entropy")
p = np.array([0.7, 0.2, 0.05, 0.05])
q = np.full(4, 0.25)
print(f"H(p) = {lab.entropy(p):.4f} nats = {lab.entropy(p) / math.log(2):.3f} bits")
print(f"H(p, q) = {lab.cross_entropy(p, q):.4f}, KL(p, q) = {lab.kl(p, q):.4f}, KL(q, p) = {lab.kl(q, p):.4f}")
save("laws", bars({"p": p, "q": q}, ["a", "b", "c", "d"], "probability", "letter"))

print("2. Divergences of densities")
x, w = lab.quadrature(-16, 16)
for mean in (0.5, 1, 2, 4):
    print(mean, lab.divergences(lab.normal(x), lab.normal(x, mean), x, w))
save("divergences", lab.lab_picture("divergences", law="two bumps", mean=1.5))

print("3. Maximum likelihood is minimum KL")
for n in (10, 100, 10_000):
    print(n, lab.likelihood(theta=1.0, n=n, seed=0))
save("likelihood", lab.lab_picture("likelihood", n=100))

print("4. The best discriminator")
p_data, p_g = lab.normal(x), lab.normal(x, mean=2)
print(lab.optimality(p_data, p_g, w))
print("half as sure:", lab.value(0.5 * lab.optimal_logit(p_data, p_g), p_data, p_g, w))
save("optimality", lab.lab_picture("optimality"))

print("5. Saturation")
for mean in (0.5, 1, 2, 4):
    print(mean, lab.generator_gradients(mean, x, w))
save("saturation", lab.lab_picture("saturation"))

print("6. JSD and W1")
print(lab.supports(0.5))
print(lab.supports(1.5))
save("supports", lab.lab_picture("supports", shift=1.5))
for mean in (0.5, 1.0, 2.0, 4.0):
    print(mean, lab.critic(mean)[:4])

print("7. Why a GAN cycles")
for variant in ("minimax", "non-saturating", "wgan", "r1", "consensus"):
    print(variant, lab.dirac_eigenvalues(variant), lab.dirac_factor(variant, rate=0.1))
for gamma in (0.5, 1, 2):
    print("r1", gamma, lab.dirac_eigenvalues("r1", gamma))
paths = {name: lab.dirac_path(name, rate=0.1, steps=300) for name in ("minimax", "wgan", "r1", "instance-noise")}
save("radius", curves_png({k: (np.arange(301), np.hypot(*v.T)) for k, v in paths.items()}, "radius", "step"))
save("dirac", lab.lab_picture("dirac", steps=240))

print("8. The same with networks")
for game in ("non-saturating", "fast generator"):
    frames = lab.gan_on_a_line(game, seed=0)
    print(game, "JSD:", ", ".join(f"{frame.js:.2f}" for frame in frames[::4]))
save("line", lab.lab_picture("line", game="fast generator", round=960))
for game in ("balanced", "eager generator", "eager, packed"):
    frames = lab.gan_on_a_ring(game, seed=0)
    print(game, "modes:", ", ".join(f"{frame.modes:.0f}" for frame in frames[::2]), f"near: {frames[-1].near:.2f}")
save("ring", lab.lab_picture("ring"))
