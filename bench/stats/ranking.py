"""Methods over many pairs: average ranks (Friedman, Nemenyi), relative improvement (CRD)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


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
