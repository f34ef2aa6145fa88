"""Make tables from a plan and its records, and write them to files."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench import report
from bench.errors import BenchError, unknown
from bench.report import (
    Kind,
    Report,
    ReportOptions,
    comparison,
    controls,
    experiment,
    labels,
    model,
    published,
    published_experiment,
    published_settings,
)
from bench.report.caption import caption, mark, method_deviation, pair_deviation, run_counts
from bench.report.labels import METRICS
from bench.report.measured import check_metric, main_metric, measured, observed, protocols
from bench.report.model import (
    Cell,
    Column,
    Entry,
    MissingValue,
    Note,
    PublishedValue,
    Role,
    Row,
    Table,
    TableContext,
)
from bench.report.warnings import disagreements, warnings
from bench.results.record import Record
from bench.spec import DataSpec

if TYPE_CHECKING:
    from bench.planning.plan import Plan
    from bench.plugins import Registry
    from bench.report.published_settings import Numbers
    from bench.results import Results
    from bench.suite import Method

PublishedValues = Mapping[tuple[str, str], PublishedValue]  # by (pair, method)
_DEFAULT = ReportOptions()
WARNING = "warning: "  # begins the note of a warning


def entries(plan: "Plan", results: "Results", *, curves: bool = False) -> Iterator[Entry]:
    """Yield two runs for each (pair, method, seed) of a plan: the teacher's, then the student's.

    Args:
        plan: The plan of the suite.
        results: The results folder.
        curves: Whether to read the learning curves, too, which takes longer.
    """
    from bench.planning.seeds import reported

    read_record, suite = results.record if curves else results.summary, plan.suite
    measures: dict[str, dict[str, str]] = {}
    for (subject, name), run in plan.measures.items():
        measures.setdefault(subject, {})[name] = run

    @cache
    def read(run: str) -> tuple[Record | None, dict[str, MissingValue], bool]:
        ids = measures.get(run, {})
        results_of = {name: results.summary(id) for name, id in ids.items()}
        return *measured(read_record(run), results_of), bool(results.differing(run))

    distillers_of = {m.name: _teacher_distillers(m, suite.registry) for m in suite.methods}
    notes = {method.name: note(method) for method in suite.methods}
    with nullcontext() if curves else results.indexed():
        for each in reported(plan):
            pair, method, distillers = each.pair, each.method, distillers_of[each.method.name]
            role: Role = "student" if method.terms and not distillers else "method"
            role = "control" if method.control else role
            names, title = (pair.name, pair.teacher.network, pair.student), method.label
            title = f"{controls.LABEL}{title}" if method.control else title
            about, group = notes[method.name], pair.group
            record, unmeasured, differs = read(each.teacher)
            yield Entry(
                *names, "teacher", each.seed, record, "Teacher", "", "teacher", group,
                unmeasured=unmeasured, differs=differs,
            )  # fmt: skip
            record, unmeasured, differs = read(each.run)
            yield Entry(
                *names,
                method.name,
                each.seed,
                record,
                title,
                about,
                role,
                group,
                distillers,
                unmeasured,
                differs,
            )


def assemble(
    plan: "Plan",
    results: "Results",
    options: ReportOptions = _DEFAULT,
    runs: Sequence[Entry] | None = None,
) -> Report:
    """Return the report of a suite: for one metric, a table for each group of pairs.

    Args:
        plan: The plan of the suite.
        results: The results folder.
        options: Metric, reference method, tolerance, and whether to show published values.
        runs: Result of `entries`; None: read now.

    Raises:
        BenchError: The metric, the reference or the tolerance is not valid.
    """
    runs = list(entries(plan, results)) if runs is None else runs
    about, numbers = context(plan, options), _published(plan, options)
    metric = options.metric or main_metric(entry.record for entry in runs)
    parts = _tables(runs, about, metric, numbers)
    return Report.of(plan.suite.name, parts, runs)


def published_report(plan: "Plan", metric: str | None = None) -> Report:
    """Return a report of a suite's pairs with only the numbers that the papers print.

    A suite with the key `published` gets the numbers of this source. Another suite gets the papers'
    main tables, and the tables of transfer and ensembles that have its pairs.

    Args:
        plan: The plan of the suite.
        metric: Name of the metric; None or `top1`: all published metrics.

    Raises:
        BenchError: The suite does not have the metric, or no number is published.
    """
    suite, pairs = plan.suite, list(dict.fromkeys(each.pair.name for each in plan.cells))
    is_main = metric in (None, "top1")
    check_metric(suite, metric)
    main = published.tables(pairs) if is_main and not suite.published else []
    others = published_experiment.tables(suite, pairs, None if is_main else metric)
    if not (main or others):
        raise BenchError(
            f"no published number of {metric or 'top1'} for any of the suite's pairs was found"
        )
    return Report(suite.name, tables=(*main, *others))


def write(
    plan: "Plan",
    results: "Results",
    options: ReportOptions = _DEFAULT,
    kind: Kind = "tables",
    runs: Sequence[Entry] | None = None,
    assembled: Report | None = None,
) -> list[Path]:
    """Write a suite's tables or statistics into its results folder.

    Files are named <suite>.<format> or <suite>-statistics.<format>. For a metric other than the
    default, its name is appended, such as <suite>-nll.<format>. The `html` page contains tables and
    statistics of all metrics.

    Args:
        plan: The plan of the suite.
        results: The results folder.
        options: Content and formats of the report.
        kind: `tables` or `statistics`.
        runs: Result of `entries` (for `html`, with curves); None: read now.
        assembled: Result of `assemble`; None: assemble now.

    Returns:
        The paths of the files.

    Raises:
        BenchError: An option is not valid (no file is written), or a file cannot be written.
    """
    html = report.PAGE in report.check_formats(options.formats) and kind == "tables"
    runs = runs or list(entries(plan, results, curves=html))
    assembled = assembled or assemble(plan, results, options, runs)

    def page() -> str:
        from bench.report.writers.html import page  # imports matplotlib

        about, numbers = context(plan, options), _published(plan, options)
        return page(runs, about, all_tables(runs, replace(about, caption=""), numbers))

    parts = [plan.stem, *(["statistics"] if kind == "statistics" else [])]
    if options.metric not in (None, main_metric(entry.record for entry in runs)):
        parts.append(options.metric)
    stem = "-".join(parts)
    return report.write(assembled, options.output or results.folder, stem, options, kind, page)


def write_published(
    plan: "Plan", results: "Results", options: ReportOptions = _DEFAULT
) -> list[Path]:
    """Write `published_report` as <suite>-published.<format>; `write` describes the arguments."""
    stem = f"{plan.stem}-published"
    published_tables = published_report(plan, options.metric)

    def page() -> str:
        from bench.report.writers.html import page  # imports matplotlib

        return page([], context(plan), published_tables.tables)

    folder = options.output or results.folder
    return report.write(published_tables, folder, stem, options, page=page)


def context(plan: "Plan", options: ReportOptions = _DEFAULT) -> TableContext:
    """Return the facts about a suite that its tables state.

    Raises:
        BenchError: The suite has no method with the name of the reference, or not the metric.
    """
    suite, reference = plan.suite, options.reference
    check_metric(suite, options.metric)
    methods = {each.method.name for each in plan.cells}
    if reference is not None and reference not in methods:
        raise BenchError(unknown("method", reference, methods))
    rule = suite.settling
    tolerance = options.tolerance
    if rule and tolerance is None and options.metric in (None, "top1"):
        tolerance = rule.tolerance
    changes = f"changed suite: {', '.join(plan.departures)}" if plan.departures else ""
    return TableContext(
        suite.title,
        labels.sentences(
            (suite.caption, changes, plan.facts.incomplete)
            + tuple(experiment.describe(suite, plan.facts))
        ),
        suite.data.spec,
        {pair.name: pair.recipe for pair in suite.pairs},
        reference or (rule.reference if rule else TableContext.reference),
        tolerance,
        protocols(suite),
        experiment.looks(plan),
    )


def warnings_of(result: Report) -> list[str]:
    """Return the warnings among the notes of a report's tables, each once."""
    notes = (each.text for table in result.tables for each in table.notes)
    return list(dict.fromkeys(text.removeprefix(WARNING) for text in notes if WARNING in text))


def note(method: "Method") -> str:
    """Return a method's footnote: the suite's note, and differences from the paper's loss."""
    from bench.suite import papers

    terms = {name: term.content for name, term in method.terms.items()}
    usual = {name: term.content for name, term in papers(method.name).items()}
    return "; ".join(filter(None, (method.note, method_deviation(terms, usual) if usual else "")))


def table(
    runs: Iterable[Entry],
    context: TableContext,
    metric: str = "top1",
    values: PublishedValues | None = None,
) -> Table:
    """Return the table of one metric; methods and pairs keep the order of the entries.

    Args:
        runs: The runs of the table.
        context: Facts about the suite that the table states.
        metric: Name of the metric.
        values: Published values of the metric; None: the table does not show any.

    Raises:
        BenchError: The metric or the tolerance is not valid, or there is no entry.
    """
    unit, runs = labels.metric(metric), list(runs)
    chosen = [entry for entry in runs if entry.role != "teacher" or unit.teacher]
    if not chosen:
        raise BenchError(f"{context.title}: no run to report; the suite or its filter is empty")
    tolerance = unit.tolerance(context.tolerance)
    columns = _columns(chosen, context)
    rows = _rows(chosen, model.cells(runs, metric), columns, values or {})
    rows = comparison.by_mean(_with_usual_n(rows), unit, context.reference)
    rows = _compared(rows, unit, context, tolerance)
    text = caption(context, unit, columns, rows, chosen, published=values is not None)
    marked_columns, marked_rows, notes = mark(columns, rows)
    notes = (*notes, *(Note("", text) for text in controls.notes(rows, columns, unit)))
    notes = (*notes, *(Note("", text) for text in comparison.notes(rows, context.looks)))
    texts = [*(warnings(rows, columns, runs) if metric == "top1" else ()), *disagreements(runs)]
    notes = (*notes, *(Note("", f"{WARNING}{text}") for text in texts))
    return Table(
        marked_rows, context.title, text, unit, marked_columns, notes, context.reference, tolerance
    )


def tables(
    runs: Iterable[Entry],
    context: TableContext,
    metric: str = "top1",
    values: PublishedValues | None = None,
) -> list[Table]:
    """Return a table for each group of pairs; `table` describes arguments and errors."""
    runs = list(runs)
    groups: dict[str, list[Entry]] = {}
    for entry in runs:
        groups.setdefault(entry.group, []).append(entry)
    if len(groups) < 2:
        return [table(runs, context, metric, values)]
    titles = {group: f"{context.title}: {group}" if group else context.title for group in groups}
    return [
        table(some, replace(context, title=titles[group]), metric, values)
        for group, some in groups.items()
    ]


def all_tables(
    runs: Sequence[Entry], context: TableContext, numbers: "Numbers | None" = None
) -> list[Table]:
    """Return the tables of the default metric, and of each other metric with at least one value."""
    main = main_metric(entry.record for entry in runs)
    return [
        each
        for name in dict.fromkeys((main, *METRICS, *observed(runs)))
        for each in _tables(runs, context, name, numbers)
        if name == main or any(cell.measured for cell in each.cells)
    ]


def _tables(
    runs: Sequence[Entry], context: TableContext, metric: str, numbers: "Numbers | None"
) -> list[Table]:
    """Return the tables of a metric, with published values and their notes, if there are any."""
    if numbers is None:
        return tables(runs, context, metric)
    return [
        replace(table, notes=(*table.notes, *(Note("", text) for text in texts)))
        for table in tables(runs, context, metric, numbers.values(metric))
        for pairs in [[column.pair for column in table.columns]]
        for texts in [numbers.notes(metric, pairs, {c.published_name for c in table.cells})]
    ]


def _teacher_distillers(method: "Method", registry: "Registry") -> tuple[str, ...]:
    """Return the names of a method's distillers (its loss terms) that use the teacher."""
    return tuple(
        name for name in method.terms if getattr(registry.declaration(name), "uses_teacher", True)
    )


def published_values(context: TableContext, metric: str) -> PublishedValues:
    """Return the papers' values of a metric for the data set of a table."""
    return published.published_values(context.data or DataSpec()) if metric == "top1" else {}


def _published(plan: "Plan", options: ReportOptions) -> "Numbers | None":
    return published_settings.numbers(plan.suite) if options.published else None


def _columns(runs: Sequence[Entry], context: TableContext) -> list[Column]:
    """Return a column for each pair."""
    pairs = {entry.pair: (entry.teacher, entry.student) for entry in runs}
    return [
        Column.of(
            pair,
            teacher,
            student,
            pair_deviation(context.data, context.recipes.get(pair), student),
        )
        for pair, (teacher, student) in pairs.items()
    ]


def _rows(
    chosen: Sequence[Entry],
    by_cell: Mapping[tuple[Role, str, str], Cell],
    columns: Sequence[Column],
    values: PublishedValues,
) -> list[Row]:
    """Return a row for all teachers, and one for each plain student and method."""
    firsts = {(entry.role, entry.method): entry for entry in reversed(chosen)}
    roles = Counter(role for role, _ in firsts)
    rows = []
    for role, name in dict.fromkeys((entry.role, entry.method) for entry in chosen):
        is_only_one = role != "method" and roles[role] == 1
        label = firsts[role, name].label or (role.capitalize() if is_only_one else name)
        absent = Cell(method=name, label=label, role=role, missing=model.NOT_IN_SUITE)
        line = (
            replace(
                by_cell.get((role, name, column.pair), absent),
                pair=column.pair,
                published=values.get((column.pair, absent.published_name)),
            )
            for column in columns
        )
        rows.append(Row(tuple(line), name, label, role, firsts[role, name].note))
    return sorted(rows, key=lambda row: model.ROLES.index(row.role))


def _compared(
    rows: Sequence[Row], metric: labels.Metric, context: TableContext, tolerance: float
) -> list[Row]:
    """Return the rows, compared with the reference method; controls are not compared with it.

    So a suite's controls do not change the corrected p-values of its methods.
    """
    reference = context.reference
    included = [row for row in rows if row.role != "control" or row.name == reference]
    compared = comparison.compare_statistically(
        included, metric, reference, tolerance, context.looks
    )
    by_name = {(row.role, row.name): row for row in compared}
    return [by_name.get((row.role, row.name), row) for row in rows]


def _with_usual_n(rows: Sequence[Row]) -> list[Row]:
    """Set n of each row to the most common number of runs of teachers, or of all other rows."""
    counts: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    for row in rows:
        counts[row.role == "teacher"].update(run_counts(row))
    usual = {
        teacher: max(numbers, key=lambda n: (numbers[n], n), default=0)
        for teacher, numbers in counts.items()
    }
    return [replace(row, n=usual[row.role == "teacher"]) for row in rows]
