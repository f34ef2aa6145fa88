"""Write documents as LaTeX floats with booktabs, or as one complete LaTeX document."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import partial

from bench.report.document import Document, Section
from bench.report.writers import Markup

# A box (package graphicx) that shrinks a grid to the width of the column if the grid is wider.
_SHRINK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
_WRAPPED = (  # a column for names, and a column for paragraphs
    r"@{}p{0.2\linewidth}p{\dimexpr0.8\linewidth-2\tabcolsep}@{}"
)
_PREAMBLE = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[margin=2.5cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
"""
_GLYPHS = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    # In braces, because LaTeX reads a bare [ or * after \\ as an option.
    **{char: f"{{{char}}}" for char in "[]*"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}"},
    **{"†": r"\textdagger{}", "‡": r"\textdaggerdbl{}", "§": r"\S{}", "¶": r"\P{}"},
    **{"±": r"\textpm{}", "×": r"$\times$", "→": r"$\to$", "·": r"$\cdot$", "−": "$-$"},
    **{"↑": r"$\uparrow$", "↓": r"$\downarrow$"},
    **{"≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$", "∞": r"$\infty$", "‖": r"$\|$"},
    **{"–": r"\textendash{}", "—": r"\textemdash{}", "…": r"\dots{}", '"': "''"},
    **{"‘": "`", "’": "'", "“": "``", "”": "''"},
}


def _escape(text: str) -> str:
    text = re.sub(r"-(?=-)", "-{}", "".join(map(_glyph, text)))
    return text.replace(r" \textpm{} ", r"\,\textpm\,")


def _glyph(char: str) -> str:
    """Return a character in LaTeX; if pdflatex cannot print it, as `[U+XXXX]`."""
    if char in _GLYPHS:
        return _GLYPHS[char]
    if char < "\u0080" or "\u00c0" <= char < "\u0180":
        return char
    if greek := re.fullmatch(r"GREEK SMALL LETTER (?!OMICRON)(\w+)", unicodedata.name(char, "")):
        return f"$\\{greek[1].lower().replace('lamda', 'lambda')}$"
    return f"{{[}}U+{ord(char):04X}{{]}}"


LATEX = Markup(
    _escape,
    {
        "best": r"\textbf{{{}}}",
        "second": r"\underline{{{}}}",
        "mark": r"\textsuperscript{{{}}}",
        "published": r"{{\scriptsize[{}]}}",
    },
)


def latex(
    documents: Sequence[Document], label: str, standalone: bool = False, wide: bool = False
) -> str:
    """Return documents as LaTeX floats.

    Args:
        documents: The documents to write.
        label: Label of the first document; each other document appends its number.
        standalone: Whether to return a complete LaTeX document, with a preamble.
        wide: Whether floats span both columns of a page.
    """
    labels = [label if i == 1 else f"{label}-{i}" for i in range(1, len(documents) + 1)]
    write = partial(_document, environment="table*" if wide else "table")
    text = "\n".join(map(write, documents, labels))
    return f"{_PREAMBLE}{text}\\end{{document}}\n" if standalone else text


def _document(document: Document, label: str, environment: str) -> str:
    """Return a document in LaTeX.

    One section becomes a float. Several sections become a paragraph, floats and a list of notes.
    """
    title = LATEX.plain(document.title.rstrip("."))
    [first, *others] = document.sections
    if not others:
        caption = rf"\textbf{{{title}.}} {LATEX(document.caption)}"
        return _float(caption, first, label, environment, document)
    parts = [rf"\paragraph{{{title}.}} {LATEX(document.caption)}" + "\n"]
    for number, section in enumerate(document.sections, 1):
        heading, text = f"{LATEX(section.title)}.", LATEX.plain(section.text)
        if section.rows:
            caption = rf"\textbf{{{heading}}} {text}".rstrip()
            parts.append(_float(caption, section, f"{label}-{number}", environment))
        else:
            parts.append(rf"\paragraph{{{heading}}} {text}" + "\n")
    if notes := [rf"\item {LATEX.note(note)}" for note in document.notes]:
        parts += [r"\begin{itemize}", *notes, r"\end{itemize}"]
    return "\n".join(parts) + "\n"


def _float(
    caption: str, section: Section, label: str, environment: str, document: Document | None = None
) -> str:
    """Return a section as a float; graphicx scales a grid that is wider than the column."""
    columns = len(section.header[0]) - 1
    notes = [LATEX(document.details), *map(LATEX.note, document.notes)] if document else []
    notes = list(filter(None, notes))
    lines = [
        r"% \usepackage{booktabs} \usepackage{graphicx}",
        rf"\begin{{{environment}}}[tp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', label)}}}",
        r"\par\smallskip",
        *([r"\footnotesize"] if section.wrapped else [_SHRINK]),
        rf"\begin{{tabular}}{{{_WRAPPED if section.wrapped else 'l' + 'c' * columns}}}",
        r"\toprule",
        *_lines(section),
        r"\bottomrule",
        r"\end{tabular}" if section.wrapped else r"\end{tabular}}",
    ]
    if notes:
        lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize"]
        lines += [" \\\\\n".join(notes), r"\end{minipage}"]
    return "\n".join([*lines, rf"\end{{{environment}}}"]) + "\n"


def _lines(section: Section) -> Iterator[str]:
    """Yield the lines of a grid: header, then rows, each with published values in a line below."""
    for line in section.header:
        yield " & ".join(LATEX(cell.text) for cell in line) + r" \\"
    group = None
    for row in section.rows:
        method = row.role == "method" and bool(section.pairs)
        if method is not group:
            yield r"\midrule"
            group = method
        yield " & ".join(LATEX(cell.text) for cell in row.cells) + r" \\"
        if any(cell.below for cell in row.cells):
            yield " & ".join(LATEX(cell.below) for cell in row.cells) + r" \\[2pt]"
