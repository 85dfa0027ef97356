"""A game of three players on plain tensors, without any estimator: a GAN on a ring, and an encoder that inverts it.

`python docs/own-game.py` takes a minute. With Journal(folder) and keeper=Keeper(folder), run(resume=True) continues it.
"""

import torch

from genlearn.data import load, modes
from genlearn.losses import discriminator_loss, generator_loss, squared_gradient_norm
from genlearn.maths import make_rng
from genlearn.nets import MLP, NormalPrior, Prior
from genlearn.train import Budget, Journal, Nets, Optimizer, Player, Stage, Stream, Training


class RingNets(Nets):
    G: MLP
    D: MLP
    E: MLP
    prior: Prior


def discriminator(nets, batch, rng):
    """-1/2 E log D(x) - 1/2 E log(1 - D(G(z))), and R1 on data."""
    fake = nets.G(nets.prior.draw(len(batch.x), rng))
    penalty = 0.05 * squared_gradient_norm(nets.D, batch.x).mean()
    return discriminator_loss(nets.D(batch.x), nets.D(fake)) + penalty, {"penalty": penalty}


def generator(nets, batch, rng):
    """-E log D(G(z))."""
    return generator_loss(nets.D(nets.G(nets.prior.draw(len(batch.x), rng))), "non-saturating"), {}


def encoder(nets, batch, rng):
    """E ||E(G(z)) - z||^2: nobody else descends it, so the generator does not make it easy."""
    z = nets.prior.draw(len(batch.x), rng)
    return (nets.E(nets.G(z)) - z).square().sum(1).mean(), {}


def main(images=1_500_000):
    torch.manual_seed(0)  # torch's layers draw their weights from the global generator
    x = load("ring", n=20_000).train.x
    nets = RingNets(G=MLP((2, 128, 128, 2)), D=MLP((2, 128, 128, 1)), E=MLP((2, 128, 128, 2)), prior=NormalPrior(2))
    adam = Optimizer("adam", lr=f"linear(1e-3, 1e-4, over={images})", betas=(0.5, 0.99))
    losses = ("D", discriminator), ("G", generator), ("E", encoder)
    players = [Player(name, (name,), loss, adam, clip=10.0) for name, loss in losses]
    stage, stream, journal = Stage("play", players, Budget(images)), Stream(x, None, batch_size=200, seed=1), Journal()
    training = Training(nets, [stage], stream, make_rng(2), journal, ema=20_000.0)
    training.run()
    with torch.no_grad():
        nets, z = training.average.nets, nets.prior.draw(2500, make_rng(3))
        distances, nearest = torch.cdist(nets.G(z), torch.from_numpy(modes("ring")[0])).min(1)
    hits = (nearest[distances < 0.1].bincount(minlength=8) > 20).sum().item()
    print(f"{hits} of 8 modes; error of E {journal.curve('E/loss')[1][-1]:.3f} (2 for a constant)")
    return hits, journal


if __name__ == "__main__":
    main()
