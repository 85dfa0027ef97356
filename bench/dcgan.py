"""DCGAN of width 32 on colour images of 32 pixels, batch 64: against its convolutions alone; what each option costs."""

from __future__ import annotations

from _paired import paired  # isort: skip (sets the threads before torch is loaded)

import torch
from torch import nn

from genlearn.maths.rng import make_rng
from genlearn.models.dcgan import DCGAN

STEPS, B = 12, 64
x8 = torch.randint(0, 256, (STEPS * B, 3, 32, 32), generator=make_rng(0), dtype=torch.uint8)
PLAIN = {"penalty": None, "augment": None, "ema": 0.0, "precision": "float32"}


def play(**changes: object) -> None:
    DCGAN(**{"images": STEPS * B, "random_state": 0, **changes}).fit(x8)


def convolutions() -> None:
    """The kernels of both nets as often as a round needs them, forwards and backwards, on inputs that lie there."""
    for _ in range(STEPS):
        for layer, x, y, times in WORK:
            for rows, weight, inp in times:
                out = layer(x[:rows])
                wanted = [t for t, asked in ((layer.weight, weight), (x, inp)) if asked]
                if wanted:
                    torch.autograd.grad(out, wanted, y[:rows])


def work() -> list[tuple[nn.Module, torch.Tensor, torch.Tensor, list[tuple[int, bool, bool]]]]:
    """Layers, inputs, gradients of outputs; (rows, gradient of the weights?, of the input?) of every pass.

    A round: G forward for D; D on data and samples beside each other, its weights; G forward; D on samples, its input;
    G's weights.
    """
    nets = DCGAN(**PLAIN)._fresh_nets((3, 32, 32), 0)
    kinds, found, hooks = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear), [], []
    for net in (nets.G, nets.D):
        for module in net.modules():
            if isinstance(module, kinds):
                hooks.append(module.register_forward_hook(lambda m, x, y: found.append((m, x[0].detach(), y))))
    nets.D(torch.cat([nets.G(torch.randn(B, 64)), torch.rand(B, 3, 32, 32)]))
    for hook in hooks:
        hook.remove()
    tasks = []
    of_g = set(nets.G.modules())
    for module, x, y in found:
        generator = module in of_g
        first = module is next(m for m in (nets.G if generator else nets.D).modules() if isinstance(m, kinds))
        if generator:
            passes = [(B, False, False), (B, True, not first)]
        else:
            passes = [(2 * B, True, not first), (B, False, True)]
        tasks.append((module, x.clone().requires_grad_(), torch.rand_like(y), passes))
    return tasks


WORK = work()

if __name__ == "__main__":
    paired(
        f"DCGAN, {STEPS} rounds of {B} images of 3x32x32",
        {
            "genlearn, plain": lambda: play(**PLAIN),
            "with averaged weights": lambda: play(**PLAIN | {"ema": 20_000.0}),
            "with augmentation": lambda: play(**PLAIN | {"augment": "color,translation"}),
            "with R1 at every step": lambda: play(**PLAIN | {"penalty": "r1(1)"}),
            "with R1 at every fourth": lambda: play(**PLAIN | {"penalty": "r1(1, every=4)"}),
            "as by default": play,
            "plain, in bf16": lambda: play(**PLAIN | {"precision": "bf16"}),
            "convolutions alone": convolutions,
        },
        base="genlearn, plain",
    )
