"""Write documents as plain text, for files and for terminals."""

import re
import textwrap
from collections.abc import Iterator, Sequence

from bench.report.document import Document, Section
from bench.report.writers import Markup

_WIDTH = 100  # characters per line of a paragraph, if the caller gives no width
_ANSI = re.compile("\x1b\\[[0-9]*m")
_TEXT = Markup(
    str, {"best": "*{}*", "second": "_{}_", "value": " {} ", "mark": "[{}]", "published": " [{}]"}
)
_TERMINAL = Markup(
    str,
    {
        "best": "\x1b[1m{}\x1b[0m",
        "second": "\x1b[4m{}\x1b[0m",
        "mark": "[{}]",
        "published": " [{}]",
    },
)


def text(document: Document, *, width: int | None = None, terminal: bool = False) -> str:
    """Return a document as text.

    Args:
        document: The document.
        width: Characters per line of the screen. A wider grid is split into blocks, one below the
            other. None: grids are not split.
        terminal: Whether to use bold and underline instead of `*` and `_`.
    """
    style = _TERMINAL if terminal else _TEXT

    def fill(paragraph: str, indent: str = "") -> str:
        return textwrap.fill(paragraph, width or _WIDTH, subsequent_indent=indent)

    parts = [style.plain(document.title), fill(style(document.full_caption))]
    for section in document.sections:
        parts += [style(section.title), fill(style.plain(section.text))]
        if section.wrapped:
            lines = [
                f"{style(row.cells[0].text)}: {style(row.cells[1].text)}" for row in section.rows
            ]
            parts.append("\n".join(fill(line, indent="  ") for line in lines))
        elif section.rows:
            parts += _grid(section, style, width)
    parts.append("\n".join(fill(style.note(note)) for note in document.notes))
    return "\n\n".join(filter(None, parts)) + "\n"


def _grid(section: Section, style: Markup, width: int | None) -> Iterator[str]:
    """Yield blocks of columns that fit the width.

    Horizontal rules are drawn above the first row and above the first method.
    """
    heads = len(section.header)
    lines = [[style(cell.text) for cell in line] for line in section.header]
    lines += [[style(c.text + c.below) for c in row.cells] for row in section.rows]
    first, *others = zip(*lines, strict=True)
    groups = [row.role == "method" and bool(section.pairs) for row in section.rows]
    rules = {heads, heads + groups.index(True)} if any(groups) else {heads}
    column = _centred if section.pairs else _padded
    columns = [_padded(first), *(column(cells, heads) for cells in others)]
    for block in _blocks(columns, section.names, width):
        rows = ["  ".join(cells).rstrip() for cells in zip(*block, strict=True)]
        rule = "─" * max(map(_visible_length, rows))
        yield "\n".join(f"{rule}\n{row}" if i in rules else row for i, row in enumerate(rows))


def _centred(cells: Sequence[str], heads: int) -> list[str]:
    """Return a column padded to one length: centred header, values aligned below it."""
    names, values = cells[:heads], _padded(cells[heads:])
    room = max(_visible_length(values[0]), *map(len, names))
    left = " " * ((room - _visible_length(values[0])) // 2)
    return _padded([*(name.center(room) for name in names), *(left + value for value in values)])


def _padded(cells: Sequence[str], heads: int = 0) -> list[str]:
    """Return the cells padded to one length, not counting escape codes of the terminal."""
    room = max(map(_visible_length, cells))
    return [cell + " " * (room - _visible_length(cell)) for cell in cells]


def _visible_length(text: str) -> int:
    return len(_ANSI.sub("", text))


def _blocks(
    columns: Sequence[list[str]], names: Sequence[int], width: int | None
) -> Iterator[list[list[str]]]:
    """Yield groups of columns that fit the width.

    Each group repeats the columns that name a row, and has at least one other column.
    """
    repeated = [columns[number] for number in names]
    block: list[list[str]] = []
    for number, column in enumerate(columns):
        needed = sum(2 + _visible_length(cells[0]) for cells in (*block, column)) - 2
        is_full = width is not None and needed > width
        if is_full and number > max(names) and len(block) > len(names):
            yield block
            block = [*repeated]
        block.append(column)
    yield block
