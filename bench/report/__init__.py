"""Tables as Markdown, LaTeX, CSV and plain text: the same records give the same bytes."""

import csv
import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from bench.report.markup import LATEX, MARKDOWN, TERMINAL, TEXT, spreadsheet
from bench.report.table import Row, Table
from bench.results import write_whole

_WIDE = 5  # columns that still fit a page's width in LaTeX
_ANSI = re.compile("\x1b\\[[0-9]*m")
_FIELDS = (
    "table", "metric", "pair", "teacher", "student", "role", "method", "label", "note",
    "status", "n", "mean", "std", "seeds", "values", "rank", "reason",
)  # fmt: skip


def markdown(table: Table) -> str:
    """The table as GitHub's Markdown: heading, caption, table, notes."""
    escape = MARKDOWN.escape
    header = ["Teacher<br>Student"]
    header += [f"{escape(column.teacher)}<br>{escape(column.student)}" for column in table.columns]
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


def latex(table: Table, label: str | None = None) -> str:
    """The table as a LaTeX float; needs booktabs, and graphicx to fit a wide table to the page."""
    escape, wide = LATEX.escape, len(table.columns) > _WIDE
    title = escape(table.title.rstrip("."))
    lines = [
        r"% \usepackage{booktabs}" + (r" \usepackage{graphicx}" if wide else ""),
        r"\begin{table}[tp]",
        r"\centering",
        rf"\caption{{\textbf{{{title}.}} {LATEX.legend(table)}}}",
        *([rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', label)}}}"] if label else []),
        r"\par\smallskip",
        *([r"\resizebox{\linewidth}{!}{%"] if wide else []),
        rf"\begin{{tabular}}{{l{'c' * len(table.columns)}}}",
        r"\toprule",
        *_latex_lines(table),
        r"\bottomrule",
        r"\end{tabular}" + ("}" if wide else ""),
    ]
    if table.notes:
        notes = [f"{LATEX.mark.format(escape(one.mark))} {escape(one.text)}" for one in table.notes]
        lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize"]
        lines += [" \\\\\n".join(notes), r"\end{minipage}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_lines(table: Table) -> Iterator[str]:
    """The lines of the table: networks, teacher and student, methods; a rule between them."""
    escape, body = LATEX.escape, LATEX.body(table)
    yield " & ".join(["Teacher", *(escape(column.teacher) for column in table.columns)]) + r" \\"
    yield " & ".join(["Student", *(escape(column.student) for column in table.columns)]) + r" \\"
    for method in (False, True):
        group = [
            cells
            for row, cells in zip(table.rows, body, strict=True)
            if (row.role == "method") is method
        ]
        if group:
            yield r"\midrule"
        yield from (" & ".join(cells) + r" \\" for cells in group)


def text(table: Table, *, width: int | None = None, terminal: bool = False) -> str:
    """The table for reading as it is; for a terminal with bold and underline instead of * and _.

    width: columns of the screen; a table that is wider is cut into several, one below the other.
    """
    style = TERMINAL if terminal else TEXT
    found, *cells = zip(*style.body(table), strict=True)
    labels = _padded(["Teacher", "Student", *found])
    columns = [
        _text_column((style.escape(column.teacher), style.escape(column.student)), values)
        for column, values in zip(table.columns, cells, strict=True)
    ]
    groups = [row.role == "method" for row in table.rows]
    rules = {2, 2 + groups.index(True)} if any(groups) else {2}
    parts = [style.escape(table.title), textwrap.fill(style.legend(table), width or 100)]
    for block in _blocks(columns, len(labels[0]), width):
        lines = ["  ".join(cells).rstrip() for cells in zip(labels, *block, strict=True)]
        rule = "─" * max(map(_visible, lines))
        ruled = ([rule, one] if place in rules else [one] for place, one in enumerate(lines))
        parts.append("\n".join(chain.from_iterable(ruled)))
    notes = [f"{style.mark.format(note.mark)} {style.escape(note.text)}" for note in table.notes]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])]) + "\n"


def _text_column(names: Sequence[str], cells: Sequence[str]) -> list[str]:
    """A column as strings of equal visible length: names centred, numbers below each other."""
    values = _padded(cells)
    room = max(_visible(values[0]), *map(len, names))
    left = " " * ((room - _visible(values[0])) // 2)
    return _padded([*(name.center(room) for name in names), *(left + value for value in values)])


def _padded(cells: Sequence[str]) -> list[str]:
    """The cells with blanks added to a common visible length."""
    room = max(map(_visible, cells))
    return [cell + " " * (room - _visible(cell)) for cell in cells]


def _visible(text: str) -> int:
    """The length without the codes for bold and underline."""
    return len(_ANSI.sub("", text))


def _blocks(columns: list[list[str]], label: int, width: int | None) -> Iterator[list[list[str]]]:
    """As many columns side by side as fit a width, at least one."""
    block: list[list[str]] = []
    used = label
    for column in columns:
        needed = 2 + _visible(column[0])
        if block and width is not None and used + needed > width:
            yield block
            block, used = [], label
        block.append(column)
        used += needed
    yield block


def comma_separated(tables: Sequence[Table]) -> str:
    """One line for each pair and method of each table; numbers unrounded, seeds joined by `;`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_FIELDS)
    for table in tables:
        for row in table.rows:
            writer.writerows(_csv_lines(table, row))
    return out.getvalue()


def _csv_lines(table: Table, row: Row) -> Iterator[list[str]]:
    for column, cell in zip(table.columns, row.cells, strict=True):
        found = cell.measured
        words = (table.title, table.metric.name, column.pair, column.teacher, column.student)
        yield [
            *map(spreadsheet, (*words, row.role, row.name, row.label, row.note, cell.status)),
            str(found.n if found else 0),
            repr(found.mean) if found else "",
            repr(found.std) if found and found.std is not None else "",
            ";".join(map(str, found.seeds)) if found else "",
            ";".join(map(repr, found.values)) if found else "",
            cell.rank or "",
            spreadsheet(cell.hole.reason if cell.hole else ""),
        ]


def write(tables: Sequence[Table], folder: Path, stem: str) -> list[Path]:
    """Write the tables as <stem>.md, .tex and .csv, each whole or not at all: the paths written."""
    labels = [stem if number == 1 else f"{stem}-{number}" for number in range(1, len(tables) + 1)]
    contents = {
        "md": "\n".join(map(markdown, tables)),
        "tex": "\n".join(latex(one, label) for one, label in zip(tables, labels, strict=True)),
        "csv": comma_separated(tables),
    }
    paths = []
    for suffix, content in contents.items():
        path = folder / f"{stem}.{suffix}"
        write_whole(path, content.encode())
        paths.append(path)
    return paths
