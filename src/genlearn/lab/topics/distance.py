"""Topics on what teaches a generator: saturation, supports that slide apart, critics."""

from __future__ import annotations

from typing import Any

import numpy as np

from genlearn.lab.critics import CONSTRAINTS, critic
from genlearn.lab.divergences import js, normal, wasserstein
from genlearn.lab.games import start_of_training
from genlearn.lab.optimality import generator_gradients, logit_gradients
from genlearn.lab.supports import CELL, sliding_laws, supports
from genlearn.lab.topic import Control, Mark, Number, Panel, Topic
from genlearn.lab.topics.common import EXACT, QUADRATURE, SEEDS, W, X, over_training

LOGITS = np.linspace(-18, 10, 225)
SHIFTS = np.arange(0, 6.01, 0.25)


def _saturation(mean: float) -> dict[str, Any]:
    each, curve = logit_gradients(LOGITS), [generator_gradients(float(m), X, W) for m in SHIFTS]
    found = generator_gradients(mean, X, W)
    at = np.array([-(mean**2) / 2])
    return found._asdict() | {
        "a": LOGITS,
        "g_saturating": -each.saturating,
        "g_non_saturating": -each.non_saturating,
        "at": float(at[0]),
        "at_saturating": float(-logit_gradients(at).saturating[0]),
        "at_non_saturating": float(-logit_gradients(at).non_saturating[0]),
        "mean": mean,
        "m": SHIFTS,
        "m_saturating": np.array([g.saturating for g in curve]),
        "m_non_saturating": np.array([g.non_saturating for g in curve]),
    }


SATURATION = Topic(
    "saturation",
    "Saturation: two losses for the generator",
    "p_data = N(0, 1), the generator is G(z) = m + z, so p_g = N(m, 1), and D = D*. At the start m is large, D is sure "
    "that samples are fake, and log(1 - D) is flat there: its gradient in m vanishes just where the generator has "
    "farthest to go. The gradient of -log D points the same way and grows with m. At D* the first is the gradient of "
    "2 JSD, the second that of KL(p_g, p_data) - 2 JSD.",
    (
        r"\frac{\partial}{\partial a} \log(1 - \sigma(a)) = -\sigma(a) \quad "
        r"\frac{\partial}{\partial a} [-\log \sigma(a)] = -(1 - \sigma(a))",
        r"\frac{\partial}{\partial m} E_g \log(1 - D^*) = m E_g D^* \quad "
        r"\frac{\partial}{\partial m} E_g [-\log D^*] = m E_g [1 - D^*]",
    ),
    (Control("mean", "mean m of p_g", tuple(SHIFTS.tolist()), 4.0),),
    _saturation,
    (
        Number("saturating", "gradient in m of log(1 - D*)", "nats per unit of x", QUADRATURE),
        Number("non_saturating", "gradient in m of -log D*", "nats per unit of x", QUADRATURE),
        Number("d_at_mean", "D* at the middle of p_g", "", EXACT),
    ),
    (
        Panel(
            "In the logit a of D; dots: at the middle of p_g",
            "logit a",
            "size of the gradient",
            (
                Mark("line", "a", "g_saturating", "log(1 - D)", 1),
                Mark("line", "a", "g_non_saturating", "-log D", 0),
                Mark("dots", "at", "at_saturating", "", 1),
                Mark("dots", "at", "at_non_saturating", "", 0),
            ),
            xlim=(-18.5, 10.5),
        ),
        Panel(
            "In the mean m of the generator",
            "m",
            "nats per unit of x",
            (
                Mark("line", "m", "m_saturating", "log(1 - D*)", 1),
                Mark("line", "m", "m_non_saturating", "-log D*", 0),
                Mark("dots", "mean", "saturating", "", 1),
                Mark("dots", "mean", "non_saturating", "", 0),
            ),
        ),
    ),
    """from genlearn import lab

x, w = lab.quadrature(-20, 20)
result = lab.generator_gradients({mean}, x, w)
print(result)""",
    "Goodfellow et al. 2014, section 3; Arjovsky and Bottou 2017, theorem 2.5",
    "mean",
)


def _start(seed: int, round: int) -> dict[str, Any]:
    return over_training(start_of_training(seed), 20, round, ("saturating", "non_saturating", "d_data", "d_g"))


START = Topic(
    "start",
    "The start of training, with networks",
    "Saturation with two small networks: G is fresh and stays as it is, D alone learns, round after round. D gets "
    "steeper, which lengthens both gradients; but that of log(1 - D) carries the factor D(G(z)), after 200 rounds "
    "about .01, that of -log D the factor 1 - D(G(z)), about 1: the second is tens of times longer, when the generator "
    "needs it most.",
    (
        r"\lVert \frac{\partial}{\partial G} E_z \log(1 - D(G(z))) \rVert \quad "
        r"\lVert \frac{\partial}{\partial G} E_z [-\log D(G(z))] \rVert",
    ),
    (SEEDS, Control("round", "rounds of D", tuple(range(0, 401, 20)), 200)),
    _start,
    (
        Number("saturating", "gradient norm of log(1 - D)", "", "N = 2,000 codes; floor 0"),
        Number("non_saturating", "gradient norm of -log D", "", "N = 2,000 codes; floor 0"),
        Number("value", "V(D, G)", "nats", "N = 5,000 points, 2,000 samples; -1.386 for D = 1/2, ceiling 0"),
        Number("d_data", "mean D on data", "", "N = 5,000 points; 1/2 if D knows nothing"),
        Number("d_g", "mean D on samples", "", "N = 2,000 samples; 1/2 if D knows nothing"),
    ),
    (
        Panel(
            "Gradient norms of the generator",
            "rounds of D",
            "norm",
            (
                Mark("line", "rounds", "all_saturating", "log(1 - D)", 1),
                Mark("line", "rounds", "all_non_saturating", "-log D", 0),
                Mark("dots", "at", "saturating", "", 1),
                Mark("dots", "at", "non_saturating", "", 0),
            ),
            log="y",
        ),
        Panel(
            "How sure D is",
            "rounds of D",
            "mean of D",
            (
                Mark("line", "rounds", "all_d_data", "on data", 0),
                Mark("line", "rounds", "all_d_g", "on samples", 1),
                Mark("dots", "at", "d_data", "", 0),
                Mark("dots", "at", "d_g", "", 1),
            ),
            ylim=(0, 1.02),
        ),
    ),
    """from genlearn import lab

result = lab.start_of_training(seed={seed})[{round} // 20]
print(result)""",
    "Goodfellow et al. 2014, section 3; Arjovsky and Bottou 2017, figure 2",
    "round",
)


SLIDE = np.union1d(np.arange(-200, 201, 5), (-1, 1)) / 100  # for points JSD jumps at 0


def _supports(shape: str, shift: float) -> dict[str, Any]:
    x, p, q = sliding_laws(shift, shape)  # type: ignore[arg-type]
    laws = [sliding_laws(float(s), shape)[2] for s in SLIDE]  # type: ignore[arg-type]
    seen = slice(99, 601, 2 if shape == "intervals" else 1)
    scale = 1 / CELL if shape == "intervals" else 1.0
    return supports(shift, shape)._asdict() | {  # type: ignore[arg-type]
        "x": x[seen],
        "p": p[seen] * scale,
        "q": q[seen] * scale,
        "shifts": SLIDE,
        "all_js": np.array([js(p, r) for r in laws]),
        "all_w1": np.array([wasserstein(p, r, x) for r in laws]),
        "shift": shift,
    }


SUPPORTS = Topic(
    "supports",
    "JSD against W1, as supports slide apart",
    "Two laws of the same shape, one shifted. As soon as they no longer overlap JSD is log 2 whatever the distance: a "
    "generator that descends it gets no gradient. W1 keeps its slope of 1. Points are the parallel lines of "
    "Arjovsky et al., seen from their end: there JSD jumps from 0 to log 2 at once. For every s but 0 q misses some of "
    "p, and KL is infinite.",
    (
        r"intervals : \JSD = \min(| s |, 1) \log 2 \quad W_1 = | s | \quad \KL = \infty",
        r"V(D^*, G) = -\log 4 + 2 \JSD \to 0",
    ),
    (
        Control("shape", "shape", ("intervals", "points"), "intervals"),
        Control("shift", "shift s", tuple((np.arange(-20, 21) / 10).tolist()), 0.5),
    ),
    _supports,
    (
        Number("js", "JSD", "nats", EXACT),
        Number("js_slope", "its slope", "nats per unit of x", "difference over two cells of .01"),
        Number("w1", "W1", "units of x", EXACT),
        Number("w1_slope", "its slope", "", "difference over two cells of .01"),
        Number("kl", "KL", "nats", EXACT),
        Number("value", "V(D*, G)", "nats", EXACT),
    ),
    (
        Panel(
            "The two laws",
            "x",
            "density, or probability",
            (Mark("area", "x", "p", "p", 0), Mark("area", "x", "q", "q", 1)),
            ylim=(0, 1.05),
        ),
        Panel(
            "As they slide",
            "shift s",
            "nats, and units of x",
            (
                Mark("line", "shifts", "all_js", "JSD", 1),
                Mark("line", "shifts", "all_w1", "W1", 2),
                Mark("dots", "shift", "js", "", 1),
                Mark("dots", "shift", "w1", "", 2),
            ),
        ),
    ),
    """from genlearn import lab

result = lab.supports(shift={shift}, shape={shape})
print(result)""",
    "Arjovsky, Chintala and Bottou 2017, example 1",
    "shift",
)


def _critic(constraint: str, mean: float) -> dict[str, Any]:
    found = critic(mean, constraint)._asdict()
    x, f = found.pop("x"), found.pop("f")
    lines = {"x": x[::20], "f": f[::20], "straight": -(x[::20] - x[len(x) // 2])}
    return found | lines | {"p": normal(x)[::20], "q": normal(x, mean)[::20]}


CRITIC = Topic(
    "critic",
    "Critics that estimate W1",
    "A critic learns to score data above samples, under a limit on its slope; the mean difference of its scores "
    "estimates W1, here |m| by theory. The gradient penalty does not hold the slope at 1 but near 1 + |m| / (2 "
    "lambda), so the raw estimate is too large by as much; divided by the mean slope it is right to 2 %. A linear "
    "critic with its weight clipped at .1 finds a tenth of W1. The best critic is any line of slope -1 (dashed).",
    (
        r"W_1 = \max_{| f' | \le 1} E_{data} f - E_g f",
        r"\max_f E_{data} f - E_g f - \lambda E {(| f' | - 1)}^2 \quad \lambda = 10",
    ),
    (
        Control("constraint", "limit", CONSTRAINTS, "penalty"),
        Control("mean", "mean m of p_g", (0.5, 1.0, 2.0, 4.0), 2.0),
    ),
    _critic,
    (
        Number("w1", "W1, exact", "units of x", EXACT),
        Number(
            "estimate",
            "critic's estimate",
            "units of x",
            "seed 0; trained on N = 5,000 points of each, measured by quadrature; floor 0",
        ),
        Number("slope", "its mean slope", "", QUADRATURE),
        Number("corrected", "estimate / slope", "units of x", QUADRATURE),
    ),
    (
        Panel(
            "The critic",
            "x",
            "f(x)",
            (Mark("line", "x", "f", "critic", 2), Mark("dash", "x", "straight", "slope -1", 3)),
        ),
        Panel(
            "Data and samples", "x", "density", (Mark("area", "x", "p", "p_data", 0), Mark("area", "x", "q", "p_g", 1))
        ),
    ),
    """from genlearn import lab

result = lab.critic({mean}, {constraint})
print(result[:4])""",
    "Arjovsky, Chintala and Bottou 2017; Gulrajani et al. 2017",
    "mean",
)


TOPICS = (SATURATION, START, SUPPORTS, CRITIC)
