"""Cells beside each other: best and second of a column; each beside a reference, and its noise."""

from collections.abc import Sequence
from dataclasses import replace

from bench.report.cells import Cell, Measured, Rank, Versus
from bench.report.layout import Row, named
from bench.report.wording import Metric
from bench.stats import judge


def ranked(cells: Sequence[Cell], metric: Metric) -> list[Cell]:
    """The cells of one column, the best and the second of them with their rank.

    Values that are printed alike share a rank; a single rival has none.
    """
    shown = [metric.shown(one.rival.mean) if one.rival else None for one in cells]
    rivals = [value for value in shown if value is not None]
    distinct = sorted(set(rivals), key=float, reverse=metric.higher)
    names: tuple[Rank, ...] = ("best", "second") if len(rivals) > 1 else ()
    ranks = dict(zip(distinct, names, strict=False))
    return [
        replace(one, rank=ranks.get(value)) if value is not None else one
        for one, value in zip(cells, shown, strict=True)
    ]


def compared(cells: Sequence[Cell], reference: Cell, metric: Metric) -> list[Cell]:
    """The cells of one column, each with how it is beside the reference, by mean.

    Without a verdict stay means that are printed alike, and cells that lack seeds, on either side.
    """
    if reference.rival is None:
        return list(cells)
    level = float(metric.shown(reference.rival.mean))
    return [replace(one, versus=_versus(one, level, metric)) for one in cells]


def _versus(one: Cell, level: float, metric: Metric) -> Versus | None:
    shown = float(metric.shown(one.rival.mean)) if one.rival else level
    if shown == level:
        return None
    return "better" if (shown > level) is metric.higher else "worse"


def judged(rows: Sequence[Row], metric: Metric, reference: str, tolerance: float) -> list[Row]:
    """The rows, each cell of students and methods with its judgement beside the reference's.

    All of them are one family. Never tested are cells that lack seeds, have fewer than two, or are
    quoted, on either side.
    """
    base = named(rows, reference)
    if base is None:
        return list(rows)
    levels = [_values(one) for one in base.cells]
    pairs = {
        (place, column): (level, own)
        for place, row in enumerate(rows)
        if row.role != "teacher" and row is not base
        for column, (level, own) in enumerate(zip(levels, map(_values, row.cells), strict=True))
        if level and own
    }
    judgements = judge(list(pairs.values()), tolerance, higher=metric.higher)
    found = dict(zip(pairs, judgements, strict=True))
    return [
        replace(
            row,
            cells=tuple(
                replace(one, judgement=found.get((place, column)))
                for column, one in enumerate(row.cells)
            ),
        )
        for place, row in enumerate(rows)
    ]


def _values(one: Cell) -> dict[int, float]:
    """The values by seed of a cell that can be tested; of another, none."""
    found = one.rival
    if not isinstance(found, Measured) or found.n < 2:
        return {}
    return dict(zip(found.seeds, found.values, strict=True))
