"""The statistics of a table as a document: a grid for each pair, and one over the pairs."""

from collections.abc import Iterator

from bench.report.caption import how_tested, tested
from bench.report.comparison import not_tested, overall
from bench.report.document import Document, GridCell, GridRow, Section, grid_cell, header, spans
from bench.report.labels import Metric, count, join, p_equals, p_value, sentences, signed
from bench.report.model import Cell, Column, Note, Overall, Row, Table, named
from bench.stats import ALPHA, MAX_SEEDS, POWER, Comparison


def statistics_document(table: Table) -> Document:
    """Return a table's intervals, differences, p-values, verdicts and ranks as a document."""
    pairs = tuple(_pair(i, column, table) for i, column in enumerate(table.columns))
    sections = (*pairs, _over_pairs(overall(table), table))
    grids = [cell.text for s in sections for row in s.rows for cell in row.cells]
    texts = [*grids, *(section.title for section in sections)]
    marks = {span.text for text in texts for span in text if span.style == "mark"}
    notes = [note for note in table.notes if note.mark in marks]
    notes += [Note("", text) for text in _assumptions(table)]
    title = spans(f"{table.title}: statistics")[0].text
    return Document(title, spans(_caption(table)), sections, tuple(notes), table.metric.name)


def verdict(comparison: Comparison, tolerance: float) -> str:
    """Return a verdict with the seeds needed: `inconclusive (about 6 seeds)`."""
    if comparison.verdict != "inconclusive":
        return comparison.verdict
    if comparison.seeds is not None:
        return f"inconclusive (about {comparison.seeds} seeds)"
    if not tolerance and not comparison.mean:
        return "inconclusive"
    return f"inconclusive (more than {MAX_SEEDS} seeds)"


def untested_reason(row: Row, place: int, table: Table) -> str:
    """Return why a row's cell in a column was not compared; empty where it was."""
    base = table.baseline
    if base is None or row is base or row.cells[place].comparison:
        return ""
    return not_tested(row.cells[place], base, base.cells[place])


def _caption(table: Table) -> str:
    base = table.baseline
    parts = [
        table.metric.description,
        "mean, standard deviation (n − 1) and 95 % interval of the mean over n runs",
    ]
    if base is None:
        parts.append("the table has no reference method: nothing is compared")
    elif not tested(table.rows):
        parts.append(f"no cell could be compared with {base.label}")
    else:
        amount = f"{table.tolerance:g} {table.metric.difference_unit}"
        beyond = f" and a difference of more than {amount}" if table.tolerance else ""
        parts += [
            f"difference: method minus {base.label}, with its 95 % interval",
            f"column p: {how_tested(table.rows).removesuffix(f', p < {ALPHA}')}; intervals are not "
            "corrected",
            f"better, worse: p < {ALPHA}{beyond}",
            f"same: a difference of more than {amount} is ruled out (two one-sided tests at "
            f"{ALPHA})"
            if table.tolerance
            else "with a tolerance of 0, no verdict is `same`",
            "inconclusive: none of these; in brackets the number of seeds that would decide it",
        ]
    return sentences(parts)


def _assumptions(table: Table) -> Iterator[str]:
    yield "Assumption: the runs of a cell are normally distributed."
    yield (
        "If one teacher serves all seeds, the intervals and p-values do not include the variation "
        "between teachers."
    )
    if tested(table.rows):
        yield (
            "Seeds pair the runs: within a seed, all methods of a pair use the same batches and "
            "the same initial student."
        )
        yield (
            "p-values are corrected within this table: not across metrics or tables, and not for "
            "repeated looks while seeds are added."
        )
        yield (
            f"Seeds needed: for a power of {100 * POWER:g} %, if the spread is as measured and "
            "the true difference is as measured, or 0 where it is within the tolerance."
        )


def _pair(place: int, column: Column, table: Table) -> Section:
    """Return the grid of one pair."""
    names = ["Method", "n", "Mean ± std", "95 % interval"]
    if table.baseline:
        names += [f"Difference to {table.baseline.label}", "p", "Verdict"]
    rows = tuple(
        GridRow(tuple(_cells(row, place, table))[: len(names)], row.name, row.role)
        for row in table.rows
        if row.role != "teacher"
    )
    return Section(header(names), rows, spans(column.name, column.mark), pair=column.pair)


def _cells(row: Row, place: int, table: Table) -> Iterator[GridCell]:
    cell, metric = row.cells[place], table.metric
    yield grid_cell(row.label, row.mark)
    yield from _estimate(cell, metric)
    comparison = cell.comparison
    if comparison is None:
        reason = "reference" if row is table.baseline else untested_reason(row, place, table)
        yield from (GridCell(), GridCell(), grid_cell(reason))
        return
    interval = _interval(comparison.low, comparison.high, metric, change=True)
    yield grid_cell(f"{signed(comparison.mean, metric.digits)} {interval}")
    yield grid_cell("" if comparison.p is None else p_value(comparison.p))
    yield grid_cell(verdict(comparison, table.tolerance))


def _estimate(cell: Cell, metric: Metric) -> Iterator[GridCell]:
    measured = cell.measured
    if measured is None:
        yield from (grid_cell("0"), grid_cell(cell.status, cell.mark), GridCell())
        return
    std = "" if measured.std is None else f" ± {metric.format(measured.std)}"
    yield grid_cell(str(measured.n))
    yield grid_cell(metric.format(measured.mean) + std, cell.mark)
    yield grid_cell(_interval(measured.low, measured.high, metric))


def _interval(low: float | None, high: float | None, metric: Metric, change: bool = False) -> str:
    if low is None or high is None:
        return ""
    ends = (signed(e, metric.digits) if change else metric.format(e) for e in (low, high))
    return f"[{', '.join(ends)}]"


def _over_pairs(result: Overall, table: Table) -> Section:
    """Return the methods over all pairs, with the ranks and improvements that there are."""
    names, columns = ["Method"], []
    if result.ranks:
        names.append("Average rank")
        columns.append([f"{rank:.2f}" for rank in result.ranks.average])
    if result.improvements:
        names.append("Relative improvement")
        columns.append(
            [
                "reference" if gain is None else f"{signed(100 * gain, 1)} %"
                for gain in result.improvements
            ]
        )
    rows = tuple(
        GridRow((grid_cell(row.label, row.mark), *map(grid_cell, cells)), row.name, row.role)
        for name, *cells in zip(result.methods, *columns, strict=True)
        if (row := named(table.rows, name))
    )
    text = sentences(_over_pairs_text(result, table))
    return Section(header(names), rows if columns else (), spans("Over the pairs"), text)


def _over_pairs_text(result: Overall, table: Table) -> Iterator[str]:
    if ranks := result.ranks:
        yield (
            f"average ranks, 1 the best, over {count(ranks.pairs, 'pair')} and "
            f"{count(len(ranks.average), 'method')}: Friedman's chi-square "
            f"{ranks.statistic:.2f}, {p_equals(ranks.p)}"
        )
        yield (
            f"ranks that differ by less than {ranks.critical:.2f}, Nemenyi's critical distance at "
            f"{ALPHA}, are not significantly different"
        )
        yield "pairs count as independent, even if they share a network; seeds do not count"
    if result.improvements and table.baseline:
        label = table.baseline.label
        yield (
            f"relative improvement, as in the CRD paper: (method − {label}) / ({label} − plain "
            f"student), the mean over {count(result.pairs, 'pair')}"
        )
    yield from result.obstacles
    if result.incomplete:
        names = join(row.label for row in table.rows if row.name in result.incomplete)
        yield f"excluded, as values or seeds are missing: {names}"
