"""Records as the table of a paper: teacher, student and methods as rows, pairs as columns. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from bench.errors import BenchError
from bench.report import deviations, wording
from bench.report.caption import About, caption, ns
from bench.report.cells import (  # fmt: skip
    Cell,
    Entry,
    Hole,
    Measured,
    Quoted,
    Rank,
    Role,
    Versus,
    cell,
)
from bench.report.layout import Column, Note, Row, Table, named
from bench.report.marks import marked
from bench.report.ranking import compared, judged, ranked
from bench.report.wording import Metric

__all__ = [
    "About", "Cell", "Column", "Entry", "Hole", "Measured", "Metric", "Note", "Quoted", "Rank",
    "Role", "Row", "Table", "Versus", "table", "tables",
]  # fmt: skip

_ORDER: tuple[Role, ...] = ("teacher", "student", "method")
Quotes = Mapping[tuple[str, str], Quoted]  # by pair and method


def table(
    entries: Iterable[Entry],
    about: About,
    metric: str = "top1",
    quotes: Quotes | None = None,
) -> Table:
    """The table of one metric; rows and columns in the order in which the entries first name them.

    quotes: published top-1 accuracies to stand beside the cells, as
    `bench.report.published.quotes` finds them; None: not asked for.
    Raises BenchError for an unknown metric, a tolerance that is none, and when there is no entry.
    """
    measure = wording.metric(metric)
    asked = [entry for entry in entries if entry.role != "teacher" or measure.teacher]
    if not asked:
        raise BenchError(f"{about.title}: no run to report; the suite or its filter is empty")
    columns = _columns(asked, about)
    tolerance = measure.allowed(about.tolerance)
    rows = by_mean(_rows(asked, columns, metric), measure, about.reference)
    rows = judged(rows, measure, about.reference, tolerance)
    fitting = quotes if quotes and metric == "top1" else {}
    rows = _beside(_counted(rows), columns, fitting)
    said = caption(about, measure, columns, rows, asked, quoted=quotes is not None)
    parts = marked(columns, rows)
    return Table(about.title, said, measure, *parts, about.reference, tolerance)


def tables(
    entries: Iterable[Entry],
    about: About,
    metric: str = "top1",
    quotes: Quotes | None = None,
) -> list[Table]:
    """As `table`; of a suite with pairs of both styles, one of the same family and one across."""
    asked = list(entries)
    styles: dict[str, list[Entry]] = {
        "same architecture style": [],
        "different architecture styles": [],
    }
    same, across = styles.values()
    for entry in asked:
        kin = wording.family(entry.teacher) == wording.family(entry.student)
        (same if kin else across).append(entry)
    if not same or not across:
        return [table(asked, about, metric, quotes)]
    return [
        table(some, replace(about, title=f"{about.title}: {style}"), metric, quotes)
        for style, some in styles.items()
    ]


def by_mean(rows: Sequence[Row], metric: Metric, reference: str) -> list[Row]:
    """The rows with best, second, and arrows beside the reference, of each column of methods."""
    base = named(rows, reference)
    levels = base.cells if base else ()

    def verdicts(columns: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
        made = [ranked(column, metric) for column in columns]
        if not levels:
            return made
        return [compared(one, level, metric) for one, level in zip(made, levels, strict=True)]

    return _of_methods(rows, verdicts)


def _of_methods(
    rows: Sequence[Row], change: Callable[[list[tuple[Cell, ...]]], list[list[Cell]]]
) -> list[Row]:
    """The rows, those of methods with their cells changed, column by column."""
    methods = [row.cells for row in rows if row.role == "method"]
    lines = zip(*change(list(zip(*methods, strict=True))), strict=True)
    return [replace(row, cells=next(lines)) if row.role == "method" else row for row in rows]


def _columns(asked: Sequence[Entry], about: About) -> tuple[Column, ...]:
    """The pairs; those that would look alike also show their name."""
    firsts: dict[str, Entry] = {}
    for entry in asked:
        firsts.setdefault(entry.pair, entry)
    columns = [
        Column(
            pair,
            wording.network(entry.teacher),
            wording.network(entry.student),
            deviations.of_pair(about.data, about.recipes.get(pair, {}), entry.student),
        )
        for pair, entry in firsts.items()
    ]
    looks = Counter((column.teacher, column.student) for column in columns)
    return tuple(
        replace(column, student=f"{column.student} ({column.pair})")
        if looks[column.teacher, column.student] > 1
        else column
        for column in columns
    )


def _rows(asked: Sequence[Entry], columns: Sequence[Column], metric: str) -> list[Row]:
    """A row for the teachers, one for each plain student (usually one), one for each method."""
    groups: dict[tuple[Role, str], dict[str, list[Entry]]] = {}
    for entry in asked:
        name = "teacher" if entry.role == "teacher" else entry.method
        groups.setdefault((entry.role, name), {}).setdefault(entry.pair, []).append(entry)
    alike = Counter(role for role, _ in groups)
    rows = []
    for (role, name), cells in groups.items():
        first = next(iter(cells.values()))[0]
        own = role == "method" or alike[role] > 1
        label = (first.label or name) if own else role.capitalize()
        found = tuple(cell(cells.get(column.pair, ()), metric) for column in columns)
        rows.append(Row(role, name, label, found, first.note or ""))
    return sorted(rows, key=lambda row: _ORDER.index(row.role))


def _counted(rows: Sequence[Row]) -> list[Row]:
    """The rows with the n that goes without saying: one for the teachers, one for all others."""
    usual = {}
    for teacher in (True, False):
        found = Counter(n for row in rows if (row.role == "teacher") is teacher for n in ns(row))
        usual[teacher] = max(found, key=lambda n: (found[n], n), default=0)
    return [replace(row, n=usual[row.role == "teacher"]) for row in rows]


def _beside(rows: Sequence[Row], columns: Sequence[Column], quotes: Quotes) -> list[Row]:
    """The rows with what is published in the place of each cell."""
    return [
        replace(
            row,
            cells=tuple(
                replace(
                    one,
                    published=quotes.get(
                        (column.pair, row.name if row.role == "method" else row.role)
                    ),
                )
                for one, column in zip(row.cells, columns, strict=True)
            ),
        )
        for row in rows
    ]
