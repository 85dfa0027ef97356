"""Topics on play: the Dirac-GAN, a GAN on a line, mode collapse on a ring."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from genlearn.data import modes
from genlearn.lab.dirac import FIELDS, ORDERS, dirac, dirac_field, dirac_path
from genlearn.lab.divergences import Array
from genlearn.lab.games import EDGES, LINE_GAMES, MIDDLES, RING_GAMES, data_masses, gan_on_a_line, gan_on_a_ring
from genlearn.lab.topic import Control, Mark, Number, Panel, Topic
from genlearn.lab.topics.common import EXACT, over_training

STEPS = 240
GRID = np.linspace(-2, 2, 15)
WIDTH_OF_CELL = float(EDGES[1] - EDGES[0])


@lru_cache
def _path(variant: str, rate: float, order: str, gamma: float) -> Array:
    return dirac_path(variant, rate, order, STEPS, gamma)  # type: ignore[arg-type]


@lru_cache
def _arrows(variant: str, gamma: float) -> tuple[Array, Array, Array, Array]:
    theta, psi = (a.ravel() for a in np.meshgrid(GRID, GRID))
    u, v = dirac_field(variant, gamma)(theta, psi)
    return theta, psi, u, v


def _dirac(variant: str, gamma: float, order: str, rate: float, steps: int) -> dict[str, Any]:
    theta, psi, u, v = _arrows(variant, gamma)
    path = _path(variant, rate, order, gamma)
    radius = np.hypot(*path.T)
    return dirac(variant, rate, order, steps, gamma)._asdict() | {  # type: ignore[arg-type]
        "grid_theta": theta,
        "grid_psi": psi,
        "u": u,
        "v": v,
        "path_theta": path[:, 0],
        "path_psi": path[:, 1],
        "all_radius": radius,
        "step": np.arange(STEPS + 1),
        "steps": steps,
        "zero": 0.0,
    }


DIRAC = Topic(
    "dirac",
    "The Dirac-GAN: why a GAN cycles",
    "The smallest GAN: the data are the point 0, the generator is the point theta, the discriminator has the logit "
    "psi x (for a wgan: the score). Without a remedy the eigenvalues at the equilibrium are \u00b1i f'(0), f' the "
    "slope of the loss (1/2, for a wgan 1): nothing pulls inwards, the flow runs in circles; near the equilibrium "
    "simultaneous steps of any size spiral outwards, alternating ones circle. R1, instance noise and consensus give "
    "the eigenvalues a negative real part: the game converges. R1 is fastest at gamma = 2 f'(0) = 1: below, the path "
    "still turns, above, it creeps (R1 and R2 together, as in rpgan, count twice). Clipping and WGAN-GP do not "
    "converge (the field of the latter jumps at psi = 0, and has no eigenvalues there).",
    (
        r"\frac{d}{d t} (\theta, \psi) = (-\frac{\partial L_G}{\partial \theta}, "
        r"-\frac{\partial L_D}{\partial \psi}) \quad D(x) = \psi x",
        r"\lambda = \pm i f'(0) \quad R_1: \lambda = -\frac{\gamma}{2} \pm "
        r"\sqrt{\frac{\gamma^2}{4} - {f'(0)}^2}",
    ),
    (
        Control("variant", "game", tuple(FIELDS), "minimax"),
        Control("gamma", "gamma, weight of a penalty", (0.5, 1.0, 2.0), 1.0),
        Control("order", "steps are", ORDERS, "simultaneous"),
        Control("rate", "step size", (0.05, 0.1, 0.2), 0.1),
        Control("steps", "steps", tuple(range(0, STEPS + 1, 15)), 120),
    ),
    _dirac,
    (
        Number("real", "first eigenvalue, real part", "", EXACT),
        Number("imaginary", "and imaginary part", "", EXACT),
        Number("other_real", "second eigenvalue, real part", "", EXACT),
        Number("factor", "growth of the radius a step, near 0", "", EXACT),
        Number("radius", "radius now", "", "after the steps, from 1.414"),
    ),
    (
        Panel(
            "Path from (1, 1); arrows as the root of the field",
            "theta (generator)",
            "psi (discriminator)",
            (
                Mark("arrows", "grid_theta", "grid_psi", "", 6, "u", "v"),
                Mark("line", "path_theta", "path_psi", "path", 1, until="steps"),
                Mark("dots", "theta", "psi", "now", 1),
                Mark("dots", "zero", "zero", "equilibrium", 2),
            ),
            xlim=(-2.3, 2.3),
            ylim=(-2.3, 2.3),
            square=True,
        ),
        Panel(
            "Distance from the equilibrium",
            "step",
            "radius",
            (Mark("line", "step", "all_radius", "", 1, until="steps"), Mark("dots", "steps", "radius", "", 1)),
            xlim=(-4, STEPS + 4),
            ylim=(0.001, 10),
            log="y",
        ),
    ),
    """from genlearn import lab

result = lab.dirac(variant={variant}, rate={rate}, order={order}, steps={steps}, gamma={gamma})
print(result)""",
    "Mescheder, Geiger and Nowozin 2018; Huang et al. 2024",
    "steps",
)


def _line(game: str, seed: int, round: int) -> dict[str, Any]:
    found = over_training(gan_on_a_line(game, seed), 60, round, ("value", "best_value", "js", "gap"))
    densities = {"p_g": found["p_g"] / WIDTH_OF_CELL, "p_data": data_masses() / WIDTH_OF_CELL}
    return found | densities | {"x": MIDDLES}


LINE = Topic(
    "line",
    "A GAN on a line: p_data, p_g, D and D*",
    "A real GAN of two small networks learns two bumps. D* is what D should be for the p_g of this moment; the gap is "
    "how far it is off. While D follows D*, p_g is led to the data; where the generator is as fast as D, it runs past "
    "a D that is out of date, and p_g swings from bump to bump. V(D, G) near -log 4 alone tells nothing: "
    "it is there at the start too, when D knows nothing.",
    (
        r"gap = E_{\frac{1}{2} (p_{data} + p_g)} | D(x) - D^*(x) |",
        r"V(D, G) \le V(D^*, G) = -\log 4 + 2 \JSD",
    ),
    (
        Control("game", "game", LINE_GAMES, "non-saturating"),
        Control("seed", "seed", (0, 1), 0),
        Control("round", "round", tuple(range(0, 2401, 60)), 600),
    ),
    _line,
    (
        Number("value", "V(D, G), learned D", "nats", "on 160 cells, no samples"),
        Number("best_value", "V(D*, G)", "nats", "on 160 cells"),
        Number("bound", "-log 4 + 2 JSD", "nats", "on 160 cells; floor -1.386"),
        Number("gap", "gap |D - D*|", "", "on 160 cells"),
        Number("js", "JSD(p_data, p_g)", "nats", "on 160 cells; floor 0"),
        Number("w1", "W1(p_data, p_g)", "units of x", "on 160 cells; floor 0"),
    ),
    (
        Panel(
            "This moment; densities cut at 1",
            "x",
            "density, and probability",
            (
                Mark("area", "x", "p_data", "p_data", 0),
                Mark("area", "x", "p_g", "p_g", 1),
                Mark("line", "x", "d", "D", 3),
                Mark("dash", "x", "d_star", "D*", 2),
            ),
            ylim=(0, 1.05),
        ),
        Panel(
            "Over training",
            "round",
            "nats (gap: no unit)",
            (
                Mark("line", "rounds", "all_value", "V(D, G)", 3),
                Mark("line", "rounds", "all_best_value", "V(D*, G)", 2),
                Mark("line", "rounds", "all_js", "JSD", 1),
                Mark("dash", "rounds", "all_gap", "gap |D - D*|", 6),
                Mark("dots", "at", "value", "", 3),
                Mark("dots", "at", "best_value", "", 2),
                Mark("dots", "at", "js", "", 1),
                Mark("dots", "at", "gap", "", 6),
            ),
            ylim=(-2.2, 0.8),
        ),
    ),
    """from genlearn import lab

result = lab.gan_on_a_line({game}, seed={seed})[{round} // 60]
print(result[:6])""",
    "Goodfellow et al. 2014, figure 1; Heusel et al. 2017",
    "round",
)


DRAWN = 300  # of the samples


def _ring(game: str, seed: int, round: int) -> dict[str, Any]:
    found, (centres, _) = over_training(gan_on_a_ring(game, seed), 80, round, ("modes",)), modes("ring")
    points = found["points"][:DRAWN]
    return found | {"cx": centres[:, 0], "cy": centres[:, 1], "px": points[:, 0], "py": points[:, 1]}


RING = Topic(
    "ring",
    "Mode collapse on the ring",
    "Eight narrow modes on a circle. When the generator takes five steps for each of D, it runs to the one mode that D "
    "likes best; D learns that this mode is fake, and the generator moves on as a heap (between two modes none is "
    "counted). That is mode collapse, and mode hopping. In balance, or when D sees two samples at once (a pair from "
    "one mode betrays the generator), the modes come back.",
    (r"\KL = \sum_m s_m \log(8 s_m)",),
    (
        Control("game", "game", RING_GAMES, "eager generator"),
        Control("seed", "seed", (0, 1), 0),
        Control("round", "round", tuple(range(0, 1601, 80)), 640),
    ),
    _ring,
    (
        Number("modes", "modes with at least 1 % of the samples", "", "N = 2,000 samples; data: 8"),
        Number("near", "share of samples within .1 of a mode", "", "N = 2,000 samples; data: 1"),
        Number("kl", "KL of the modes' shares to 1/8", "nats", "N = 2,000 samples; floor about .002, ceiling 2.079"),
    ),
    (
        Panel(
            "300 of the samples",
            "x",
            "y",
            (Mark("dots", "px", "py", "samples", 1), Mark("dots", "cx", "cy", "modes of the data", 6)),
            xlim=(-1.8, 1.8),
            ylim=(-1.8, 1.8),
            square=True,
        ),
        Panel(
            "Over training",
            "round",
            "modes",
            (Mark("line", "rounds", "all_modes", "", 1), Mark("dots", "at", "modes", "", 1)),
            ylim=(-0.3, 8.4),
        ),
    ),
    """from genlearn import lab

result = lab.gan_on_a_ring({game}, seed={seed})[{round} // 80]
print(result[:3])""",
    "Goodfellow 2016, section 5.1; Lin et al. 2018",
    "round",
)


TOPICS = (DIRAC, LINE, RING)
