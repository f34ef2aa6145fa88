"""Tables as GitHub's Markdown."""

from bench.report.markup import MARKDOWN
from bench.report.table import Table


def markdown(table: Table) -> str:
    """The table as GitHub's Markdown: heading, caption, table, notes."""
    escape = MARKDOWN.escape
    header = ["Teacher<br>Student"]
    header += [
        f"{escape(column.teacher)}<br>{MARKDOWN.student(column)}" for column in table.columns
    ]
    rows = [header, *MARKDOWN.body(table)]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    rule = [":" + "-" * (widths[0] - 1), *(f":{'-' * (width - 2)}:" for width in widths[1:])]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [header, rule, *rows[1:]]
    ]
    notes = [f"- {MARKDOWN.mark.format(note.mark)} {escape(note.text)}" for note in table.notes]
    parts = [f"## {escape(table.title)}", MARKDOWN.legend(table), "\n".join(lines)]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])]) + "\n"
