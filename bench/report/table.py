"""Records as the table of a paper: teacher, student and methods as rows, pairs as columns. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count, product
from string import ascii_lowercase

from bench.errors import BenchError
from bench.report import wording
from bench.report.cells import Cell, Entry, Hole, Measured, Rank, Role, cell, ranked
from bench.report.wording import About, Metric

__all__ = [
    "About", "Cell", "Column", "Entry", "Hole", "Measured", "Metric", "Note", "Rank", "Role", "Row",
    "Table", "table",
]  # fmt: skip

_ORDER: tuple[Role, ...] = ("teacher", "student", "method")


@dataclass(frozen=True)
class Column:
    """A teacher-student pair under the papers' names."""

    pair: str
    teacher: str
    student: str


@dataclass(frozen=True)
class Row:
    """A line of the table: one cell for each column."""

    role: Role
    name: str
    label: str
    cells: tuple[Cell, ...]
    note: str = ""
    mark: str = ""  # of the note
    n: int = 0  # the number of runs that goes without saying: the caption tells it


@dataclass(frozen=True)
class Note:
    """What a mark in the table means."""

    mark: str
    text: str


@dataclass(frozen=True)
class Table:
    """A table that only has to be printed: no text in it is escaped yet."""

    title: str
    caption: str
    metric: Metric
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[Note, ...]

    @property
    def ranked(self) -> bool:
        """Whether any cell is the best of its column."""
        return any(cell.rank for row in self.rows for cell in row.cells)


def table(entries: Iterable[Entry], about: About, metric: str = "top1") -> Table:
    """The table of one metric; rows and columns in the order in which the entries first name them.

    Raises BenchError for an unknown metric and when there is no entry.
    """
    measure = wording.metric(metric)
    asked = [entry for entry in entries if entry.role != "teacher" or measure.teacher]
    if not asked:
        raise BenchError(f"{about.title}: no run to report; the suite or its filter is empty")
    columns = _columns(asked)
    rows = _counted(_ranked(_rows(asked, columns, metric), measure))
    caption = _caption(about, measure, columns, rows, asked)
    return Table(about.title, caption, measure, columns, *_marked(rows))


def _columns(asked: Sequence[Entry]) -> tuple[Column, ...]:
    """The pairs; those that would look alike also show their name."""
    firsts: dict[str, Entry] = {}
    for entry in asked:
        firsts.setdefault(entry.pair, entry)
    columns = [
        Column(pair, wording.network(entry.teacher), wording.network(entry.student))
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


def _ranked(rows: Sequence[Row], metric: Metric) -> list[Row]:
    """The rows with the best and second of each column, over the methods."""
    methods = [row.cells for row in rows if row.role == "method"]
    placed = [ranked(column, metric) for column in zip(*methods, strict=True)]
    lines = zip(*placed, strict=True)
    return [replace(row, cells=next(lines)) if row.role == "method" else row for row in rows]


def _counted(rows: Sequence[Row]) -> list[Row]:
    """The rows with the n that goes without saying: one for the teachers, one for all others."""
    usual = {}
    for teacher in (True, False):
        found = Counter(n for row in rows if (row.role == "teacher") is teacher for n in _ns(row))
        usual[teacher] = max(found, key=lambda n: (found[n], n), default=0)
    return [replace(row, n=usual[row.role == "teacher"]) for row in rows]


def _ns(row: Row) -> list[int]:
    return [one.measured.n for one in row.cells if one.measured]


def _marked(rows: Sequence[Row]) -> tuple[tuple[Row, ...], tuple[Note, ...]]:
    """The rows with marks and what these mean: daggers for rows, letters for reasons of holes."""
    symbols = (symbol * n for n in count(1) for symbol in "†‡§¶")
    letters = ("".join(found) for n in count(1) for found in product(ascii_lowercase, repeat=n))
    daggers: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for row in rows:
        if row.note and row.note not in daggers:
            daggers[row.note] = next(symbols)
        for one in row.cells:
            if one.hole and one.hole.reason not in reasons:
                reasons[one.hole.reason] = next(letters)
    marked = tuple(
        replace(
            row,
            mark=daggers.get(row.note, ""),
            cells=tuple(
                replace(one, mark=reasons[one.hole.reason]) if one.hole else one
                for one in row.cells
            ),
        )
        for row in rows
    )
    notes = [*daggers.items(), *reasons.items()]
    return marked, tuple(Note(mark, text) for text, mark in notes)


def _caption(
    about: About,
    metric: Metric,
    columns: Sequence[Column],
    rows: Sequence[Row],
    asked: Sequence[Entry],
) -> str:
    """All that a reader must know to use the numbers, as sentences."""
    others = [row for row in rows if row.role != "teacher"]
    usual = others[0].n if others else 0
    teachers = [row.n for row in rows if row.role == "teacher" and row.n not in (0, usual)]
    done = [entry for entry in asked if entry.record and entry.record.get("status") == "done"]
    found = sorted({entry.seed for entry in done if entry.role != "teacher"})
    uniform = all(n == row.n for row in rows for n in _ns(row))
    partial = any(one.status == "partial" for row in others for one in row.cells)
    made = wording.environment(entry.record for entry in done if entry.record)
    direction = "higher" if metric.higher else "lower"
    return wording.sentences(
        (
            about.caption,
            f"{metric.phrase} ({metric.unit}; {direction} is better)",
            wording.data_set(about.data),
            wording.recipe(about.recipes, {column.pair: column.student for column in columns}),
            wording.seeds(usual, found, uniform=uniform),
            *(f"teachers: n = {n}" for n in teachers),
            "cells that lack seeds are not ranked" if partial else "",
            f"made with {made}" if made else "",
        )
    )
