"""Networks: modules that map tensors and hold parameters and buffers, nothing else."""

from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.constant import Constant
from genlearn.nets.conv import BatchNorm, ConvDecoder, ConvEncoder
from genlearn.nets.dcgan import DCGANDiscriminator, DCGANGenerator, init_normal
from genlearn.nets.deep_belief import DeepBelief
from genlearn.nets.deep_boltzmann import DeepBoltzmann, MeanFieldMLP
from genlearn.nets.general_boltzmann import GeneralBoltzmann
from genlearn.nets.history import History
from genlearn.nets.layers import Layers
from genlearn.nets.minibatch import MinibatchDeviation, MinibatchDiscrimination
from genlearn.nets.mlp import MLP, Maxout, activation, dropout, init_uniform
from genlearn.nets.priors import (
    CodeJitter,
    Density,
    GaussianDensity,
    GaussianMixture,
    LabelledPrior,
    NormalPrior,
    Prior,
    UniformPrior,
)
from genlearn.nets.scale import Scale, Shares
from genlearn.nets.stochastic import StochasticLayers
from genlearn.nets.tied import TiedDecoder, TiedLayer
from genlearn.nets.unet import TimedMLP, UNet

__all__ = [
    "MLP",
    "BatchNorm",
    "CodeJitter",
    "Constant",
    "ConvDecoder",
    "ConvEncoder",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DeepBelief",
    "DeepBoltzmann",
    "Density",
    "GaussianDensity",
    "GaussianMixture",
    "GeneralBoltzmann",
    "History",
    "LabelledPrior",
    "Layers",
    "Maxout",
    "MeanFieldMLP",
    "MinibatchDeviation",
    "MinibatchDiscrimination",
    "NormalPrior",
    "Prior",
    "RestrictedBoltzmann",
    "Scale",
    "Shares",
    "StochasticLayers",
    "TiedDecoder",
    "TiedLayer",
    "TimedMLP",
    "UNet",
    "UniformPrior",
    "activation",
    "dropout",
    "init_normal",
    "init_uniform",
]
