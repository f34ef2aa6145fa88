"""Write documents as LaTeX floats with booktabs, or as one complete LaTeX document."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from bench.report.document import Document, GridCell, Section, Text
from bench.report.writers import Markup

# A box (package graphicx) that shrinks a grid to the width of the column if the grid is wider.
_SHRINK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
_WRAPPED = (  # a column for names, and a column for paragraphs
    r"@{}p{0.2\linewidth}p{\dimexpr0.8\linewidth-2\tabcolsep}@{}"
)
_PREAMBLE = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[margin=2.5cm]{geometry}
"""
# siunitx (3 or later) aligns numbers at the decimal point, in bold type, too.
_SIUNITX = (
    r"\sisetup{separate-uncertainty, retain-zero-uncertainty, mode = text, "
    r"reset-text-series = false, group-digits = none}"
)
_NUMBER = re.compile(r"(−?)(\d+)(?:\.(\d+))?(?: ± ([\d.]+))?")
_CHARACTER_PT, _GAP_PT = 5.0, 12.0  # average width of a character, and distance of two columns
_MAX_NATURAL_PT = 360  # in a column of 250 points, a grid of this width has type of 7 points
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
    documents: Sequence[Document],
    label: str,
    standalone: bool = False,
    wide: bool = False,
    siunitx: bool = False,
) -> str:
    """Return documents as LaTeX floats.

    A float spans both columns of a page if the type of its table would otherwise be too small.

    Args:
        documents: The documents to write.
        label: Label of the first document; each other document appends its number.
        standalone: Whether to return a complete LaTeX document, with a preamble.
        wide: Whether all floats span both columns of a page.
        siunitx: Whether the package siunitx aligns numbers at the decimal point.
    """
    labels = [label if i == 1 else f"{label}-{i}" for i in range(1, len(documents) + 1)]
    text = "\n".join(map(partial(_document, wide=wide, siunitx=siunitx), documents, labels))
    if not standalone:
        return text
    packages = _packages(siunitx).replace(" ", "\n")
    return f"{_PREAMBLE}{packages}\n\\begin{{document}}\n{text}\\end{{document}}\n"


def _packages(siunitx: bool) -> str:
    names = ["booktabs", "graphicx", *(["siunitx"] if siunitx else [])]
    return " ".join(rf"\usepackage{{{name}}}" for name in names)


def _document(document: Document, label: str, wide: bool, siunitx: bool) -> str:
    """Return a document in LaTeX.

    One section becomes a float: the caption is short, and everything else is below the grid.
    Several sections become a paragraph, floats and a list of notes.
    """
    title = LATEX.plain(document.title.rstrip("."))
    [first, *others] = document.sections
    write = partial(_float, wide=wide, siunitx=siunitx)
    if not others:
        texts = [LATEX(document.introduction), LATEX(document.details)]
        notes = [" ".join(filter(None, texts)), *map(LATEX.note, document.notes)]
        caption = rf"\textbf{{{title}.}} {LATEX(document.caption)}"
        return write(caption, first, label, list(filter(None, notes)))
    parts = [rf"\paragraph{{{title}.}} {LATEX(document.caption)}" + "\n"]
    for number, section in enumerate(document.sections, 1):
        heading, text = LATEX(section.title), LATEX.plain(section.text)
        if section.rows:
            caption = rf"\textbf{{{title}. {heading}.}} {text}".rstrip()
            parts.append(write(caption, section, f"{label}-{number}"))
        else:
            parts.append(rf"\paragraph{{{heading}.}} {text}" + "\n")
    if notes := [rf"\item {LATEX.note(note)}" for note in document.notes]:
        parts += [r"\begin{itemize}", *notes, r"\end{itemize}"]
    return "\n".join(parts) + "\n"


def _float(
    caption: str,
    section: Section,
    label: str,
    notes: Sequence[str] = (),
    *,
    wide: bool,
    siunitx: bool,
) -> str:
    """Return a section as a float; graphicx scales a grid that is wider than the column."""
    columns = list(_columns(section, siunitx))
    environment = "table*" if wide or _is_wide(section) else "table"
    shape = "l" + "".join(column.shape for column in columns)
    lines = [
        f"% {_packages(siunitx)}",
        rf"\begin{{{environment}}}[tp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', label)}}}",
        *([_SIUNITX] if siunitx else []),
        r"\par\smallskip",
        *([r"\footnotesize"] if section.wrapped else [_SHRINK]),
        rf"\begin{{tabular}}{{{_WRAPPED if section.wrapped else shape}}}",
        r"\toprule",
        *_lines(section, columns),
        r"\bottomrule",
        r"\end{tabular}" if section.wrapped else r"\end{tabular}}",
    ]
    if notes:
        lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize"]
        lines += [" \\\\\n".join(notes), r"\end{minipage}"]
    return "\n".join([*lines, rf"\end{{{environment}}}"]) + "\n"


def _is_wide(section: Section) -> bool:
    """Return whether the type would be too small if the grid were shrunk to a narrow column."""
    lines = [*section.header, *(row.cells for row in section.rows)]
    characters = (max(_length(c.text) for c in column) for column in zip(*lines, strict=True))
    natural = sum(_CHARACTER_PT * count + _GAP_PT for count in characters)
    return natural > _MAX_NATURAL_PT and not section.wrapped


def _lines(section: Section, columns: Sequence["_Column"]) -> Iterator[str]:
    """Yield the lines of a grid: header, then rows, each with published values in a line below."""

    def line(first: Text, others: Sequence[str]) -> str:
        return " & ".join([LATEX(first), *others])

    for first, *cells in section.header:
        others = [c.words(cell.text) for c, cell in zip(columns, cells, strict=True)]
        yield line(first.text, others) + r" \\"
    group = None
    for row in section.rows:
        method = row.role == "method" and bool(section.pairs)
        if method is not group:
            yield r"\midrule"
            group = method
        first, *cells = row.cells
        others = [c.entry(cell) for c, cell in zip(columns, cells, strict=True)]
        yield line(first.text, others) + r" \\"
        if any(cell.below for cell in row.cells):
            others = [c.words(cell.below) for c, cell in zip(columns, cells, strict=True)]
            yield line(first.below, others) + r" \\[2pt]"


@dataclass(frozen=True)
class _Column:
    """A column after the first, whose numbers are aligned.

    Attributes:
        room: The widest text after a number, in LaTeX, such as an arrow. Every number of the column
            gets the same room after it, so that centred numbers are aligned.
        numbers: The `table-format` of siunitx; empty: siunitx does not align the column.
    """

    room: str
    numbers: str

    @property
    def shape(self) -> str:
        """The column's type in the preamble of the grid."""
        room = f"{{{self.room}}}" if self.room else ""
        return f"S[table-format={self.numbers}{room}]" if self.numbers else "c"

    def words(self, text: Text) -> str:
        """Return a text in LaTeX, which siunitx does not read as a number."""
        return f"{{{LATEX(text)}}}" if text and self.numbers else LATEX(text)

    def entry(self, cell: GridCell) -> str:
        """Return a cell in LaTeX."""
        if not _is_number(cell):
            return self.words(cell.text)
        number, end = cell.text[0], LATEX(cell.text[1:])
        padded = end
        if end.replace("uparrow", "downarrow") != self.room.replace("uparrow", "downarrow"):
            padded = (rf"\rlap{{{end}}}" if end else "") + rf"\phantom{{{self.room}}}"
        if not self.numbers:
            return f"{LATEX((number,))}{padded}"
        value = number.text.replace("−", "-").replace("±", r"\pm")
        if number.style == "second":
            value = rf"\underline{{\tablenum[table-format={self.numbers}]{{{value}}}}}"
            return f"{{{value}{padded}}}"
        bold = r"\bfseries " if number.style == "best" else ""
        return f"{bold}{value} {{{end}}}" if end else f"{bold}{value}"


def _columns(section: Section, siunitx: bool) -> Iterator[_Column]:
    """Yield the columns of a grid after the first."""
    for column in zip(*(row.cells[1:] for row in section.rows), strict=True):
        numbers = [cell.text for cell in column if _is_number(cell)]
        widest = max((text[1:] for text in numbers), key=_length, default=())
        texts = [number.text for number, *_ in numbers]
        yield _Column(LATEX(widest), _table_format(texts) if siunitx and texts else "")


def _is_number(cell: GridCell) -> bool:
    return bool(cell.text and _NUMBER.fullmatch(cell.text[0].text))


def _length(text: Text) -> int:
    return sum(len(span.text) for span in text)


def _table_format(texts: Sequence[str]) -> str:
    """Return siunitx's `table-format` of numbers, such as `2.2(3)`.

    The number in brackets is the largest number of digits of a standard deviation.
    """
    matches = filter(None, map(_NUMBER.fullmatch, texts))
    parts = zip(*(match.groups(default="") for match in matches), strict=True)
    signs, integers, decimals, spreads = (max(map(len, part)) for part in parts)
    fraction = f".{decimals}" if decimals else ""
    spread = f"({spreads - 1})" if spreads else ""  # without the decimal point
    return f"{'-' * signs}{integers}{fraction}{spread}"
