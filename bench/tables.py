"""A suite's tables: what its plan asks for, its records, and what is published beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import report
from bench.plan import Plan
from bench.report import deviations, published
from bench.report.cells import Entry, Role
from bench.report.page import page
from bench.report.table import About, Table, tables
from bench.results import Results
from bench.suite import Method, papers


def of(whole: Plan, results: Results, metric: str = "top1", *, beside: bool = False) -> list[Table]:
    """The tables of a suite for a metric, one for each style of architecture that it mixes.

    `beside` puts the published value and the gap beside each cell that has one.
    """
    quotes = published.quotes(asdict(whole.suite.data)) if beside else None
    return tables(entries(whole, results), about(whole), metric, quotes)


def write(
    whole: Plan,
    results: Results,
    metric: str = "top1",
    *,
    formats: Sequence[str] = report.USUAL,
    standalone: bool = False,
    beside: bool = False,
) -> list[Path]:
    """Write a suite's tables into its results folder: the paths of the files, one a format.

    `standalone` makes the LaTeX a document of its own. Raises BenchError for an unknown format.
    """
    made = of(whole, results, metric, beside=beside)
    quotes = published.quotes(asdict(whole.suite.data)) if beside else None

    def html() -> str:
        return page(entries(whole, results), about(whole), quotes)

    stem = whole.suite.name if metric == "top1" else f"{whole.suite.name}-{metric}"
    return report.write(made, results.folder, stem, formats, standalone=standalone, page=html)


def about(whole: Plan) -> About:
    """What a suite's captions say."""
    asked = whole.suite
    recipes = {pair.name: pair.recipe.model_dump() for pair in asked.pairs}
    return About(asked.title, asked.caption, asdict(asked.data), recipes)


def entries(whole: Plan, results: Results) -> Iterator[Entry]:
    """What a table needs to know of each cell: first its teacher, then the cell itself."""
    notes = {method.name: note(method) for method in whole.suite.methods}
    for cell in whole.cells:
        pair, method = cell.pair, cell.method
        of = pair.name, pair.teacher.network, pair.student
        taught = results.record(cell.teacher)
        yield Entry(*of, "teacher", cell.seed, taught, label="Teacher", role="teacher")
        role: Role = "student" if set(method.terms) == {"ce"} else "method"
        record = results.record(cell.run)
        label = method.label
        yield Entry(*of, method.name, cell.seed, record, label, notes[method.name], role)


def note(method: Method) -> str | None:
    """What a dagger says of a method: a caveat of its own, and how it departs from the papers'."""
    own = {name: asdict(term) for name, term in method.terms.items()}
    usual = {name: asdict(term) for name, term in papers(method.name).items()}
    departs = deviations.of_terms(own, usual) if usual else ""
    return "; ".join(filter(None, (method.note, departs))) or None
