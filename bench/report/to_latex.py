"""Tables as LaTeX floats with booktabs, alone or in a document that compiles as it is."""

import re
from collections.abc import Iterable, Iterator, Sequence

from bench.report.layout import Sheet
from bench.report.markup import LATEX
from bench.report.table import Note, Table

_WIDE = 5  # columns beside the first that still fit a page's width
_PREAMBLE = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[margin=2.5cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
"""


def latex(table: Table, label: str | None = None) -> str:
    """The table as a LaTeX float; needs booktabs, and graphicx to fit a wide table to the page."""
    title = LATEX.escape(table.title.rstrip("."))
    caption = rf"\textbf{{{title}.}} {LATEX.legend(table)}"
    return _float(caption, list(_latex_lines(table)), len(table.columns), table.notes, label)


def _float(
    caption: str, body: Sequence[str], columns: int, notes: Sequence[Note], label: str | None
) -> str:
    """A float: its caption, the lines between the outer rules, columns beside the first, notes."""
    wide = columns > _WIDE
    lines = [
        r"% \usepackage{booktabs}" + (r" \usepackage{graphicx}" if wide else ""),
        r"\begin{table}[tp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        *([rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', label)}}}"] if label else []),
        r"\par\smallskip",
        *([r"\resizebox{\linewidth}{!}{%"] if wide else []),
        rf"\begin{{tabular}}{{l{'c' * columns}}}",
        r"\toprule",
        *body,
        r"\bottomrule",
        r"\end{tabular}" + ("}" if wide else ""),
    ]
    if notes:
        lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize"]
        lines += [" \\\\\n".join(map(LATEX.note, notes)), r"\end{minipage}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_lines(table: Table) -> Iterator[str]:
    """The lines of the table: networks, teacher and student, methods; a rule between them."""
    escape, body = LATEX.escape, LATEX.body(table, quotes=False)
    yield " & ".join(["Teacher", *(escape(column.teacher) for column in table.columns)]) + r" \\"
    yield " & ".join(["Student", *(LATEX.student(column) for column in table.columns)]) + r" \\"
    for method in (False, True):
        group = [
            (row, cells)
            for row, cells in zip(table.rows, body, strict=True)
            if (row.role == "method") is method
        ]
        if group:
            yield r"\midrule"
        for row, cells in group:
            yield " & ".join(cells) + r" \\"
            if any(cell.published for cell in row.cells):  # below, as it would be too wide beside
                quotes = (LATEX.quote(cell, table) for cell in row.cells)
                yield " & ".join(["", *quotes]) + r" \\[2pt]"


def latex_sheet(sheet: Sheet, label: str) -> str:
    """A sheet in LaTeX: a paragraph, a float for each grid, and the notes as a list."""
    escape = LATEX.escape
    parts = [rf"\paragraph{{{escape(sheet.title)}.}} {escape(sheet.caption)}" + "\n"]
    for number, grid in enumerate(sheet.grids, 1):
        title, text = f"{LATEX.marked(grid.title)}.", escape(grid.text)
        if not grid.rows:
            parts.append(rf"\paragraph{{{title}}} {text}" + "\n")
            continue
        rows = [map(escape, grid.header), *(map(LATEX.marked, row.cells) for row in grid.rows)]
        head, *body = (" & ".join(cells) + r" \\" for cells in rows)
        caption = rf"\textbf{{{title}}} {text}".rstrip()
        lines = [head, r"\midrule", *body]
        parts.append(_float(caption, lines, len(grid.header) - 1, (), f"{label}-{number}"))
    notes = [rf"\item {LATEX.note(note)}" for note in sheet.notes]
    return "\n".join([*parts, r"\begin{itemize}", *notes, r"\end{itemize}"]) + "\n"


def document(tables: Iterable[str]) -> str:
    """LaTeX tables as a document that compiles as it is."""
    return _PREAMBLE + "\n".join(tables) + "\\end{document}\n"
