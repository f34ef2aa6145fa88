"""The caption of a table: all that a reader must know to use its numbers, as sentences."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.report import wording
from bench.report.cells import Cell, Entry, Quoted
from bench.report.layout import Column, Row
from bench.report.wording import Metric, counted, joined
from bench.stats import ALPHA


@dataclass(frozen=True)
class About:
    """What a table tells of a suite beyond its records, in plain values."""

    title: str
    caption: str = ""  # the suite's own words
    data: Mapping[str, Any] = field(default_factory=dict)  # the fields of bench.data.Selection
    recipes: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # pair: the fields of bench.suite.Recipe
    reference: str = "kd"  # the method that others are compared with
    tolerance: float | None = None  # a difference that counts as none; None: the metric's own


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
    made = _environment(entry.record for entry in done if entry.record)
    return wording.sentences(
        (
            about.caption,
            measure(metric),
            wording.data_set(about.data),
            wording.recipe(about.recipes, {column.pair: column.student for column in columns}),
            _seeds(usual, found, uniform=uniform),
            *(f"teachers: n = {n}" for n in teachers),
            "cells that lack seeds are neither ranked nor tested" if partial else "",
            f"made with {made}" if made else "",
            arrows(rows, about.reference),
            beside(rows) if quoted else "",
        )
    )


def measure(metric: Metric) -> str:
    """`top-1 test accuracy of the last epoch (%; higher is better)`."""
    return f"{metric.phrase} ({metric.unit}; {'higher' if metric.higher else 'lower'} is better)"


def ns(row: Row) -> list[int]:
    """The number of runs of each cell that has a value."""
    return [one.measured.n for one in row.cells if one.measured]


def arrows(rows: Sequence[Row], reference: str) -> str:
    """What arrows and asterisks mean; empty where there are none."""
    if not any(one.versus for one in _cells(rows)):
        return ""
    label = next(row.label for row in rows if row.name == reference)
    return f"↑ better and ↓ worse than {label}, by mean; {_noise(rows)}"


def _noise(rows: Sequence[Row]) -> str:
    """Which of the arrows are more than noise, by which test of how many cells."""
    if not (number := tested(rows)):
        return "no verdict about noise"
    starred = any(one.versus and one.significant for one in _cells(rows))
    found = "* where noise is" if starred else "nowhere is noise"
    students = any(one.judgement for row in rows if row.role == "student" for one in row.cells)
    among = ", the plain student's among them" if students else ""
    return (
        f"{found} ruled out as the cause (p < {ALPHA}, {how_tested(rows)}, corrected by Holm for "
        f"{counted(number, 'cell')} tested{among})"
    )


def tested(rows: Sequence[Row]) -> int:
    """How many cells were tested beside the reference: the family of the table."""
    return sum(one.judgement is not None for one in _cells(rows))


def how_tested(rows: Sequence[Row]) -> str:
    """`two-sided t-tests within seeds`: how the cells were tested."""
    pairings = {one.judgement.paired for one in _cells(rows) if one.judgement}
    how = {True: "within seeds", False: "of independent runs (Welch)"}
    both = "within seeds, or of independent runs (Welch) where the seeds differ"
    return f"two-sided t-tests {both if len(pairings) > 1 else how[pairings.pop()]}"


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


def _seeds(usual: int, found: Sequence[int], *, uniform: bool) -> str:
    """What the numbers of a table are: one run, or a mean and a spread over so many seeds.

    usual: the n of most cells, 0 when there is none; found: all seeds, in order.
    """
    if not usual:
        return "No run has finished yet"
    named = ", ".join(map(str, found))
    said = f"mean ± unbiased standard deviation over n = {usual} seeds ({named})"
    if usual == 1:
        said = f"single runs (n = 1, seed {named}): no measure of noise"
    return said if uniform else f"{said}; another n stands in brackets"


def _environment(records: Iterable[Mapping[str, Any]]) -> str:
    """`torch 2.15.0; NVIDIA H200; float32`: what the records were made with, each value once."""
    found = [record.get("environment", {}) for record in records]
    parts = []
    for key, prefix in (("torch", "torch "), ("device", ""), ("precision", "")):
        values = sorted({str(one[key]) for one in found if one.get(key)})
        if values:
            parts.append(prefix + joined(values))
    return "; ".join(parts)
