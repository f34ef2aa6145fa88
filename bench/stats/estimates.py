"""Means and spreads of cells over seeds, and better spreads where seeds are few."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

MAX_BORROWED = 10.0  # degrees of freedom that a spread takes from other cells
_SAME = 1e-6  # relative: values closer than this differ by the rounding of float32 only


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard deviation (n - 1) and interval; None for a single run."""

    mean: float
    std: float | None
    n: int
    low: float | None
    high: float | None


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Return mean, standard deviation (n - 1) and t-interval of the mean.

    Args:
        values: Values of a cell, at least one.
        confidence: Of the interval.
    """
    from scipy.special import stdtrit

    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(mean, None, n, None, None)
    std = float(np.std(values, ddof=1))
    reach = -float(stdtrit(n - 1, (1 - confidence) / 2)) * std / n**0.5
    return Estimate(mean, std, n, mean - reach, mean + reach)


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

    Three seeds estimate a spread badly. As far as the cells agree (d₀), they share their noise:
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
    moderated_variance = (borrowed * level + cells.df * cells.std**2) / np.maximum(
        borrowed + cells.df, 1
    )
    return replace(
        cells, std=np.sqrt(np.maximum(moderated_variance, cells.std**2)), df=cells.df + borrowed
    )


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
