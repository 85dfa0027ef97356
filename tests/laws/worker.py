"""Trains small games in float64 and writes their parameters: by itself, or as one of N processes."""

from __future__ import annotations

import os

import torch
from proof import Proof
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from genlearn.models.autoencoder import Autoencoder
from genlearn.models.bm import BoltzmannMachine
from genlearn.models.conditional_gan import ConditionalGAN
from genlearn.models.conditional_rbm import ConditionalRBM
from genlearn.models.conditional_vae import ConditionalVAE
from genlearn.models.contractive import ContractiveAutoencoder
from genlearn.models.dbm import DBM
from genlearn.models.dbn import DBN
from genlearn.models.dcgan import DCGAN
from genlearn.models.denoising import DenoisingAutoencoder
from genlearn.models.flow import FlowMatching
from genlearn.models.gan import GAN
from genlearn.models.gsn import GSN
from genlearn.models.rbm import RBM
from genlearn.models.rnn import AutoregressiveRNN
from genlearn.models.stacked_autoencoder import StackedAutoencoderClassifier
from genlearn.models.stacked_rbm import StackedRBMClassifier
from genlearn.models.vae import VAE
from genlearn.models.vqvae import VQVAE
from genlearn.models.wgan_gp import WGANGP
from genlearn.parallel import process_group, world

torch.set_num_threads(1)
COMMON = {"epochs": 1, "batch_size": 60, "precision": "float64", "device": "cpu", "random_state": 1}
GAMES = {
    "rbm-pcd": RBM(n_hidden=30, n_chains=20, **COMMON),
    "rbm-cd": RBM(n_hidden=30, algorithm="cd", k=2, **COMMON),
    "rbm-gaussian": RBM(n_hidden=30, visible="gaussian", learning_rate=1e-3, **COMMON),
    "rbm-centred": RBM(n_hidden=30, n_chains=20, centred=True, sparsity=0.1, **COMMON),
    "rbm-tempered": RBM(n_hidden=30, n_chains=20, algorithm="parallel-tempering", n_temperatures=4, **COMMON),
    "rbm-nce": RBM(n_hidden=30, algorithm="nce", n_noise=3, **COMMON),
    "rbm-matching": RBM(n_hidden=30, algorithm="score-matching", n_flips=8, **COMMON),
    "conditional-rbm": ConditionalRBM(n_hidden=30, n_chains=20, objective="hybrid", **COMMON),
    "bm": BoltzmannMachine(n_hidden=5, n_chains=20, **{**COMMON, "images": 120, "epochs": None}),
    "stacked-rbm": StackedRBMClassifier(
        hidden=(20,), pretrain_epochs=1, dropout=0.3, optimizer="momentum", learning_rate=0.1, **COMMON
    ),
    "autoencoder": Autoencoder(hidden=(20,), n_latent=3, n_components=3, ema=500.0, **COMMON),
    "autoencoder-pretrained": Autoencoder.from_preset(
        "hinton-2006",
        hidden=(20,),
        n_latent=3,
        pretrain_epochs=1,
        tied=True,
        density="jitter",
        **COMMON,
    ),
    "autoencoder-conv": Autoencoder(network="conv", width=4, n_latent=3, loss="rmse", density="gaussian", **COMMON),
    "dae": DenoisingAutoencoder(
        hidden=(20,), n_latent=3, n_components=3, noise="salt-and-pepper", tied=True, dropout=0.3, init="he", **COMMON
    ),
    "cae": ContractiveAutoencoder(hidden=(20,), n_latent=10, n_codes=50, **COMMON),
    "cae-probes": ContractiveAutoencoder(
        hidden=(20,), n_latent=10, n_codes=50, activation="tanh", greedy=False, n_probes=2, **COMMON
    ),
    "gsn": GSN(hidden=(20, 10), ema=500.0, **COMMON),
    "stacked-autoencoder": StackedAutoencoderClassifier(hidden=(20, 10), pretrain_epochs=1, dropout=0.3, **COMMON),
    "dbn": DBN(hidden=(20, 15, 25), pretrain_epochs=1, **COMMON),
    "dbm": DBM(hidden=(20, 15), pretrain_epochs=1, n_chains=20, fine_tune=1, dropout=0.3, **COMMON),
    "vae": VAE(hidden=(20,), n_latent=3, **COMMON),
    "conditional-vae": ConditionalVAE(hidden=(20,), n_latent=3, ema=500.0, **COMMON),
    "vae-free-bits": VAE(hidden=(20,), n_latent=3, free_bits=0.3, dropout=0.2, beta="linear(0, 1, over=300)", **COMMON),
    "vae-importance": VAE(hidden=(20,), n_latent=3, k=3, **COMMON),
    "vae-mixture": VAE(prior="vamp", n_components=4, network="conv", width=4, n_latent=3, ema=500.0, **COMMON),
    "vae-batch-normalisation": VAE(network="conv", width=4, n_latent=3, **COMMON),
    "vae-bf16": VAE(
        network="conv", width=4, n_latent=3, **{**COMMON, "precision": "bf16", "images": 60, "epochs": None}
    ),
    "gan-penalty-dropout": GAN(
        hidden=(30,), hidden_d=(30, 20), dropout_d=0.3, penalty="r1(1)", k=2, ema=500.0, **COMMON
    ),
    "wgan-gp": WGANGP(hidden=(30,), hidden_d=(30, 20), spectral_norm=True, **{**COMMON, "k": 3}),
    "conditional-gan": ConditionalGAN(hidden=(30,), hidden_d=(30,), normalise=True, loss="relativistic", **COMMON),
    "gan-minibatch": GAN(hidden=(30,), hidden_d=(30,), minibatch="discrimination", feature_matching=0.5, **COMMON),
    "gan-packs": GAN(hidden=(30,), hidden_d=(30,), minibatch="deviation", pack=2, history=0.1, **COMMON),
    "dcgan": DCGAN(
        width=4, n_latent=3, ema=500.0, penalty="r1(1, every=2)", **{**COMMON, "images": 300, "epochs": None}
    ),
    "dcgan-normalised": DCGAN(
        network="dcgan",
        width=4,
        n_latent=3,
        penalty=None,
        normalise_d=True,
        minibatch="discrimination",
        **{**COMMON, "images": 300, "epochs": None},
    ),
    "resnet": WGANGP(network="resnet", width=4, n_latent=3, k=2, **{**COMMON, "images": 300, "epochs": None}),
    "flow": FlowMatching(hidden=(20,), ema=500.0, **COMMON),
    "flow-unet": FlowMatching(network="unet", width=4, **{**COMMON, "images": 120, "epochs": None}),
    "rnn-pixels": AutoregressiveRNN(cell="gru", order="pixels", n_hidden=8, bptt=20, ema=500.0, **COMMON),
    "rnn-rows": AutoregressiveRNN(output="logistics", n_hidden=8, n_units=3, n_layers=2, clip=1.0, **COMMON),
    "vqvae": VQVAE.from_preset("tiny", revive=0.5, ema=500.0, **COMMON),
    "vqvae-loss": VQVAE.from_preset("tiny", codebook="loss", revive=0.5, prior_order="rows", **COMMON),
    "proof": Proof(n_latent=3, hidden=(20,), ema=500.0, **COMMON),
    "gan-joint": GAN.from_preset(
        "goodfellow-2014", **{**COMMON, "hidden": (30,), "hidden_d": (20, 20), "learning_rate": 0.1}
    ),
}


def main(path: str, environment: dict[str, str]) -> None:
    """Train them all; `environment` is what torchrun would set."""
    os.environ.update(environment)
    images = torch.from_numpy(load_digits().images[:600] / 16)
    labels = load_digits().target[:600]
    labels[::7] = -1
    with process_group():
        state = {}
        for name, model in GAMES.items():
            model.fit(images, labels)
            if name == "vae-bf16":  # it must run; equality is for float64
                continue
            nets = {"": model.nets_} | ({} if model.averaged_nets_ is None else {"ema.": model.averaged_nets_})
            state |= {
                f"{name}.{k}{n}": t.clone(memory_format=torch.contiguous_format)
                for k, net in nets.items()
                for n, t in net.state_dict().items()
            }
        if world()[0] == 0:
            save_file(state, path)
    # Gloo's threads sometimes abort the interpreter's own exit.
    os._exit(0)
