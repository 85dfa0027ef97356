"""Networks: modules that map tensors and hold parameters and buffers, nothing else."""

from genlearn.nets.adversarial import ImageDiscriminator
from genlearn.nets.boltzmann import RestrictedBoltzmann
from genlearn.nets.codebook import Codebook, CodePrior, GridDecoder, GridEncoder
from genlearn.nets.constant import Constant
from genlearn.nets.conv import BatchNorm, ConvDecoder, ConvEncoder, ConvTrunk
from genlearn.nets.dcgan import DCGANGenerator, DCGANTrunk
from genlearn.nets.deep_belief import DeepBelief
from genlearn.nets.deep_boltzmann import DeepBoltzmann, MeanFieldMLP
from genlearn.nets.general_boltzmann import GeneralBoltzmann
from genlearn.nets.history import History
from genlearn.nets.init import Init
from genlearn.nets.layers import Layers
from genlearn.nets.levels import BinaryLevels, CategoricalLevels, Levels, LogisticMixtureLevels
from genlearn.nets.minibatch import MinibatchDeviation, MinibatchDiscrimination
from genlearn.nets.mlp import MLP, Maxout, activation, dropout
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
from genlearn.nets.recurrent import Autoregressive, Inside
from genlearn.nets.resnet import ResidualBlock, ResNetGenerator, ResNetTrunk
from genlearn.nets.scale import Scale, Shares
from genlearn.nets.stochastic import StochasticLayers
from genlearn.nets.tied import TiedDecoder, TiedLayer
from genlearn.nets.unet import TimedMLP, UNet
from genlearn.nets.vamp import VampPrior

__all__ = [
    "MLP",
    "Autoregressive",
    "BatchNorm",
    "BinaryLevels",
    "CategoricalLevels",
    "CodeJitter",
    "CodePrior",
    "Codebook",
    "Constant",
    "ConvDecoder",
    "ConvEncoder",
    "ConvTrunk",
    "DCGANGenerator",
    "DCGANTrunk",
    "DeepBelief",
    "DeepBoltzmann",
    "Density",
    "GaussianDensity",
    "GaussianMixture",
    "GeneralBoltzmann",
    "GridDecoder",
    "GridEncoder",
    "History",
    "ImageDiscriminator",
    "Init",
    "Inside",
    "LabelledPrior",
    "Layers",
    "Levels",
    "LogisticMixtureLevels",
    "Maxout",
    "MeanFieldMLP",
    "MinibatchDeviation",
    "MinibatchDiscrimination",
    "NormalPrior",
    "Prior",
    "ResNetGenerator",
    "ResNetTrunk",
    "ResidualBlock",
    "RestrictedBoltzmann",
    "Scale",
    "Shares",
    "StochasticLayers",
    "TiedDecoder",
    "TiedLayer",
    "TimedMLP",
    "UNet",
    "UniformPrior",
    "VampPrior",
    "activation",
    "dropout",
]
