"""The pages and files of a suite: tables, statistics, figures, report card, records, downloads."""

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from bench import report
from bench.report import build, figures
from bench.report import checklist as cards
from bench.report.document import statistics_document, table_document
from bench.report.figures import NotDrawn
from bench.report.figures.style import axis_label, svg
from bench.report.labels import metric as metric_of
from bench.report.labels import sentences
from bench.report.model import ROLES, Column, Role, Row
from bench.report.writers.html import filters, html
from bench.results.measured import measured_metrics
from bench.site.content import Site, SiteSuite, linked
from bench.site.render import page

KINDS = ("forest", "ranks", "gap", "curves", "pareto", "tuning")  # figures, in this order
INK, INK_IN_THE_DARK = "#1c1b19", "#e4e1da"  # as in page.css
ABOUT = {
    "forest": "Differences from the reference method",
    "ranks": "Average ranks over the pairs",
    "gap": "Accuracy against the teacher's size",
    "curves": "Learning curves",
    "loss": "Training loss",
    "pareto": "Accuracy and cost",
    "tuning": "Trials of the search",
}


@dataclass(frozen=True)
class Picture:
    """A figure in a file.

    Attributes:
        name: Name of the file.
        title: Heading of the figure.
        text: Text for readers who do not see the figure.
        content: The file.
    """

    name: str
    title: str
    text: str
    content: str


@dataclass(frozen=True)
class CellRuns:
    """The runs of a cell: the cell's row and column, and (seed, id, value, status) of each run."""

    row: Row
    column: Column
    runs: tuple[tuple[int, str, str, str], ...]


def suite_files(suite: SiteSuite, site: Site) -> dict[str, str]:
    """Return the pages, figures and downloads of a suite by path."""
    folder = f"suites/{suite.slug}"
    texts = {f"{folder}/{name}": text for name, text in _downloads(suite).items()}
    downloads = [name.rpartition("/")[2] for name in texts]
    pictures = list(_pictures(suite))
    texts |= {f"{folder}/{picture.name}": picture.content for picture in pictures}
    metrics = [(name, _metric_page(name, suite)) for name in suite.metrics]
    for place, (name, file) in enumerate(metrics):
        is_first = place == 0
        values = {
            "suite": suite,
            "metric": metric_of(name),
            "metrics": [(metric_of(other), path) for other, path in metrics],
            "filters": Markup(filters()),
            "tables": Markup("\n").join(_tables(suite, name, is_first)),
            "pictures": pictures if is_first else [],
            "downloads": downloads if is_first else [],
            "card": _card(suite) if is_first else "",
            "cells": _cell_runs(suite, name) if is_first else [],
            "others": [
                suite.results.kept(run)
                for run in suite.plan.runs
                if run in site.pool.copies and not is_listed(run, site, suite)
            ],
            "differing": [
                site.disagreements[r] for r in suite.plan.runs if r in site.disagreements
            ],
        }
        texts[f"{folder}/{file}"] = page("suite.html", f"{folder}/{file}", site, **values)
    return texts


def is_listed(run: str, site: Site, suite: SiteSuite) -> bool:
    """Return whether a run is in a cell of a suite's table."""
    return any(use.suite is suite for use in site.uses.get(run, ()))


def _metric_page(name: str, suite: SiteSuite) -> str:
    return "index.html" if name == suite.metrics[0] else f"{figures.file_name(name)}.html"


def _tables(suite: SiteSuite, metric: str, is_first: bool) -> Iterator[Markup]:
    """Yield the tables of a metric, each followed by its statistics."""
    for table in suite.tables:
        if table.metric.name == metric:
            document = linked(table_document(table), "" if is_first else "index.html")
            yield Markup(html(document))
            yield Markup(html(statistics_document(table)))


def _card(suite: SiteSuite) -> Markup:
    """Return the report card."""
    tables = [table for table in suite.tables if table.metric.name == suite.metrics[0]]
    return Markup(html(cards.checklist(suite.plan, suite.results, tables)))


def _downloads(suite: SiteSuite) -> dict[str, str]:
    """Return the tables, the statistics and the report card in the formats of `bench report`."""
    options = report.ReportOptions(metric=suite.metrics[0])
    assembled = build.assemble(suite.plan, suite.results, options, suite.entries)
    stem = suite.slug
    texts = {
        f"{stem}.{kind}": report.render(assembled, kind, label=stem)
        for kind in ("md", "tex", "csv", "json")
    }
    for kind in ("md", "tex", "csv"):
        name = f"{stem}-statistics"
        texts[f"{name}.{kind}"] = report.render(assembled, kind, "statistics", label=name)
    card = cards.checklist(suite.plan, suite.results, assembled.tables)
    for kind in ("md", "tex"):
        name = f"{stem}-checklist"
        texts[f"{name}.{kind}"] = cards.render(card, kind, label=name)
    return texts


def _pictures(suite: SiteSuite) -> Iterator[Picture]:
    """Yield the figures of the suite's first metric, and curves of the training loss."""
    metric, entries = suite.metrics[0], list(build.entries(suite.plan, suite.results, curves=True))
    labels_of = {column.pair: column.name for _, column, _, _ in suite.cells(metric)}
    for name, kinds in ((metric, KINDS), ("loss", ("curves",))):
        for each in figures.figures(suite.plan, suite.results, entries, name, kinds):
            if isinstance(each, NotDrawn):
                continue
            kind = "loss" if name == "loss" else each.kind
            stem = each.name("loss" if name == "loss" else "")
            title = ": ".join(filter(None, (ABOUT[kind], labels_of.get(each.pair, each.end))))
            text = sentences([title, f"{axis_label(name)}; the tables have the numbers"])
            yield Picture(f"{stem}.svg", title, text, standalone(svg(each.figure, stem)))


def standalone(text: str) -> str:
    """Return inline SVG as a file, whose text is light if the reader prefers dark pages."""
    style = (
        f"<style>:root{{color:{INK};font-family:Georgia,serif}}text{{fill:currentColor}}"
        f"@media (prefers-color-scheme:dark){{:root{{color:{INK_IN_THE_DARK}}}}}</style>"
    )
    head, _, rest = text.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{style}{rest}'


def _cell_runs(suite: SiteSuite, metric: str) -> list[CellRuns]:
    """Return the runs of each cell, with their values of a metric; teachers first."""
    unit = metric_of(metric)
    runs: dict[tuple[Role, str, str], dict[str, tuple[int, str, str, str]]] = {}
    for entry in suite.entries:
        if (record := entry.record) is not None:
            value = measured_metrics(record).get(metric)
            text = record.status if value is None else unit.format(value)
            run = (record.seed, record.id, text, record.status)
            key = (entry.role, entry.method, entry.pair)
            runs.setdefault(key, {}).setdefault(record.id, run)
    order = sorted(runs, key=lambda key: ROLES.index(key[0]))
    cells = ((*suite.places[key], tuple(sorted(runs[key].values()))) for key in order)
    return [CellRuns(row, column, values) for column, row, values in cells]
