"""Means and variances over seeds, variances shared by the cells of a table, and differences."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Values = Mapping[int, float]  # values of a metric by seed

SKEWNESS = 2.5  # largest skewness of noise for which tests are valid; exponential noise has 2
CAUTION = 0.5  # standard errors that `prior` adds to the scatter of the cells' log variances
_SAME = 1e-6  # relative differences below this are rounding of float32
_EQUAL = 1e6  # degrees of freedom of `prior` if all cells appear to have the same variance


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Return both ends of the mean's confidence interval (Student's t); None below 2 values."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return None
    mean, std = float(np.mean(values)), float(np.std(values, ddof=1))
    reach = -float(stdtrit(n - 1, (1 - confidence) / 2)) * std / n**0.5
    return mean - reach, mean + reach


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


@dataclass(frozen=True)
class Samples:
    """Statistics of any number of cells, as arrays of one shape with one element per cell."""

    mean: Array
    std: Array  # standard deviation over the runs, with divisor n - 1; not used if n is 1
    n: Array  # number of runs


def samples(values: ArrayLike) -> Samples:
    """Return the statistics of values (..., seeds) with at least one seed."""
    runs = np.asarray(values, dtype=np.float64)
    n = np.full(runs.shape[:-1], float(runs.shape[-1]))
    squares = ((runs - runs.mean(-1, keepdims=True)) ** 2).sum(-1)
    return Samples(runs.mean(-1), np.sqrt(squares / np.maximum(n - 1, 1)), n)


@dataclass(frozen=True)
class Variances:
    """Estimated variances over seeds, in the squared unit of the metric.

    Attributes:
        value: The variances (..., cells).
        df: Their degrees of freedom, of the same shape; need not be integers.
    """

    value: Array
    df: Array

    def at_least(self, std: float) -> "Variances":
        """Return the variances, with those below std² raised to std²."""
        return replace(self, value=np.maximum(self.value, std**2))


def pooled(before: Samples, after: Samples) -> Variances:
    """Return one variance per cell, pooled over the runs before and after.

    s² = ((n₁ - 1) s₁² + (n₂ - 1) s₂²) / (n₁ + n₂ - 2), with n₁ + n₂ - 2 degrees of freedom. If
    nothing has changed, both sides have the same variance. Two variances for two sides (Welch's
    test) would have fewer degrees of freedom: for 2 and 10 runs, about 1.5 instead of 10.
    """
    df = before.n + after.n - 2
    squares = (before.n - 1) * before.std**2 + (after.n - 1) * after.std**2
    return Variances(squares / np.maximum(df, 1), df)


def within_seeds(values: ArrayLike) -> Variances:
    """Return the variance of each method, without the variation that all methods share.

    Runs of one seed share batches and initial weights, so that a seed can shift all methods alike.
    For M methods and n seeds, r_ms = y_ms - ȳ_m - ȳ_s + ȳ is free of this shift. The variance of
    method m is Σ_s r_ms² / (n - 1) · M / (M - 1), with (n - 1) (M - 1) / M degrees of freedom.

    Args:
        values: Values (..., methods, seeds) of the same seeds; at least two of each.
    """
    runs = np.asarray(values, dtype=np.float64)
    methods, seeds = runs.shape[-2:]
    rest = runs - runs.mean(-1, keepdims=True)
    rest = rest - rest.mean(-2, keepdims=True)
    share = (methods - 1) / methods
    variance = (rest**2).sum(-1) / ((seeds - 1) * share)
    return Variances(variance, np.full(variance.shape, (seeds - 1) * share))


@dataclass(frozen=True)
class Prior:
    """The typical variance of a family of cells, and its weight.

    Attributes:
        level: The geometric mean of the cells' variances (..., 1).
        degrees: d₀ (..., 1), its degrees of freedom; the more the variances agree, the larger.
    """

    level: Array
    degrees: Array

    def borrowed(self, others: Array) -> Array:
        """Return the degrees of freedom that a cell borrows: d₀, at most a quarter of `others`.

        Args:
            others: Degrees of freedom of the other cells together.
        """
        return np.minimum(self.degrees, others / 4)


def prior(cells: Variances) -> Prior:
    """Return the typical variance of the cells on the last axis.

    If each true variance is drawn around a common level with d₀ degrees of freedom, log s² has the
    variance ψ'(d / 2) + ψ'(d₀ / 2) for a cell with d degrees of freedom (ψ' is the trigamma
    function). d₀ follows from the measured variance of log s² over the cells; Smyth, Statistical
    Applications in Genetics and Molecular Biology 3(1), 2004.

    Two differences make the result more conservative than Smyth's: the measured variance of
    log s² is raised by `CAUTION` standard errors, and the level is the geometric mean of the
    variances, corrected for the bias of log s². A cell
    with a variance of 0 is ignored.
    """
    from scipy.special import digamma, polygamma

    used = cells.value > 0
    count = np.maximum(used.sum(-1, keepdims=True), 1)
    half = np.where(used, cells.df, 2.0) / 2
    logs = np.log(np.where(used, cells.value, 1.0)) - digamma(half) + np.log(half)
    center = np.where(used, logs, 0).sum(-1, keepdims=True) / count
    degrees = np.maximum(count - 1, 1)
    scatter = np.where(used, (logs - center) ** 2, 0).sum(-1, keepdims=True) / degrees
    trigamma = polygamma(1, half)
    chance = np.where(used, trigamma, 0).sum(-1, keepdims=True) / count
    kurtosis = np.where(used, polygamma(3, half) / trigamma**2, 0).sum(-1, keepdims=True) / count
    error = np.sqrt((2 + kurtosis) / degrees)  # relative standard error of `scatter`
    return Prior(np.exp(center), _prior_degrees(scatter * (1 + CAUTION * error) - chance))


def moderated(cells: Variances) -> Variances:
    """Return each variance averaged with the typical variance of all cells on the last axis.

    Three seeds estimate a variance s² badly. The result is s̃² = (d₀ s₀² + d s²) / (d₀ + d), with
    d₀ + d degrees of freedom. s₀² is the level of `prior`, and d₀ are the degrees of freedom that
    the cell borrows. No variance falls below the cell's own; a variance of 0 stays unchanged.
    """
    family, used = prior(cells), cells.value > 0
    others = np.where(used, cells.df, 0).sum(-1, keepdims=True) - cells.df
    borrowed = np.where(used, family.borrowed(others), 0.0)
    df = cells.df + borrowed
    variance = (borrowed * family.level + cells.df * cells.value) / np.maximum(df, 1e-9)
    return Variances(np.maximum(variance, cells.value), df)


def _prior_degrees(excess: Array) -> Array:
    """Return d₀ of `prior`: the solution of ψ'(d₀ / 2) = excess.

    The solver is Newton's iteration from the appendix of Smyth, 2004.

    Args:
        excess: Variance of log s² over the cells, minus its expected value if all cells had the
            same true variance. If the excess is not positive, the cells agree fully.
    """
    from scipy.special import polygamma

    clipped = np.clip(excess, 4 / _EQUAL, 1e6)
    half = 0.5 + 1 / clipped
    for _ in range(12):
        tri = polygamma(1, half)
        half = half + tri * (1 - tri / clipped) / polygamma(2, half)
    return np.asarray(np.where(excess > 4 / _EQUAL, 2 * half, _EQUAL), dtype=np.float64)


@dataclass(frozen=True)
class Difference:
    """Estimated differences of two means, as arrays of one shape with one element per cell.

    A difference with a standard error of 0 is exact: its one-sided p-value is 0 or 1, or 0.5 if the
    difference equals the bound of the test.

    Skewed noise cancels in the difference of two means of equally many runs. Otherwise a t-test is
    too optimistic far in the tail, which a family of many cells reaches. If `skew` is not 0, z (the
    normal quantile of the t-test's p) is therefore compared with a gamma distribution of this
    skewness, and the larger p is used.

    Attributes:
        mean: The difference, in the unit of the metric.
        error: Standard error of the difference.
        df: Degrees of freedom.
        skew: Largest skewness of the difference that the tests allow for; 0: symmetric.
    """

    mean: Array
    error: Array
    df: Array
    skew: Array | float = 0.0

    def p_below(self, bound: float = 0.0) -> Array:
        """Return the one-sided p-value; a small p is evidence of a difference below the bound."""
        from scipy.special import stdtr

        distance = np.asarray(self.mean - bound, dtype=np.float64)
        exact = np.array(np.where(distance == 0, 0.0, np.copysign(np.inf, distance)))
        scaled = np.divide(distance, self.error, out=exact, where=np.greater(self.error, 0))
        return _skewed_p(np.asarray(stdtr(self.df, scaled), dtype=np.float64), self.skew)

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

        tail = _skewed_tail((1 - confidence) / 2, self.skew)
        reach = -stdtrit(self.df, tail) * self.error
        return self.mean - reach, self.mean + reach

    def as_gain(self, higher: bool) -> "Difference":
        """Return the difference with improvements positive: negate it if lower is better."""
        return self if higher else replace(self, mean=-self.mean)


def difference(before: Samples, after: Samples, noise: Variances) -> Difference:
    """Return `after` minus `before` for independent runs with the same variance on both sides."""
    error = np.sqrt(noise.value * (1 / before.n + 1 / after.n))
    return Difference(after.mean - before.mean, error, noise.df, skewness(before.n, after.n))


def skewness(before: Array | float, after: Array | float) -> Array:
    """Return the largest skewness of a difference of means that tests allow for.

    γ |1/n₂² - 1/n₁²| / (1/n₁ + 1/n₂)^1.5, where γ is `SKEWNESS`.

    Args:
        before: Number of runs n₁.
        after: Number of runs n₂.
    """
    first, second = 1 / np.asarray(before, dtype=np.float64), 1 / np.asarray(after)
    return np.asarray(SKEWNESS * np.abs(second**2 - first**2) / (first + second) ** 1.5)


def _skewed_p(p: Array, skew: Array | float) -> Array:
    """Return the larger of each p and the p of a gamma distribution with this skewness."""
    from scipy.special import gammaincc, ndtri

    shape = 4 / np.maximum(skew, 1e-3) ** 2
    z = np.maximum(-ndtri(p), 0.0)
    return np.where(
        (z > 0) & (p > 0) & np.greater(skew, 1e-3),
        np.maximum(p, gammaincc(shape, shape + z * shape**0.5)),
        p,
    )


def _skewed_tail(tail: float, skew: Array | float) -> Array:
    """Return the p-value of the t-test at which `_skewed_p` returns `tail` (below 0.5)."""
    from scipy.special import gammainccinv, ndtr, ndtri

    shape = 4 / np.maximum(skew, 1e-3) ** 2
    z = (gammainccinv(shape, tail) - shape) / shape**0.5
    return np.where(np.greater(skew, 1e-3), ndtr(-np.maximum(z, -ndtri(tail))), tail)
