"""The caption of a table: everything that a reader needs to use its numbers, as sentences."""

from collections.abc import Iterable, Sequence

from bench.report import labels
from bench.report.labels import Metric, count, join
from bench.report.model import Cell, Column, Entry, Row, TableContext
from bench.results.record import Record
from bench.stats import ALPHA


def caption(
    context: TableContext,
    metric: Metric,
    columns: Sequence[Column],
    rows: Sequence[Row],
    entries: Sequence[Entry],
    *,
    published: bool,
) -> str:
    """Return the caption of a table.

    Args:
        context: The suite's caption, data and recipes.
        metric: The table's metric.
        columns: Its pairs.
        rows: Its rows.
        entries: The runs that it is made of.
        published: Whether the published values were asked for.
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
    return labels.sentences(
        (
            context.caption,
            metric.description,
            labels.data_set(context.data) if context.data else "",
            labels.recipes(students),
            _runs(usual, seeds, uniform=uniform),
            *(f"teachers: n = {n}" for n in teachers),
            "cells with missing seeds are neither ranked nor tested" if partial else "",
            f"run with {versions}" if versions else "",
            arrows(rows, context.reference),
            _published(rows) if published else "",
        )
    )


def run_counts(row: Row) -> list[int]:
    """Return the number of runs of each cell with a measured value."""
    return [cell.measured.n for cell in row.cells if cell.measured]


def arrows(rows: Sequence[Row], reference: str) -> str:
    """Return the meaning of arrows and asterisks; empty where there are no arrows."""
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
    """Return the number of cells that were compared statistically with the reference."""
    return sum(cell.comparison is not None for cell in _cells(rows))


def how_tested(rows: Sequence[Row]) -> str:
    """Return `paired t-tests over seeds, Holm-corrected over 13 comparisons, p < 0.05`."""
    pairings = {cell.comparison.paired for cell in _cells(rows) if cell.comparison}
    tests = "paired t-tests over seeds" if True in pairings else "Welch's t-tests"
    if len(pairings) > 1:
        tests += ", Welch's where the seeds differ"
    return f"{tests}, Holm-corrected over {count(tested(rows), 'comparison')}, p < {ALPHA}"


def _published(rows: Sequence[Row]) -> str:
    """Return the meaning and the sources of the values in square brackets."""
    sources = dict.fromkeys(cell.published.source for cell in _cells(rows) if cell.published)
    if not sources:
        return "no published value for this data set, pair, method and metric"
    return f"in square brackets the published value, and ours minus it: {'; '.join(sources)}"


def _cells(rows: Sequence[Row]) -> list[Cell]:
    return [cell for row in rows for cell in row.cells]


def _runs(usual: int, seeds: Sequence[int], *, uniform: bool) -> str:
    """Return over how many runs the numbers are.

    Args:
        usual: The n of most cells; 0 without any.
        seeds: All seeds, in order.
        uniform: Whether all cells have the usual n.
    """
    if not usual:
        return "No run has finished yet"
    names = ", ".join(map(str, seeds))
    text = f"mean ± standard deviation (n − 1) over n = {usual} seeds ({names})"
    if usual == 1:
        text = f"single runs (n = 1, seed {names}), without a standard deviation"
    return text if uniform else f"{text}; a different n is given in brackets"


def _versions(records: Iterable[Record]) -> str:
    """Return `torch 2.15.0; NVIDIA H200; float32`, each value once."""
    environments = [record.environment for record in records]
    parts = []
    for key, prefix in (("torch", "torch "), ("device", ""), ("precision", "")):
        values = sorted({str(each[key]) for each in environments if each.get(key)})
        if values:
            parts.append(prefix + join(values))
    return "; ".join(parts)
