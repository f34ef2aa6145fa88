"""Rules that turn differences into verdicts, for all cells of a family at once.

A family is the last axis: the cells of a table, or of a check. What is claimed at the price of an
alarm (better, worse, regression) is corrected for the size of the family by Holm's procedure:
with probability 95 % not one of these is false. What is claimed by an interval alone (same, pass)
holds for each cell with 95 %; that *all* cells are so needs no correction, since all intervals
must agree (an intersection-union test).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.stats.difference import Difference
from bench.stats.samples import Array

ALPHA = 0.05
Versus = Literal["better", "same", "worse", "inconclusive"]
Guarded = Literal["pass", "regression", "inconclusive"]


@dataclass(frozen=True)
class Judged:
    """The verdict of each cell, and the p behind an alarm, corrected for the family."""

    verdict: NDArray[np.str_]
    p: Array


def holm(p: Array) -> Array:
    """The p-values of a family (the last axis), corrected by Holm's step-down procedure.

    p̃_(i) = max_{j ≤ i} min(1, (m - j + 1) p_(j)). Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    m = p.shape[-1]
    order = np.argsort(p, axis=-1)
    scaled = np.take_along_axis(p, order, -1) * np.arange(m, 0, -1)
    stepped = np.minimum(1.0, np.maximum.accumulate(scaled, axis=-1))
    corrected = np.empty_like(stepped)
    np.put_along_axis(corrected, order, stepped, -1)
    return corrected


def compared(gain: Difference, tolerance: float = 0.0, alpha: float = ALPHA) -> Judged:
    """Better, same, worse or inconclusive, for differences in which more is better.

    better: 0 is ruled out (two-sided, Holm) and the gain as measured exceeds the tolerance; worse:
    likewise. same: the 90 % interval lies within ± tolerance, i.e. two one-sided tests at 5 %
    (Schuirmann, 1987). Otherwise inconclusive; with a tolerance of 0 nothing is ever the same.
    """
    p = holm(gain.apart())
    low, high = gain.interval(1 - 2 * alpha)
    rules = {
        "better": (p < alpha) & (gain.mean > tolerance),
        "worse": (p < alpha) & (gain.mean < -tolerance),
        "same": (low > -tolerance) & (high < tolerance),
    }
    return Judged(np.select(list(rules.values()), list(rules), "inconclusive"), p)


def guard(gain: Difference, tolerance: float, alpha: float = ALPHA) -> Judged:
    """Pass, regression or inconclusive, for differences in which more is better.

    regression: the loss as measured exceeds the tolerance, and noise is ruled out as its cause:
    the upper bound of the difference is below 0 (one-sided, Holm). pass: a loss beyond the
    tolerance is ruled out: the lower bound (one-sided, 95 %) is above -tolerance.
    """
    p = holm(gain.below())
    low, _ = gain.interval(1 - 2 * alpha)
    rules = {
        "regression": (p < alpha) & (gain.mean < -tolerance),
        "pass": low > -tolerance,
    }
    return Judged(np.select(list(rules.values()), list(rules), "inconclusive"), p)
