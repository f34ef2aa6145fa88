"""Write a suite's results as one HTML page, which needs neither internet nor a server."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape as _escape
from importlib.resources import files
from pathlib import PurePath
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import quote

import yaml

from bench.config.text import printable
from bench.errors import BenchError
from bench.report import document as documents
from bench.report import labels
from bench.report.document import Document, GridCell, GridRow, Section
from bench.report.figures.charts import learning_curves
from bench.report.figures.pareto import pareto_plot
from bench.report.figures.style import svg
from bench.report.labels import Metric, one_line
from bench.report.model import Entry, Note, Table, TableContext
from bench.report.writers import Markup
from bench.results.measured import measured_metrics
from bench.results.record import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Chart = Callable[..., "Figure"]
CHART_INCHES = 5.4  # width of a chart; its text is legible on a phone, too


def escape(text: object) -> str:
    """Return the text on one line, escaped for elements and for quoted attributes."""
    return _escape(one_line(str(text)))


HTML = Markup(
    _escape,
    {
        "best": "<b>{}</b>",
        "second": '<span class="second">{}</span>',
        "mark": "<sup>{}</sup>",
        "better": '<span class="better">{}</span>',
        "worse": '<span class="worse">{}</span>',
        "published": ' <span class="quote">[{}]</span>',
    },
)


def page(entries: Sequence[Entry], context: TableContext, tables: Sequence[Table]) -> str:
    """Return the page of a suite: tables, statistics, figures and records.

    All text is escaped. The page's content security policy allows only its own style and script.
    The page links to the records in the folder `runs`, next to the page.

    Args:
        entries: The suite's runs; their records include the learning curves.
        context: Title and caption of the suite.
        tables: The tables of every metric.
    """
    records = {entry.record.id: entry.record for entry in entries if entry.record}
    metrics = dict.fromkeys(table.metric for table in tables)
    names = [metric.name for metric in metrics]
    style, script = _asset("page.css"), _asset("page.js")
    writers = documents.table_document, documents.statistics_document
    return Template(_asset("page.html")).substitute(
        title=escape(context.title),
        caption=escape(context.caption),
        policy=_policy(style, script),
        style=style,
        script=script,
        tables="\n".join(html(writer(table)) for table in tables for writer in writers),
        metrics="".join(map(_option, metrics)),
        filters=filters(),
        curves=_charts(learning_curves, entries, [*names, "loss"]),
        cost=_charts(pareto_plot, entries, names),
        records="\n".join(map(_record, records.values())),
        count=len(records),
    )


def filters() -> str:
    """Return the controls with which the script of a page hides methods and pairs."""
    return _asset("filters.html").strip()


def _option(metric: Metric) -> str:
    phrase = labels.sentences([metric.phrase]).removesuffix(".")
    return f'<option value="{metric.name}">{escape(phrase)}</option>'


def html(document: Document) -> str:
    """Return a table as a `<figure>` element, or statistics as a collapsed `<details>` element."""
    name, caption = escape(document.title), HTML(document.full_caption)
    grids = "".join(_section(section, name) for section in document.sections)
    metric, notes = escape(document.metric), _notes(document.notes)
    if document.sections[0].pairs:
        return (
            f'<figure class="result" data-metric="{metric}">{grids}'
            f"<figcaption><p><strong>{name}.</strong> {caption}</p>{notes}</figcaption></figure>"
        )
    return (
        f'<details class="statistics" data-metric="{metric}"><summary>{name}</summary>'
        f"<p>{caption}</p>{grids}{notes}</details>"
    )


def _section(section: Section, name: str) -> str:
    title = HTML(section.title)
    heading = f"<h3>{title}</h3>" if title else ""
    text = f"<p>{escape(section.text)}</p>" if section.text else ""
    pair = f' data-pair="{escape(section.pair)}"' if section.pair else ""
    full = ", ".join(filter(None, (name, re.sub("<[^>]*>", "", title))))
    grid = _grid(section, full) if section.rows else ""
    return f"<section{pair}>{heading}{text}{grid}</section>"


def _grid(section: Section, name: str) -> str:
    heads = "".join(map(_head, zip(*section.header, strict=True), ("", *_pairs(section))))
    fixed = [_row(row, section) for row in section.rows if row.role != "method"]
    methods = [_row(row, section) for row in section.rows if row.role == "method"]
    bodies = f"<tbody>{''.join(fixed)}</tbody>" if fixed else ""
    bodies += f'<tbody class="methods">{"".join(methods)}</tbody>' if methods else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{name}">'
        f'<table><caption class="hidden">{name}</caption>'
        f"<thead><tr>{heads}</tr></thead>{bodies}</table></div>"
    )


def _pairs(section: Section) -> Iterable[str]:
    return section.pairs or [""] * (len(section.header[0]) - 1)


def _head(cells: Sequence[GridCell], pair: str) -> str:
    """Return a column's header cell.

    In a table of results, a click on the cell sorts the rows by the column. Grids of statistics,
    which have one header line, cannot be sorted.
    """
    text = "<br>".join(f"<span>{HTML(cell.text)}</span>" for cell in cells)
    if len(cells) == 1:
        return f'<th scope="col">{text}</th>'
    names = " → ".join(cell.text[0].text for cell in cells if cell.text)
    data = f' data-pair="{escape(pair)}" data-label="{escape(names)}"' if pair else ""
    hint = "sort by this column" if pair else "the suite's order"
    button = f'<button type="button" class="sort" title="{hint}">{text}</button>'
    return f'<th scope="col" aria-sort="none"{data}>{button}</th>'


def _row(row: GridRow, section: Section) -> str:
    first, *others = row.cells
    cells = "".join(map(_cell, others, _pairs(section)))
    label = escape(first.text[0].text if first.text else row.method)
    return (
        f'<tr data-method="{escape(row.method)}" data-role="{row.role}" data-label="{label}">'
        f'<th scope="row">{HTML(first.text)}</th>{cells}</tr>'
    )


def _cell(cell: GridCell, pair: str) -> str:
    value, remark = HTML(cell.text[:1]), HTML(cell.text[1:] + cell.below)
    if cell.run:
        spoken, link = escape(cell.spoken), escape(cell.link or f"#run-{quote(cell.run)}")
        value = (
            f'<a class="number" href="{link}" title="{spoken}" '
            f'aria-label="{spoken}; its records">{value}</a>'
        )
    data = f' id="{escape(cell.anchor)}"' if cell.anchor else ""
    data += f' data-pair="{escape(pair)}"' if pair else ""
    data += "" if cell.sort is None else f' data-value="{cell.sort!r}"'
    data += f' class="{escape(cell.status)}"' if cell.status not in ("", "done", "empty") else ""
    return f"<td{data}>{value}{remark}</td>"


def _notes(notes: Sequence[Note]) -> str:
    items = "".join(f"<li>{HTML.note(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _charts(draw: Chart, entries: Sequence[Entry], values: Sequence[str]) -> str:
    """Return a chart as inline SVG for each pair and each value with data in the records."""
    parts = []
    for i, pair in enumerate(dict.fromkeys(entry.pair for entry in entries)):
        for value in values:
            try:
                figure = draw(entries, pair, value, width=CHART_INCHES)
            except BenchError:
                continue
            axes, *_ = figure.axes
            name = f"{axes.get_ylabel()} against {axes.get_xlabel()}: {axes.get_title('left')}"
            data = f' data-pair="{escape(pair)}"'
            data += f' data-metric="{value}"' if labels.known(value) else ""
            image = svg(figure, f"{draw.__name__}-{i}-{value}")
            label = f'role="img" aria-label="{escape(name)}"'
            parts.append(f'<figure class="chart"{data} {label}>{image}</figure>')
    return "\n".join(parts)


def _record(record: Record) -> str:
    """Return a record as a collapsed `<details>` element."""
    number = "" if record.top1 is None else f"{record.top1:.2f} %"
    summary = " · ".join(filter(None, (record.status, number, f"{record.seconds:.1f} s")))
    facts = "".join(f"<dt>{escape(k)}</dt><dd>{v}</dd>" for k, v in _facts(record) if v)
    return (
        f'<details class="record" id="run-{escape(record.id)}">'
        f"<summary>{escape(record.name)} <span>{escape(summary)}</span></summary>"
        f"<dl>{facts}</dl><pre>{_escape(specification(record))}</pre></details>"
    )


def specification(record: Record) -> str:
    """Return a record's specification as YAML, without the path of a folder of images."""
    content = record.specification.content
    if (name := record.specification.data.name).startswith("folder:"):  # hide the private path
        content["data"]["name"] = f"folder:…/{PurePath(name.removeprefix('folder:')).name}"
    return printable(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    """Yield the name and the HTML value of each field of a record, except its specification."""
    yield "status", escape(record.status)
    yield "reason", escape(record.reason or "")
    for name, value in measured_metrics(record).items():
        metric = labels.known(name)
        yield name, escape(f"{metric.format(value)} {metric.unit}".strip() if metric else value)
    file = f"runs/{record.id}.json"
    yield "record", f'<a href="runs/{quote(record.id, safe="")}.json">{escape(file)}</a>'
    network, teacher = record.network, record.teacher
    counts = (network.parameters, "parameters"), (network.multiply_adds, "multiply-adds")
    parts = [network.name, *(f"{number:,} {noun}" for number, noun in counts if number)]
    yield "network", escape(", ".join(parts))
    yield "teacher", escape(f"{teacher.network}, {teacher.top1:.2f} %") if teacher else ""
    yield "started", escape(record.started or "")
    yield "weights", f"sha256 {escape(record.weights)}" if record.weights else ""
    for key, version in record.environment.items():
        yield key, "" if version is None else escape(version)


def _policy(style: str, script: str) -> str:
    """Return the page's content security policy.

    The policy allows only the page's own style and script. The page cannot load or send anything.
    """
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return files("bench.report").joinpath("assets", name).read_text("utf-8")
