"""Topics on gradients: the bias of CD-k, and where a gradient goes through layers and time."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from genlearn.lab.contrastive import contrastive_bias
from genlearn.lab.divergences import Array
from genlearn.lab.gradients import ACTIVATIONS, CELLS, NORMALISATIONS, flow, gradient_by_depth, gradient_over_time
from genlearn.lab.topic import Control, Mark, Number, Panel, Topic
from genlearn.lab.topics.common import EXACT

KS = (1, 2, 3, 5, 10, 20, 50, 100)


@lru_cache
def _bias(steps: int, seed: int) -> Array:
    return np.array([contrastive_bias(k, steps, seed).relative for k in KS])


def _contrastive(seed: int, steps: int, k: int) -> dict[str, Any]:
    found, all_bias = contrastive_bias(k, steps, seed), np.maximum(_bias(steps, seed), 1e-9)
    rate = all_bias[0] * found.slowest ** (np.array(KS) - 1)
    return found._asdict() | {"ks": np.array(KS), "all_bias": all_bias, "rate": np.maximum(rate, 1e-9), "k": k}


CONTRASTIVE = Topic(
    "cd",
    "The bias of contrastive divergence",
    "Maximum likelihood follows the difference of two means of v h', over the data and over the model; CD-k "
    "takes for the second where chains from the data are after k steps, and so has a bias. Here nothing is sampled: an "
    "RBM of 9 + 6 units learns bars of 3 x 3 pixels, and the law of the chain after k steps is a product of matrices "
    "over all 512 images. A fresh RBM mixes in a step, and CD-1 is all but right; as it learns, the chain slows down "
    "(its second eigenvalue goes to 1), and CD-1 points elsewhere.",
    (
        r"\frac{\partial \log p}{\partial W} = \langle v h' \rangle_{data} - \langle v h' \rangle_{model} \quad "
        r"CD_k = \langle v h' \rangle_{data} - \langle v h' \rangle_{data T^k}",
        r"T(v, w) = \sum_h p(h | v) p(w | h)",
    ),
    (
        Control("seed", "seed", (0, 1), 0),
        Control("steps", "steps of exact learning before", (0, 30, 100, 300, 1000), 300),
        Control("k", "k", KS, 1),
    ),
    _contrastive,
    (
        Number("exact", "length of the exact gradient", "", "exact; weights and biases together"),
        Number("bias", "length of the bias of CD-k", "", EXACT),
        Number("relative", "bias / gradient", "", EXACT),
        Number("cosine", "cosine of CD-k and gradient", "", EXACT),
        Number("slowest", "second eigenvalue of T", "", EXACT),
        Number("log_likelihood", "log-likelihood", "nats per image", "exact; at most -2.599, the bars' own"),
    ),
    (
        Panel(
            "Bias over gradient, after k steps",
            "k",
            "bias / gradient",
            (
                Mark("line", "ks", "all_bias", "exact", 1),
                Mark("dash", "ks", "rate", "falling by the second eigenvalue", 0),
                Mark("dots", "k", "relative", "", 1),
            ),
            xlim=(0.9, 115),
            ylim=(1e-5, 3),
            log="xy",
        ),
    ),
    """from genlearn import lab

result = lab.contrastive_bias(k={k}, steps={steps}, seed={seed})
print(result)""",
    "Hinton 2002; Carreira-Perpinan and Hinton 2005",
    "k",
)


def _depth(activation: str, normalisation: str, residual: bool, depth: int) -> dict[str, Any]:
    lengths = gradient_by_depth(depth, activation, residual, normalisation)  # type: ignore[arg-type]
    shown = np.maximum(lengths.numpy(), 1e-12)
    return flow(lengths)._asdict() | {"layer": np.arange(depth + 1), "shown": shown, "one": np.ones(depth + 1)}


DEPTH = Topic(
    "depth",
    "Where the gradient goes: depth",
    "The gradient of a fresh network with orthogonal weights, layer by layer, 1 at the top. The slope of the sigmoid "
    "is at most 1/4: below 16 layers of it nothing is left to learn from. Tanh is far better, ReLU with weights of "
    "twice the variance about keeps it, batch normalisation rescues even the sigmoid (and makes that of a plain ReLU "
    "grow by a fifth a layer), and a residual connection lets the gradient pass around each layer (without "
    "normalisation the sum may grow, and the gradient with it).",
    (
        r"h_l = \phi(norm(W_l h_{l - 1})) [+ h_{l - 1}] \quad \lVert \frac{\partial L}{\partial h_l} \rVert",
        r"| \sigma' | \le \frac{1}{4} \to \lVert \frac{\partial L}{\partial h_0} \rVert \le "
        r"4^{-depth} \lVert \frac{\partial L}{\partial h_{top}} \rVert",
    ),
    (
        Control("activation", "activation", tuple(ACTIVATIONS), "sigmoid"),
        Control("normalisation", "normalisation", tuple(NORMALISATIONS), "none"),
        Control("residual", "residual connection", (False, True), False),
        Control("depth", "layers", (2, 4, 8, 16, 32, 64), 16),
    ),
    _depth,
    (
        Number("factor", "factor a layer", "", "one network, seed 0, 64 inputs; a plain linear one: 1"),
        Number("ratio", "gradient at the input / at the top", "", "the same"),
    ),
    (
        Panel(
            "Size of the gradient",
            "layer (0: input)",
            "norm, top = 1",
            (Mark("line", "layer", "shown", "gradient", 1), Mark("dash", "layer", "one", "1", 0)),
            ylim=(1e-12, 1e6),
            xlim=(-1, 65),
            log="y",
        ),
    ),
    """from genlearn import lab

lengths = lab.gradient_by_depth({depth}, {activation}, {residual}, {normalisation})
result = lab.flow(lengths)
print(result)""",
    "Hochreiter 1991; Glorot and Bengio 2010; He et al. 2015, 2016; Ioffe and Szegedy 2015",
    "depth",
)


def _time(cell: str, gate: float, scale: float) -> dict[str, Any]:
    lengths = gradient_over_time(cell, scale, gate)  # type: ignore[arg-type]
    shown = np.clip(lengths.numpy(), 1e-12, 1e9)
    return flow(lengths)._asdict() | {"t": np.arange(-60, 1), "shown": shown, "one": np.ones(61)}


TIME = Topic(
    "time",
    "Where the gradient goes: time",
    "Back-propagation through 60 time steps of a fresh recurrent cell. A linear one multiplies by the scale of its "
    "matrix at each step: below 1 the past is forgotten, above 1 the gradient explodes. Tanh only makes it smaller. "
    "The gates of GRU and LSTM carry the state past the matrix: the wider the gate that keeps it is open, the "
    "farther back the gradient reaches.",
    (
        r"\frac{\partial L}{\partial s_t} = \frac{\partial L}{\partial s_T} \prod_{k = t + 1}^{T} "
        r"\frac{\partial s_k}{\partial s_{k - 1}}",
    ),
    (
        Control("cell", "cell", CELLS, "tanh"),
        Control("gate", "bias of the gate that keeps (GRU, LSTM)", (0.0, 1.0, 2.0, 3.0, 5.0), 1.0),
        Control("scale", "scale of the recurrent matrix", (0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5), 1.0),
    ),
    _time,
    (
        Number("factor", "factor a step back", "", "one cell, seed 0, 64 sequences; linear: the scale"),
        Number("ratio", "gradient 60 steps back / at the end", "", "the same"),
    ),
    (
        Panel(
            "Size of the gradient",
            "time step (0: the end)",
            "norm, end = 1",
            (Mark("line", "t", "shown", "gradient", 1), Mark("dash", "t", "one", "1", 0)),
            ylim=(1e-12, 1e9),
            log="y",
        ),
    ),
    """from genlearn import lab

lengths = lab.gradient_over_time({cell}, scale={scale}, gate={gate})
result = lab.flow(lengths)
print(result)""",
    "Bengio, Simard and Frasconi 1994; Hochreiter and Schmidhuber 1997; Cho et al. 2014",
    "scale",
)


TOPICS = (CONTRASTIVE, DEPTH, TIME)
