"""What a table is: columns, rows, notes. It only has to be printed; nothing is escaped yet."""

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
