"""The statistics of a table: spreads and verdicts of its cells, methods over all pairs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report.cells import Cell, Measured
from bench.report.layout import Column, Row, Table
from bench.report.wording import counted
from bench.stats import Estimate, Ranks, estimate, ranks, relative_improvement


@dataclass(frozen=True)
class Line:
    """One method, or the plain student, on one pair."""

    row: Row
    cell: Cell
    estimate: Estimate | None  # None: no value
    untested: str = ""  # why it has no judgement; empty for the reference


@dataclass(frozen=True)
class Pair:
    """One column of the table, its methods as lines."""

    column: Column
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Overall:
    """The methods over all pairs."""

    pairs: int
    methods: tuple[Row, ...]  # with a value for every pair and seed
    left_out: tuple[Row, ...]  # the others
    ranks: Ranks | None  # of `methods`, in their order
    improvement: tuple[float | None, ...] | None  # of `methods`; None in it: the reference itself
    lacking: tuple[str, ...]  # why there are no ranks, or no improvement


@dataclass(frozen=True)
class Statistics:
    """All that a table's values say beyond their means."""

    table: Table
    pairs: tuple[Pair, ...]
    overall: Overall


def statistics(table: Table) -> Statistics:
    """The statistics of a table of measured values.

    Teachers have none: they are not compared. Nothing is averaged over a hole.
    """
    rows = [row for row in table.rows if row.role != "teacher"]
    pairs = tuple(
        Pair(column, tuple(_line(row, place, table.baseline) for row in rows))
        for place, column in enumerate(table.columns)
    )
    return Statistics(table, pairs, _overall(table))


def _line(row: Row, place: int, base: Row | None) -> Line:
    cell = row.cells[place]
    found = cell.measured
    spread = estimate(found.values) if isinstance(found, Measured) else None
    if base is None or row is base or cell.judgement:
        return Line(row, cell, spread)
    return Line(row, cell, spread, _untested(cell, base, base.cells[place]))


def _untested(cell: Cell, base: Row, level: Cell) -> str:
    """Why a cell has no judgement beside the reference."""
    if cell.hole:
        return f"not tested: lacks {'seeds' if cell.measured else 'values'}"
    if level.hole:
        return f"not tested: {base.label} lacks {'seeds' if level.measured else 'values'}"
    return "not tested: a single run is no measure of noise"


def _overall(table: Table) -> Overall:
    rows = [row for row in table.rows if row.role == "method"]
    methods = tuple(row for row in rows if _whole(row))
    left_out = tuple(row for row in rows if not _whole(row))
    places, few = _ranks(table, methods)
    gains, obstacle = _improvement(table, methods)
    lacking = tuple(filter(None, (few, obstacle)))
    return Overall(len(table.columns), methods, left_out, places, gains, lacking)


def _ranks(table: Table, methods: Sequence[Row]) -> tuple[Ranks | None, str]:
    """Average ranks of the methods, or why there are none."""
    pairs = len(table.columns)
    if pairs < 2 or len(methods) < 3:
        found = f"{counted(pairs, 'pair')} and {counted(len(methods), 'method')}"
        needed = "at least 2 pairs and 3 methods without holes"
        return None, f"no average ranks: {needed} are needed, and there are {found}"
    means = list(zip(*map(_means, methods), strict=True))
    return ranks(means, higher=table.metric.higher), ""


def _improvement(
    table: Table, methods: Sequence[Row]
) -> tuple[tuple[float | None, ...] | None, str]:
    """By how much more methods improve on the plain student than the reference, or why not."""
    none = "no relative improvement"
    base, plain = table.baseline, [row for row in table.rows if row.role == "student"]
    if base is None or len(plain) != 1 or base is plain[0]:
        return None, f"{none}: it takes a reference method and one plain student"
    for row in (base, *plain):
        if not _whole(row):
            return None, f"{none}: {row.label} lacks values or seeds"
    starts, levels = _means(plain[0]), _means(base)
    for column, start, level in zip(table.columns, starts, levels, strict=True):
        if level == start or (level > start) is not table.metric.higher:
            said = f"{base.label} does not improve on the plain student of {column.name}"
            return None, f"{none}: {said}"
    found = (
        None if row is base else relative_improvement(starts, levels, _means(row))
        for row in methods
    )
    return tuple(found), ""


def _whole(row: Row) -> bool:
    return all(cell.rival for cell in row.cells)


def _means(row: Row) -> list[float]:
    return [cell.rival.mean for cell in row.cells if cell.rival]
