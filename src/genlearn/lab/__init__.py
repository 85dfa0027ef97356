"""The theory lab: what the course notes prove, in numbers; each topic of the page is a function here."""

from __future__ import annotations

from genlearn.lab.contrastive import ContrastiveBias, contrastive_bias
from genlearn.lab.critics import Critic, critic
from genlearn.lab.dirac import (
    GAMMA,
    Dirac,
    dirac,
    dirac_eigenvalues,
    dirac_factor,
    dirac_field,
    dirac_jacobian,
    dirac_path,
    dirac_step,
)
from genlearn.lab.divergences import (
    Divergences,
    cross_entropy,
    divergences,
    entropy,
    js,
    kl,
    normal,
    quadrature,
    two_bumps,
    wasserstein,
    wasserstein_samples,
)
from genlearn.lab.games import (
    LineFrame,
    RingFrame,
    StartFrame,
    gan_on_a_line,
    gan_on_a_ring,
    ring_scores,
    start_of_training,
)
from genlearn.lab.gradients import Flow, flow, gradient_by_depth, gradient_over_time
from genlearn.lab.likelihood import Likelihood, likelihood
from genlearn.lab.optimality import (
    GeneratorGradients,
    LogitGradients,
    Optimality,
    generator_gradients,
    logit_gradients,
    optimal_discriminator,
    optimal_logit,
    optimality,
    value,
)
from genlearn.lab.page import lab_data, write_lab
from genlearn.lab.picture import lab_picture
from genlearn.lab.supports import Supports, sliding_laws, supports
from genlearn.lab.topics import TOPICS, topic

__all__ = [
    "GAMMA",
    "TOPICS",
    "ContrastiveBias",
    "Critic",
    "Dirac",
    "Divergences",
    "Flow",
    "GeneratorGradients",
    "Likelihood",
    "LineFrame",
    "LogitGradients",
    "Optimality",
    "RingFrame",
    "StartFrame",
    "Supports",
    "contrastive_bias",
    "critic",
    "cross_entropy",
    "dirac",
    "dirac_eigenvalues",
    "dirac_factor",
    "dirac_field",
    "dirac_jacobian",
    "dirac_path",
    "dirac_step",
    "divergences",
    "entropy",
    "flow",
    "gan_on_a_line",
    "gan_on_a_ring",
    "generator_gradients",
    "gradient_by_depth",
    "gradient_over_time",
    "js",
    "kl",
    "lab_data",
    "lab_picture",
    "likelihood",
    "logit_gradients",
    "normal",
    "optimal_discriminator",
    "optimal_logit",
    "optimality",
    "quadrature",
    "ring_scores",
    "sliding_laws",
    "start_of_training",
    "supports",
    "topic",
    "two_bumps",
    "value",
    "wasserstein",
    "wasserstein_samples",
    "write_lab",
]
