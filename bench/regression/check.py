"""Records held against a baseline."""

from collections.abc import Iterable

from bench.errors import BenchError, unknown
from bench.regression import settings
from bench.regression.baseline import Baseline, environment
from bench.regression.cells import Cell, from_entries
from bench.regression.judging import question
from bench.regression.matching import Match
from bench.regression.verdicts import Outcome, Verdict, Verdicts
from bench.report.cells import Entry
from bench.report.wording import Metric


def check(
    entries: Iterable[Entry],
    baseline: Baseline,
    metric: str = "top1",
    tolerance: float | None = None,
    *,
    complete: bool = True,
) -> Verdicts:
    """A verdict for every cell of a suite, its teachers aside.

    regression: the loss exceeds the tolerance and noise is ruled out; with probability 95 % no
    cell of an unchanged suite is called so. pass: a loss beyond the tolerance is ruled out, or all
    numbers are identical. Otherwise inconclusive, as is every cell with a single seed on a side.
    Spreads are steadied by all cells (`bench.stats.shared`), tests are Welch's. Seeds that
    both sides share do not pair them: unless all is identical, rounding alone makes runs of a seed
    part (the quickstart under another instruction set: a correlation of about 1/2), and pairs
    would halve the degrees of freedom.

    tolerance: in the unit of the metric, 0.5 points where none is given. complete: whether the
    entries are the whole suite, so that a cell of the baseline which they lack is missing.
    Raises BenchError for a metric that is unknown or that the baseline lacks.
    """
    asked = question(metric, tolerance)
    _recorded(baseline, asked.metric)
    known = list(entries)
    now = {cell.key: cell for cell in from_entries(known)}
    before = {cell.key: cell for cell in baseline.cells}
    found = asked.all(_matched(before.get(key), cell, metric) for key, cell in now.items())
    gone = [_gone(cell) for key, cell in before.items() if complete and key not in now]
    records = [entry.record for entry in known if entry.record is not None]
    notes = settings.environments(baseline.environment, environment(records))
    cells = (*found, *gone)
    return Verdicts(
        "check", baseline.suite, baseline.title, asked.metric, asked.tolerance, cells, notes
    )


def _recorded(baseline: Baseline, metric: Metric) -> None:
    names = {name for cell in baseline.cells for name in cell.metrics}
    if metric.name not in names:
        raise BenchError(f"{baseline.title}: {unknown('metric', metric.name, names)}")


def _matched(before: Cell | None, now: Cell, metric: str) -> Match | Verdict:
    """Both sides of a cell, or why there are not both."""
    if now.hole is not None:
        hole = now.hole
        if hole.status == "skipped" and before and before.hole and not before.metrics:
            return verdict(now, "skipped", f"{hole.reason}, as in the baseline")
        return verdict(now, "missing" if hole.status == "missing" else "failed", hole.reason)
    if metric not in now.metrics:
        return verdict(now, "missing", f"the records have no {metric}")
    if before is None:
        return verdict(now, "uncompared", "not in the baseline")
    if before.hole is not None:
        return verdict(now, "uncompared", f"without a result in the baseline: {before.hole.reason}")
    if metric not in before.metrics:
        return verdict(now, "uncompared", f"the baseline has no {metric} of it")
    return Match(before, now)


def _gone(before: Cell) -> Verdict:
    if before.hole is not None:
        return verdict(before, "uncompared", "without a result in the baseline, and not asked for")
    return verdict(before, "missing", "in the baseline, but not in the suite")


def verdict(cell: Cell, outcome: Outcome, reason: str) -> Verdict:
    """A verdict without numbers."""
    said = reason.removeprefix(f"{outcome}: ")
    return Verdict(cell.pair, cell.method, cell.label, outcome, said)
