"""What tables and sheets are. They only have to be printed; nothing is escaped yet."""

from collections.abc import Iterable
from dataclasses import dataclass

from bench.report.cells import Cell, Role
from bench.report.wording import Metric


@dataclass(frozen=True)
class Column:
    """A teacher-student pair under the papers' names."""

    pair: str
    teacher: str
    student: str
    note: str = ""  # in what its runs are not those of the papers
    mark: str = ""  # of the note

    @property
    def name(self) -> str:
        """`WRN-40-2 → WRN-16-2`."""
        return f"{self.teacher} → {self.student}"


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
class Marked:
    """A text, and the mark of a note behind it."""

    text: str
    mark: str = ""


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
    reference: str = ""  # the name of the row that others are compared with
    tolerance: float = 0.0  # a difference that counts as none, in the unit of the metric

    @property
    def baseline(self) -> Row | None:
        """The row that others are compared with, if there is one."""
        return named(self.rows, self.reference)

    @property
    def ranked(self) -> bool:
        """Whether any cell is the best of its column."""
        return any(cell.rank for row in self.rows for cell in row.cells)


@dataclass(frozen=True)
class GridRow:
    """A line of a grid."""

    method: str  # by its name in the suite
    cells: tuple[Marked, ...]


@dataclass(frozen=True)
class Grid:
    """A part of a sheet: a title, what is to be said of it, and perhaps a table."""

    title: Marked
    text: str
    header: tuple[str, ...]
    rows: tuple[GridRow, ...]
    pair: str = ""  # by its name in the suite; empty: all of them


@dataclass(frozen=True)
class Sheet:
    """Grids with what a reader must know of all of them."""

    title: str
    caption: str
    metric: Metric
    grids: tuple[Grid, ...]
    notes: tuple[Note, ...]


def named(rows: Iterable[Row], name: str) -> Row | None:
    """The plain student or method of that name; None where there is none."""
    return next((row for row in rows if row.role != "teacher" and row.name == name), None)
