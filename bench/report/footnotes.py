"""Footnotes of a table: how its runs differ from the papers', and why values are missing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, product
from string import ascii_lowercase
from typing import Any

from bench.report.labels import data_reductions, join, setting
from bench.report.model import Cell, Column, Note, Row
from bench.spec import DataSpec, Recipe, papers_recipe


def mark(
    columns: Sequence[Column], rows: Sequence[Row]
) -> tuple[tuple[Column, ...], tuple[Row, ...], tuple[Note, ...]]:
    """Return columns and rows with the marks of their footnotes, and the footnotes.

    Daggers mark rows and columns that differ from the papers; letters mark missing and doubtful
    values. Equal texts share a mark.
    """
    daggers = _Marks(symbol * n for n in count(1) for symbol in "†‡§¶")
    letters = _Marks("".join(word) for n in count(1) for word in product(ascii_lowercase, repeat=n))
    marked_columns = tuple(replace(column, mark=daggers(column.note)) for column in columns)
    marked_rows = tuple(
        replace(
            row, mark=daggers(row.note), cells=tuple(_marked(cell, letters) for cell in row.cells)
        )
        for row in rows
    )
    return marked_columns, marked_rows, (*daggers.notes(), *letters.notes())


def data_deviation(data: DataSpec) -> str:
    """Return how the images differ from the full data set; empty where they do not."""
    return "; ".join(data_reductions(data))


def pair_deviation(data: DataSpec | None, recipe: Recipe | None, student: str) -> str:
    """Return how a pair's runs differ from those of the papers; empty where they do not.

    A recipe differs only on CIFAR-100, the one data set with a recipe of the papers.

    Args:
        data: The data set; None: not known.
        recipe: Recipe of the student; None: not known.
        student: Name of the student's network.
    """
    if data is None:
        return ""
    parts = [data_deviation(data)]
    if data.name == "cifar100" and recipe is not None:
        expected, values = papers_recipe(student).model_dump(), recipe.model_dump()
        changes = [
            f"{key.replace('_', ' ')} {setting(values[key])} (papers: {setting(value)})"
            for key, value in expected.items()
            if key != "evaluate_every" and values[key] != value
        ]
        parts.append(f"recipe differs from the papers: {join(changes)}" if changes else "")
    return "; ".join(filter(None, parts))


def method_deviation(terms: Mapping[str, Any], papers: Mapping[str, Any]) -> str:
    """Return how a method's terms differ from those of the papers; empty where they do not.

    Args:
        terms: By distiller, {"weight": ..., "options": {...}} with all options.
        papers: The same of the papers.
    """
    if terms.keys() != papers.keys():
        return f"terms differ from the papers: {join(terms)}"
    changes = []
    for name, term in terms.items():
        usual = papers[name]["options"]
        values = {name: (term["weight"], papers[name]["weight"])}
        values |= {f"{name} {k}": (value, usual.get(k)) for k, value in term["options"].items()}
        changes += [
            f"{key} {setting(value)} (papers: {setting(expected)})"
            for key, (value, expected) in values.items()
            if value != expected
        ]
    return f"settings differ from the papers: {join(changes)}" if changes else ""


class _Marks:
    """Assigns each text a mark, in the order of first use."""

    def __init__(self, supply: Iterator[str]) -> None:
        self._supply = supply
        self._marks: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        if text and text not in self._marks:
            self._marks[text] = next(self._supply)
        return self._marks.get(text, "")

    def notes(self) -> Iterator[Note]:
        return (Note(mark, text) for text, mark in self._marks.items())


def _marked(cell: Cell, letters: Callable[[str], str]) -> Cell:
    if cell.missing:
        cell = replace(cell, mark=letters(cell.missing.reason))
    if cell.published:
        published = replace(cell.published, mark=letters(cell.published.doubt))
        cell = replace(cell, published=published)
    return cell
