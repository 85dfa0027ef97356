"""Training of an LSTM over 196 pixels, batch 100, against a bare loop around torch.nn.LSTM; drawing 64 MNIST images."""

from __future__ import annotations

from _paired import paired  # isort: skip (sets the threads before torch is loaded)

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from genlearn.data import load
from genlearn.models.rnn import AutoregressiveRNN

N, B, H = 500, 100, 128
x28 = load("mnist-mini").train.x[:N]
x8 = x28[..., ::2, ::2].contiguous()


def genlearn_epoch() -> None:
    AutoregressiveRNN(order="pixels", n_hidden=H, epochs=1, batch_size=B, random_state=0).fit(x8)


def bare_loop() -> None:
    """The pixel before -> LSTM -> logit, the same noise and optimiser (fused Adam), written out."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    lstm, out = nn.LSTM(1, H, batch_first=True), nn.Linear(H, 1)
    adam = torch.optim.Adam([*lstm.parameters(), *out.parameters()], lr=1e-3, fused=True)
    x_all, u = x8.flatten(1).float().div(255), torch.empty(B, 196)
    for rows in torch.randperm(N, generator=g).split(B):
        x = torch.lt(u.uniform_(generator=g), x_all.index_select(0, rows)).float()
        before = torch.cat([torch.zeros(B, 1), x[:, :-1]], 1)
        logits = out(lstm(before[..., None])[0])[..., 0]
        loss = binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()


if __name__ == "__main__":
    paired(
        f"LSTM 1-{H} over 196 pixels, {N} images",
        {"genlearn": genlearn_epoch, "bare loop": bare_loop},
        base="bare loop",
    )
    kinds = {order: AutoregressiveRNN(order=order, images=B, n_hidden=256).fit(x28) for order in ("rows", "pixels")}
    paired(
        "64 images of 28 x 28 from an LSTM of 256 units",
        {order: lambda model=model: model.sample(64, random_state=0) for order, model in kinds.items()},
        base="rows",
        rounds=3,
    )
