"""bf16 beside float32 on real MNIST: seconds of the same fits, and what they reach over three seeds."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "2")  # read when torch is loaded

from genlearn.data import load
from genlearn.estimator import GenerativeEstimator
from genlearn.maths.ais import schedule
from genlearn.metrics import parzen
from genlearn.models.gan import GAN
from genlearn.models.rbm import RBM
from genlearn.models.vae import VAE

mnist, parzen_2014 = load("mnist"), load("mnist", split="parzen-2014")


def ais(model: RBM) -> float:
    """Nats a test image, log Z by 1,000 temperatures."""
    net = model.nets_.rbm
    x = mnist.test.x.flatten(1).div(255).round()
    return float(net.log_unnormalised(x).mean()) - net.log_partition(schedule(1000)).value


def elbo(model: VAE) -> float:
    """Nats a test image."""
    return model.score(mnist.test.x[:2000])


def windows(model: GAN) -> float:
    """Parzen, nats a test image."""
    return parzen(model.sample(10_000, random_state=0), parzen_2014.valid.x, parzen_2014.test.x).value


CONTENDERS: dict[str, tuple[Callable[..., GenerativeEstimator], object, Callable[..., float]]] = {
    "RBM 784-500, 3 epochs: AIS": (
        lambda **o: RBM(epochs=3, centred=False, learning_rate="linear(0.05, 0, over=162000)", **o), mnist, ais,
    ),
    "VAE 784-200-200-20, 3 epochs: ELBO": (lambda **o: VAE(epochs=3, **o), mnist, elbo),
    "GAN of 2014, 20 epochs: Parzen": (
        lambda **o: GAN.from_preset("goodfellow-2014", epochs=20, **o), parzen_2014, windows,
    ),
}  # fmt: skip


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3, help="seeds")
    options = arguments.parse_args()
    print(f"{__doc__} ({options.rounds} seeds, {os.environ['OMP_NUM_THREADS']} threads)")
    for title, (make, data, score) in CONTENDERS.items():
        seconds: dict[str, list[float]] = {"float32": [], "bf16": []}
        reached: dict[str, list[float]] = {"float32": [], "bf16": []}
        for seed in range(options.rounds):
            for precision in seconds:
                start = time.perf_counter()
                model = make(precision=precision, random_state=seed).fit(data)
                seconds[precision].append(time.perf_counter() - start)
                reached[precision].append(score(model))
        ratio = statistics.median(b / f for f, b in zip(seconds["float32"], seconds["bf16"], strict=True))
        print(f"{title}: bf16 takes x {ratio:.2f} of {statistics.median(seconds['float32']):.1f} s")
        for precision, values in reached.items():
            print(f"  {precision:<8} {', '.join(f'{value:.1f}' for value in values)}", flush=True)
