"""The MLP GAN of the usual one-file script: its loop and its data path, written anew, beside the same nets here."""

from __future__ import annotations

import os

from _paired import paired  # isort: skip (sets the threads before torch is loaded)

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from genlearn.data import load
from genlearn.models.gan import GAN

N, B, L = 10_000, 64, 100
G_SIZES, D_SIZES = (L, 128, 256, 512, 1024, 784), (784, 512, 256, 1)
RATE, BETAS = 2e-4, (0.5, 0.999)
x8 = load("mnist").train.x[:N]


class Digits(Dataset[Tensor]):
    """An item at a time: an image of PIL, resized, made a tensor, normalised."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> Tensor:
        image = Image.fromarray(x8[i, 0].numpy()).resize((28, 28), Image.Resampling.BILINEAR)
        return (torch.from_numpy(np.array(image)).float().div(255).unsqueeze(0) - 0.5) / 0.5


def mlp(sizes: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n, m in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(n, m), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def script() -> None:
    """Two Adams, a binary cross-entropy on sigmoids, losses read and printed at every step."""
    G, D = nn.Sequential(mlp(G_SIZES), nn.Tanh()), nn.Sequential(mlp(D_SIZES), nn.Sigmoid())
    adam_g, adam_d = (torch.optim.Adam(net.parameters(), lr=RATE, betas=BETAS) for net in (G, D))
    bce, rng = nn.BCELoss(), np.random.default_rng(0)
    with open(os.devnull, "w") as console:
        for real in DataLoader(Digits(), batch_size=B, shuffle=True):
            ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
            adam_g.zero_grad()
            fake = G(torch.from_numpy(rng.normal(0, 1, (len(real), L)).astype(np.float32)))
            g_loss = bce(D(fake), ones)
            g_loss.backward()
            adam_g.step()
            adam_d.zero_grad()
            d_loss = (bce(D(real.flatten(1)), ones) + bce(D(fake.detach()), zeros)) / 2
            d_loss.backward()
            adam_d.step()
            print(f"[D loss: {d_loss.item():f}] [G loss: {g_loss.item():f}]", file=console)


def bare_loop() -> None:
    """The same work without waste: images on the device, logits, fused Adam, D frozen while G learns."""
    G, D = nn.Sequential(mlp(G_SIZES), nn.Sigmoid()), mlp(D_SIZES)
    adam_g, adam_d = (torch.optim.Adam(net.parameters(), lr=RATE, betas=BETAS, fused=True) for net in (G, D))
    rng, softplus = torch.Generator().manual_seed(0), nn.functional.softplus
    for rows in torch.randperm(N, generator=rng).split(B):
        real = x8.index_select(0, rows).flatten(1).float().div_(255)
        fake = G(torch.randn(len(real), L, generator=rng))
        adam_d.zero_grad()
        (0.5 * (softplus(-D(real)).mean() + softplus(D(fake.detach())).mean())).backward()
        adam_d.step()
        adam_g.zero_grad()
        D.requires_grad_(False)
        softplus(-D(fake)).mean().backward()
        adam_g.step()
        D.requires_grad_(True)


def play(order: str) -> None:
    GAN(
        hidden=G_SIZES[1:-1], hidden_d=D_SIZES[1:-1], activation="leaky_relu", penalty=None, n_latent=L, order=order,
        batch_size=B, learning_rate=RATE, betas=BETAS, epochs=1, random_state=0,
    ).fit(x8)  # fmt: skip


if __name__ == "__main__":
    paired(
        f"MLP GAN, {N:,} images in batches of {B}",
        {
            "genlearn, simultaneous": lambda: play("simultaneous"),
            "genlearn, alternating (a second G(z))": lambda: play("alternating"),
            "bare loop": bare_loop,
            "one-file script": script,
        },
        base="genlearn, simultaneous",
    )
