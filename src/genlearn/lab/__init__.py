"""The theory lab: what the course notes prove, in numbers; each topic of the page is a function here."""

from __future__ import annotations

from genlearn.lab.contrastive import ContrastiveBias, contrastive_bias
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
from genlearn.lab.supports import Supports, sliding_laws, supports
