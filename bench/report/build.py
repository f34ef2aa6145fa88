"""A suite's tables and statistics: its plan, its records, what is published beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

from bench import report
from bench.errors import BenchError, unknown
from bench.planning.plan import Plan
from bench.report import deviations, published, wording
from bench.report.cells import Entry, Role
from bench.report.page import page
from bench.report.statistics import Statistics
from bench.report.statistics import statistics as of_table
from bench.report.table import About, Quotes, Table, tables
from bench.results import Results
from bench.suite import Method, papers


def of(
    whole: Plan,
    results: Results,
    metric: str = "top1",
    *,
    beside: bool = False,
    versus: str | None = None,
    tolerance: float | None = None,
    known: Sequence[Entry] | None = None,
) -> list[Table]:
    """The tables of a suite for a metric, one for each style of architecture that it mixes.

    `beside` puts the published value and the gap beside each cell that has one. `versus` names the
    method that others are compared with, KD where nothing is said; `tolerance` is a difference that
    counts as none, 0.5 for percentages where nothing is said. `known` are the suite's `entries`,
    where they have been read already.
    Raises BenchError for an unknown metric or method.
    """
    quotes = _quotes(whole, beside)
    asked = entries(whole, results) if known is None else known
    return tables(asked, about(whole, versus, tolerance), metric, quotes)


def write(
    whole: Plan,
    results: Results,
    metric: str = "top1",
    *,
    formats: Sequence[str] = report.USUAL,
    standalone: bool = False,
    beside: bool = False,
    versus: str | None = None,
    tolerance: float | None = None,
    known: Sequence[Entry] | None = None,
    made: Sequence[Table] | None = None,
) -> list[Path]:
    """Write a suite's tables into its results folder: the paths of the files, one a format.

    `standalone` makes the LaTeX a document of its own; `made` are the tables, where `of` has made
    them already; the rest is as in `of`. Raises BenchError for an unknown format, metric or
    method, before anything is written.
    """
    report.known_formats(formats)
    asked = known or list(entries(whole, results, curves="html" in formats))
    told = about(whole, versus, tolerance)
    quotes = _quotes(whole, beside)
    made = made or tables(asked, told, metric, quotes)
    stem = _stem(whole, metric)
    return report.write(
        made,
        results.folder,
        stem,
        formats,
        standalone=standalone,
        page=lambda: page(asked, told, quotes),
    )


def statistics(
    whole: Plan,
    results: Results,
    metric: str = "top1",
    *,
    versus: str | None = None,
    tolerance: float | None = None,
    known: Sequence[Entry] | None = None,
) -> list[Statistics]:
    """The statistics of each of a suite's tables; `versus` and `tolerance` as in `of`."""
    made = of(whole, results, metric, versus=versus, tolerance=tolerance, known=known)
    return list(map(of_table, made))


def write_statistics(
    whole: Plan,
    results: Results,
    metric: str = "top1",
    *,
    versus: str | None = None,
    tolerance: float | None = None,
    known: Sequence[Entry] | None = None,
    formats: Sequence[str] = report.USUAL,
    standalone: bool = False,
) -> list[Path]:
    """Write a suite's statistics as <suite>-statistics.<format>: the paths of the files.

    For `html` there is none: the page that `write` makes holds them. Raises BenchError as `write`.
    """
    report.known_formats(formats)
    found = statistics(whole, results, metric, versus=versus, tolerance=tolerance, known=known)
    stem = _stem(whole, "statistics", metric)
    return report.write_statistics(found, results.folder, stem, formats, standalone=standalone)


def published_only(whole: Plan) -> list[Table]:
    """What the papers say of a suite's pairs; nothing of it was run here."""
    return published.tables(list(dict.fromkeys(cell.pair.name for cell in whole.cells)))


def write_published(
    whole: Plan,
    results: Results,
    *,
    formats: Sequence[str] = report.USUAL,
    standalone: bool = False,
) -> list[Path]:
    """Write `published_only` as <suite>-published.<format>: the paths of the files."""
    stem = _stem(whole, "published")
    return report.write(published_only(whole), results.folder, stem, formats, standalone=standalone)


def about(whole: Plan, versus: str | None = None, tolerance: float | None = None) -> About:
    """What a suite's captions say; `versus` and `tolerance` as in `of`."""
    asked = whole.suite
    said = ", ".join(whole.departures)
    departs = f"not as in the suite's file: {said}" if said else ""
    recipes = {pair.name: pair.recipe.model_dump() for pair in asked.pairs}
    caption = wording.sentences((asked.caption, departs))
    told = About(asked.title, caption, asdict(asked.data), recipes, tolerance=tolerance)
    if versus is None:
        return told
    methods = {cell.method.name for cell in whole.cells}
    if versus not in methods:
        raise BenchError(unknown("method", versus, methods))
    return replace(told, reference=versus)


def _quotes(whole: Plan, beside: bool) -> Quotes | None:
    """What is published of a suite's data set, if that is asked for."""
    return published.quotes(asdict(whole.suite.data)) if beside else None


def _stem(whole: Plan, *parts: str) -> str:
    """The name of a suite's files: `quickstart`, `quickstart-nll`, `quickstart-statistics`."""
    return "-".join([whole.stem, *(part for part in parts if part != "top1")])


def entries(whole: Plan, results: Results, *, curves: bool = False) -> Iterator[Entry]:
    """What a table needs to know of each cell: first its teacher, then the cell itself.

    Each record is read once; its curves only where they are asked for.
    """
    read = cache(results.record if curves else results.summary)
    notes = {method.name: note(method) for method in whole.suite.methods}
    for cell in whole.cells:
        pair, method = cell.pair, cell.method
        of = pair.name, pair.teacher.network, pair.student
        taught = read(cell.teacher)
        yield Entry(*of, "teacher", cell.seed, taught, label="Teacher", role="teacher")
        role: Role = "student" if set(method.terms) == {"ce"} else "method"
        record = read(cell.run)
        label = method.label
        yield Entry(*of, method.name, cell.seed, record, label, notes[method.name], role)


def note(method: Method) -> str | None:
    """What a dagger says of a method: a caveat of its own, and how it departs from the papers'."""
    own = {name: asdict(term) for name, term in method.terms.items()}
    usual = {name: asdict(term) for name, term in papers(method.name).items()}
    departs = deviations.of_terms(own, usual) if usual else ""
    return "; ".join(filter(None, (method.note, departs))) or None
