"""Cells beside each other: the best and the second of a column, and each beside a reference."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from bench.report.cells import Cell, Rank, Versus
from bench.report.layout import Table
from bench.report.wording import Metric


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


def placed(values: Mapping[str, float], *, higher: bool) -> dict[str, float]:
    """The rank of each name, 1 for the best; equal values share the mean of their ranks."""
    order = sorted(values.values(), reverse=higher)
    spans: dict[float, list[int]] = {}
    for place, value in enumerate(order, 1):
        spans.setdefault(value, []).append(place)
    return {name: fmean(spans[value]) for name, value in values.items()}


def average_ranks(table: Table) -> dict[str, float]:
    """By label the mean rank over the pairs, 1 the best, of methods without any hole."""
    rivals = {
        row.label: [cell.rival.mean for cell in row.cells if cell.rival]
        for row in table.rows
        if row.role == "method" and all(cell.rival for cell in row.cells)
    }
    columns = [
        placed({label: means[place] for label, means in rivals.items()}, higher=table.metric.higher)
        for place in range(len(table.columns))
    ]
    return {label: fmean(column[label] for column in columns) for label in rivals}
