"""Comparisons within a table: ranks in a column, with the reference method, and over all pairs."""

from collections.abc import Sequence
from dataclasses import replace

from bench.config.text import count
from bench.report.labels import Metric
from bench.report.model import Cell, Overall, Rank, Row, Table, named
from bench.stats.comparison import Ranks, compare_to_baseline, ranks, relative_improvement


def rank(cells: Sequence[Cell], metric: Metric) -> list[Cell]:
    """Return the cells of one column, the best and the second with their rank.

    Values that are printed alike share a rank; a single value has none.
    """
    printed = [f"{c.rankable.mean:.{metric.digits}f}" if c.rankable else None for c in cells]
    rankable = [value for value in printed if value is not None]
    distinct = sorted(set(rankable), key=float, reverse=metric.higher)
    names: tuple[Rank, ...] = ("best", "second") if len(rankable) > 1 else ()
    rank_of: dict[str | None, Rank] = dict(zip(distinct, names, strict=False))
    return [
        replace(cell, rank=rank_of.get(value)) for cell, value in zip(cells, printed, strict=True)
    ]


def compare_means(cells: Sequence[Cell], reference: Cell, metric: Metric) -> list[Cell]:
    """Return the cells of one column, each better or worse than the reference by its mean.

    Means that are printed alike are neither, nor are cells with missing seeds on either side.
    """
    if reference.rankable is None:
        return list(cells)
    level = round(reference.rankable.mean, metric.digits)
    compared = []
    for cell in cells:
        mean = round(cell.rankable.mean, metric.digits) if cell.rankable else level
        if mean != level:
            better = (mean > level) is metric.higher
            cell = replace(cell, versus="better" if better else "worse")
        compared.append(cell)
    return compared


def by_mean(rows: Sequence[Row], metric: Metric, reference: str) -> list[Row]:
    """Return the rows, methods with ranks and with arrows relative to the reference."""
    base, columns = named(rows, reference), []
    for i, column in enumerate(zip(*(r.cells for r in rows if r.role == "method"), strict=True)):
        ranked = rank(column, metric)
        columns.append(compare_means(ranked, base.cells[i], metric) if base else ranked)
    lines = zip(*columns, strict=True)
    return [replace(row, cells=next(lines)) if row.role == "method" else row for row in rows]


def compare_statistically(
    rows: Sequence[Row], metric: Metric, reference: str, tolerance: float
) -> list[Row]:
    """Return the rows, each student and method compared statistically with the reference.

    All of them are one family. Cells with missing seeds, with fewer than two seeds, or with
    published values are not tested, nor are cells whose reference is such a cell.
    """
    base = named(rows, reference)
    if base is None:
        return list(rows)
    levels = [_testable(cell) for cell in base.cells]
    family = {
        (i, j): (level, values)
        for i, row in enumerate(rows)
        if row.role != "teacher" and row is not base
        for j, (level, cell) in enumerate(zip(levels, row.cells, strict=True))
        if level and (values := _testable(cell))
    }
    results = compare_to_baseline(list(family.values()), tolerance, higher=metric.higher)
    comparisons = dict(zip(family, results, strict=True))
    cells = [
        tuple(replace(cell, comparison=comparisons.get((i, j))) for j, cell in enumerate(row.cells))
        for i, row in enumerate(rows)
    ]
    return [replace(row, cells=line) for row, line in zip(rows, cells, strict=True)]


def overall(table: Table) -> Overall:
    """Return the methods over all pairs: average ranks and relative improvements."""
    rows = [row for row in table.rows if row.role == "method"]
    complete = [row for row in rows if _complete(row)]
    names = tuple(row.name for row in complete)
    incomplete = tuple(row.name for row in rows if not _complete(row))
    average, few = _ranks(table, complete)
    gains, obstacle = _improvements(table, complete)
    obstacles = tuple(filter(None, (few, obstacle)))
    return Overall(len(table.columns), names, incomplete, average, gains, obstacles)


def _testable(cell: Cell) -> dict[int, float]:
    """Return the values by seed of a cell that can be tested, else none."""
    if cell.missing or cell.measured is None or cell.measured.n < 2:
        return {}
    return dict(cell.measured.values)


def _ranks(table: Table, methods: Sequence[Row]) -> tuple[Ranks | None, str]:
    """Return average ranks of the methods, or the reason for missing ones."""
    pairs = len(table.columns)
    if pairs < 2 or len(methods) < 3:
        needed = "at least 2 pairs and 3 methods without missing values"
        number = f"{count(pairs, 'pair')} and {count(len(methods), 'method')}"
        return None, f"no average ranks: they need {needed}, found {number}"
    means = list(zip(*map(_means, methods), strict=True))
    return ranks(means, higher=table.metric.higher), ""


def _improvements(
    table: Table, methods: Sequence[Row]
) -> tuple[tuple[float | None, ...] | None, str]:
    """Return relative improvements of the methods, or the reason for missing ones."""
    base, plain = table.baseline, [row for row in table.rows if row.role == "student"]
    obstacle = ""
    if base is None or len(plain) != 1 or base is plain[0]:
        obstacle = "it needs a reference method and one plain student"
    elif incomplete := [row.label for row in (base, *plain) if not _complete(row)]:
        obstacle = f"values or seeds of {incomplete[0]} are missing"
    else:
        starts, levels = _means(plain[0]), _means(base)
        for column, start, level in zip(table.columns, starts, levels, strict=True):
            if level == start or (level > start) is not table.metric.higher:
                obstacle = f"{base.label} does not improve the plain student of {column.name}"
                break
    if obstacle:
        return None, f"no relative improvement: {obstacle}"
    improvements = (
        None if row is base else relative_improvement(starts, levels, _means(row))
        for row in methods
    )
    return tuple(improvements), ""


def _complete(row: Row) -> bool:
    return all(cell.rankable for cell in row.cells)


def _means(row: Row) -> list[float]:
    return [cell.rankable.mean for cell in row.cells if cell.rankable]
