"""The marks of a table, and what each means: daggers for deviations, letters for reasons."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, product
from string import ascii_lowercase

from bench.report.cells import Cell, Quoted
from bench.report.layout import Column, Note, Row


def marked(
    columns: Sequence[Column], rows: Sequence[Row]
) -> tuple[tuple[Column, ...], tuple[Row, ...], tuple[Note, ...]]:
    """Columns and rows with marks, and the notes; equal texts share a mark.

    Daggers stand at rows and columns that deviate; letters tell why a cell has no value, or why a
    published one is doubtful.
    """
    daggers = _Marks(symbol * n for n in count(1) for symbol in "†‡§¶")
    letters = _Marks(
        "".join(found) for n in count(1) for found in product(ascii_lowercase, repeat=n)
    )
    heads = tuple(replace(column, mark=daggers(column.note)) for column in columns)
    lines = tuple(
        replace(
            row,
            mark=daggers(row.note),
            cells=tuple(_cell(one, letters) for one in row.cells),
        )
        for row in rows
    )
    return heads, lines, (*daggers.notes(), *letters.notes())


def _cell(one: Cell, letters: Callable[[str], str]) -> Cell:
    if one.hole:
        one = replace(one, mark=letters(one.hole.reason))
    if one.published:
        one = replace(one, published=_doubted(one.published, letters))
    if isinstance(one.measured, Quoted):
        one = replace(one, measured=_doubted(one.measured, letters))
    return one


def _doubted(quoted: Quoted, letters: Callable[[str], str]) -> Quoted:
    return replace(quoted, mark=letters(quoted.doubt))


@dataclass
class _Marks:
    """Gives each text its mark, in the order in which they come."""

    supply: Iterator[str]

    def __post_init__(self) -> None:
        self._given: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        if text and text not in self._given:
            self._given[text] = next(self.supply)
        return self._given.get(text, "")

    def notes(self) -> Iterator[Note]:
        return (Note(mark, text) for text, mark in self._given.items())
