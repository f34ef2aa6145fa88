"""Records compared with a baseline, or with the papers."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from bench.errors import BenchError, unknown
from bench.regression.baseline import baseline
from bench.regression.testing import Match, RegressionTest, version_changes
from bench.regression.verdicts import Outcome, Verdict, Verdicts
from bench.report.footnotes import data_deviation, method_deviation, pair_deviation
from bench.report.model import Cell, Entry, Measured, PublishedValue, Report
from bench.report.published import lines, published_values
from bench.spec import DataSpec, Recipe

PUBLISHED_NOTES = (
    "a published number without a standard deviation counts as one run with the spread of ours",
    "the papers used other teachers' weights; their effect is not part of any spread",
)


def check(
    entries: Iterable[Entry],
    before: Report,
    metric: str = "top1",
    tolerance: float | None = None,
    *,
    complete: bool = True,
) -> Verdicts:
    """Return a verdict for every cell of a suite without its teachers.

    regression: the loss exceeds the tolerance and is significant; with 95 % probability no cell of
    an unchanged suite is a regression. pass: a loss beyond the tolerance is ruled out, or all
    numbers are identical. Otherwise inconclusive, as is every cell with a single seed on a side.
    Spreads are moderated by all cells (`bench.stats.moderated`), tests are Welch's. Shared seeds do
    not pair the runs: unless all is identical, rounding alone makes runs of a seed diverge (the
    quickstart under another instruction set: a correlation of about 1/2), and pairs would halve
    the degrees of freedom.

    Args:
        entries: The runs of the suite, or of a part of it.
        before: The baseline.
        metric: Name of the metric.
        tolerance: In the unit of the metric; None: 0.5 points.
        complete: Whether the entries are the full suite, so that a cell of the baseline without
            entries is missing.

    Raises:
        BenchError: The metric is unknown, or not in the baseline.
    """
    test = RegressionTest.of(metric, tolerance)
    names = {name for cell in before.cells for name in cell.metrics}
    if metric not in names:
        raise BenchError(f"{before.title}: {unknown('metric', metric, names)}")
    now = baseline(entries, before.suite)
    old = {(cell.pair, cell.method): cell for cell in before.cells}
    new = {(cell.pair, cell.method): cell for cell in now.cells}
    verdicts = test.verdicts(_matched(old.get(key), cell, metric) for key, cell in new.items())
    if complete:
        verdicts += [_removed(cell) for key, cell in old.items() if key not in new]
    notes = version_changes(before.environment, now.environment)
    return Verdicts(
        "check", before.suite, before.title, test.metric, test.tolerance, tuple(verdicts), notes
    )


def against_published(
    entries: Iterable[Entry],
    papers: Mapping[str, Mapping[str, Any]],
    suite: str,
    tolerance: float | None = None,
) -> Verdicts:
    """Return a verdict for every cell that ran as the papers' did; of the others, why not.

    Accuracies of the last epoch on CIFAR-100 alone, with the papers' recipe and weights; rules as
    in `check`. Means and standard deviations are of 5 and 3 runs in CRD's Tables 1 and 2; other
    numbers have no standard deviation.

    Args:
        entries: The runs of the suite.
        papers: The terms of each canonical method, as specifications have them.
        suite: Name of the suite.
        tolerance: In points; None: 0.5.
    """
    test = RegressionTest.of("top1", tolerance, exact=False)
    cells = baseline(entries, suite).cells
    verdicts = tuple(test.verdicts(_matched_published(cell, papers) for cell in cells))
    notes = PUBLISHED_NOTES if any(verdict.before for verdict in verdicts) else ()
    return Verdicts(
        "published", suite, "the papers' tables", test.metric, test.tolerance, verdicts, notes
    )


def _matched(before: Cell | None, now: Cell, metric: str) -> Match | Verdict:
    """Return both sides of a cell, or the verdict on a cell without both."""
    skipped = now.missing is not None and now.missing.status == "skipped"
    if skipped and before and before.missing and not before.metrics and now.missing:
        return Verdict.of(now, "skipped", f"{now.missing.reason}, as in the baseline")
    if verdict := _without_result(now, metric):
        return verdict
    if before is None:
        return Verdict.of(now, "uncompared", "not in the baseline")
    if before.missing is not None:
        return Verdict.of(now, "uncompared", f"no result in the baseline: {before.missing.reason}")
    if metric not in before.metrics:
        return Verdict.of(now, "uncompared", f"no {metric} in the baseline")
    return Match(before, now)


def _without_result(cell: Cell, metric: str) -> Verdict | None:
    """Return the verdict on a cell that did not finish or does not have the metric."""
    if cell.missing is not None:
        outcome: Outcome = "missing" if cell.missing.status == "missing" else "failed"
        return Verdict.of(cell, outcome, cell.missing.reason)
    if metric not in cell.metrics:
        return Verdict.of(cell, "missing", f"the records have no {metric}")
    return None


def _removed(before: Cell) -> Verdict:
    if before.missing is not None:
        return Verdict.of(before, "uncompared", "no result in the baseline, and not in the suite")
    return Verdict.of(before, "missing", "in the baseline, but not in the suite")


def _matched_published(cell: Cell, papers: Mapping[str, Mapping[str, Any]]) -> Match | Verdict:
    """Return a cell with its published number, or the verdict on a cell without one."""
    if verdict := _without_result(cell, "top1"):
        return verdict
    value = _published(cell)
    if isinstance(value, str):
        return Verdict.of(cell, "uncompared", value)
    if deviation := _deviation(cell, papers):
        return Verdict.of(cell, "uncompared", deviation)
    runs = _published_runs(cell, value)
    measured = Measured(value.mean, value.std if runs else None, runs or 1)
    return Match(replace(cell, metrics={"top1": measured}), cell)


def _published(cell: Cell) -> PublishedValue | str:
    """Return the published number of a cell, or why there is none."""
    data = DataSpec(**cell.setting.get("data", {}))
    if data.name != "cifar100":
        return f"on {data.name}: the papers' tables are of CIFAR-100"
    if deviation := data_deviation(data):
        return deviation
    value = published_values(data).get((cell.pair, _published_name(cell)))
    if value is None:
        return "no readable paper has a number for it"
    return f"the published number is {value.doubt}" if value.doubt else value


def _deviation(cell: Cell, papers: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how a cell was run differently from the papers."""
    setting, name = cell.setting, _published_name(cell)
    recipe = Recipe.model_validate(setting["recipe"])
    parts = [pair_deviation(DataSpec(**setting["data"]), recipe, setting["network"])]
    if name in papers:
        parts.append(method_deviation(cell.terms, papers[name]))
    return "; ".join(filter(None, parts))


def _published_name(cell: Cell) -> str:
    """Return the papers' name of a method."""
    return "student" if cell.role == "student" else cell.method


def _published_runs(cell: Cell, value: PublishedValue) -> int | None:
    """Return the number of runs of a published mean, as its source states it."""
    if value.std is None:
        return None
    for line in lines():
        if (line.pair, line.name, line.published) == (cell.pair, _published_name(cell), value):
            runs = re.search(r"(\d+) runs", line.source)
            return int(runs[1]) if runs else None
    return None
