"""The models, one file each, readable beside their papers; each has its line here, and one for type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING

_MODELS = {
    "rbm": "genlearn.models.rbm:RBM",
    "conditional-rbm": "genlearn.models.conditional_rbm:ConditionalRBM",
    "bm": "genlearn.models.bm:BoltzmannMachine",
    "stacked-rbm": "genlearn.models.stacked_rbm:StackedRBMClassifier",
    "dbn": "genlearn.models.dbn:DBN",
    "dbm": "genlearn.models.dbm:DBM",
    "autoencoder": "genlearn.models.autoencoder:Autoencoder",
    "dae": "genlearn.models.denoising:DenoisingAutoencoder",
    "cae": "genlearn.models.contractive:ContractiveAutoencoder",
    "stacked-autoencoder": "genlearn.models.stacked_autoencoder:StackedAutoencoderClassifier",
    "gsn": "genlearn.models.gsn:GSN",
    "vae": "genlearn.models.vae:VAE",
    "conditional-vae": "genlearn.models.conditional_vae:ConditionalVAE",
    "gan": "genlearn.models.gan:GAN",
    "conditional-gan": "genlearn.models.conditional_gan:ConditionalGAN",
    "dcgan": "genlearn.models.dcgan:DCGAN",
    "wgan": "genlearn.models.wgan:WGAN",
    "wgan-gp": "genlearn.models.wgan_gp:WGANGP",
    "flow": "genlearn.models.flow:FlowMatching",
    "vqvae": "genlearn.models.vqvae:VQVAE",
    "rnn": "genlearn.models.rnn:AutoregressiveRNN",
}

if TYPE_CHECKING:
    from genlearn.models.autoencoder import Autoencoder as Autoencoder
    from genlearn.models.bm import BoltzmannMachine as BoltzmannMachine
    from genlearn.models.conditional_gan import ConditionalGAN as ConditionalGAN
    from genlearn.models.conditional_rbm import ConditionalRBM as ConditionalRBM
    from genlearn.models.conditional_vae import ConditionalVAE as ConditionalVAE
    from genlearn.models.contractive import ContractiveAutoencoder as ContractiveAutoencoder
    from genlearn.models.dbm import DBM as DBM
    from genlearn.models.dbn import DBN as DBN
    from genlearn.models.dcgan import DCGAN as DCGAN
    from genlearn.models.denoising import DenoisingAutoencoder as DenoisingAutoencoder
    from genlearn.models.energy import EnergyModel as EnergyModel
    from genlearn.models.flow import FlowMatching as FlowMatching
    from genlearn.models.gan import GAN as GAN
    from genlearn.models.gsn import GSN as GSN
    from genlearn.models.rbm import RBM as RBM
    from genlearn.models.rnn import AutoregressiveRNN as AutoregressiveRNN
    from genlearn.models.stacked_autoencoder import StackedAutoencoderClassifier as StackedAutoencoderClassifier
    from genlearn.models.stacked_rbm import StackedRBMClassifier as StackedRBMClassifier
    from genlearn.models.vae import VAE as VAE
    from genlearn.models.vqvae import VQVAE as VQVAE
    from genlearn.models.wgan import WGAN as WGAN
    from genlearn.models.wgan_gp import WGANGP as WGANGP
