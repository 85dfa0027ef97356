"""An epoch of VAE 784-512-16, batch 100, dynamic binarisation, against a bare loop that does the same work; and on grey
pixels against pythae, where it is installed."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec

from _paired import paired  # isort: skip (sets the threads before torch is loaded)

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from genlearn.data import load
from genlearn.models.vae import VAE

N, B, H, L = 10_000, 100, 512, 16
x8 = load("mnist").train.x[:N].flatten(1)


def genlearn_epoch(**changes: object) -> None:
    VAE(hidden=(H,), n_latent=L, epochs=1, batch_size=B, random_state=0, **changes).fit(x8)


def bare_loop() -> None:
    """The same nets, noise and optimiser (fused Adam), written out."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    encoder = nn.Sequential(nn.Linear(784, H), nn.ReLU(), nn.Linear(H, 2 * L))
    decoder = nn.Sequential(nn.Linear(L, H), nn.ReLU(), nn.Linear(H, 784))
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)
    x_all, u = x8.float().div(255), torch.empty(B, 784)
    for rows in torch.randperm(N, generator=g).split(B):
        x = torch.lt(u.uniform_(generator=g), x_all.index_select(0, rows)).float()
        mean, log_var = encoder(x).chunk(2, 1)
        z = mean + (0.5 * log_var).exp() * torch.randn(B, L, generator=g)
        fit = binary_cross_entropy_with_logits(decoder(z), x, reduction="none").sum(1).mean()
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1).mean()
        adam.zero_grad()
        (fit + kl).backward()
        adam.step()


def pythae_epoch() -> None:
    """Their VAE and trainer: the same nets (their default), data, batch, rate and Adam; it writes its best model."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE as Theirs
    from pythae.models import VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    with tempfile.TemporaryDirectory() as folder:
        how = BaseTrainerConfig(folder, per_device_train_batch_size=B, num_epochs=1, learning_rate=1e-3, no_cuda=True)
        model = Theirs(VAEConfig(input_dim=(1, 28, 28), latent_dim=L, reconstruction_loss="bce"))
        data = BaseDataset(x8.float().div(255).view(-1, 1, 28, 28), torch.zeros(N))
        BaseTrainer(model, data, training_config=how).train()


if __name__ == "__main__":
    paired(
        f"VAE 784-{H}-{L}, epoch of {N:,} images",
        {
            "genlearn": genlearn_epoch,
            "genlearn in bf16": lambda: genlearn_epoch(precision="bf16"),
            "bare loop": bare_loop,
        },
        base="bare loop",
        rounds=9,
    )
    if find_spec("pythae"):
        contenders = {"genlearn": lambda: genlearn_epoch(binarize=False), "pythae": pythae_epoch}
        paired(f"VAE 784-{H}-{L}, grey pixels, epoch of {N:,} images", contenders, base="genlearn", rounds=5)
