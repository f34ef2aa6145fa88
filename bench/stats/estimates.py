"""Means and standard deviations over seeds, differences of two means, and power of t-tests."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Values = Mapping[int, float]  # values of a metric by seed

POWER = 0.8  # probability with which `seeds_needed` seeds detect the effect
MAX_SEEDS = 100  # `seeds_needed` returns None for more seeds
MAX_BORROWED = 10.0  # most degrees of freedom that `moderated` adds to a cell
_SAME = 1e-6  # relative differences below this are rounding of float32


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Return both ends of the mean's confidence interval (Student's t); None below 2 values."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return None
    mean, std = float(np.mean(values)), float(np.std(values, ddof=1))
    reach = -float(stdtrit(n - 1, (1 - confidence) / 2)) * std / n**0.5
    return mean - reach, mean + reach


@dataclass(frozen=True)
class Samples:
    """Statistics of any number of cells, as arrays of one shape with one element per cell."""

    mean: Array
    std: Array  # standard deviation over the runs, with divisor n - 1
    n: Array  # number of runs
    df: Array  # degrees of freedom of std

    def at_least(self, std: float) -> "Samples":
        """Return the samples with every standard deviation raised to at least `std`."""
        return replace(self, std=np.maximum(self.std, std))


def samples(values: ArrayLike) -> Samples:
    """Return the statistics of values (..., seeds) with at least two seeds."""
    runs = np.asarray(values, dtype=np.float64)
    n = np.full(runs.shape[:-1], float(runs.shape[-1]))
    return Samples(runs.mean(-1), runs.std(-1, ddof=1), n, n - 1)


def resolution(values: Iterable[float]) -> float:
    """Return the smallest difference between two different values; 0 if all values are equal.

    Accuracies in percent, for example, move in steps of 100 / (number of test images). Rounding to
    such steps has a standard deviation of step / √12. If the measured standard deviation is
    smaller, this is chance: three seeds with 97.2 % each do not prove that there is no noise.
    """
    unique = np.unique(np.fromiter(values, dtype=np.float64))
    steps = np.diff(unique)
    real = steps[steps > _SAME * np.abs(unique).max(initial=0.0)]
    return float(real.min()) if real.size else 0.0


def moderated(cells: Samples) -> Samples:
    """Return the cells, each variance averaged with the typical variance of all cells.

    The cells of the last axis are a family: they are tested together. Three seeds estimate a
    standard deviation s badly. Each cell's s² is therefore averaged with the family's typical
    variance s₀²: s̃² = (d₀ s₀² + d s²) / (d₀ + d), with d₀ + d degrees of freedom. d is the degrees
    of freedom of the cell. s₀ and d₀ follow from the mean and the variance of log s² over the
    family: the more the cells agree, the larger is d₀. This is the moderated t of Smyth,
    Statistical Applications in Genetics and Molecular Biology 3(1), 2004.

    Three limits make the result more conservative than Smyth's. d₀ is at most 10, and at most a
    quarter of the other cells' degrees of freedom. No standard deviation falls below the cell's
    own. Cells with two seeds or s = 0 stay unchanged and are not used for s₀ and d₀. If fewer than
    four cells remain, all cells stay unchanged.
    """
    from scipy.special import digamma, polygamma

    used = (cells.df >= 2) & (cells.std > 0)
    count = used.sum(-1, keepdims=True)
    half = np.where(used, cells.df, 2.0) / 2
    logs = 2 * np.log(np.where(used, cells.std, 1.0)) - digamma(half) + np.log(half)
    enough = np.maximum(count, 2)
    center = np.where(used, logs, 0).sum(-1, keepdims=True) / enough
    scatter = np.where(used, (logs - center) ** 2, 0).sum(-1, keepdims=True) / (enough - 1)
    excess = scatter - np.where(used, polygamma(1, half), 0).sum(-1, keepdims=True) / enough
    degrees = _prior_degrees(excess)
    level = np.exp(center + digamma(degrees / 2) - np.log(degrees / 2))
    others = np.where(used, cells.df, 0).sum(-1, keepdims=True) * (1 - 1 / enough)
    borrowed = np.minimum(np.minimum(degrees, MAX_BORROWED), others / 4)
    borrowed = np.where(used & (count >= 4), borrowed, 0.0)
    df, squares = cells.df + borrowed, cells.std**2
    variance = (borrowed * level + cells.df * squares) / np.maximum(df, 1)
    return replace(cells, std=np.sqrt(np.maximum(variance, squares)), df=df)


def _prior_degrees(excess: Array) -> Array:
    """Return d₀ of `moderated`: the solution of ψ'(d₀ / 2) = excess (ψ' is the trigamma function).

    The solver is Newton's iteration from the appendix of Smyth, 2004.

    Args:
        excess: Variance of log s² over the cells, minus its expected value if all cells had the
            same true variance. If the excess is not positive, the cells agree fully, and d₀ is a
            million.
    """
    from scipy.special import polygamma

    clipped = np.clip(excess, 4e-6, 1e6)
    half = 0.5 + 1 / clipped
    for _ in range(12):
        tri = polygamma(1, half)
        half = half + tri * (1 - tri / clipped) / polygamma(2, half)
    return np.asarray(np.where(excess > 4e-6, 2 * half, 1e6), dtype=np.float64)


@dataclass(frozen=True)
class Difference:
    """Estimated differences of two means, as arrays of one shape with one element per cell.

    A difference with a standard error of 0 is exact: its one-sided p-value is 0 or 1, or 0.5 if the
    difference equals the bound of the test.

    Attributes:
        mean: The difference, in the unit of the metric.
        error: Standard error of the difference.
        df: Degrees of freedom.
    """

    mean: Array
    error: Array
    df: Array

    def p_below(self, bound: float = 0.0) -> Array:
        """Return the one-sided p-value; a small p is evidence of a difference below the bound."""
        from scipy.special import stdtr

        distance = np.asarray(self.mean - bound, dtype=np.float64)
        exact = np.array(np.where(distance == 0, 0.0, np.copysign(np.inf, distance)))
        scaled = np.divide(distance, self.error, out=exact, where=np.greater(self.error, 0))
        return np.asarray(stdtr(self.df, scaled), dtype=np.float64)

    def p_above(self, bound: float = 0.0) -> Array:
        """Return the one-sided p-value; a small p is evidence of a difference above the bound."""
        return replace(self, mean=-self.mean).p_below(-bound)

    def p_two_sided(self) -> Array:
        """Return the two-sided p-value of the hypothesis that the difference is 0."""
        return np.asarray(np.minimum(1.0, 2 * np.minimum(self.p_below(), self.p_above())))

    def interval(self, confidence: float = 0.95) -> tuple[Array, Array]:
        """Return both ends of the two-sided confidence interval.

        Each end alone is a one-sided bound with the confidence (1 + confidence) / 2.
        """
        from scipy.special import stdtrit

        reach = -stdtrit(self.df, (1 - confidence) / 2) * self.error
        return self.mean - reach, self.mean + reach

    def as_gain(self, higher: bool) -> "Difference":
        """Return the difference with improvements positive: negate it if lower is better."""
        return self if higher else replace(self, mean=-self.mean)


def paired(before: ArrayLike, after: ArrayLike, step: float = 0.0) -> Difference:
    """Return `after` minus `before`: the mean over seeds of the difference within a seed.

    Args:
        before: Values (..., seeds), at least two seeds.
        after: Values of the same seeds in the same order.
        step: Resolution of the values. Rounding gives differences a standard deviation of
            step / √6; smaller standard deviations are raised to this value.
    """
    gaps = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    n = gaps.shape[-1]
    std = np.maximum(gaps.std(-1, ddof=1), step / np.sqrt(6))
    return Difference(gaps.mean(-1), std / np.sqrt(n), np.full(std.shape, n - 1.0))


def by_seed(before: Values, after: Values, step: float = 0.0) -> Difference:
    """Return `after` minus `before`: paired for equal seeds; otherwise by Welch's test."""
    if before.keys() == after.keys():
        order = sorted(before)
        return paired([before[seed] for seed in order], [after[seed] for seed in order], step)
    floor = step / 12**0.5
    return welch(*(samples(list(side.values())).at_least(floor) for side in (before, after)))


def welch(before: Samples, after: Samples) -> Difference:
    """Return `after` minus `before` for independent runs, by Welch's unequal-variances test."""
    parts = before.std**2 / before.n, after.std**2 / after.n
    total = np.asarray(parts[0] + parts[1], dtype=np.float64)
    weight = np.asarray(parts[0] ** 2 / before.df + parts[1] ** 2 / after.df, dtype=np.float64)
    # with two standard deviations of 0, the formula is 0 / 0: use the smaller df
    least = np.array(np.minimum(before.df, after.df) + np.zeros_like(total))
    df = np.divide(total**2, weight, out=least, where=weight > 0)
    return Difference(after.mean - before.mean, np.sqrt(total), df)


def seeds_needed(
    effect: float,
    spread: float,
    alpha: float,
    *,
    groups: int = 2,
    borrowed: float = 0.0,
    both: bool = False,
) -> int | None:
    """Return the fewest seeds per group for a one-sided t-test with 80 % power.

    Args:
        effect: Difference to detect; for effects of at most 0, no number of seeds suffices.
        spread: Standard deviation of the difference of two runs: √(s₁² + s₂²) for independent runs;
            for paired runs, the standard deviation over seeds of the difference within a seed.
        alpha: Significance level of the test.
        groups: 2 for independent runs, 1 for paired runs.
        borrowed: Degrees of freedom that `moderated` adds to groups · (n - 1) for n seeds.
        both: Whether tests on both sides must succeed, which the verdict `same` needs.

    Returns:
        The number of seeds; None if it is above 100, or if no number suffices.
    """
    from scipy.special import nctdtr, stdtrit

    if effect <= 0:
        return None
    n = np.arange(2, MAX_SEEDS + 1)
    df = groups * (n - 1) + borrowed
    shift = effect * np.sqrt(n) / max(spread, 1e-12 * effect)
    # for shifts above 30 the power is 1, but scipy's noncentral t is inaccurate
    detected = 1 - nctdtr(df, np.minimum(shift, 30), -stdtrit(df, alpha))
    power = np.where(shift < 30, detected, 1.0)
    enough = np.flatnonzero((2 * power - 1 if both else power) >= POWER)
    return int(n[enough[0]]) if enough.size else None
