"""Comparisons that are tested after each seed, until their verdicts are settled.

A look tests the comparisons that are still open, with all seeds so far. The levels of the looks add
up to the level of a single test, so that looking often raises no more false alarms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.stats.comparison import (
    ALPHA,
    Columns,
    Comparison,
    Family,
    holm,
    judge,
    untested,
)
from bench.stats.estimates import Array, Values

SPENDING = 3.0  # exponent of the spending function
Place = tuple[int, int]  # column and row of a comparison; row -1: the baseline method
_LEVELS = np.logspace(-12, np.log10(0.499), 40)  # levels of a single one-sided test
_EDGES = np.linspace(-4.0, 8.0, 121)  # normal quantiles that divide the states of a t-statistic


@dataclass(frozen=True)
class Looks:
    """Looks after `first`, `first` + 1, …, `most` seeds, and their levels.

    Up to the look at n seeds, the part (n / most)³ of the level is spent: the power family of Kim
    and DeMets, Biometrika 74, 1987, for a spending function as in Lan and DeMets, Biometrika 70,
    1983. Few seeds must show a very large difference; the last look keeps most of the level.

    The levels are exact for paired t-tests of one comparison: `_levels` computes the distribution
    of the sequence of t-statistics. A moderated t-test has more degrees of freedom, so its
    successive results depend more on each other, and it crosses these bounds more rarely.

    Attributes:
        first: Seeds of the first look, at least 2.
        most: Seeds of the last look, more than `first`.
    """

    first: int
    most: int

    def level(self, n: int, alpha: float) -> float:
        """Return the level of a one-sided test at n seeds, if all looks together have `alpha`."""
        levels = _levels(self.first, self.most)[n - self.first]
        return float(np.exp(np.interp(np.log(alpha), np.log(_LEVELS), np.log(levels))))

    def corrected(self, p: Array, n: int) -> Array:
        """Return two-sided p-values of the look at n seeds, corrected for all looks.

        The corrected p is the smallest level of all looks together at which the look at n seeds
        rejects. If nothing has changed, any look has a corrected p below a with a probability of at
        most a, so that Holm's procedure applies to corrected p-values of different looks.
        """
        levels = _levels(self.first, self.most)[n - self.first]
        half = np.log(np.maximum(p / 2, 1e-300))
        one_sided = np.interp(half, np.log(levels), np.log(_LEVELS), right=np.log(0.5))
        return np.asarray(np.minimum(1.0, 2 * np.exp(one_sided)))


@dataclass(frozen=True)
class SeedLooks:
    """The looks of a suite whose verdicts decide about the seeds.

    Attributes:
        looks: The looks, and their levels.
        seeds: The seeds of the looks so far whose runs have all ended, by the pair's name.
    """

    looks: Looks
    seeds: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Looked:
    """The comparisons of a table after a look.

    Attributes:
        comparisons: For each column, a comparison for each method, as of the comparison's last
            look. p is corrected for looks and comparisons.
        open: The comparisons that need more seeds.
        p: p by comparison, corrected for looks only.
        variances: The variance of each cell, and its degrees of freedom, as of its last look.
    """

    comparisons: list[list[Comparison]]
    open: frozenset[Place]
    p: Mapping[Place, float]
    variances: Mapping[Place, tuple[float, float]]

    @classmethod
    def before(cls, columns: Columns) -> "Looked":
        """Return the comparisons before the first look: all are open."""
        places = ((i, j) for i, (_, methods) in enumerate(columns) for j in range(len(methods)))
        return cls(untested(columns), frozenset(places), {}, {})


def compare_in_looks(
    columns: Columns,
    looks: Looks,
    seeds: Sequence[int],
    tolerance: float = 0.0,
    *,
    higher: bool = True,
) -> Looked:
    """Compare each method with the baseline method at all looks so far.

    Args:
        columns: As in `bench.stats.comparison.compare_to_baseline`.
        looks: The looks.
        seeds: The seeds of the looks so far, in their order.
        tolerance: Largest difference that is treated as zero, in the unit of the metric.
        higher: Whether a higher value is better.
    """
    state = Looked.before(columns)
    for n in range(looks.first, len(seeds) + 1):
        state = look(state, columns, looks, seeds[:n], tolerance, higher=higher)
    return state


def look(
    before: Looked,
    columns: Columns,
    looks: Looks,
    seeds: Sequence[int],
    tolerance: float = 0.0,
    *,
    higher: bool = True,
) -> Looked:
    """Test the open comparisons after one more look.

    A comparison that is settled (better, worse or same) keeps its verdict, and needs no more seeds.
    The variances of settled cells still moderate the variances of open ones. A method or baseline
    method without a value for one of the seeds has no further look.

    Args:
        before: The comparisons after the look before.
        columns: As in `compare_in_looks`; a seed without a value has ended without a result.
        looks: The looks.
        seeds: The seeds of this look.
        tolerance: As in `compare_in_looks`.
        higher: As in `compare_in_looks`.
    """
    n = len(seeds)
    family = Family(
        [
            (
                _of(base, seeds),
                [_of(row, seeds) if (i, j) in before.open else {} for j, row in enumerate(rows)],
            )
            for i, (base, rows) in enumerate(columns)
        ]
    )
    if not family.contrasts:
        return Looked(before.comparisons, frozenset(), before.p, before.variances)
    active = {column for column, _ in family.owners}
    others = [
        variance
        for (column, row), variance in before.variances.items()
        if (column, row) not in family.owners and not (row == -1 and column in active)
    ]
    cells = family.cells(others)
    gain = (differences := family.differences(cells)).as_gain(higher)
    places = [(contrast.column, contrast.row) for contrast in family.contrasts]
    p = dict(before.p)
    p |= zip(places, looks.corrected(gain.p_two_sided(), n).tolist(), strict=True)
    holms = dict(zip(p, holm(np.array(list(p.values()))), strict=True))
    corrected = np.array([holms[place] for place in places])
    verdicts = judge(gain, corrected, tolerance, looks.level(n, ALPHA))
    comparisons, still_open = [list(each) for each in before.comparisons], set()
    for contrast, comparison in family.comparisons(cells, differences, verdicts, tolerance, len(p)):
        comparisons[contrast.column][contrast.row] = comparison
        if comparison.verdict == "inconclusive":
            still_open.add((contrast.column, contrast.row))
    variances = {**before.variances, **dict(zip(family.owners, family.variances, strict=True))}
    return Looked(comparisons, frozenset(still_open), p, variances)


def _of(values: Values, seeds: Sequence[int]) -> dict[int, float]:
    """Return the values of these seeds; {} if a value is missing."""
    return {s: values[s] for s in seeds} if all(s in values for s in seeds) else {}


@cache
def _levels(first: int, most: int) -> NDArray[np.float64]:
    """Return the level of each look (looks, levels) for each level in `_LEVELS` of all looks.

    For independent normal values, u_n = √n t_n / √(t_n² + n - 1) is the cosine of an angle, and the
    length of the vector of values is independent of u_2, …, u_n. Therefore t_n is a Markov chain:
    Jennison and Turnbull, Exact calculations for sequential t, χ² and F tests, Biometrika 78, 1991.
    The states of the chain are intervals of `_EDGES`; chains that have crossed a bound end.
    """
    from scipy.special import ndtr

    numbers = range(first, most + 1)
    spent = np.diff((np.array(numbers) / most) ** SPENDING, prepend=0.0)
    middles = (_EDGES[1:] + _EDGES[:-1]) / 2
    above = np.tile(ndtr(-_EDGES), (len(_LEVELS), 1))  # probability of a chain above each edge
    levels = []
    for n, part in zip(numbers, spent, strict=True):
        target = _LEVELS * part
        logs = np.log(np.maximum(above[:, ::-1], 1e-300))
        rows = zip(np.log(target), logs, strict=True)
        bounds = np.array([np.interp(goal, row, _EDGES[::-1]) for goal, row in rows])
        levels.append(ndtr(-bounds))
        if n < most:
            left = -np.diff(np.maximum(above - target[:, None], 0.0), axis=1)
            above = left @ _next_above(n, middles)
    return np.array(levels)


def _next_above(n: int, states: Array) -> Array:
    """Return the probability (states, edges) that t_{n+1} lies above each edge, given t_n.

    With the angle φ of t_n, u_n = √n cos φ. The next value x adds an angle ψ = arctan(x / length),
    √n tan ψ has Student's t-distribution with n degrees of freedom, and
    u_{n+1} = √(1 + u_n²) cos(ψ - arctan(1 / u_n)).

    Args:
        n: Number of values before.
        states: Normal quantiles of t_n.
    """
    from scipy.special import stdtr

    phi, beta = _angle(n, states)[:, None], _angle(n + 1, _EDGES)
    lost = n * np.sin(phi) ** 2 / (n + 1)
    reach = np.arctan2(np.sqrt(np.maximum(np.sin(beta) ** 2 - lost, 0.0)), np.cos(beta))
    center = np.arctan2(1.0, n**0.5 * np.cos(phi))
    ends = (np.clip(end, -np.pi / 2, np.pi / 2) for end in (center - reach, center + reach))
    lower, upper = (stdtr(n, -(n**0.5) * np.tan(end)) for end in ends)
    return np.asarray(np.maximum(lower - upper, 0.0))


def _angle(n: int, z: Array) -> Array:
    """Return the angle between n values and (1, …, 1) for normal quantiles of their t_n."""
    from scipy.special import ndtr, stdtrit

    return np.asarray(np.arctan2((n - 1) ** 0.5, -stdtrit(n - 1, ndtr(-z))))
