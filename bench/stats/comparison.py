"""Verdicts on differences, corrected for multiple testing; average ranks over pairs.

A family is a set of cells that are tested together: all cells of a table, or of a regression check.
Arrays hold the cells of a family on their last axis. In the text below, alpha is 5 %.

The verdicts better, worse and regression use p-values that Holm's procedure corrects: the
probability of one or more false verdicts in a family is at most 5 %. The verdicts same and pass use
the interval of one cell: each is false with a probability of at most 5 %. The claim that all cells
are the same needs no correction, because every interval must support the claim (an
intersection-union test).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.stats.estimates import (
    Array,
    Difference,
    Values,
    Variances,
    moderated,
    prior,
    resolution,
    skewness,
    within_seeds,
)
from bench.stats.power import Design

ALPHA = 0.05
REFERENCE = 1 / 3  # part of the borrowed degrees of freedom that counts for a reference method
Columns = Sequence[tuple[Values, Sequence[Values]]]  # by pair: the baseline method, the methods
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
        paired: Whether both methods have the same seeds. If so, the variation that all runs of a
            seed share is removed.
        seeds: Number of seeds that would decide an inconclusive comparison; None: more than 100,
            unknown, or the comparison is not inconclusive.
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


def without_shared_shift(gain: Difference, groups: Sequence[str | None]) -> Difference:
    """Return the gains relative to the median gain of the other cells of the same group.

    If a teacher's weights now differ from those before, all methods of its pair shift alike. With
    only one teacher before and one now, the runs do not show how large such shifts are. The median
    of the other cells estimates the shift; its variance is taken as π / 2 times the variance of
    their mean. In a group with fewer than three cells the shift is unknown, and the result has an
    infinite standard error.

    Args:
        gain: Differences (..., cells).
        groups: For each cell, the group of cells that can shift together; None: no shift.
    """
    mean, error = np.array(gain.mean), np.array(gain.error)
    for i, group in enumerate(groups):
        if group is None:
            continue
        others = [j for j, other in enumerate(groups) if other == group and j != i]
        if len(others) < 2:
            mean[..., i], error[..., i] = 0.0, np.inf
            continue
        mean[..., i] -= np.median(gain.mean[..., others], axis=-1)
        shared = (gain.error[..., others] ** 2).mean(-1) * np.pi / 2 / len(others)
        error[..., i] = np.sqrt(error[..., i] ** 2 + shared)
    return replace(gain, mean=mean, error=error)


def difference_verdicts(
    gain: Difference, tolerance: float = 0.0, relative: Difference | None = None
) -> FamilyVerdicts:
    """Return better, same, worse or inconclusive for each difference.

    better: the mean gain exceeds the tolerance, and its two-sided, Holm-corrected p is below ALPHA.
    worse: the mean gain is below -tolerance, and its p is below ALPHA. same: the 90 % interval lies
    within ± tolerance; this equals two one-sided tests at 5 % (Schuirmann, 1987). inconclusive: any
    other difference. With a tolerance of 0, no difference is `same`.

    Args:
        gain: Differences (..., cells); positive values are improvements.
        tolerance: Largest difference that is treated as zero, in the unit of the metric.
        relative: The gains without shared shifts. If present, better and worse must hold for both.
    """
    relative = relative or gain
    p = holm(np.maximum(gain.p_two_sided(), relative.p_two_sided()))
    return judge(gain, p, tolerance, relative=relative)


def judge(
    gain: Difference,
    p: Array,
    tolerance: float,
    level: float = ALPHA,
    relative: Difference | None = None,
) -> FamilyVerdicts:
    """Return the verdicts of `difference_verdicts`, with corrected p-values.

    Args:
        gain: Differences (..., cells); positive values are improvements.
        p: The corrected p-values of better and worse.
        tolerance: Largest difference that is treated as zero.
        level: Level of each of the two one-sided tests of `same`.
        relative: As in `difference_verdicts`.
    """
    relative = relative or gain
    low, high = gain.interval(1 - 2 * level)
    least, most = np.minimum(gain.mean, relative.mean), np.maximum(gain.mean, relative.mean)
    rules = {
        "better": (p < ALPHA) & (least > tolerance),
        "worse": (p < ALPHA) & (most < -tolerance),
        "same": (low > -tolerance) & (high < tolerance),
    }
    return FamilyVerdicts(np.select(list(rules.values()), list(rules), "inconclusive"), p)


def regression_verdicts(
    gain: Difference, tolerance: float, relative: Difference | None = None
) -> FamilyVerdicts:
    """Return pass, regression or inconclusive for each difference.

    regression: the mean gain is below -tolerance, and its one-sided, Holm-corrected p is below
    ALPHA. pass: the one-sided 95 % lower bound of the gain is above -tolerance. inconclusive: any
    other difference.

    Args:
        gain: Differences (..., cells); positive values are improvements.
        tolerance: Largest accepted change for the worse, in the unit of the metric.
        relative: The gains without shared shifts. If present, a regression must hold for both.
    """
    relative = relative or gain
    p = holm(np.maximum(gain.p_below(), relative.p_below()))
    low, _ = gain.interval(1 - 2 * ALPHA)
    beyond = np.maximum(gain.mean, relative.mean) < -tolerance
    rules = {"regression": (p < ALPHA) & beyond, "pass": low > -tolerance}
    return FamilyVerdicts(np.select(list(rules.values()), list(rules), "inconclusive"), p)


def compare_to_baseline(
    columns: Columns,
    tolerance: float = 0.0,
    *,
    higher: bool = True,
) -> list[list[Comparison]]:
    """Compare each method with the baseline method on the same pair.

    All comparisons are one family, and the variances of all its cells are moderated together. If
    methods have the same seeds as the baseline method, the variation that they share is removed
    (`within_seeds`). With one method and one column, this is the paired t-test.

    Args:
        columns: For each pair, the values by seed of the baseline method and of each method.
        tolerance: Largest difference that is treated as zero, in the unit of the metric.
        higher: Whether a higher value is better.

    Returns:
        For each column, a comparison for each method, by the rules of `difference_verdicts`. The
        number of seeds assumes that the true difference is the measured difference, or 0 if the
        measured difference is within the tolerance.
    """
    compared, family = untested(columns), Family(columns)
    if family.contrasts:
        cells = family.cells()
        differences = family.differences(cells)
        verdicts = difference_verdicts(differences.as_gain(higher), tolerance)
        for contrast, comparison in family.comparisons(cells, differences, verdicts, tolerance):
            compared[contrast.column][contrast.row] = comparison
    return compared


def untested(columns: Columns) -> list[list[Comparison]]:
    """Return comparisons that state only the difference of the means."""
    return [
        [Comparison("inconclusive", _mean(method) - _mean(base)) for method in methods]
        for base, methods in columns
    ]


@dataclass(frozen=True)
class Contrast:
    """A method minus the baseline method of its column.

    Attributes:
        n: Number of runs of the baseline method and of the method.
        parts: Positions of both variances in the family. Equal positions: one estimate for both.
    """

    column: int
    row: int
    mean: float
    n: tuple[int, int]
    parts: tuple[int, int]
    paired: bool


class Family:
    """The comparisons of a table, and the variances (value, degrees of freedom) that they need.

    Args:
        columns: As in `compare_to_baseline`.

    Attributes:
        contrasts: The comparisons with at least two runs on both sides.
        variances: The variances of their cells.
        owners: For each variance, its column and row; row -1: the baseline method.
    """

    def __init__(self, columns: Columns) -> None:
        self.contrasts: list[Contrast] = []
        self.variances: list[tuple[float, float]] = []
        self.owners: list[tuple[int, int]] = []
        values = (v for base, methods in columns for c in (base, *methods) for v in c.values())
        self._step = resolution(values)
        for i, (base, methods) in enumerate(columns):
            self._add_column(i, base, methods)

    def _add_column(self, column: int, base: Values, methods: Sequence[Values]) -> None:
        usable = {i: cell for i, cell in enumerate(methods) if min(len(base), len(cell)) > 1}
        paired = {i: cell for i, cell in usable.items() if cell.keys() == base.keys()}
        first = len(self.variances)
        if paired:
            seeds = sorted(base)
            block = within_seeds([[c[s] for s in seeds] for c in (base, *paired.values())])
            lines = list(zip(block.value.tolist(), block.df.tolist(), strict=True))
            # with one method, both residuals differ only in sign: one estimate, n - 1 degrees
            self.variances += lines if len(paired) > 1 else [(lines[0][0], 2 * lines[0][1])]
            rows = [-1, *paired] if len(paired) > 1 else [*paired]
            self.owners += [(column, row) for row in rows]
        for k, i in enumerate(paired):
            parts = (first, first + k + 1) if len(paired) > 1 else (first, first)
            self._add(column, i, base, paired[i], parts)
        if other := [i for i in usable if i not in paired]:
            base_position = len(self.variances)
            self.variances += [_variance(cell) for cell in (base, *(usable[i] for i in other))]
            self.owners += [(column, row) for row in (-1, *other)]
            for k, i in enumerate(other):
                self._add(column, i, base, usable[i], (base_position, base_position + k + 1))

    def _add(
        self, column: int, row: int, base: Values, method: Values, parts: tuple[int, int]
    ) -> None:
        n, mean = (len(base), len(method)), _mean(method) - _mean(base)
        paired = method.keys() == base.keys()
        self.contrasts.append(Contrast(column, row, mean, n, parts, paired))

    def cells(self, others: Sequence[tuple[float, float]] = ()) -> Variances:
        """Return the family's variances, each at least the variance of rounding.

        Args:
            others: Variances of further cells, which follow the family's in the result.
        """
        return Variances(*np.array([*self.variances, *others]).T).at_least(self._step / 12**0.5)

    def differences(self, cells: Variances) -> Difference:
        """Return the differences, tested with the variances that `cells` returned."""
        mean = np.array([contrast.mean for contrast in self.contrasts])
        parts = np.array([contrast.parts for contrast in self.contrasts])
        n = np.array([contrast.n for contrast in self.contrasts], dtype=np.float64)
        return contrasts(mean, cells, parts, n)

    def comparisons(
        self,
        cells: Variances,
        differences: Difference,
        verdicts: FamilyVerdicts,
        tolerance: float,
        number: int = 0,
    ) -> Iterator[tuple[Contrast, Comparison]]:
        """Yield each comparison with its verdict, its interval and the seeds that would decide it.

        Args:
            cells: The result of `cells`.
            differences: The result of `differences`.
            verdicts: The verdicts on these differences.
            tolerance: Largest difference that is treated as zero.
            number: Number of comparisons for which p is corrected; 0: those of the family.
        """
        bounds = differences.interval(1 - ALPHA)
        numbers = np.array([differences.mean, *bounds, verdicts.p]).T.tolist()
        shared, alpha = prior(cells), ALPHA / (number or len(numbers))
        for k, contrast in enumerate(self.contrasts):
            verdict = cast(DifferenceVerdict, str(verdicts.verdict[k]))
            needed = None
            if verdict == "inconclusive":
                n, df = min(contrast.n), float(cells.df[list(set(contrast.parts))].sum())
                design = Design(
                    float(differences.error[k]) * n**0.5, df / (n - 1),
                    (float(cells.df.sum()) - df) / (n - 1), shared, tolerance,
                )  # fmt: skip
                needed = _needed(design, abs(contrast.mean), alpha, n + 1)
            mean, low, high, p = numbers[k]
            yield contrast, Comparison(verdict, mean, low, high, p, contrast.paired, needed)


def contrasts(
    mean: Array, cells: Variances, parts: NDArray[np.int_], n: NDArray[np.float64]
) -> Difference:
    """Return differences of two means with a moderated variance each, s₁² / n₁ + s₂² / n₂.

    The smaller of two degrees of freedom is used: Satterthwaite's, as in Welch's test, and those
    for equal variances. Satterthwaite's are too many if the smaller sample has a small variance by
    chance. If several comparisons use the variance of one reference method, an error in it affects
    all of them. Therefore only the part `REFERENCE` of the degrees of freedom that `moderated`
    lends to this variance counts.

    Args:
        mean: The differences (..., k).
        cells: Variances (..., cells), not moderated.
        parts: Positions (k, 2) of both variances, the reference method's first. Equal positions:
            one estimate for both.
        n: Numbers of runs (k, 2).
    """
    noise = moderated(cells)
    first, uses = np.unique(parts[:, 0], return_counts=True)
    shared, degrees = first[uses > 1], noise.df.copy()
    lent = noise.df[..., shared] - cells.df[..., shared]
    degrees[..., shared] = cells.df[..., shared] + REFERENCE * lent
    squares, df = noise.value[..., parts] / n, degrees[..., parts]
    total, weight = squares.sum(-1), (squares**2 / df).sum(-1)
    equal = (1 / n).sum(-1) ** 2 / (1 / (n**2 * df)).sum(-1)
    both = np.divide(total**2, weight, out=equal.copy(), where=weight > 0)
    both = np.where(parts[:, 0] == parts[:, 1], df[..., 0], np.minimum(both, equal))
    return Difference(mean, np.sqrt(total), both, skewness(n[:, 0], n[:, 1]))


def _mean(values: Values) -> float:
    return float(np.mean(list(values.values()))) if values else float("nan")


def _variance(values: Values) -> tuple[float, float]:
    return float(np.var(list(values.values()), ddof=1)), len(values) - 1.0


def _needed(design: Design, size: float, alpha: float, least: int) -> int | None:
    """Return how many seeds would decide an inconclusive comparison.

    If the measured difference exceeds the tolerance, these seeds must detect the difference.
    Otherwise they must show that the difference is within the tolerance.
    """
    if size > design.tolerance:
        return design.seeds_beyond(size, alpha / 2, least)
    return design.seeds_within(0.0, ALPHA, least, both=True)


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
