"""Flow matching on colour images of 32 pixels, width 32, batch 64: against a bare loop of the same U-Net; sampling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

from _paired import paired  # isort: skip (sets the threads before torch is loaded)

import torch
from torch import nn

from genlearn.maths.rng import make_rng
from genlearn.models.flow import FlowMatching
from genlearn.nets.unet import UNet

STEPS, B = 12, 64
x8 = torch.randint(0, 256, (STEPS * B, 3, 32, 32), generator=make_rng(0), dtype=torch.uint8)
sampler = FlowMatching(images=B, random_state=0).fit(x8)


def play(**changes: object) -> None:
    FlowMatching(**{"images": STEPS * B, "random_state": 0, "precision": "float32", **changes}).fit(x8)


def bare(precision: str = "float32") -> None:
    """The loop written out: the same net, optimiser, clipping and averaged weights; nothing is read or kept."""
    torch.manual_seed(0)
    v = UNet((3, 32, 32), 32).to(memory_format=torch.channels_last)
    parameters = list(v.parameters())
    averaged = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    for rows in torch.randperm(len(x8)).split(B):
        x = (x8[rows].float() + torch.rand(B, 3, 32, 32)) / 128 - 1
        z, t = torch.randn_like(x), torch.randn(B).sigmoid()
        s = t.view(-1, 1, 1, 1)
        with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
            loss = (v(s * x + (1 - s) * z, t).float() - (x - z)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        torch._foreach_lerp_(averaged, [p.detach() for p in parameters], 1e-3)


def layers(net: nn.Module, x: torch.Tensor) -> Iterator[tuple[nn.Module, torch.Tensor, torch.Tensor]]:
    """Convolutions and products of a net with the inputs and outputs that they have at x."""
    found: list[tuple[nn.Module, torch.Tensor, torch.Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda m, x, y: found.append((m, x[0].detach(), y.detach())))
        for module in net.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    net(x, torch.rand(len(x)))
    for hook in hooks:
        hook.remove()
    yield from found


unet = UNet((3, 32, 32), 32).to(memory_format=torch.channels_last)
WORK = [(m, x.requires_grad_(i > 0), torch.rand_like(y)) for i, (m, x, y) in
        enumerate(layers(unet, torch.rand(B, 3, 32, 32)))]  # fmt: skip


def convolutions() -> None:
    """The kernels of the net alone, forwards and backwards, on inputs that lie there."""
    for _ in range(STEPS):
        for layer, x, y in WORK:
            torch.autograd.grad(layer(x), [layer.weight, x] if x.requires_grad else [layer.weight], y)


if __name__ == "__main__":
    paired(
        f"flow, {STEPS} steps of {B} images of 3x32x32; 64 samples by 40 steps of Heun (80 evaluations)",
        {
            "genlearn": play,
            "bare loop": bare,
            "convolutions alone": convolutions,
            "genlearn, bf16": lambda: play(precision="bf16"),
            "bare loop, bf16": lambda: bare("bf16"),
            "64 samples": lambda: sampler.set_params(precision="float32").sample(64, random_state=0),
            "64 samples, bf16": lambda: sampler.set_params(precision="bf16").sample(64, random_state=0),
        },
        base="genlearn",
    )
