"""The Dirac-GAN: the smallest game of two players, whose stability is an eigenvalue (Mescheder et al. 2018, section 2).

The data are a point at 0, the generator is a point at theta, the discriminator D(x) = psi x (a logit, or a critic). The
generator descends its loss over theta, the discriminator over psi; the equilibrium is (0, 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from genlearn.lab.divergences import Array
from genlearn.words import unknown

Order: TypeAlias = Literal["simultaneous", "alternating"]
Numbers: TypeAlias = NDArray[Any]  # real; complex where derivatives are taken
Field: TypeAlias = Callable[[Numbers, Numbers], tuple[Numbers, Numbers]]

GAMMA = 1.0  # of a penalty, unless another is given
CLIP = 1.0
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
WEIGHTS = WEIGHTS / WEIGHTS.sum()  # E f(e), e ~ N(0, 1), is WEIGHTS @ f(NODES)
ORDERS = ("simultaneous", "alternating")


def _sigmoid(a: Numbers) -> Numbers:
    value: Numbers = 1 / (1 + np.exp(-a))
    return value


def _minimax(theta: Numbers, psi: Numbers, gamma: float) -> tuple[Numbers, Numbers]:
    s = _sigmoid(theta * psi)
    return psi * s, -theta * s


def _non_saturating(theta: Numbers, psi: Numbers, gamma: float) -> tuple[Numbers, Numbers]:
    return psi * _sigmoid(-theta * psi), -theta * _sigmoid(theta * psi)


def _wasserstein(theta: Numbers, psi: Numbers, gamma: float) -> tuple[Numbers, Numbers]:
    return psi, -theta


def _gradient_penalty(theta: Numbers, psi: Numbers, gamma: float) -> tuple[Numbers, Numbers]:
    return psi, -theta - gamma * (psi - np.sign(psi))


def _r1(theta: Numbers, psi: Numbers, gamma: float) -> tuple[Numbers, Numbers]:
    g, d = _minimax(theta, psi, gamma)
    return g, d - gamma * psi


def _r1_r2(theta: Numbers, psi: Numbers, gamma: float) -> tuple[Numbers, Numbers]:
    g, d = _non_saturating(theta, psi, gamma)
    return g, d - 2 * gamma * psi


def _instance_noise(theta: Numbers, psi: Numbers, gamma: float) -> tuple[Numbers, Numbers]:
    p, x = psi[..., None], theta[..., None] + NODES
    s = _sigmoid(p * x)
    return psi * (s @ WEIGHTS), (NODES * _sigmoid(-p * NODES) - x * s) @ WEIGHTS


def _consensus(theta: Numbers, psi: Numbers, gamma: float) -> tuple[Numbers, Numbers]:
    s, square = _sigmoid(theta * psi), theta**2 + psi**2
    g, d = _minimax(theta, psi, gamma)
    turn = s * s * (1 - s) * square
    return g - gamma * (s * s * theta + turn * psi), d - gamma * (s * s * psi + turn * theta)


FIELDS: dict[str, Callable[[Numbers, Numbers, float], tuple[Numbers, Numbers]]] = {
    "minimax": _minimax,
    "non-saturating": _non_saturating,
    "wgan": _wasserstein,
    "wgan-clipping": _wasserstein,
    "wgan-gp": _gradient_penalty,
    "r1": _r1,
    "rpgan-r1-r2": _r1_r2,
    "instance-noise": _instance_noise,
    "consensus": _consensus,
}


def dirac_field(variant: str, gamma: float = GAMMA) -> Field:
    """The field v(theta, psi) = (-dL_G/dtheta, -dL_D/dpsi), arrays of one shape -> two of it.

    With s = sigmoid(theta psi), s' = sigmoid(-theta psi), and gamma >= 0, the weight of a penalty where there is one:

        minimax          psi s, -theta s                      (GAN; Goodfellow et al. 2014, equation 1)
        non-saturating   psi s', -theta s
        wgan             psi, -theta                          (also wgan-clipping, which keeps |psi| <= 1)
        wgan-gp          psi, -theta - gamma (psi - sign psi)
        r1               minimax, and -gamma psi for D        (Mescheder et al. 2018, equation 9)
        rpgan-r1-r2      non-saturating, and -2 gamma psi     (relativistic, both penalties; Huang et al. 2024)
        instance-noise   minimax of data and samples with N(0, 1) added, by quadrature
        consensus        minimax less gamma times the gradient of |v|^2 / 2

    Raises ValueError for another variant or a negative gamma. Mescheder, Geiger and Nowozin 2018, section 3.
    """
    if variant not in FIELDS:
        raise ValueError(unknown("variant", variant, FIELDS))
    if not gamma >= 0:
        raise ValueError(f"gamma is {gamma}, expected a number of at least 0")
    return lambda theta, psi: FIELDS[variant](theta, psi, gamma)


def dirac_jacobian(variant: str, gamma: float = GAMMA) -> Array:
    """The Jacobian [2, 2] of `dirac_field` at (0, 0): a complex step, exact up to rounding.

    Raises ValueError for wgan-gp, whose field jumps at psi = 0.
    """
    if variant == "wgan-gp":
        raise ValueError("the field of wgan-gp jumps at psi = 0, expected one with a Jacobian there")
    h = 1e-20
    return np.stack(dirac_field(variant, gamma)(*(1j * h * np.eye(2)))).imag / h


def dirac_eigenvalues(variant: str, gamma: float = GAMMA) -> tuple[complex, complex]:
    """The eigenvalues of `dirac_jacobian`; the first has the larger imaginary part, or else the larger real one.

    f'(0) = 1/2 for the logistic losses, 1 for a critic. Without a penalty +-i f'(0): the flow cycles; R1:
    -gamma/2 +- sqrt(gamma^2 / 4 - f'(0)^2): it converges, fastest, without a turn, for gamma = 2 f'(0), which is 1. R1
    and R2 together count twice. Mescheder et al. 2018, section 3.
    """
    J = dirac_jacobian(variant, gamma)
    middle = (J[0, 0] + J[1, 1]) / 2
    # Not by an iteration: at a double root it would be right to eight digits only.
    root = np.emath.sqrt(((J[0, 0] - J[1, 1]) / 2) ** 2 + J[0, 1] * J[1, 0])
    return complex(middle + root), complex(middle - root)


def dirac_step(
    theta: Numbers, psi: Numbers, variant: str, rate: float, order: Order, gamma: float = GAMMA
) -> tuple[Numbers, Numbers]:
    """(theta, psi) of any one shape after a step of gradient descent of both players.

    simultaneous: both move along the field at the same point; alternating: D first, then G against the new D.
    """
    field = dirac_field(variant, gamma)
    g, d = field(theta, psi)
    psi = psi + rate * d
    if variant == "wgan-clipping":
        psi = np.clip(psi, -CLIP, CLIP)
    if order == "alternating":
        g, _ = field(theta, psi)
    return theta + rate * g, psi


def dirac_path(
    variant: str, rate: float, order: Order = "simultaneous", steps: int = 200, gamma: float = GAMMA
) -> Array:
    """The states (theta, psi) [steps + 1, 2] of so many steps of `dirac_step` from (1, 1).

    Raises ValueError for a variant or an order that is none.
    """
    if order not in ORDERS:
        raise ValueError(unknown("order", order, ORDERS))
    states = [(np.ones(()), np.ones(()))]
    for _ in range(steps):
        states.append(dirac_step(*states[-1], variant, rate, order, gamma))
    return np.array(states)


def dirac_factor(variant: str, rate: float, order: Order = "simultaneous", gamma: float = GAMMA) -> float:
    """The largest absolute eigenvalue of one step near (0, 0): above 1 the radius grows.

    Simultaneous: |1 + rate lambda|, so that an eigenvalue without a real part, which only turns, becomes growth.
    """
    step = rate * dirac_jacobian(variant, gamma)
    g, d = np.diag([1.0, 0.0]) @ step, np.diag([0.0, 1.0]) @ step
    both = np.eye(2) + step if order == "simultaneous" else (np.eye(2) + g) @ (np.eye(2) + d)
    return float(np.abs(np.linalg.eigvals(both)).max())


class Dirac(NamedTuple):
    """What `dirac` found: real and imaginary parts of the two eigenvalues, the largest factor of a step near (0, 0),
    and the state and its distance from (0, 0) after the steps."""

    real: float
    imaginary: float
    other_real: float
    factor: float
    theta: float
    psi: float
    radius: float


def dirac(variant: str, rate: float, order: Order, steps: int, gamma: float = GAMMA) -> Dirac:
    """`dirac_eigenvalues` and `dirac_factor`, and where `steps` steps of size `rate` from (1, 1) lead.

    The eigenvalues are real + i imaginary and other_real - i imaginary; NaN for wgan-gp, which has no Jacobian.
    """
    theta, psi = dirac_path(variant, rate, order, steps, gamma)[-1].tolist()
    radius = math.hypot(theta, psi)
    if variant == "wgan-gp":
        return Dirac(math.nan, math.nan, math.nan, math.nan, theta, psi, radius)
    first, second = dirac_eigenvalues(variant, gamma)
    factor = dirac_factor(variant, rate, order, gamma)
    return Dirac(first.real, first.imag, second.real, factor, theta, psi, radius)
