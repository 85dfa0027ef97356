"""Networks: modules that map tensors and hold parameters and buffers, nothing else."""

from genlearn.nets.conv import BatchNorm, ConvDecoder, ConvEncoder
from genlearn.nets.mlp import MLP, Maxout, activation, dropout
from genlearn.nets.priors import GaussianDensity, NormalPrior, Prior, UniformPrior

__all__ = [
    "MLP",
    "BatchNorm",
    "ConvDecoder",
    "ConvEncoder",
    "GaussianDensity",
    "Maxout",
    "NormalPrior",
    "Prior",
    "UniformPrior",
    "activation",
    "dropout",
]
