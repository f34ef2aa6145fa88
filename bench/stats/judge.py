"""Methods beside a baseline method, within seeds: what a table may claim of its cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from bench.stats.difference import Difference, paired, welch
from bench.stats.power import seeds
from bench.stats.samples import resolution, samples
from bench.stats.verdicts import ALPHA, Versus, compared

Values = Mapping[int, float]  # by seed


@dataclass(frozen=True)
class Judgement:
    """How one cell is beside its baseline: method - baseline, in the unit of the metric."""

    verdict: Versus
    mean: float
    low: float | None = None  # 95 %; None where a side has fewer than two seeds
    high: float | None = None
    p: float | None = None  # two-sided, Holm over the family
    paired: bool = False  # within seeds; otherwise Welch's
    seeds: int | None = None  # that would settle an inconclusive one; None: over 100, or unknown


def judge(
    cells: Sequence[tuple[Values, Values]],
    tolerance: float = 0.0,
    *,
    higher: bool = True,
    alpha: float = ALPHA,
) -> list[Judgement]:
    """A judgement for each (baseline, method) of a family: all cells that one table compares.

    Each side maps seeds to values. Where both sides have the same seeds, the seeds pair them;
    where not, Welch's test takes them as independent. Which verdicts there are, and what they
    promise: `bench.stats.verdicts.compared`. For the seeds needed, an inconclusive difference
    is taken to be as it was measured, or zero where that would make it the same.
    """
    step = resolution(value for cell in cells for side in cell for value in side.values())
    usable = [i for i, (base, own) in enumerate(cells) if min(len(base), len(own)) > 1]
    found = [Judgement("inconclusive", _mean(own) - _mean(base)) for base, own in cells]
    if not usable:
        return found
    each = [_difference(*cells[i], step) for i in usable]
    family = Difference(*(np.array([getattr(d, k) for d in each]) for k in ("mean", "error", "df")))
    judged = compared(family.turned(1.0 if higher else -1.0), tolerance, alpha)
    lows, highs = family.interval(1 - alpha)
    for place, i in enumerate(usable):
        verdict = cast(Versus, str(judged.verdict[place]))
        base, own = cells[i]
        needed = None
        if verdict == "inconclusive":
            needed = _needed(base, own, tolerance, alpha / len(usable), step)
        found[i] = Judgement(
            verdict,
            float(family.mean[place]),
            float(lows[place]),
            float(highs[place]),
            float(judged.p[place]),
            base.keys() == own.keys(),
            needed,
        )
    return found


def _mean(values: Values) -> float:
    return float(np.mean(list(values.values()))) if values else float("nan")


def _difference(base: Values, own: Values, step: float) -> Difference:
    if base.keys() == own.keys():
        order = sorted(base)
        return paired([base[seed] for seed in order], [own[seed] for seed in order], step)
    floor = step / 12**0.5
    sides = (samples(list(side.values())).at_least(floor) for side in (base, own))
    return welch(*sides)


def _needed(base: Values, own: Values, tolerance: float, alpha: float, step: float) -> int | None:
    """Seeds that would settle it: to find the difference, or where it is small, to rule it out."""
    difference = _difference(base, own, step)
    together = base.keys() == own.keys()
    n = min(len(base), len(own))
    spread = float(difference.error) * n**0.5
    size, groups = abs(float(difference.mean)), 1 if together else 2
    if size > tolerance:
        found = seeds(size, spread, alpha / 2, groups=groups)
    else:
        found = seeds(tolerance, spread, ALPHA, groups=groups, both=True)
    return None if found is None else max(found, n + 1)
