"""A difference of two means, its noise, and what the noise leaves of it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.samples import Array, Samples


@dataclass(frozen=True)
class Difference:
    """An estimated difference δ with its standard error; arrays of one shape, one entry a cell.

    An error of 0 is taken at its word: what is then below or above a bound is so with certainty.
    """

    mean: Array
    error: Array
    df: Array

    def below(self, bound: float = 0.0) -> Array:
        """One-sided p of δ ≥ bound: small where the difference is shown to be below it."""
        from scipy.special import stdtr

        return np.asarray(stdtr(self.df, self._scaled(bound)), dtype=np.float64)

    def above(self, bound: float = 0.0) -> Array:
        """One-sided p of δ ≤ bound: small where the difference is shown to be above it."""
        from scipy.special import stdtr

        return np.asarray(stdtr(self.df, -self._scaled(bound)), dtype=np.float64)

    def apart(self) -> Array:
        """Two-sided p of δ = 0."""
        return np.asarray(np.minimum(1.0, 2 * np.minimum(self.below(), self.above())), np.float64)

    def interval(self, confidence: float = 0.95) -> tuple[Array, Array]:
        """The two-sided interval; each end alone holds with (1 + confidence) / 2."""
        from scipy.special import stdtrit

        reach = -stdtrit(self.df, (1 - confidence) / 2) * self.error
        return self.mean - reach, self.mean + reach

    def turned(self, sign: float) -> "Difference":
        """The same with the other sign where `sign` is -1: a gain, where less is better."""
        return replace(self, mean=sign * self.mean)

    def _scaled(self, bound: float) -> Array:
        distance = np.asarray(self.mean - bound, dtype=np.float64)
        certain = np.array(np.where(distance == 0, 0.0, np.copysign(np.inf, distance)))
        found = np.divide(distance, self.error, out=certain, where=np.greater(self.error, 0))
        return np.asarray(found, dtype=np.float64)


def paired(before: ArrayLike, after: ArrayLike, step: float = 0.0) -> Difference:
    """The gain of `after` within seeds: the last axis of both is the same seeds, at least two.

    step: the resolution of the values; no spread is taken to be below that of rounding.
    """
    gaps = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    n = gaps.shape[-1]
    std = np.maximum(gaps.std(-1, ddof=1), step / np.sqrt(6))
    return Difference(gaps.mean(-1), std / np.sqrt(n), np.full(std.shape, n - 1.0))


def welch(before: Samples, after: Samples) -> Difference:
    """The gain of `after` over independent runs of any spreads and numbers (Welch, 1947)."""
    parts = before.std**2 / before.n, after.std**2 / after.n
    total = np.asarray(parts[0] + parts[1], dtype=np.float64)
    weight = np.asarray(parts[0] ** 2 / before.df + parts[1] ** 2 / after.df, dtype=np.float64)
    # at least those of the smaller side; also where neither side has any spread
    least = np.array(np.minimum(before.df, after.df) + np.zeros_like(total))
    df = np.divide(total**2, weight, out=least, where=weight > 0)
    return Difference(after.mean - before.mean, np.sqrt(total), df)
