"""Documents: what the writers of Markdown, LaTeX, text and HTML print. Nothing is escaped yet.

Tables, statistics and verdicts become documents, so that each format has one writer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.report.labels import one_line, signed
from bench.report.model import Cell, Column, Measured, Note, Row, Table

Style = Literal["plain", "value", "best", "second", "mark", "better", "worse", "published"]


@dataclass(frozen=True)
class Span:
    """A text in one style; `value` is the number of a cell without emphasis."""

    text: str
    style: Style = "plain"


Text = tuple[Span, ...]


@dataclass(frozen=True)
class GridCell:
    """A cell of a printed grid.

    Attributes:
        text: Its content.
        below: A published value, in formats with room below the content.
        sort: Number to sort by.
        status: Status of a table's cell: done, partial, failed, ...
        spoken: The cell as a screen reader says it.
        run: Id of its first record.
    """

    text: Text = ()
    below: Text = ()
    sort: float | None = None
    status: str = ""
    spoken: str = ""
    run: str = ""


@dataclass(frozen=True)
class GridRow:
    """A line of a printed grid; a rule separates methods from teachers and plain students."""

    cells: tuple[GridCell, ...]
    method: str = ""
    role: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a document: perhaps a title, a paragraph, a grid.

    Attributes:
        header: Lines of heads above the grid.
        pair: The pair that it is about; empty: all.
        pairs: The pair of each column but the first, in the table of a suite.
        folded: Whether readers open it only where they want to.
    """

    header: tuple[tuple[GridCell, ...], ...] = ()
    rows: tuple[GridRow, ...] = ()
    title: Text = ()
    text: str = ""
    pair: str = ""
    pairs: tuple[str, ...] = ()
    folded: bool = False


@dataclass(frozen=True)
class Document:
    """A title, a caption, sections and footnotes."""

    title: str
    caption: Text
    sections: tuple[Section, ...]
    notes: tuple[Note, ...]
    metric: str


def spans(text: str, mark: str = "", style: Style = "plain") -> Text:
    """Return a text with the mark of a footnote behind it."""
    return tuple(s for s in (Span(one_line(text), style), Span(mark, "mark")) if s.text)


def grid_cell(text: str, mark: str = "") -> GridCell:
    """Return a cell with a text and the mark of a footnote."""
    return GridCell(spans(text, mark))


def header(names: Sequence[str]) -> tuple[tuple[GridCell, ...], ...]:
    """Return a header of one line."""
    return (tuple(map(grid_cell, names)),)


def table_document(table: Table) -> Document:
    """Return a table as a document with one grid."""
    caption = spans(table.caption)
    if table.ranked:
        legend = Span(" Emphasis: "), Span("best", "best"), Span(" and ")
        caption += (*legend, Span("second best", "second"), Span(" method of a column."))
    section = Section(
        (
            (grid_cell("Teacher"), *(grid_cell(column.teacher) for column in table.columns)),
            (grid_cell("Student"), *(grid_cell(c.student, c.mark) for c in table.columns)),
        ),
        tuple(_row(row, table) for row in table.rows),
        pairs=tuple(column.pair for column in table.columns),
    )
    return Document(one_line(table.title), caption, (section,), table.notes, table.metric.name)


def _row(row: Row, table: Table) -> GridRow:
    cells = zip(row.cells, table.columns, strict=True)
    return GridRow(
        (grid_cell(row.label, row.mark), *(_cell(cell, row, c, table) for cell, c in cells)),
        row.name,
        row.role,
    )


def _cell(cell: Cell, row: Row, column: Column, table: Table) -> GridCell:
    shown, metric = cell.shown, table.metric
    below: Text = ()
    marks = [cell.mark]
    if cell.only_published and cell.published:
        marks.append(cell.published.mark)
    elif cell.published:
        text = metric.format(cell.published.mean)
        if cell.gap is not None:
            text += f"; {signed(cell.gap, metric.digits)}"
        below = spans(text, cell.published.mark, "published")
    text = cell.status if cell.missing else ""
    if shown:
        text = metric.format(shown.mean)
        text += "" if shown.std is None else f" ± {metric.format(shown.std)}"
    content = [Span(text, cell.rank or "value")]
    if cell.versus:
        arrow = {"better": "↑", "worse": "↓"}[cell.versus]
        content.append(Span(f" {arrow}{'*' if cell.significant else ''}", cell.versus))
    if cell.measured and cell.measured.n != row.n:
        content.append(Span(f" ({cell.measured.n})"))
    content += [Span(mark, "mark") for mark in marks if mark]
    return GridCell(
        tuple(content),
        below,
        shown.mean if shown else None,
        cell.status,
        f"{row.label}, {column.teacher} to {column.student}: {_spoken(cell, table)}",
        cell.runs[0] if cell.runs else "",
    )


def _spoken(cell: Cell, table: Table) -> str:
    """Return a cell as it is read out."""
    shown, metric = cell.shown, table.metric
    if shown is None:
        return cell.status
    std = "" if shown.std is None else f" ± {metric.format(shown.std)}"
    parts = [metric.format(shown.mean) + std]
    if isinstance(shown, Measured):
        parts.append(f"n = {shown.n}")
    parts += [f"{cell.rank} of its column"] if cell.rank else []
    if cell.versus:
        parts.append(f"{cell.versus} than the reference")
        parts += ["significant"] if cell.significant else []
    if cell.published and cell.gap is not None:
        gap = signed(cell.gap, metric.digits)
        parts.append(f"published {metric.format(cell.published.mean)}, gap {gap}")
    return ", ".join(parts)
