"""The statistics of a table as text in grids, which only have to be printed; nothing is escaped."""

from collections.abc import Iterator

from bench.report.caption import how_tested, measure, tested
from bench.report.layout import Grid, GridRow, Marked, Note, Sheet, Table
from bench.report.markup import signed
from bench.report.statistics import Line, Overall, Pair, Statistics
from bench.report.wording import Metric, chance, counted, joined, sentences
from bench.stats import ALPHA, MOST, POWER, Judgement


def sheet(found: Statistics) -> Sheet:
    """Statistics in words: a grid for each pair, and one over the pairs."""
    table = found.table
    grids = (*(_pair(one, table) for one in found.pairs), _overall(found.overall, table))
    marks = {
        mark
        for grid in grids
        for mark in (grid.title.mark, *(cell.mark for row in grid.rows for cell in row.cells))
    }
    notes = [note for note in table.notes if note.mark in marks]
    notes += [Note("", text) for text in _assumptions(table)]
    title = f"{table.title}: statistics"
    return Sheet(title, _caption(table), table.metric, grids, tuple(notes))


def _caption(table: Table) -> str:
    """What the columns mean."""
    base, number = table.baseline, tested(table.rows)
    said = [
        measure(table.metric),
        "mean, unbiased standard deviation, and 95 % interval of the mean over n runs",
    ]
    if base is None:
        said.append("no method of the table is the reference: nothing is compared")
    elif not number:
        said.append(f"no cell could be tested beside {base.label}")
    else:
        said += [
            f"difference: method minus {base.label}, with its 95 % interval",
            f"intervals hold each by itself; p is of {how_tested(table.rows)}, corrected by Holm "
            f"for {counted(number, 'cell')}",
            *_verdicts(table),
        ]
    return sentences(said)


def _verdicts(table: Table) -> Iterator[str]:
    """The rules of `bench.stats.compared`."""
    amount = f"{table.tolerance:g} {table.metric.step}"
    beyond = f" and a difference of more than {amount}" if table.tolerance else ""
    yield f"better, worse: p < {ALPHA}{beyond}"
    yield (
        f"same: a difference of more than {amount} is ruled out (two one-sided tests at {ALPHA})"
        if table.tolerance
        else "nothing is called the same without a tolerance"
    )
    yield "inconclusive: none of these; in brackets how many seeds would settle it"


def _assumptions(table: Table) -> Iterator[str]:
    """What the numbers take for granted."""
    yield "Assumed: the runs of a cell scatter normally around its mean."
    yield (
        "Where one teacher serves all seeds, what another teacher would change is in no spread, "
        "interval or p."
    )
    if tested(table.rows):
        yield (
            "Within a seed all methods of a pair see the same batches and start from the same "
            "student: seeds pair them."
        )
        yield (
            "p is corrected within this table: not across metrics or tables, nor for looking again "
            "after every further seed."
        )
        yield (
            f"Seeds that would settle it: with a power of {100 * POWER:g} %, if the spread is as "
            "measured, and the difference too, or none where it is within the tolerance."
        )


def _pair(found: Pair, table: Table) -> Grid:
    base = table.baseline
    header = ["Method", "n", "Mean ± std", "95 % interval"]
    if base:
        header += [f"Difference to {base.label}", "p", "Verdict"]
    rows = tuple(
        GridRow(line.row.name, tuple(_cells(line, table))[: len(header)]) for line in found.lines
    )
    title = Marked(found.column.name, found.column.mark)
    return Grid(title, "", tuple(header), rows, found.column.pair)


def _cells(line: Line, table: Table) -> Iterator[Marked]:
    metric, found, judgement = table.metric, line.estimate, line.cell.judgement
    yield Marked(line.row.label, line.row.mark)
    if found:
        spread = "" if found.std is None else f" ± {metric.shown(found.std)}"
        yield Marked(str(found.n))
        yield Marked(_shown(found.mean, metric) + spread, line.cell.mark)
        yield Marked(_interval(found.low, found.high, metric))
    else:
        yield from (Marked("0"), Marked(line.cell.status, line.cell.mark), Marked(""))
    if judgement is None:
        reference = "reference" if line.row is table.baseline else ""
        yield from (Marked(""), Marked(""), Marked(line.untested or reference))
        return
    interval = _interval(judgement.low, judgement.high, metric, change=True)
    yield Marked(f"{signed(judgement.mean, metric.digits)} {interval}")
    yield Marked("" if judgement.p is None else chance(judgement.p))
    yield Marked(verdict(judgement, table.tolerance))


def verdict(found: Judgement, tolerance: float) -> str:
    """`inconclusive (about 6 seeds)`."""
    if found.verdict != "inconclusive":
        return found.verdict
    if found.seeds is not None:
        return f"inconclusive (about {found.seeds} seeds)"
    if not tolerance and not found.mean:
        return "inconclusive"
    return f"inconclusive (more than {MOST} seeds)"


def _interval(low: float | None, high: float | None, metric: Metric, change: bool = False) -> str:
    if low is None or high is None:
        return ""
    ends = (signed(end, metric.digits) if change else _shown(end, metric) for end in (low, high))
    return f"[{', '.join(ends)}]"


def _shown(value: float, metric: Metric) -> str:
    return metric.shown(value).replace("-", "−")


def _overall(found: Overall, table: Table) -> Grid:
    """The methods over all pairs, as far as there are ranks and improvements."""
    header, columns = ["Method"], []
    if found.ranks:
        header.append("Average rank")
        columns.append([f"{rank:.2f}" for rank in found.ranks.average])
    if found.improvement:
        header.append("Relative improvement")
        columns.append(
            [
                "reference" if gain is None else f"{signed(100 * gain, 1)} %"
                for gain in found.improvement
            ]
        )
    rows = [
        GridRow(row.name, (Marked(row.label, row.mark), *map(Marked, cells)))
        for row, *cells in zip(found.methods, *columns, strict=True)
    ]
    text = sentences(_over_pairs(found, table))
    return Grid(Marked("Over the pairs"), text, tuple(header), tuple(rows if columns else ()))


def _over_pairs(found: Overall, table: Table) -> Iterator[str]:
    """What the numbers over all pairs are, why some are not there, and whom they leave out."""
    if ranks := found.ranks:
        yield (
            f"average ranks, 1 the best, over {counted(ranks.pairs, 'pair')} and "
            f"{counted(len(ranks.average), 'method')}: Friedman's chi-square "
            f"{ranks.statistic:.2f}, p {chance(ranks.p)}"
        )
        yield (
            f"ranks that differ by less than {ranks.critical:.2f}, Nemenyi's critical distance at "
            f"{ALPHA}, are not told apart"
        )
        yield "pairs count as independent, even where they share a network; seeds do not count"
    if found.improvement and table.baseline:
        label = table.baseline.label
        yield (
            f"relative improvement, as in the CRD paper: (method − {label}) / ({label} − plain "
            f"student), the mean over {counted(found.pairs, 'pair')}"
        )
    yield from found.lacking
    if found.left_out:
        names = joined(row.label for row in found.left_out)
        yield f"left out, as they lack values or seeds: {names}"
