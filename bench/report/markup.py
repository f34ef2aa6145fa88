"""How each format writes a cell, and how it is kept safe from the text that it is given."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from bench.report.layout import Marked, Note
from bench.report.table import Cell, Column, Quoted, Row, Table

_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{char: f"{{{char}}}" for char in "[]*"},  # after a line's end they would be its options
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}"},
    **{"†": r"\textdagger{}", "‡": r"\textdaggerdbl{}", "§": r"\S{}", "¶": r"\P{}"},
    **{"±": r"\textpm{}", "×": r"$\times$", "→": r"$\to$", "·": r"$\cdot$", "−": "$-$"},
    **{"↑": r"$\uparrow$", "↓": r"$\downarrow$"},
    **{"≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$", "∞": r"$\infty$", "‖": r"$\|$"},
    **{"–": r"\textendash{}", "—": r"\textemdash{}", "…": r"\dots{}", '"': "''"},
    **{"‘": "`", "’": "'", "“": "``", "”": "''"},
}


@dataclass(frozen=True)
class Style:
    """How one format writes the parts of a cell; the templates take one escaped text."""

    escape: Callable[[str], str]
    best: str
    second: str
    plain: str
    mark: str
    spread: str
    beside: str

    def student(self, column: Column) -> str:
        """A pair's student, with the dagger of the pair."""
        return self.escape(column.student) + self._marks(column.mark)

    def label(self, row: Row) -> str:
        """A row's name, with its dagger."""
        return self.escape(row.label) + self._marks(row.mark)

    def marked(self, found: Marked) -> str:
        """A text with the mark behind it, if it has one."""
        return self.escape(found.text) + self._marks(found.mark)

    def note(self, note: Note) -> str:
        """What a mark means, the mark before it; or a note without one."""
        return " ".join(filter(None, (self._marks(note.mark), self.escape(note.text))))

    def value(self, cell: Cell, table: Table) -> str:
        """Mean and spread; or the status of a hole."""
        if cell.measured is None:
            return self.plain.format(self.escape(cell.status if cell.hole else ""))
        shown = table.metric.shown(cell.measured.mean)
        if cell.measured.std is not None:
            shown += self.spread + table.metric.shown(cell.measured.std)
        template = {"best": self.best, "second": self.second, None: self.plain}[cell.rank]
        return template.format(shown)

    def remark(self, cell: Cell, row: Row) -> str:
        """What stands behind a value: arrow, asterisk, an n that is not the caption's, marks."""
        arrow = {"better": " ↑", "worse": " ↓", None: ""}[cell.versus]
        arrow += "*" if arrow and cell.significant else ""
        n = cell.measured.n if cell.measured else row.n
        count = f" ({n})" if n != row.n else ""
        doubt = cell.measured.mark if isinstance(cell.measured, Quoted) else ""
        return self._glyphs(arrow) + count + self._marks(cell.mark, doubt)

    def quote(self, cell: Cell, table: Table) -> str:
        """The published value in square brackets, and the gap to it."""
        if cell.published is None:
            return ""
        shown = table.metric.shown(cell.published.mean)
        if cell.gap is not None:
            shown += f"; {signed(cell.gap, table.metric.digits)}"
        return self.beside.format(self._glyphs(shown)) + self._marks(cell.published.mark)

    def _glyphs(self, text: str) -> str:
        """Arrows and signs in the format; blanks stay where they are."""
        return "".join(self.escape(char) if char in "↑↓−*" else char for char in text)

    def _marks(self, *marks: str) -> str:
        return "".join(self.mark.format(self.escape(mark)) for mark in marks if mark)

    def body(self, table: Table, *, quotes: bool = True) -> list[list[str]]:
        """The rows of the table, the label first; published values too, unless told otherwise."""
        return [
            [self.label(row)]
            + [
                self.value(cell, table)
                + self.remark(cell, row)
                + (self.quote(cell, table) if quotes else "")
                for cell in row.cells
            ]
            for row in table.rows
        ]

    def legend(self, table: Table) -> str:
        """The caption, and what the emphasis means."""
        if not table.ranked:
            return self.escape(table.caption)
        best, second = self.best.format("best"), self.second.format("second best")
        return f"{self.escape(table.caption)} Emphasis: {best} and {second} method of a column."


def signed(value: float, digits: int) -> str:
    """`+0.28`, `−0.28` or `0.00`, with a true minus."""
    shown = f"{value:+.{digits}f}"
    return f"{0:.{digits}f}" if not float(shown) else shown.replace("-", "−")


def line(text: str) -> str:
    """The text on one line, without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _markdown(text: str) -> str:
    text = re.sub(r"([\\`*_{}\[\]|~$])", r"\\\1", line(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _latex(text: str) -> str:
    return re.sub(r"-(?=-)", "-{}", "".join(_glyph(char) for char in line(text)))


def _glyph(char: str) -> str:
    """One character in LaTeX; what pdflatex has no glyph for is written as its code point."""
    if char in _LATEX:
        return _LATEX[char]
    if char < "\u0080" or "\u00c0" <= char < "\u0180":
        return char
    if greek := re.fullmatch(r"GREEK SMALL LETTER (?!OMICRON)(\w+)", unicodedata.name(char, "")):
        return f"$\\{greek[1].lower().replace('lamda', 'lambda')}$"
    return f"{{[}}U+{ord(char):04X}{{]}}"


MARKDOWN = Style(_markdown, "**{}**", "<u>{}</u>", "{}", "<sup>{}</sup>", " ± ", r"<br>\[{}\]")
LATEX = Style(
    _latex,
    r"\textbf{{{}}}",
    r"\underline{{{}}}",
    "{}",
    r"\textsuperscript{{{}}}",
    r"\,\textpm\,",
    r"{{\scriptsize[{}]}}",
)
TEXT = Style(line, "*{}*", "_{}_", " {} ", "[{}]", " ± ", " [{}]")
TERMINAL = Style(line, "\x1b[1m{}\x1b[0m", "\x1b[4m{}\x1b[0m", "{}", "[{}]", " ± ", " [{}]")


def spreadsheet(text: str) -> str:
    """The text on one line that no spreadsheet takes for a formula."""
    text = line(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
