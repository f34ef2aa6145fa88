"""Captions and footnotes of tables.

A caption states the metric, data set, recipe, seeds, software and tests, so that a reader
understands a table without its suite.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product
from itertools import count as numbers
from string import ascii_lowercase
from typing import Any

from bench.config.text import count
from bench.report import labels
from bench.report.labels import Caption, Metric, data_reductions, join, setting
from bench.report.model import Cell, Column, Entry, Note, Row, TableContext
from bench.results.record import Record
from bench.spec import PROBE, DataSpec, Recipe, papers_recipe
from bench.stats.comparison import ALPHA


def caption(
    context: TableContext,
    metric: Metric,
    columns: Sequence[Column],
    rows: Sequence[Row],
    entries: Sequence[Entry],
    *,
    published: bool,
) -> Caption:
    """Return the caption of a table.

    Args:
        context: The suite's caption, data set, recipes and reference method.
        metric: The table's metric.
        columns: The table's columns, one per pair.
        rows: The table's rows.
        entries: The runs from which the table was made.
        published: Whether the table shows published values.
    """
    others = [row for row in rows if row.role != "teacher"]
    usual = others[0].n if others else 0
    teachers = [row.n for row in rows if row.role == "teacher" and row.n not in (0, usual)]
    finished = [entry for entry in entries if entry.finished]
    seeds = sorted({entry.seed for entry in finished if entry.role != "teacher"})
    uniform = all(n == row.n for row in rows for n in run_counts(row))
    partial = any(cell.status == "partial" for row in others for cell in row.cells)
    versions = _versions(entry.record for entry in finished if entry.record)
    students = [(c.student, context.recipes[c.pair]) for c in columns if c.pair in context.recipes]
    before_runs = (
        context.protocols.get(labels.measure_of(metric.name), ""),
        _images(context, metric),
        labels.recipes(students),
    )
    after_runs = (
        *(f"teachers: n = {n}" for n in teachers),
        "cells with missing seeds are neither ranked nor tested" if partial else "",
        f"run with {versions}" if versions else "",
    )
    from_papers = _published(rows) if published else ""

    def details(means: str, comparison: str) -> str:
        runs = _runs(usual, seeds, means, uniform=uniform, finished=bool(seeds))
        return labels.sentences((*before_runs, runs, *after_runs, comparison, from_papers))

    return Caption(
        labels.sentences([metric.description]),
        labels.sentences([context.caption]),
        details("mean ± standard deviation (n − 1)", arrows(rows, context.reference)),
        details("mean", ""),
    )


def published_caption(origin: str, metric: str, details: Sequence[str], comparison: str) -> Caption:
    """Return the caption of a table of published numbers.

    Args:
        origin: A phrase about the source of the numbers.
        metric: A phrase about the metric and its unit.
        details: Further phrases.
        comparison: The result of `arrows`.
    """
    return Caption(
        labels.sentences([metric]),
        labels.sentences([origin]),
        labels.sentences((*details, comparison)),
        labels.sentences(details),
    )


def _images(context: TableContext, metric: Metric) -> str:
    """Return a phrase about a table's images; for a probe, about the networks' training images."""
    if context.data is None:
        return ""
    begin = "networks trained on " if metric.name.startswith(PROBE) else ""
    return begin + labels.data_set(context.data)


def run_counts(row: Row) -> list[int]:
    """Return the number of runs of each cell with a measured value."""
    return [cell.measured.n for cell in row.cells if cell.measured]


def arrows(rows: Sequence[Row], reference: str) -> str:
    """Return a phrase that explains arrows and asterisks; empty if no cell has an arrow."""
    cells = _cells(rows)
    if not any(cell.versus for cell in cells):
        return ""
    label = next(row.label for row in rows if row.name == reference)
    begin = f"↑ better and ↓ worse than {label}, by mean"
    if not tested(rows):
        reason = "published values" if all(c.only_published for c in cells) else "one seed"
        return f"{begin}; significance not tested ({reason})"
    if any(cell.versus and cell.significant for cell in cells):
        return f"{begin}; * significant difference from {label} ({how_tested(rows)})"
    return f"{begin}; no difference from {label} is significant ({how_tested(rows)})"


def tested(rows: Sequence[Row]) -> int:
    """Return the number of cells that were compared statistically with the reference method."""
    return sum(cell.comparison is not None for cell in _cells(rows))


def how_tested(rows: Sequence[Row]) -> str:
    """Return a phrase that names the statistical test.

    For example, `moderated t-tests over seeds, Holm-corrected over 13 comparisons, p < 0.05`.
    """
    pairings = {cell.comparison.paired for cell in _cells(rows) if cell.comparison}
    tests = "moderated t-tests over seeds" if True in pairings else "moderated unpaired t-tests"
    if len(pairings) > 1:
        tests += ", unpaired where the seeds differ"
    return f"{tests}, Holm-corrected over {count(tested(rows), 'comparison')}, p < {ALPHA}"


def _published(rows: Sequence[Row]) -> str:
    """Return a phrase that explains values in square brackets and lists their sources."""
    sources = dict.fromkeys(cell.published.source for cell in _cells(rows) if cell.published)
    if not sources:
        return "no published value for this data set, pair, method and metric"
    return (
        "in square brackets the published value, and our value minus the published value: "
        f"{'; '.join(sources)}"
    )


def _cells(rows: Sequence[Row]) -> list[Cell]:
    return [cell for row in rows for cell in row.cells]


def _runs(usual: int, seeds: Sequence[int], means: str, *, uniform: bool, finished: bool) -> str:
    """Return a phrase that states how many runs each number summarizes.

    Args:
        usual: The number of runs of most cells; 0: no finished run has the metric.
        seeds: All seeds, in order.
        means: What the numbers of several runs are, such as `mean`.
        uniform: Whether each cell has the usual number of runs.
        finished: Whether a run has finished.
    """
    if not usual:
        return "No finished run has this metric" if finished else "No run has finished yet"
    names = ", ".join(map(str, seeds))
    text = f"{means} over n = {usual} seeds ({names})"
    if usual == 1:
        text = f"single runs (n = 1, seed {names}), without a standard deviation"
    return text if uniform else f"{text}; a different n is given in brackets"


def _versions(records: Iterable[Record]) -> str:
    """Return torch's version, device and precision: `torch 2.15.0; NVIDIA H200; float32`."""
    environments = [record.environment for record in records]
    parts = []
    for key, prefix in (("torch", "torch "), ("device", ""), ("precision", "")):
        values = sorted({str(each[key]) for each in environments if each.get(key)})
        if values:
            parts.append(prefix + join(values))
    return "; ".join(parts)


def mark(
    columns: Sequence[Column], rows: Sequence[Row]
) -> tuple[tuple[Column, ...], tuple[Row, ...], tuple[Note, ...]]:
    """Assign the marks of footnotes; return the marked columns and rows, and the footnotes.

    Symbols such as † mark columns and rows with a note. Letters mark missing and doubtful values.
    Footnotes with the same text share a mark.
    """
    daggers = _Marks(symbol * n for n in numbers(1) for symbol in "†‡§¶")
    words = (product(ascii_lowercase, repeat=n) for n in numbers(1))
    letters = _Marks("".join(word) for word in chain.from_iterable(words))
    marked_columns = tuple(replace(column, mark=daggers(column.note)) for column in columns)
    marked_rows = tuple(
        replace(row, mark=daggers(row.note), cells=tuple(_marked(c, letters) for c in row.cells))
        for row in rows
    )
    return marked_columns, marked_rows, (*daggers.notes(), *letters.notes())


def data_deviation(data: DataSpec) -> str:
    """Return a phrase for how the images differ from the full data set; empty if they do not."""
    return "; ".join(data_reductions(data))


def pair_deviation(data: DataSpec | None, recipe: Recipe | None, student: str) -> str:
    """Return a phrase for how a pair's runs differ from the papers' runs; empty if they do not.

    Recipes are compared on CIFAR-100 only, because the papers' recipe is for that data set.

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
            _change(key.replace("_", " "), values[key], value)
            for key, value in expected.items()
            if key != "evaluate_every" and values[key] != value
        ]
        parts.append(f"recipe differs from the papers: {join(changes)}" if changes else "")
    return "; ".join(filter(None, parts))


def method_deviation(terms: Mapping[str, Any], papers: Mapping[str, Any]) -> str:
    """Return a phrase for how a method's loss differs from its paper; empty if it does not.

    Args:
        terms: Each loss term by distiller: {"weight": ..., "options": {...}} with all options.
        papers: The loss terms in the paper, in the same form.
    """
    if terms.keys() != papers.keys():
        return f"terms differ from the papers: {join(terms)}"
    changes = []
    for name, term in terms.items():
        usual, values = papers[name]["options"], {name: (term["weight"], papers[name]["weight"])}
        values |= {f"{name} {k}": (value, usual.get(k)) for k, value in term["options"].items()}
        changes += [_change(key, *pair) for key, pair in values.items() if pair[0] != pair[1]]
    return f"settings differ from the papers: {join(changes)}" if changes else ""


def _change(name: str, value: object, papers: object) -> str:
    return f"{name} {setting(value)} (papers: {setting(papers)})"


class _Marks:
    """Assigns the next mark to each new text; an equal text gets the same mark."""

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
