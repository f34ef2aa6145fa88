"""Differences of two means with their standard errors, and the power to detect one."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.estimates import Array, Samples

POWER = 0.8
MAX_SEEDS = 100  # `seeds_needed` returns None beyond it


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

        return np.asarray(stdtr(self.df, self._scaled(bound)), dtype=np.float64)

    def p_above(self, bound: float = 0.0) -> Array:
        """Return the one-sided p: small where the difference is above the bound."""
        from scipy.special import stdtr

        return np.asarray(stdtr(self.df, -self._scaled(bound)), dtype=np.float64)

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

    def _scaled(self, bound: float) -> Array:
        distance = np.asarray(self.mean - bound, dtype=np.float64)
        exact = np.array(np.where(distance == 0, 0.0, np.copysign(np.inf, distance)))
        return np.asarray(
            np.divide(distance, self.error, out=exact, where=np.greater(self.error, 0))
        )


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
