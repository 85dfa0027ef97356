"""The results of mode collapse as one table, beside the published figures, and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from genlearn.data import modes
from genlearn.metrics.seeds import Mean, over_seeds

from .mode_collapse import PLAIN

HEADS = (
    "set", "method", "seeds", "modes", "high quality, %", "reverse KL", "modes less GAN's", "reverse KL less GAN's",
    "published: modes; high quality, %; reverse KL",
)  # fmt: skip
# Lin et al. 2018 (PacGAN), table 1: means of 10 runs, ± their standard errors where we have them.
PUBLISHED: Mapping[str, Mapping[str, str]] = {
    "ring": {
        "GAN": "6.3 ± 0.5; 98.2; 0.45",
        "packing by 2": "7.9 ± 0.1; 95.6; 0.07",
        "packing by 3": "7.8; 97.7; 0.10",
        "packing by 4": "7.8; 95.9; 0.07",
    },
    "grid": {
        "GAN": "17.3 ± 0.8; 94.8; 0.70",
        "packing by 2": "23.8; 91.3; 0.13",
        "packing by 3": "24.6; 94.2; 0.06",
        "packing by 4": "24.8 ± 0.2; 93.6; 0.04",
    },
}
SOURCES = (
    "published: Lin et al. 2018 (PacGAN), table 1, 10 runs, ± standard error. Srivastava et al. 2017 (VEEGAN), other "
    "nets, on the grid: GAN 3.3 modes, 0.5 % of high quality; unrolled GAN 23.6, 16 %; VEEGAN 24.6, 40 %."
)
SCORES = ("modes", "high quality", "reverse KL")
Results = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
Summary = dict[str, dict[str, dict[str, Any]]]


def scores(run: Mapping[str, Any], name: str) -> dict[str, float]:
    """Modes, share of high quality in per cent and reverse KL at the end of a run; of one that diverged, the worst."""
    if run["diverged"]:
        return dict(zip(SCORES, (0.0, 0.0, math.log(len(modes(name)[0]))), strict=True))
    last = run["looks"][-1]
    return dict(zip(SCORES, (last["hit"], 100 * last["high_quality"], last["reverse_kl"]), strict=True))


def summary(results: Results) -> Summary:
    """By set and method: the mean of each score over the seeds, and of its differences to the plain GAN's within seeds.

    Methods without a run are left out; a difference is over the seeds that both have.
    """
    found: Summary = {name: {} for name in results}
    for name, methods in results.items():
        ends = {m: {run["seed"]: scores(run, name) for run in runs} for m, runs in methods.items() if runs}
        for method, own in ends.items():
            both = [seed for seed in own if method != PLAIN and seed in ends.get(PLAIN, {})]
            less = {k: [own[seed][k] - ends[PLAIN][seed][k] for seed in both] for k in SCORES if both}
            found[name][method] = {
                "seeds": len(own),
                "diverged": sum(bool(run["diverged"]) for run in methods[method]),
                "means": {k: over_seeds([end[k] for end in own.values()]) for k in SCORES},
                "differences": {k: over_seeds(values) for k, values in less.items()},
            }
    return found


def rows(found: Summary) -> list[list[str]]:
    """The lines of the table; a star stands at a difference whose interval excludes zero."""
    lines = []
    for name, methods in found.items():
        for method, row in methods.items():
            mean, less = row["means"], row["differences"]
            cells = [shown(mean["modes"], 1), shown(mean["high quality"], 1), shown(mean["reverse KL"], 2)]
            cells += [shown(less[key], d, True) if less else "" for key, d in (("modes", 1), ("reverse KL", 2))]
            lines.append([name, method, str(row["seeds"]), *cells, PUBLISHED.get(name, {}).get(method, "")])
    return lines


def shown(mean: Mean, digits: int, difference: bool = False) -> str:
    """A mean and its interval, as 7.8 [7.2, 8.4]; a difference with its sign, and a star where zero is excluded."""
    sign = "+" if difference else ""
    text = f"{mean.value:{sign}.{digits}f}"
    if mean.n > 1:
        text += f" [{mean.low:{sign}.{digits}f}, {mean.high:{sign}.{digits}f}]"
    return text + ("*" if difference and mean.excludes_zero else "")


def words(found: Summary, shortened: str) -> list[str]:
    """What the table says: how it was made, and which remedy helps."""
    said = [f"shortened: {shortened}." if shortened else "The published protocol."]
    said.append(
        "means over the seeds with 95 % intervals of Student's t; differences within seeds (paired t), * where zero "
        "lies outside. Of 20 such intervals one excludes zero by chance."
    )
    said.append(SOURCES)
    for name, methods in found.items():
        verdicts: dict[str, list[str]] = {}
        for method, row in methods.items():
            if row["diverged"]:
                said.append(
                    f"{name}: {method} diverged in {row['diverged']} of {row['seeds']} runs, counted as no modes."
                )
            if row["differences"]:
                verdicts.setdefault(verdict(row["differences"]), []).append(method)
        said += [f"{name}: {what}: {'; '.join(verdicts[what])}." for what in VERDICTS if what in verdicts]
    return said


VERDICTS = (
    "helps, both intervals exclude zero (modes, reverse KL)",
    "helps by one of the two, the other may be zero",
    "does not help, no interval excludes zero",
    "helps by one of the two and harms by the other",
    "harms, an interval excludes zero",
    "not known from one seed",
)


def verdict(differences: Mapping[str, Mean]) -> str:
    """What the paired differences to the plain GAN say of a remedy, one of `VERDICTS`."""
    more, less = differences["modes"], differences["reverse KL"]
    if more.n < 2:
        return VERDICTS[5]
    good, bad = (more.low > 0) + (less.high < 0), (more.high < 0) + (less.low > 0)
    if good and bad:
        return VERDICTS[3]
    return VERDICTS[4] if bad else VERDICTS[2 - good]
