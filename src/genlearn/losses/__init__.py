"""What losses are made of: pure functions of tensors, in nats where they are likelihoods."""

from genlearn.losses.adversarial import LOSSES, Pair, discriminator_loss, generator_loss
from genlearn.losses.contrastive import contrast, energy_difference, weighted_free_energy
from genlearn.losses.elbo import importance_bound, kl_by_unit, kl_standard_normal, log_bernoulli, log_normal
from genlearn.losses.flow import PathName, flow_matching, noised, on_path, path
from genlearn.losses.matching import (
    denoising_score_matching,
    flipped_ratio_matching,
    ratio_matching,
    rbm_flip_differences,
    score_matching,
    sliced_score_matching,
)
from genlearn.losses.noise_contrastive import nce
from genlearn.losses.reconstruction import RECONSTRUCTIONS, ReconstructionName, cross_entropy, distance, squared_error
from genlearn.maths.penalties import Penalties, interpolated_gradient_penalty, squared_gradient_norm

__all__ = [
    "LOSSES",
    "RECONSTRUCTIONS",
    "Pair",
    "PathName",
    "Penalties",
    "ReconstructionName",
    "contrast",
    "cross_entropy",
    "denoising_score_matching",
    "discriminator_loss",
    "distance",
    "energy_difference",
    "flipped_ratio_matching",
    "flow_matching",
    "generator_loss",
    "importance_bound",
    "interpolated_gradient_penalty",
    "kl_by_unit",
    "kl_standard_normal",
    "log_bernoulli",
    "log_normal",
    "nce",
    "noised",
    "on_path",
    "path",
    "ratio_matching",
    "rbm_flip_differences",
    "score_matching",
    "sliced_score_matching",
    "squared_error",
    "squared_gradient_norm",
    "weighted_free_energy",
]
