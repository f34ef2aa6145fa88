"""How many seeds decide a comparison."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.stats.estimates import Array, Prior

POWER = 0.8  # probability with which `Design.seeds` seeds decide the comparison
MAX_SEEDS = 100  # `Design.seeds` returns None for more seeds
_POINTS = (np.arange(50) + 0.5) / 50  # quantiles of the estimated variance


@dataclass(frozen=True)
class Design:
    """A planned comparison of two means of n runs each, with a moderated t-test.

    Attributes:
        spread: True standard deviation of the difference of two runs: √(s₁² + s₂²).
        df: Degrees of freedom of the cell's own variance for n = 2; n - 1 times as many for n.
        others: The same of all other cells of the family together.
        prior: The prior of the present family.
        tolerance: Tolerance of the verdicts.
    """

    spread: float
    df: float
    others: float = 0.0
    prior: Prior | None = None
    tolerance: float = 0.0

    def seeds_beyond(self, effect: float, alpha: float, least: int = 2) -> int | None:
        """Return the fewest seeds that show a true difference to be beyond the tolerance.

        The test is decided if the measured difference exceeds the tolerance and is significant:
        D > max(tolerance, t · error). D is normal with mean `effect`.

        Args:
            effect: The true difference, in the unit of the metric.
            alpha: Level of the one-sided test.
            least: Smallest number to return.

        Returns:
            The number of seeds, with a power of at least `POWER`; None: more than `MAX_SEEDS`.
        """
        from scipy.special import ndtr

        def power(error: float, reach: Array) -> Array:
            return np.asarray(ndtr((effect - np.maximum(self.tolerance, reach)) / error))

        return self._fewest(power, alpha, least) if effect > self.tolerance else None

    def seeds_within(
        self, effect: float, alpha: float, least: int = 2, *, both: bool = False
    ) -> int | None:
        """Return the fewest seeds that show a true difference to be within the tolerance.

        The bound D + t · error must lie below the tolerance.

        Args:
            effect: The true difference, at least 0.
            alpha: Level of the one-sided test.
            least: Smallest number to return.
            both: Whether the bound D - t · error must also lie above -tolerance.

        Returns:
            As `seeds_beyond`.
        """
        from scipy.special import ndtr

        def power(error: float, reach: Array) -> Array:
            room = self.tolerance - reach
            high = ndtr((room - effect) / error)
            low = ndtr((-room - effect) / error) if both else 0.0
            return np.asarray(np.maximum(high - low, 0.0))

        return self._fewest(power, alpha, least) if effect < self.tolerance else None

    def _fewest(
        self, power: Callable[[float, Array], Array], alpha: float, least: int
    ) -> int | None:
        def enough(n: int) -> bool:
            error = max(self.spread, 1e-12) / n**0.5
            return bool(power(error, error * self._reach(n, alpha)).mean() >= POWER)

        least = max(least, 2)
        n = bisect_left(range(least, MAX_SEEDS + 1), True, key=enough) + least
        return n if n <= MAX_SEEDS else None

    def _reach(self, n: int, alpha: float) -> Array:
        """Return t √(s̃² / σ²) at the quantiles of s², as `moderated` computes s̃²."""
        from scipy.special import gammaincinv, stdtrit

        df = self.df * (n - 1)
        variance = 2 * gammaincinv(df / 2, _POINTS) / df
        borrowed = 0.0
        if self.prior is not None:
            others = np.asarray(self.others * (n - 1))
            borrowed = float(self.prior.borrowed(others).item())
        shrunk = (borrowed + df * variance) / (borrowed + df)
        return np.asarray(-stdtrit(df + borrowed, alpha) * np.sqrt(np.maximum(shrunk, variance)))
