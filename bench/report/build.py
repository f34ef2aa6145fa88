"""From a plan and its records to tables and files."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench import report
from bench.errors import BenchError, unknown
from bench.report import Kind, ReportOptions, comparison, labels, published
from bench.report.caption import caption, run_counts
from bench.report.footnotes import mark, method_deviation, pair_deviation
from bench.report.labels import METRICS
from bench.report.model import (
    NOT_IN_SUITE,
    Cell,
    Column,
    Entry,
    PublishedValue,
    Report,
    Role,
    Row,
    Table,
    TableContext,
    cells,
)
from bench.spec import DataSpec

if TYPE_CHECKING:
    from bench.planning.plan import Plan
    from bench.plugins import Registry
    from bench.results import Results
    from bench.suite import Method

PublishedValues = Mapping[tuple[str, str], PublishedValue]  # by pair and method
_ORDER: tuple[Role, ...] = ("teacher", "student", "method")
_DEFAULT = ReportOptions()


def entries(plan: "Plan", results: "Results", *, curves: bool = False) -> Iterator[Entry]:
    """Return the runs of each cell of a plan: first its teacher, then the cell itself.

    Args:
        plan: What was asked for.
        results: The results folder.
        curves: Whether the records have their curves; reading them takes longer.
    """
    read = cache(results.record if curves else results.summary)
    notes = {method.name: note(method) for method in plan.suite.methods}
    registry = plan.suite.registry
    taught = {method.name: _taught_by(method, registry) for method in plan.suite.methods}
    for each in plan.cells:
        pair, method = each.pair, each.method
        group = getattr(pair, "group", None) or ""
        names = pair.name, pair.teacher.network, pair.student
        teacher = read(each.teacher)
        yield Entry(*names, "teacher", each.seed, teacher, "Teacher", "", "teacher", group)
        distillers = taught[method.name]
        yield Entry(
            *names, method.name, each.seed, read(each.run), method.label, notes[method.name],
            "method" if distillers else "student", group, distillers,
        )  # fmt: skip


def assemble(
    plan: "Plan",
    results: "Results",
    options: ReportOptions = _DEFAULT,
    known: Sequence[Entry] | None = None,
) -> Report:
    """Return the report of a suite for a metric, with a table for each group of pairs.

    Args:
        plan: What was asked for.
        results: The results folder.
        options: Metric, reference, tolerance, published values.
        known: The plan's `entries`, if they were read before.

    Raises:
        BenchError: The metric, the reference or the tolerance is not valid.
    """
    runs = list(entries(plan, results)) if known is None else known
    about, values = context(plan, options), _published(plan, options)
    return Report.of(plan.suite.name, tables(runs, about, options.metric, values), runs)


def published_report(plan: "Plan") -> Report:
    """Return the papers' tables of a suite's pairs; nothing was run here."""
    pairs = list(dict.fromkeys(each.pair.name for each in plan.cells))
    return Report(plan.suite.name, tables=tuple(published.tables(pairs)))


def write(
    plan: "Plan",
    results: "Results",
    options: ReportOptions = _DEFAULT,
    kind: Kind = "tables",
    known: Sequence[Entry] | None = None,
    made: Report | None = None,
) -> list[Path]:
    """Write a suite's tables or statistics into its results folder.

    Files are called <suite>.<format> and <suite>-statistics.<format>, with another metric than
    top1 appended to the name. The page `html` holds tables and statistics of all metrics.

    Args:
        plan: What was asked for.
        results: The results folder.
        options: What to show, and the formats.
        kind: `tables` or `statistics`.
        known: The plan's `entries`, if they were read before; with curves for `html`.
        made: The result of `assemble`, if it was made before.

    Returns:
        The paths of the files, one a format.

    Raises:
        BenchError: An option is not valid; nothing is written then.
    """
    html = report.PAGE in report.check_formats(options.formats) and kind == "tables"
    runs = known or list(entries(plan, results, curves=html))
    made = made or assemble(plan, results, options, runs)

    def page() -> str:
        from bench.report.writers.html import page  # imports matplotlib

        about, values = context(plan, options), _published(plan, options)
        return page(runs, about, all_tables(runs, replace(about, caption=""), values))

    parts = [plan.stem, *(["statistics"] if kind == "statistics" else [])]
    stem = "-".join(parts if options.metric == "top1" else [*parts, options.metric])
    return report.write(made, results.folder, stem, options, kind, page)


def write_published(
    plan: "Plan", results: "Results", options: ReportOptions = _DEFAULT
) -> list[Path]:
    """Write `published_report` as <suite>-published.<format>; arguments as in `write`."""
    stem = f"{plan.stem}-published"
    return report.write(published_report(plan), results.folder, stem, options)


def context(plan: "Plan", options: ReportOptions = _DEFAULT) -> TableContext:
    """Return what a suite's captions state; BenchError for an unknown reference."""
    suite = plan.suite
    changes = ", ".join(plan.departures)
    about = TableContext(
        suite.title,
        labels.sentences((suite.caption, f"changed suite: {changes}" if changes else "")),
        DataSpec(**asdict(suite.data)),
        {pair.name: pair.recipe for pair in suite.pairs},
        tolerance=options.tolerance,
    )
    if options.reference is None:
        return about
    methods = {each.method.name for each in plan.cells}
    if options.reference not in methods:
        raise BenchError(unknown("method", options.reference, methods))
    return replace(about, reference=options.reference)


def note(method: "Method") -> str:
    """Return the footnote of a method: its own note, and how it differs from the papers'."""
    from bench.suite import papers

    terms = {name: asdict(term) for name, term in method.terms.items()}
    usual = {name: asdict(term) for name, term in papers(method.name).items()}
    return "; ".join(filter(None, (method.note, method_deviation(terms, usual) if usual else "")))


def table(
    runs: Iterable[Entry],
    context: TableContext,
    metric: str = "top1",
    values: PublishedValues | None = None,
) -> Table:
    """Return the table of one metric; rows and columns in the order of the entries.

    Args:
        runs: The runs of the table.
        context: What its caption states about the suite.
        metric: The metric.
        values: Published top-1 accuracies to show; None: not asked for.

    Raises:
        BenchError: The metric or the tolerance is not valid, or there is no entry.
    """
    unit, runs = labels.metric(metric), list(runs)
    chosen = [entry for entry in runs if entry.role != "teacher" or unit.teacher]
    if not chosen:
        raise BenchError(f"{context.title}: no run to report; the suite or its filter is empty")
    tolerance = unit.tolerance(context.tolerance)
    columns = _columns(chosen, context)
    rows = comparison.by_mean(_rows(chosen, runs, columns, metric), unit, context.reference)
    rows = comparison.compare_statistically(rows, unit, context.reference, tolerance)
    fitting = values if values and metric == "top1" else {}
    rows = _with_published(_with_usual_n(rows), fitting)
    text = caption(context, unit, columns, rows, chosen, published=values is not None)
    marked_columns, marked_rows, notes = mark(columns, rows)
    return Table(
        marked_rows, context.title, text, unit, marked_columns, notes, context.reference, tolerance
    )


def tables(
    runs: Iterable[Entry],
    context: TableContext,
    metric: str = "top1",
    values: PublishedValues | None = None,
) -> list[Table]:
    """Return a `table` for each group of pairs; arguments as there."""
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
    runs: Sequence[Entry], context: TableContext, values: PublishedValues | None = None
) -> list[Table]:
    """Return the tables of each metric that any record has, and always those of the first."""
    made = [
        each
        for name in METRICS
        for each in tables(runs, context, name, values if name == "top1" else None)
    ]
    first = made[0].metric
    return [each for each in made if each.metric == first or any(c.measured for c in each.cells)]


def _taught_by(method: "Method", registry: "Registry") -> tuple[str, ...]:
    """Return the distillers of a method that use the teacher."""
    classes = {name: registry.distiller(name) for name in method.terms}
    return tuple(
        name
        for name, distiller in classes.items()
        if getattr(distiller, "uses_teacher", getattr(distiller, "taught", True))
    )


def _published(plan: "Plan", options: ReportOptions) -> PublishedValues | None:
    if not options.published:
        return None
    return published.published_values(DataSpec(**asdict(plan.suite.data)))


def _columns(runs: Sequence[Entry], context: TableContext) -> list[Column]:
    """Return the pairs; those with the same networks also show their name."""
    firsts: dict[str, Entry] = {}
    for entry in runs:
        firsts.setdefault(entry.pair, entry)
    columns = [
        Column(
            pair,
            labels.network(entry.teacher),
            labels.network(entry.student),
            pair_deviation(context.data, context.recipes.get(pair), entry.student),
        )
        for pair, entry in firsts.items()
    ]
    names = Counter(column.name for column in columns)
    return [
        replace(column, student=f"{column.student} ({column.pair})")
        if names[column.name] > 1
        else column
        for column in columns
    ]


def _rows(
    chosen: Sequence[Entry], runs: Sequence[Entry], columns: Sequence[Column], metric: str
) -> list[Row]:
    """Return a row for the teachers, one for each plain student (usually one) and method."""
    by_cell = cells(runs, metric)
    firsts = {(entry.role, entry.method): entry for entry in reversed(chosen)}
    roles = Counter(role for role, _ in firsts)
    rows = []
    for role, name in dict.fromkeys((entry.role, entry.method) for entry in chosen):
        first = firsts[role, name]
        own_label = role == "method" or roles[role] > 1
        label = (first.label or name) if own_label else role.capitalize()
        pairs = [column.pair for column in columns]
        line = tuple(
            by_cell.get((role, name, pair)) or Cell(pair, name, label, role, missing=NOT_IN_SUITE)
            for pair in pairs
        )
        rows.append(Row(line, name, label, role, first.note))
    return sorted(rows, key=lambda row: _ORDER.index(row.role))


def _with_usual_n(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the n that the caption states: of the teachers, and of all others."""
    usual = {}
    for teacher in (True, False):
        same = (row for row in rows if (row.role == "teacher") is teacher)
        numbers = Counter(n for row in same for n in run_counts(row))
        usual[teacher] = max(numbers, key=lambda n: (numbers[n], n), default=0)
    return [replace(row, n=usual[row.role == "teacher"]) for row in rows]


def _with_published(rows: Sequence[Row], values: PublishedValues) -> list[Row]:
    """Return the rows with the published value of each cell."""
    return [
        replace(
            row,
            cells=tuple(
                replace(
                    each,
                    published=values.get(
                        (each.pair, row.name if row.role == "method" else row.role)
                    ),
                )
                for each in row.cells
            ),
        )
        for row in rows
    ]
