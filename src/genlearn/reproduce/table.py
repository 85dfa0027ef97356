"""The results of an experiment as one table, beside the published figures, and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from genlearn.metrics.seeds import Mean, over_seeds

from .protocol import Protocol

HEADS = (
    "set", "method", "seeds", "modes", "high quality, %", "reverse KL", "modes less GAN's", "reverse KL less GAN's",
    "published: modes; high quality, %; reverse KL",
)  # fmt: skip
SCORES = ("modes", "high quality", "reverse KL")
Results = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
Summary = dict[str, dict[str, dict[str, Any]]]


def scores(run: Mapping[str, Any], n_modes: int) -> dict[str, float]:
    """Modes, share of high quality in per cent and reverse KL at the end of a run; of one that diverged, the worst."""
    if run["diverged"]:
        return dict(zip(SCORES, (0.0, 0.0, math.log(n_modes)), strict=True))
    last = run["looks"][-1]
    return dict(zip(SCORES, (last["hit"], 100 * last["high_quality"], last["reverse_kl"]), strict=True))


def summary(protocol: Protocol, results: Results) -> Summary:
    """By set and method: the mean of each score over the seeds, and of its differences to the plain one's within seeds.

    Methods without a run are left out; a difference is over the seeds that both have.
    """
    found: Summary = {name: {} for name in results}
    for name, methods in results.items():
        ends = {
            m: {run["seed"]: scores(run, protocol.n_modes(name)) for run in runs} for m, runs in methods.items() if runs
        }
        for method, own in ends.items():
            both = [seed for seed in own if method != protocol.plain and seed in ends.get(protocol.plain, {})]
            less = {k: [own[seed][k] - ends[protocol.plain][seed][k] for seed in both] for k in SCORES if both}
            found[name][method] = {
                "seeds": len(own),
                "diverged": sum(bool(run["diverged"]) for run in methods[method]),
                "means": {k: over_seeds([end[k] for end in own.values()]) for k in SCORES},
                "differences": {k: over_seeds(values) for k, values in less.items()},
            }
    return found


def rows(protocol: Protocol, found: Summary) -> list[list[str]]:
    """The lines of the table; a star stands at a difference whose interval excludes zero."""
    lines = []
    for name, methods in found.items():
        for method, row in methods.items():
            mean, less = row["means"], row["differences"]
            cells = [shown(mean["modes"], 1), shown(mean["high quality"], 1), shown(mean["reverse KL"], 2)]
            cells += [shown(less[key], d, True) if less else "" for key, d in (("modes", 1), ("reverse KL", 2))]
            lines.append([name, method, str(row["seeds"]), *cells, protocol.PUBLISHED.get(name, {}).get(method, "")])
    return lines


def shown(mean: Mean, digits: int, difference: bool = False) -> str:
    """A mean and its interval, as 7.8 [7.2, 8.4]; a difference with its sign, and a star where zero is excluded."""
    sign = "+" if difference else ""
    text = f"{mean.value:{sign}.{digits}f}"
    if mean.n > 1:
        text += f" [{mean.low:{sign}.{digits}f}, {mean.high:{sign}.{digits}f}]"
    return text + ("*" if difference and mean.excludes_zero else "")


def words(protocol: Protocol, found: Summary) -> list[str]:
    """What the table says: how it was made, and which remedy helps."""
    said = [f"shortened: {protocol.shortened}." if protocol.shortened else "The published protocol."]
    said.append(
        "means over the seeds with 95 % intervals of Student's t; differences within seeds (paired t), * where zero "
        "lies outside. Of 20 such intervals one excludes zero by chance."
    )
    said.append(protocol.SOURCES)
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
        # Samples that lie anywhere have equal shares too.
        quality = {m: row["differences"]["high quality"] for m, row in methods.items() if row["differences"]}
        worse = [f"{m} ({less.value:.1f} points)" for m, less in quality.items() if less.n > 1 and less.high < 0]
        if worse:
            said.append(f"{name}: but less is of high quality, the interval excludes zero: {'; '.join(worse)}.")
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
