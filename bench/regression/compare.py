"""Two results folders compared cell by cell."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from bench.regression.testing import Match, RegressionTest, version_changes
from bench.regression.verdicts import Verdict, Verdicts
from bench.report.model import Cell, Entry, cell, environment, settings
from bench.results.record import Record


def compare(
    before: Iterable[Record],
    now: Iterable[Record],
    metric: str = "top1",
    tolerance: float | None = None,
    names: tuple[str, str] = ("A", "B"),
) -> Verdicts:
    """Return better, same, worse or inconclusive for each cell that two folders share.

    better, worse: the difference exceeds the tolerance and is significant (two-sided,
    Holm-corrected); same: a difference beyond the tolerance is ruled out. Cells match by pair and
    method; of several with that name, those that agree in every setting. Where none do, a note
    names the difference.

    Args:
        before: The records of the first folder.
        now: The records of the second.
        metric: Name of the metric.
        tolerance: In its unit; None: 0.5 points.
        names: Names of the folders.

    Raises:
        BenchError: The metric is unknown.
    """
    test = RegressionTest.of(metric, tolerance, two_sided=True)
    records = list(before), list(now)
    pairs = _matches(_cells(records[0]), _cells(records[1]))
    verdicts = tuple(test.verdicts(_checked(*pair, metric, names) for pair in pairs))
    notes = version_changes(environment(records[0]), environment(records[1]))
    against = f"{names[0]} (now: {names[1]})"
    return Verdicts("compare", "", against, test.metric, test.tolerance, verdicts, notes)


def _cells(records: Sequence[Record]) -> list[Cell]:
    """Return the cells of a results folder with its teachers; another setting is another cell."""
    by_id = {record.id: record for record in records}
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    teachers: dict[tuple[str, str, str], Record | None] = {}
    for record in by_id.values():
        pair, method = _names(record)
        teacher = by_id.get(record.specification.teacher or "")
        key = pair, method, json.dumps(settings(record, teacher), sort_keys=True)
        groups.setdefault(key, []).append(Entry(pair, "", "", method, record.seed, record))
        teachers.setdefault(key, teacher)
    return [cell(groups[key], "top1", teachers[key]) for key in sorted(groups)]


def _names(record: Record) -> tuple[str, str]:
    """Return pair and method of a record by its name, `resnet8x4/resnet8 kd seed 0`."""
    label = re.sub(r" seed -?\d+$", "", record.name or record.id)
    pair, _, method = label.partition(" ")
    return pair, method or record.kind


def _matches(before: list[Cell], now: list[Cell]) -> Iterator[tuple[Cell | None, Cell | None]]:
    """Return each cell with its counterpart; cells of the same name in a stable order."""
    groups: dict[tuple[str, str], tuple[list[Cell], list[Cell]]] = {}
    for side, cells in enumerate((before, now)):
        for each in cells:
            groups.setdefault((each.pair, each.method), ([], []))[side].append(each)
    for left, right in groups.values():
        for each in list(left):
            same = (other for other in right if not Match(each, other).setting_note)
            if (twin := next(same, None)) is not None:
                left.remove(each)
                right.remove(twin)
                yield each, twin
        while left and right:
            yield left.pop(0), right.pop(0)
        yield from ((each, None) for each in left)
        yield from ((None, each) for each in right)


def _checked(
    before: Cell | None, now: Cell | None, metric: str, names: tuple[str, str]
) -> Match | Verdict:
    """Return both cells, or the verdict on a cell without a counterpart or a result."""
    if before is None or now is None:
        [alone] = filter(None, (before, now))
        return Verdict.of(alone, "uncompared", f"not in {names[0 if before is None else 1]}")
    for each, name in ((before, names[0]), (now, names[1])):
        if each.missing is not None:
            return Verdict.of(each, "uncompared", f"in {name} {each.missing.reason}")
        if metric not in each.metrics:
            return Verdict.of(each, "uncompared", f"in {name} without {metric}")
    return Match(before, now)
