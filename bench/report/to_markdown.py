"""Tables as GitHub's Markdown."""

from collections.abc import Iterable, Sequence

from bench.report.layout import Sheet
from bench.report.markup import MARKDOWN
from bench.report.table import Note, Table


def markdown(table: Table) -> str:
    """The table as GitHub's Markdown: heading, caption, table, notes."""
    escape = MARKDOWN.escape
    header = ["Teacher<br>Student"]
    header += [
        f"{escape(column.teacher)}<br>{MARKDOWN.student(column)}" for column in table.columns
    ]
    lines = _grid([header, *MARKDOWN.body(table)])
    parts = [f"## {escape(table.title)}", MARKDOWN.legend(table), lines, _notes(table.notes)]
    return "\n\n".join(filter(None, parts)) + "\n"


def markdown_sheet(sheet: Sheet) -> str:
    """A sheet as GitHub's Markdown: a heading for each grid."""
    escape = MARKDOWN.escape
    parts = [f"## {escape(sheet.title)}", escape(sheet.caption)]
    for one in sheet.grids:
        parts += [f"### {MARKDOWN.marked(one.title)}", escape(one.text)]
        if one.rows:
            rows = [[MARKDOWN.marked(cell) for cell in row.cells] for row in one.rows]
            parts.append(_grid([list(map(escape, one.header)), *rows]))
    return "\n\n".join(filter(None, [*parts, _notes(sheet.notes)])) + "\n"


def _grid(rows: Sequence[Sequence[str]]) -> str:
    """Escaped rows of a table, the first of them its header; all columns but the first centred."""
    widths = [max(3, *map(len, cells)) for cells in zip(*rows, strict=True)]
    rule = [":" + "-" * (widths[0] - 1), *(f":{'-' * (width - 2)}:" for width in widths[1:])]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [rows[0], rule, *rows[1:]]
    )


def _notes(notes: Iterable[Note]) -> str:
    return "\n".join(f"- {MARKDOWN.note(note)}" for note in notes)
