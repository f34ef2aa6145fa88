"""The caption of a table: all that a reader must know to use its numbers, as sentences."""

from collections.abc import Iterator, Sequence

from bench.report import wording
from bench.report.cells import Cell, Entry, Quoted
from bench.report.layout import Column, Row
from bench.report.wording import About, Metric


def caption(
    about: About,
    metric: Metric,
    columns: Sequence[Column],
    rows: Sequence[Row],
    asked: Sequence[Entry],
    *,
    quoted: bool,
) -> str:
    """The suite's own words, metric, data, recipe, seeds, versions, and what the signs mean."""
    others = [row for row in rows if row.role != "teacher"]
    usual = others[0].n if others else 0
    teachers = [row.n for row in rows if row.role == "teacher" and row.n not in (0, usual)]
    done = [entry for entry in asked if entry.record and entry.record.get("status") == "done"]
    found = sorted({entry.seed for entry in done if entry.role != "teacher"})
    uniform = all(n == row.n for row in rows for n in ns(row))
    partial = any(one.status == "partial" for row in others for one in row.cells)
    made = wording.environment(entry.record for entry in done if entry.record)
    direction = "higher" if metric.higher else "lower"
    return wording.sentences(
        (
            about.caption,
            f"{metric.phrase} ({metric.unit}; {direction} is better)",
            wording.data_set(about.data),
            wording.recipe(about.recipes, {column.pair: column.student for column in columns}),
            wording.seeds(usual, found, uniform=uniform),
            *(f"teachers: n = {n}" for n in teachers),
            "cells that lack seeds are not ranked" if partial else "",
            f"made with {made}" if made else "",
            arrows(rows, about.reference),
            beside(rows) if quoted else "",
        )
    )


def ns(row: Row) -> list[int]:
    """The number of runs of each cell that has a value."""
    return [one.measured.n for one in row.cells if one.measured]


def arrows(rows: Sequence[Row], reference: str) -> str:
    """What the arrows mean; empty where there are none."""
    if not any(one.versus for one in _cells(rows)):
        return ""
    label = next(row.label for row in rows if row.name == reference)
    return f"↑ better and ↓ worse than {label}, by mean; no verdict about noise"


def beside(rows: Sequence[Row]) -> str:
    """What stands in square brackets, and where it is from."""
    quoted = [one.published for one in _cells(rows) if one.published]
    if not quoted:
        return "no published value has this data set, pair, method and metric"
    return f"in square brackets the published value, and ours minus it: {origins(quoted)}"


def origins(quoted: Sequence[Quoted]) -> str:
    """`CRD, Table 1; WCoRD, …`: where published values are from, each place once."""
    return "; ".join(dict.fromkeys(one.source for one in quoted))


def _cells(rows: Sequence[Row]) -> Iterator[Cell]:
    return (one for row in rows for one in row.cells)
