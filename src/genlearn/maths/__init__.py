"""Pure functions on tensors: log Z, random numbers, penalties, differences of energies."""

from __future__ import annotations

from genlearn.maths.ais import AIS, ais, log_z_exact, reverse_ais, salakhutdinov, schedule
from genlearn.maths.augment import Augmentation, color, cutout, translation
from genlearn.maths.corruption import CORRUPTIONS, NoiseName, gaussian, masking, salt_and_pepper
from genlearn.maths.divergence import divergence
from genlearn.maths.flips import Energy, flip_differences
from genlearn.maths.jacobian import along_leading, squared_jacobian_norm
from genlearn.maths.partition import Bracket, LogZ, bracket, log_partition, settling
from genlearn.maths.penalties import Penalties, interpolated_gradient_penalty, squared_gradient_norm
from genlearn.maths.rng import (
    Rng,
    Seeds,
    bernoulli,
    bernoulli_by_content,
    coins,
    make_rng,
    normal,
    one_of,
    spawn,
    uniform,
)
from genlearn.maths.running import update_mean

__all__ = [
    "AIS",
    "CORRUPTIONS",
    "Augmentation",
    "Bracket",
    "Energy",
    "LogZ",
    "NoiseName",
    "Penalties",
    "Rng",
    "Seeds",
    "ais",
    "along_leading",
    "bernoulli",
    "bernoulli_by_content",
    "bracket",
    "coins",
    "color",
    "cutout",
    "divergence",
    "flip_differences",
    "gaussian",
    "interpolated_gradient_penalty",
    "log_partition",
    "log_z_exact",
    "make_rng",
    "masking",
    "normal",
    "one_of",
    "reverse_ais",
    "salakhutdinov",
    "salt_and_pepper",
    "schedule",
    "settling",
    "spawn",
    "squared_gradient_norm",
    "squared_jacobian_norm",
    "translation",
    "uniform",
    "update_mean",
]
