"""Verdicts for a family of differences, corrected by Holm's procedure; ranks over many pairs.

A family is the last axis: the cells of a table, or of a check. Verdicts that raise an alarm
(better, worse, regression) are corrected: with 95 % probability all of them are true. Verdicts from
an interval alone (same, pass) hold for each cell with 95 %. The claim that all cells are the same
needs no correction, since all intervals must agree (an intersection-union test).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.stats.estimates import Array, Difference, Values, by_seed, resolution, seeds_needed

ALPHA = 0.05
DifferenceVerdict = Literal["better", "same", "worse", "inconclusive"]


@dataclass(frozen=True)
class FamilyVerdicts:
    """The verdict of each cell, and the p of its alarm, corrected for the family."""

    verdict: NDArray[np.str_]
    p: Array


@dataclass(frozen=True)
class Comparison:
    """One method compared with a baseline method: method - baseline, in the metric's unit.

    Attributes:
        verdict: better, same, worse or inconclusive.
        mean: Difference of the means.
        low: Lower end of its 95 % interval; None where a side has fewer than two seeds.
        high: Upper end.
        p: Two-sided p, Holm-corrected over the family.
        paired: Whether the test is within seeds; otherwise Welch's.
        seeds: Seeds that would decide an inconclusive one; None: over 100, or unknown.
    """

    verdict: DifferenceVerdict
    mean: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    paired: bool = False
    seeds: int | None = None


def holm(p: Array) -> Array:
    """Return the p-values of a family (the last axis), corrected by Holm's step-down procedure.

    p̃_(i) = max_{j ≤ i} min(1, (m - j + 1) p_(j)). Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    m = p.shape[-1]
    order = np.argsort(p, axis=-1)
    scaled = np.take_along_axis(p, order, -1) * np.arange(m, 0, -1)
    stepped = np.minimum(1.0, np.maximum.accumulate(scaled, axis=-1))
    corrected = np.empty_like(stepped)
    np.put_along_axis(corrected, order, stepped, -1)
    return corrected


def difference_verdicts(
    gain: Difference, tolerance: float = 0.0, alpha: float = ALPHA
) -> FamilyVerdicts:
    """Return better, same, worse or inconclusive, for differences in which more is better.

    better: 0 is ruled out (two-sided, Holm) and the measured gain exceeds the tolerance; worse:
    likewise. same: the 90 % interval lies within ± tolerance, i.e. two one-sided tests at 5 %
    (Schuirmann, 1987). Otherwise inconclusive; with a tolerance of 0 nothing is ever the same.
    """
    p = holm(gain.p_two_sided())
    low, high = gain.interval(1 - 2 * alpha)
    rules = {
        "better": (p < alpha) & (gain.mean > tolerance),
        "worse": (p < alpha) & (gain.mean < -tolerance),
        "same": (low > -tolerance) & (high < tolerance),
    }
    return FamilyVerdicts(np.select(list(rules.values()), list(rules), "inconclusive"), p)


def regression_verdicts(gain: Difference, tolerance: float, alpha: float = ALPHA) -> FamilyVerdicts:
    """Return pass, regression or inconclusive, for differences in which more is better.

    regression: the measured loss exceeds the tolerance and is significant: the upper bound of the
    difference is below 0 (one-sided, Holm). pass: a loss beyond the tolerance is ruled out: the
    lower bound (one-sided, 95 %) is above -tolerance.
    """
    p = holm(gain.p_below())
    low, _ = gain.interval(1 - 2 * alpha)
    rules = {"regression": (p < alpha) & (gain.mean < -tolerance), "pass": low > -tolerance}
    return FamilyVerdicts(np.select(list(rules.values()), list(rules), "inconclusive"), p)


def compare_to_baseline(
    cells: Sequence[tuple[Values, Values]],
    tolerance: float = 0.0,
    *,
    higher: bool = True,
    alpha: float = ALPHA,
) -> list[Comparison]:
    """Compare each cell of a family with its baseline.

    Seeds pair the runs where both sides have the same; otherwise the test is Welch's.

    Args:
        cells: A family of (baseline, method): all cells that one table compares, by seed.
        tolerance: Largest difference that is treated as zero.
        higher: Whether higher is better.
        alpha: Level of the family.

    Returns:
        A comparison for each cell, by the rules of `difference_verdicts`. For the seeds needed, an
        inconclusive difference is taken as measured, or as zero where it is within the tolerance.
    """
    step = resolution(value for cell in cells for side in cell for value in side.values())
    usable = [i for i, sides in enumerate(cells) if min(map(len, sides)) > 1]
    compared = [Comparison("inconclusive", _mean(method) - _mean(base)) for base, method in cells]
    if not usable:
        return compared
    each = [by_seed(*cells[i], step) for i in usable]
    family = Difference(*(np.array([getattr(d, k) for d in each]) for k in ("mean", "error", "df")))
    verdicts = difference_verdicts(family.as_gain(higher), tolerance, alpha)
    numbers = family.mean, *family.interval(1 - alpha), verdicts.p
    for place, i in enumerate(usable):
        verdict = cast(DifferenceVerdict, str(verdicts.verdict[place]))
        shared = cells[i][0].keys() == cells[i][1].keys()
        needed = None
        if verdict == "inconclusive":
            n = min(map(len, cells[i]))
            needed = _needed(each[place], n, shared, tolerance, alpha / len(usable))
        mean, low, high, p = (float(number[place]) for number in numbers)
        compared[i] = Comparison(verdict, mean, low, high, p, shared, needed)
    return compared


def _mean(values: Values) -> float:
    return float(np.mean(list(values.values()))) if values else float("nan")


def _needed(
    difference: Difference, n: int, shared: bool, tolerance: float, alpha: float
) -> int | None:
    """Return the seeds that detect the difference, or rule it out where it is small."""
    spread = float(difference.error) * n**0.5
    size, groups = abs(float(difference.mean)), 1 if shared else 2
    if size > tolerance:
        needed = seeds_needed(size, spread, alpha / 2, groups=groups)
    else:
        needed = seeds_needed(tolerance, spread, ALPHA, groups=groups, both=True)
    return None if needed is None else max(needed, n + 1)


@dataclass(frozen=True)
class Ranks:
    """Average ranks of methods, 1 for the best, and the tests of their differences."""

    average: tuple[float, ...]
    pairs: int
    statistic: float  # Friedman's χ²
    p: float  # of "all methods are equal"
    critical: float  # average ranks that differ by at least this differ (Nemenyi)


def ranks(table: ArrayLike, *, higher: bool = True, alpha: float = 0.05) -> Ranks:
    """Return average ranks over the rows of a complete table of means.

    Args:
        table: Means (pairs, methods), at least 2 pairs and 3 methods, all finite.
        higher: Whether higher is better.
        alpha: Level of Nemenyi's test.

    Raises:
        ValueError: The table is too small or incomplete.

    Friedman's test, and Nemenyi's critical distance q_α √(k (k + 1) / 6 N), q_α the studentized
    range for k methods over √2. Demšar, Statistical Comparisons of Classifiers over Multiple Data
    Sets, JMLR 7, 2006. Pairs that share a teacher or a student are taken as independent; the tests
    treat the pairs as a sample and ignore the seeds.
    """
    from scipy import stats

    means = np.asarray(table, dtype=np.float64)
    if means.ndim != 2 or means.shape[0] < 2 or means.shape[1] < 3 or not np.isfinite(means).all():
        raise ValueError("ranks need at least 2 pairs and 3 methods, and a value in every cell")
    pairs, methods = means.shape
    places = stats.rankdata(-means if higher else means, axis=1)
    statistic, p = 0.0, 1.0
    if (places != places[:, :1]).any():
        statistic, p = map(float, stats.friedmanchisquare(*places.T))
    quantile = float(stats.studentized_range.ppf(1 - alpha, methods, np.inf)) / 2**0.5
    critical = quantile * (methods * (methods + 1) / (6 * pairs)) ** 0.5
    return Ranks(tuple(places.mean(0).tolist()), pairs, statistic, p, critical)


def relative_improvement(
    plain: Sequence[float], baseline: Sequence[float], method: Sequence[float]
) -> float:
    """Return how much more a method improves on the plain student than a baseline does.

    The mean over pairs of (method - baseline) / (baseline - plain), as a fraction. CRD (Tian et
    al., arXiv:1910.10699) reports 57 % for CRD over KD.

    Raises:
        ValueError: A baseline equals its plain student.
    """
    p, b, m = (np.asarray(each, dtype=np.float64) for each in (plain, baseline, method))
    if not p.size or (b == p).any() or not (p.shape == b.shape == m.shape):
        raise ValueError("relative improvement needs pairs in which the baseline moves the student")
    return float(((m - b) / (b - p)).mean())
