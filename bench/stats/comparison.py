"""Verdicts on differences, corrected for multiple testing; average ranks over pairs.

A family is a set of cells that are tested together: all cells of a table, or of a regression check.
Arrays hold the cells of a family on their last axis. In the text below, alpha is 5 %.

The verdicts better, worse and regression use p-values that Holm's procedure corrects: the
probability of one or more false verdicts in a family is at most 5 %. The verdicts same and pass use
the interval of one cell: each is false with a probability of at most 5 %. The claim that all cells
are the same needs no correction, because every interval must support the claim (an
intersection-union test).
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
    """The verdict of each cell, and the Holm-corrected p-value of its difference."""

    verdict: NDArray[np.str_]
    p: Array


@dataclass(frozen=True)
class Comparison:
    """One method compared with a baseline method: method - baseline, in the metric's unit.

    Attributes:
        verdict: better, same, worse or inconclusive.
        mean: Mean of the method minus mean of the baseline.
        low: Lower end of the 95 % interval of `mean`; None if a side has fewer than two seeds.
        high: Upper end of the same interval.
        p: Two-sided p-value, Holm-corrected over the family.
        paired: True: a t-test on differences of runs with the same seed. False: Welch's t-test.
        seeds: Seeds that would decide an inconclusive comparison; None: over 100, or unknown.
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

    For m p-values in increasing order, p_(1) ≤ … ≤ p_(m), the corrected values are
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
    """Return better, same, worse or inconclusive for each difference.

    better: the mean gain exceeds the tolerance, and its two-sided, Holm-corrected p is below alpha.
    worse: the mean gain is below -tolerance, and its p is below alpha. same: the 90 % interval lies
    within ± tolerance; this equals two one-sided tests at 5 % (Schuirmann, 1987). inconclusive: any
    other difference. With a tolerance of 0, no difference is `same`.

    Args:
        gain: Differences (..., cells); positive values are improvements.
        tolerance: Largest difference that is treated as zero, in the unit of the metric.
        alpha: Significance level of the family.
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
    """Return pass, regression or inconclusive for each difference.

    regression: the mean gain is below -tolerance, and its one-sided, Holm-corrected p is below
    alpha. pass: the one-sided 95 % lower bound of the gain is above -tolerance. inconclusive: any
    other difference.

    Args:
        gain: Differences (..., cells); positive values are improvements.
        tolerance: Largest accepted change for the worse, in the unit of the metric.
        alpha: Significance level of the family.
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
    """Compare each method of a family with the baseline method on the same pair.

    If both methods have the same seeds, the t-test is paired by seed; otherwise it is Welch's.

    Args:
        cells: All comparisons of one table: (baseline, method), each with its values by seed.
        tolerance: Largest difference that is treated as zero, in the unit of the metric.
        higher: Whether a higher value is better.
        alpha: Significance level of the family.

    Returns:
        A comparison for each cell, by the rules of `difference_verdicts`. The number of seeds
        assumes that the true difference is the measured difference, or 0 if the measured difference
        is within the tolerance.
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
    """Return how many seeds would decide an inconclusive comparison.

    If the measured difference exceeds the tolerance, these seeds must detect the difference.
    Otherwise they must show that the difference is within the tolerance.
    """
    spread = float(difference.error) * n**0.5
    size, groups = abs(float(difference.mean)), 1 if shared else 2
    if size > tolerance:
        needed = seeds_needed(size, spread, alpha / 2, groups=groups)
    else:
        needed = seeds_needed(tolerance, spread, ALPHA, groups=groups, both=True)
    return None if needed is None else max(needed, n + 1)


@dataclass(frozen=True)
class Ranks:
    """The average rank of each method over pairs (1 is best), and tests of the differences."""

    average: tuple[float, ...]
    pairs: int
    statistic: float  # Friedman's χ²
    p: float  # p-value of the hypothesis that all methods are equal
    critical: float  # smallest significant difference of two average ranks (Nemenyi)


def ranks(table: ArrayLike, *, higher: bool = True, alpha: float = 0.05) -> Ranks:
    """Rank the methods on each pair; return average ranks with Friedman's and Nemenyi's tests.

    Nemenyi's critical difference is q_α √(k (k + 1) / (6 N)) for k methods and N pairs, where q_α
    is the 1 - α quantile of the studentized range for k methods, divided by √2. See Demšar,
    Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006. Both tests ignore
    the spread over seeds. They treat pairs as independent, even if some pairs share a network.

    Args:
        table: Means over seeds (pairs, methods), at least 2 pairs and 3 methods, all finite.
        higher: Whether a higher value is better.
        alpha: Significance level of Nemenyi's test.

    Raises:
        ValueError: The table is too small or incomplete.
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
    """Return how much a method extends a baseline's improvement over the plain student.

    The formula is the mean over pairs of (method - baseline) / (baseline - plain), as a fraction.
    CRD (Tian et al., arXiv:1910.10699) reports 57 % for CRD over KD.

    Args:
        plain: Accuracies of the students trained without a teacher, one for each pair.
        baseline: Accuracies of the baseline method on the same pairs.
        method: Accuracies of the method on the same pairs.

    Raises:
        ValueError: There are no pairs, the lengths differ, or a baseline equals its plain student.
    """
    p, b, m = (np.asarray(each, dtype=np.float64) for each in (plain, baseline, method))
    if not p.size or (b == p).any() or not (p.shape == b.shape == m.shape):
        raise ValueError(
            "relative improvement needs, for each pair, a value of student, baseline and method, "
            "and a baseline that differs from the student"
        )
    return float(((m - b) / (b - p)).mean())
