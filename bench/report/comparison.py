"""Comparisons within a table.

Methods are ranked within each column, compared with the reference method, and ranked over all
pairs.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from bench.config.text import count
from bench.report.caption import tested
from bench.report.labels import Metric, join, sentences
from bench.report.model import Cell, Overall, Rank, Row, Table, named
from bench.stats.comparison import (
    ALPHA,
    Comparison,
    Ranks,
    compare_to_baseline,
    ranks,
    relative_improvement,
)
from bench.stats.sequential import SeedLooks, compare_in_looks

LOOKS = "seeds: "  # begins the note on looks
MAX_LEVELS = 8  # levels of looks that the note lists


def rank(cells: Sequence[Cell], metric: Metric) -> list[Cell]:
    """Return the cells of one column, with `rank` set in the best and the second best.

    Means that round to the same printed number share a rank. If only one cell has a value, no cell
    gets a rank.
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
    """Return the cells of one column, with `versus` set: better or worse than the reference.

    `versus` stays None if both means round to the same printed number, or if a seed of the cell or
    of the reference is missing.
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
    """Return the rows, with `rank` and `versus` set in the cells of methods.

    Args:
        rows: All rows of a table.
        metric: The table's metric.
        reference: Name of the reference method. If no row has this name, `versus` stays None.
    """
    base, columns = named(rows, reference), []
    for i, column in enumerate(zip(*(r.cells for r in rows if r.role == "method"), strict=True)):
        ranked = rank(column, metric)
        columns.append(compare_means(ranked, base.cells[i], metric) if base else ranked)
    lines = zip(*columns, strict=True)
    return [replace(row, cells=next(lines)) if row.role == "method" else row for row in rows]


def compare_statistically(
    rows: Sequence[Row],
    metric: Metric,
    reference: str,
    tolerance: float,
    looks: SeedLooks | None = None,
) -> list[Row]:
    """Return the rows, with `comparison` set in the cells of plain students and methods.

    p-values are corrected for the number of comparisons in the table. A comparison needs two cells
    of a column, the method's and the reference method's. Both need at least two measured seeds and
    no missing seed. With `looks`, p-values are also corrected for these, and the comparison decides
    `versus`, because the means of a table may be over other numbers of seeds.
    """
    base = named(rows, reference)
    if base is None:
        return list(rows)
    others = [i for i, row in enumerate(rows) if row.role != "teacher" and row is not base]
    columns = [
        (_testable(level), [_testable(rows[i].cells[j]) for i in others])
        for j, level in enumerate(base.cells)
    ]
    if looks is None:
        compared = compare_to_baseline(columns, tolerance, higher=metric.higher)
    else:
        all_values = [
            (_values(level), [_values(rows[i].cells[j]) for i in others])
            for j, level in enumerate(base.cells)
        ]
        seeds = looks.seeds[base.cells[0].pair]
        looked = compare_in_looks(all_values, looks.looks, seeds, tolerance, higher=metric.higher)
        compared = looked.comparisons
    result = [list(row.cells) for row in rows]
    for j, ((level, methods), comparisons) in enumerate(zip(columns, compared, strict=True)):
        for i, values, comparison in zip(others, methods, comparisons, strict=True):
            if level and values and (looks is None or comparison.p is not None):
                result[i][j] = replace(result[i][j], comparison=comparison)
                if looks:
                    result[i][j] = replace(result[i][j], versus=_versus(comparison, metric))
    return [replace(row, cells=tuple(line)) for row, line in zip(rows, result, strict=True)]


def notes(rows: Sequence[Row], looks: SeedLooks | None) -> list[str]:
    """Return a paragraph on the looks that decided about a table's seeds, and on their levels."""
    if looks is None or not tested(rows):
        return []
    first, most = looks.looks.first, looks.looks.most
    counts = list(range(first, most + 1))
    step = -(-(len(counts) - 1) // (MAX_LEVELS - 1))
    counts = [*counts[:-1:step], most]
    levels = join(f"{2 * looks.looks.level(n, ALPHA / 2):.2g} at {n}" for n in counts)
    paragraph = [
        f"{LOOKS}the methods were compared after each seed from {first} to {most}; a method with a "
        "verdict has no more seeds, and keeps the verdict",
        "a comparison uses the seeds that both methods have",
        "the column p and the verdict same are corrected for all looks; one comparison alone is "
        f"significant if its uncorrected p is below {levels} seeds",
        "differences of methods that settle early are too large on average",
    ]
    return [sentences(paragraph)]


def overall(table: Table) -> Overall:
    """Return average ranks and relative improvements of the methods over all pairs."""
    rows = [row for row in table.rows if row.role == "method"]
    complete = [row for row in rows if _complete(row)]
    names = tuple(row.name for row in complete)
    incomplete = tuple(row.name for row in rows if not _complete(row))
    average, few = _ranks(table, complete)
    gains, obstacle = _improvements(table, complete)
    obstacles = tuple(filter(None, (few, obstacle)))
    return Overall(len(table.columns), names, incomplete, average, gains, obstacles)


def _versus(comparison: Comparison, metric: Metric) -> Literal["better", "worse"] | None:
    """Return whether a difference is an improvement; None if it is printed as 0."""
    difference = round(comparison.mean, metric.digits)
    return None if not difference else "better" if (difference > 0) is metric.higher else "worse"


def _values(cell: Cell) -> dict[int, float]:
    return dict(cell.measured.values) if cell.measured else {}


def _testable(cell: Cell) -> dict[int, float]:
    """Return a cell's values by seed; empty if the cell cannot be tested."""
    if cell.missing or cell.measured is None or cell.measured.n < 2:
        return {}
    return dict(cell.measured.values)


def _ranks(table: Table, methods: Sequence[Row]) -> tuple[Ranks | None, str]:
    """Return the methods' average ranks, or None and the reason."""
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
    """Return the methods' relative improvements, or None and the reason."""
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
