"""Compare records with a baseline, with the papers, or with another results folder."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from typing import Any

from bench.errors import BenchError, unknown
from bench.regression.baseline import baseline
from bench.regression.testing import Match, RegressionTest, version_changes
from bench.regression.verdicts import Outcome, Verdict, Verdicts
from bench.report.caption import data_deviation, method_deviation, pair_deviation
from bench.report.measured import main_metric
from bench.report.model import (
    Cell,
    Entry,
    Measured,
    Report,
    cell,
    environment,
    settings,
)
from bench.report.published import Line, published_lines
from bench.results.measured import merge_all
from bench.results.record import Record
from bench.spec import DataSpec, Recipe

PUBLISHED_NOTES = (
    "a published number without a standard deviation counts as one run, with the std of our runs",
    "the papers used other teacher weights; no standard deviation includes this difference",
)


def check(
    entries: Iterable[Entry],
    before: Report,
    metric: str | None = None,
    tolerance: float | None = None,
    *,
    complete: bool = True,
) -> Verdicts:
    """Return a verdict for every cell of a suite, except its teachers.

    regression: the mean is worse by more than the tolerance, and the change is significant. If
    nothing has changed, the probability of any regression verdict is at most 5 %. pass: a change
    for the worse beyond the tolerance is ruled out, or all values are bit-for-bit identical.
    inconclusive: any other cell with results, including cells with a single seed. Cells without
    results are failed, missing, skipped or uncompared, with a reason.

    The t-tests use one variance for both sides, moderated over the cells
    (`bench.stats.estimates`; docs/STATISTICS.md). They are unpaired, even if the entries and the
    baseline have the same seeds. Pairing the runs by seed would halve the degrees of freedom and
    gain little, because rounding alone makes two runs with the same seed diverge. For example, the
    suite `quickstart` ran on two CPU instruction sets. The correlation between the two results of
    each seed was only about 1/2.

    Args:
        entries: The runs of the suite, or of a part of the suite.
        before: The baseline.
        metric: Name of the metric; None: `bench.report.measured.main_metric` of the entries.
        tolerance: Largest accepted change for the worse, in the unit of the metric; None: 0.5
            percentage points.
        complete: Whether the entries are the full suite. If so, cells that are only in the baseline
            get the verdict `missing`.

    Raises:
        BenchError: The metric is unknown, not in the baseline, or needs an explicit tolerance.
    """
    entries = list(entries)
    metric = metric or main_metric(entry.record for entry in entries)
    test = RegressionTest.of(metric, tolerance)
    names = {name for cell in before.cells for name in cell.metrics}
    if metric not in names:
        raise BenchError(f"{before.title}: {unknown('metric', metric, names)}")
    now = baseline(entries, before.suite, metric)
    old = {(cell.pair, cell.method): cell for cell in before.cells}
    new = {(cell.pair, cell.method): cell for cell in now.cells}
    verdicts = test.verdicts(_matched(old.get(key), cell, metric) for key, cell in new.items())
    if complete:
        verdicts += [_removed(cell) for key, cell in old.items() if key not in new]
    notes = version_changes(before.environment, now.environment)
    return test.summary("check", before.suite, before.title, verdicts, notes)


def against_published(
    entries: Iterable[Entry],
    papers: Mapping[str, Mapping[str, Any]],
    suite: str,
    tolerance: float | None = None,
) -> Verdicts:
    """Return a verdict for every cell, from a comparison with the published accuracies.

    `check` describes the rules. A cell is compared only if it used CIFAR-100 and the papers'
    recipe and loss weights; any other cell is `uncompared`, with a reason. The metric is top-1
    accuracy after the last epoch. The CRD paper gives means over 5 runs (Table 1) and 3 runs
    (Table 2), with standard deviations. Other published numbers have no standard deviation.

    Args:
        entries: The runs of the suite.
        papers: Distillers with their weights and options, by name of the published method, or by
            `METHOD TEACHER/STUDENT` where the authors use other settings for a pair.
        suite: Name of the suite.
        tolerance: Largest accepted drop, in percentage points; None: 0.5.
    """
    test = RegressionTest.of("top1", tolerance, exact=False)
    cells = baseline(entries, suite).cells
    verdicts = test.verdicts(_matched_published(cell, papers) for cell in cells)
    notes = PUBLISHED_NOTES if any(verdict.before for verdict in verdicts) else ()
    return test.summary("published", suite, "the papers' tables", verdicts, notes)


def compare(
    before: Iterable[Record],
    now: Iterable[Record],
    metric: str | None = None,
    tolerance: float | None = None,
    names: tuple[str, str] = ("A", "B"),
) -> Verdicts:
    """Return better, same, worse or inconclusive for each cell that both folders contain.

    better, worse: the difference exceeds the tolerance and is significant (two-sided,
    Holm-corrected). same: a difference beyond the tolerance is ruled out, or all values are
    identical. Cells match by pair and method. If a folder has several cells with the same pair and
    method, cells with equal settings match first. If the settings of matched cells differ, a note
    lists the changes. A cell that is in one folder only is `uncompared`.

    Args:
        before: The records of the first folder.
        now: The records of the second folder.
        metric: Name of the metric; None: `bench.report.measured.main_metric` of the records.
        tolerance: Largest accepted difference, in the unit of the metric; None: 0.5 percentage
            points.
        names: Names of the two folders, for messages.

    Raises:
        BenchError: The metric is unknown, or needs an explicit tolerance.
    """
    records = merge_all(before), merge_all(now)
    metric = metric or main_metric(chain(*records))
    test = RegressionTest.of(metric, tolerance, two_sided=True)
    pairs = _matches(*map(_cells, records))
    verdicts = test.verdicts(_checked(*pair, metric, names) for pair in pairs)
    notes = version_changes(*map(environment, records))
    return test.summary("compare", "", f"{names[0]} (now: {names[1]})", verdicts, notes)


def _matched(before: Cell | None, now: Cell, metric: str) -> Match | Verdict:
    """Match a cell with its baseline; return a verdict if either of the two has no result."""
    skipped = now.missing is not None and now.missing.status == "skipped"
    if skipped and before and before.missing and not before.metrics and now.missing:
        return Verdict.of(now, "skipped", f"{now.missing.reason}, as in the baseline")
    if verdict := _without_result(now, metric):
        return verdict
    if before is None:
        return Verdict.of(now, "uncompared", "not in the baseline")
    if before.missing is not None and not _lacks_only_shown(before, metric):
        return Verdict.of(now, "uncompared", f"no result in the baseline: {before.missing.reason}")
    if metric not in before.metrics:
        return Verdict.of(now, "uncompared", f"no {metric} in the baseline")
    return Match(before, now)


def _lacks_only_shown(before: Cell, metric: str) -> bool:
    """Return whether a cell of the baseline has this metric, but not the one that its table shows.

    For example, a student without labels has an agreement with the teacher, but no accuracy.
    """
    return before.measured is None and metric in before.metrics


def _without_result(cell: Cell, metric: str) -> Verdict | None:
    """Return `failed` or `missing` for a cell without a value of the metric, else None."""
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
    """Match a cell with its published number; return a verdict if no number is published."""
    if verdict := _without_result(cell, "top1"):
        return verdict
    line = _published(cell)
    if isinstance(line, str):
        return Verdict.of(cell, "uncompared", line)
    name, setting = cell.published_name, cell.setting
    terms = papers.get(f"{name} {cell.pair}", papers.get(name))
    recipe = Recipe.model_validate(setting["recipe"])
    pair = pair_deviation(DataSpec(**setting["data"]), recipe, setting["network"])
    method = method_deviation(cell.terms, terms) if terms is not None else ""
    if deviation := "; ".join(filter(None, (pair, method))):
        return Verdict.of(cell, "uncompared", deviation)
    measured = Measured(line.value or 0.0, line.std if line.n else None, line.n or 1)
    return Match(replace(cell, metrics={"top1": measured}), cell)


def _published(cell: Cell) -> Line | str:
    """Return the published number of a cell, or the reason why there is none."""
    data = DataSpec(**cell.setting.get("data", {}))
    if data.name != "cifar100":
        return f"trained on {data.name}; the papers' tables are for CIFAR-100"
    if deviation := data_deviation(data):
        return deviation
    if difference := _other_experiment(cell):
        return difference
    line = published_lines(data).get((cell.pair, cell.published_name))
    if line is None:
        return "no published number found for this pair and method"
    return f"the published number is {line.doubt}" if line.doubt else line


def _other_experiment(cell: Cell) -> str:
    """Return how a cell's networks differ from those of the papers' main tables; usually empty."""
    teacher = cell.setting.get("teacher", {})
    if {"view", "teacher_view"} & cell.setting.keys():
        return "a network sees another view of the images"
    if "data" in teacher:
        return "the teacher was trained on other images"
    pair = f"{teacher.get('network')}/{cell.setting.get('network')}"
    return f"the networks are {pair}" if teacher and pair != cell.pair else ""


def _cells(records: Sequence[Record]) -> list[Cell]:
    """Group records into cells by pair, method and setting; teachers form cells, too."""
    by_id = {record.id: record for record in records}
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    teachers: dict[tuple[str, str, str], Record | None] = {}
    texts: dict[tuple[int, ...], str] = {}
    for record in by_id.values():
        pair, method = _names(record)
        teacher = by_id.get(record.specification.teacher or "")
        values = _identities(record) + (_identities(teacher) if teacher else ())
        if values not in texts:
            texts[values] = json.dumps(settings(record, teacher), sort_keys=True)
        key = pair, method, texts[values]
        groups.setdefault(key, []).append(Entry(pair, "", "", method, record.seed, record))
        teachers.setdefault(key, teacher)
    return [cell(groups[key], "top1", teachers[key]) for key in sorted(groups)]


def _identities(record: Record) -> tuple[int, ...]:
    """Return the identities of the values on which the setting of a record depends.

    The records of an index share these values, so that a setting is computed once for all seeds.
    """
    values = vars(record.specification).items()
    return tuple(id(value) for name, value in values if name not in ("seed", "teacher"))


def _names(record: Record) -> tuple[str, str]:
    """Return pair and method from a record's name, such as `resnet8x4/resnet8 kd seed 0`."""
    label = re.sub(r" seed -?\d+$", "", record.name or record.id)
    pair, _, method = label.partition(" ")
    return pair, method or record.kind


def _matches(before: list[Cell], now: list[Cell]) -> Iterator[tuple[Cell | None, Cell | None]]:
    """Yield two cells (before, now) of the same pair and method; first, cells of equal settings.

    None replaces a cell that one of the folders does not have.
    """
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
        yield from zip_longest(left, right)


def _checked(
    before: Cell | None, now: Cell | None, metric: str, names: tuple[str, str]
) -> Match | Verdict:
    """Match two cells; if a cell or a result is missing, return a verdict."""
    if before is None or now is None:
        [alone] = filter(None, (before, now))
        return Verdict.of(alone, "uncompared", f"not in {names[0 if before is None else 1]}")
    for each, name in ((before, names[0]), (now, names[1])):
        if each.missing is not None:
            return Verdict.of(each, "uncompared", f"in {name}: {each.missing.reason}")
        if metric not in each.metrics:
            return Verdict.of(each, "uncompared", f"in {name}: no {metric}")
    return Match(before, now)
