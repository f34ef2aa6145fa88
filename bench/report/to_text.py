"""Tables as plain text, and for a terminal."""

import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from itertools import chain

from bench.report.layout import Sheet
from bench.report.markup import TERMINAL, TEXT
from bench.report.table import Table

_ANSI = re.compile("\x1b\\[[0-9]*m")


def text(table: Table, *, width: int | None = None, terminal: bool = False) -> str:
    """The table for reading as it is; for a terminal with bold and underline instead of * and _.

    width: columns of the screen; a table that is wider is cut into several, one below the other.
    """
    style = TERMINAL if terminal else TEXT
    found, *cells = zip(*style.body(table), strict=True)
    labels = _padded(["Teacher", "Student", *found])
    columns = [
        _text_column((style.escape(column.teacher), style.student(column)), values)
        for column, values in zip(table.columns, cells, strict=True)
    ]
    groups = [row.role == "method" for row in table.rows]
    rules = {2, 2 + groups.index(True)} if any(groups) else {2}
    parts = [style.escape(table.title), textwrap.fill(style.legend(table), width or 100)]
    parts += _ruled(labels, columns, rules, width)
    return "\n\n".join(filter(None, [*parts, "\n".join(map(style.note, table.notes))])) + "\n"


def text_sheet(sheet: Sheet, *, width: int | None = None, terminal: bool = False) -> str:
    """A sheet for reading as it is, or on a terminal; cut to its width like a table."""
    style = TERMINAL if terminal else TEXT

    def filled(text: str) -> str:
        return textwrap.fill(style.escape(text), width or 100)

    parts = [style.escape(sheet.title), filled(sheet.caption)]
    for grid in sheet.grids:
        parts += [style.marked(grid.title), filled(grid.text)]
        if grid.rows:
            rows = [map(style.escape, grid.header)]
            rows += [map(style.marked, row.cells) for row in grid.rows]
            labels, *columns = (_padded(cells) for cells in zip(*rows, strict=True))
            parts += _ruled(labels, columns, {1}, width)
    notes = [textwrap.fill(style.note(note), width or 100) for note in sheet.notes]
    return "\n\n".join(filter(None, [*parts, "\n".join(notes)])) + "\n"


def _ruled(
    labels: Sequence[str], columns: list[list[str]], rules: Collection[int], width: int | None
) -> Iterator[str]:
    """Columns beside the labels, in as many blocks as a width asks for; a rule above some lines."""
    for block in _blocks(columns, len(labels[0]), width):
        lines = ["  ".join(cells).rstrip() for cells in zip(labels, *block, strict=True)]
        rule = "─" * max(map(_visible, lines))
        ruled = ([rule, one] if place in rules else [one] for place, one in enumerate(lines))
        yield "\n".join(chain.from_iterable(ruled))


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
