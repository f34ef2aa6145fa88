"""Means, spreads, differences of two means, and the power to detect one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Values = Mapping[int, float]  # by seed

POWER = 0.8
MAX_SEEDS = 100  # `seeds_needed` returns None beyond it
MAX_BORROWED = 10.0  # degrees of freedom that a spread takes from other cells
_SAME = 1e-6  # relative: values closer than this differ by the rounding of float32 only


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Return the t-interval of the mean of a cell's values; None for fewer than two."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return None
    mean, std = float(np.mean(values)), float(np.std(values, ddof=1))
    reach = -float(stdtrit(n - 1, (1 - confidence) / 2)) * std / n**0.5
    return mean - reach, mean + reach


@dataclass(frozen=True)
class Samples:
    """Any number of cells, one array a statistic: one cell, a table, many simulated tables."""

    mean: Array
    std: Array  # unbiased, of single runs
    n: Array
    df: Array  # degrees of freedom of std

    def at_least(self, std: float) -> "Samples":
        """Return the samples with no spread below `std`."""
        return replace(self, std=np.maximum(self.std, std))


def samples(values: ArrayLike) -> Samples:
    """Return the samples of runs: an array with the seeds, at least two, as its last axis."""
    runs = np.asarray(values, dtype=np.float64)
    n = np.full(runs.shape[:-1], float(runs.shape[-1]))
    return Samples(runs.mean(-1), runs.std(-1, ddof=1), n, n - 1)


def resolution(values: Iterable[float]) -> float:
    """Return the smallest step between two different values; 0 where all are equal.

    Of accuracies it is 100 / test images. A spread below step / √12, that of rounding, is chance:
    three seeds with 97.2 % each do not prove that there is no noise.
    """
    unique = np.unique(np.fromiter(values, dtype=np.float64))
    steps = np.diff(unique)
    real = steps[steps > _SAME * np.abs(unique).max(initial=0.0)]
    return float(real.min()) if real.size else 0.0


def moderated(cells: Samples) -> Samples:
    """Return the cells of the last axis, each spread moderated by those of the others.

    Three seeds estimate a spread badly. The more the cells agree (d₀), the more they are pooled:
    s̃² = (d₀ s₀² + d s²) / (d₀ + d), with d₀ + d degrees of freedom: the moderated t of Smyth,
    Statistical Applications in Genetics and Molecular Biology 3(1), 2004, d₀ and s₀ from the mean
    and the variance of log s². Unlike the paper, to be conservative: d₀ is at most 10, and at most
    a quarter of the others' degrees of freedom; no spread falls below the cell's own; and cells of
    two seeds, or fewer than four spreads in all, stay unchanged.
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
    """Return d₀ from the scatter of log s² beyond that of chance: ψ'(d₀ / 2) = excess.

    Newton's iteration of Smyth, 2004, appendix. A million (full agreement) without an excess.
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
    """An estimated difference with its standard error; arrays of one shape, one entry a cell.

    An error of 0 counts as exact: the difference is then above or below a bound with certainty.

    Attributes:
        mean: The difference, in the unit of the metric.
        error: Its standard error.
        df: Degrees of freedom.
    """

    mean: Array
    error: Array
    df: Array

    def p_below(self, bound: float = 0.0) -> Array:
        """Return the one-sided p: small where the difference is below the bound."""
        from scipy.special import stdtr

        distance = np.asarray(self.mean - bound, dtype=np.float64)
        exact = np.array(np.where(distance == 0, 0.0, np.copysign(np.inf, distance)))
        scaled = np.divide(distance, self.error, out=exact, where=np.greater(self.error, 0))
        return np.asarray(stdtr(self.df, scaled), dtype=np.float64)

    def p_above(self, bound: float = 0.0) -> Array:
        """Return the one-sided p: small where the difference is above the bound."""
        return replace(self, mean=-self.mean).p_below(-bound)

    def p_two_sided(self) -> Array:
        """Return the two-sided p of no difference."""
        return np.asarray(np.minimum(1.0, 2 * np.minimum(self.p_below(), self.p_above())))

    def interval(self, confidence: float = 0.95) -> tuple[Array, Array]:
        """Return the two-sided interval; each end alone has (1 + confidence) / 2."""
        from scipy.special import stdtrit

        reach = -stdtrit(self.df, (1 - confidence) / 2) * self.error
        return self.mean - reach, self.mean + reach

    def as_gain(self, higher: bool) -> "Difference":
        """Return the difference with its sign changed unless higher is better."""
        return self if higher else replace(self, mean=-self.mean)


def paired(before: ArrayLike, after: ArrayLike, step: float = 0.0) -> Difference:
    """Return the gain of `after` within seeds.

    Args:
        before: Values, the last axis the seeds, at least two.
        after: Values of the same seeds.
        step: Resolution of the values; no spread is taken to be below that of rounding.
    """
    gaps = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    n = gaps.shape[-1]
    std = np.maximum(gaps.std(-1, ddof=1), step / np.sqrt(6))
    return Difference(gaps.mean(-1), std / np.sqrt(n), np.full(std.shape, n - 1.0))


def by_seed(before: Values, after: Values, step: float = 0.0) -> Difference:
    """Return the gain of `after`: within seeds if both have the same ones, else Welch's."""
    if before.keys() == after.keys():
        order = sorted(before)
        return paired([before[seed] for seed in order], [after[seed] for seed in order], step)
    floor = step / 12**0.5
    return welch(*(samples(list(side.values())).at_least(floor) for side in (before, after)))


def welch(before: Samples, after: Samples) -> Difference:
    """Return the gain of `after` over independent runs of any spread and number (Welch, 1947)."""
    parts = before.std**2 / before.n, after.std**2 / after.n
    total = np.asarray(parts[0] + parts[1], dtype=np.float64)
    weight = np.asarray(parts[0] ** 2 / before.df + parts[1] ** 2 / after.df, dtype=np.float64)
    # at least the degrees of freedom of the smaller side, also where no side has a spread
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
    """Return the fewest seeds with which a one-sided t-test detects an effect with 80 % power.

    Args:
        effect: Difference to detect, above 0.
        spread: Standard deviation of one difference of two runs: √(s₁² + s₂²) of independent runs,
            or that of the differences within seeds.
        alpha: Level of the test.
        groups: 2 for independent runs, 1 for differences within seeds.
        borrowed: Degrees of freedom beyond those of the seeds.
        both: Whether two tests, one on each side, must succeed, as for `same`.

    Returns:
        The number of seeds; None above 100, or where no number suffices.
    """
    from scipy.special import nctdtr, stdtrit

    if effect <= 0:
        return None
    n = np.arange(2, MAX_SEEDS + 1)
    df = groups * (n - 1) + borrowed
    shift = effect * np.sqrt(n) / max(spread, 1e-12 * effect)
    # scipy's noncentral t is inaccurate for large shifts, where the power is 1
    detected = 1 - nctdtr(df, np.minimum(shift, 30), -stdtrit(df, alpha))
    power = np.where(shift < 30, detected, 1.0)
    enough = np.flatnonzero((2 * power - 1 if both else power) >= POWER)
    return int(n[enough[0]]) if enough.size else None
