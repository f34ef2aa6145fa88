"""Two cells that can be compared, and the noise of all such cells together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.regression import settings
from bench.regression.cells import Cell, Summary
from bench.stats import Samples, resolution, shared


@dataclass(frozen=True)
class Match:
    """A cell before and now, both with the metric."""

    before: Cell
    now: Cell

    @property
    def notes(self) -> tuple[str, ...]:
        """What else differs between them."""
        return settings.differences(self.before, self.now)

    @property
    def altered(self) -> bool:
        """Whether they are known to have been made in different settings."""
        return settings.differs(self.before, self.now)

    def sides(self, metric: str) -> tuple[Summary, Summary]:
        """A metric before and now."""
        return self.before.metrics[metric], self.now.metrics[metric]


def noise(pairs: Sequence[tuple[Summary, Summary]]) -> tuple[Samples, Samples]:
    """The sides before and the sides now of a family, each spread steadied by all of them.

    No spread is taken to be below that of rounding.
    """
    floor = resolution(v for pair in pairs for one in pair for v in one.values.values()) / 12**0.5
    rows = [_numbers(before, now, floor) for before, now in pairs]
    both = shared(Samples(*np.array([row[0] for row in rows] + [row[1] for row in rows]).T))
    m = len(pairs)
    return _part(both, slice(None, m)), _part(both, slice(m, None))


Row = tuple[float, float, float, float]  # mean, std, n, degrees of freedom


def _numbers(before: Summary, now: Summary, floor: float) -> tuple[Row, Row]:
    std = max(now.std or 0.0, floor)
    later: Row = now.mean, std, now.n, now.n - 1
    if before.std is None:
        # one more run with our noise: its distance from our mean has s² (1 + 1/n), all of it here
        apart = std * (1 + 1 / now.n) ** 0.5
        return (before.mean, apart, 1, now.n - 1), (now.mean, 0.0, now.n, now.n - 1)
    return (before.mean, max(before.std, floor), before.n, before.n - 1), later


def _part(found: Samples, where: slice) -> Samples:
    return Samples(found.mean[where], found.std[where], found.n[where], found.df[where])
