"""Tables as LaTeX floats with booktabs, alone or in a document that compiles as it is."""

import re
from collections.abc import Iterable, Iterator

from bench.report.markup import LATEX
from bench.report.table import Table

_WIDE = 5  # columns that still fit a page's width
_PREAMBLE = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[margin=2.5cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
"""


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


def document(tables: Iterable[str]) -> str:
    """LaTeX tables as a document that compiles as it is."""
    return _PREAMBLE + "\n".join(tables) + "\\end{document}\n"
