"""Published numbers beside a leaderboard, as `bench report --published` shows them."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.report import published_settings
from bench.report.model import Measured, PublishedValue
from bench.report.published_settings import Numbers
from bench.site.leaderboards import Leaderboard
from bench.suite import Suite, canonical


@dataclass(frozen=True)
class PublishedRow:
    """A published number of a leaderboard's pair.

    Attributes:
        method: Name of the method in suites, or `teacher` or `student`.
        label: Name of the method in tables.
        value: The number and its source.
        n: The number of runs that the source states; None: not stated.
        here: The number of the runs of the leaderboard; None: there is none.
    """

    method: str
    label: str
    value: PublishedValue
    n: int | None
    here: Measured | None

    @property
    def gap(self) -> float | None:
        """The mean of the leaderboard minus the published mean; None: not run here."""
        return self.here.mean - self.value.mean if self.here else None


def published_rows(board: Leaderboard, suites: Mapping[str, Suite]) -> list[PublishedRow]:
    """Return the published numbers of a leaderboard's pair, images and metric.

    The teacher and the plain student come first, then the methods with the best number first.

    Args:
        board: The leaderboard.
        suites: The suites of the site, by the names of their pages.
    """
    metric, labels = board.table.metric, canonical()
    here = _here(board)
    places = dict.fromkeys((p.suite, p.pair) for each in board.places.values() for p in each)
    numbers: dict[str, Numbers] = {}
    rows: dict[str, PublishedRow] = {}
    for suite, pair in places:
        if suite not in numbers:
            numbers[suite] = published_settings.numbers(suites[suite])
        for (of_pair, method), line in numbers[suite].lines(metric.name).items():
            if of_pair == pair and line.published and method not in rows:
                label = labels.get(method, {}).get("label", line.label)
                rows[method] = PublishedRow(method, label, line.published, line.n, here.get(method))
    return sorted(rows.values(), key=lambda row: _order(row, metric.higher))


def _here(board: Leaderboard) -> dict[str, Measured]:
    """Return the means of a leaderboard by the names that the papers' tables have."""
    cells = ((row.cells[0], row.cells[0].measured) for row in board.table.rows)
    return {cell.published_name: measured for cell, measured in cells if measured}


def _order(row: PublishedRow, higher: bool) -> tuple[int, float]:
    roles = ("teacher", "student")
    place = roles.index(row.method) if row.method in roles else len(roles)
    return place, -row.value.mean if higher else row.value.mean
