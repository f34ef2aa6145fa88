"""A suite as one HTML page that stands alone: no network, no server, nothing but this file."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from string import Template

from bench.report import table as tables_of
from bench.report.cells import Entry
from bench.report.embedded import MOST_POINTS, Embedded, as_json
from bench.report.markup import line
from bench.report.sheet import sheet
from bench.report.statistics import statistics
from bench.report.table import About, Quotes, Table
from bench.report.to_html import html, html_sheet
from bench.report.wording import METRICS

_SCRIPTS = ("elements.js", "tables.js", "scales.js", "curves.js", "cost.js", "details.js")


def page(entries: Iterable[Entry], about: About, quotes: Quotes | None = None) -> str:
    """The page of a suite: tables and statistics of every metric, curves, costs, and the records.

    All text is escaped, records stand in it as data, and its policy lets nothing be loaded or run
    but its own style and script. It is written next to the folder `runs`, to which it links.
    """
    asked = list(entries)
    embedded = Embedded(asked)
    made = _tables(asked, replace(about, caption=""), quotes)
    style, script = _asset("page.css"), "".join(map(_asset, _SCRIPTS))
    return Template(_asset("page.html")).substitute(
        title=escape(line(about.title)),
        caption=escape(line(about.caption)),
        policy=_policy(style, script),
        style=style,
        script=script,
        data=as_json(embedded.content()),
        tables="\n".join(
            f"{html(one, embedded.places)}\n{html_sheet(sheet(statistics(one)))}" for one in made
        ),
        metrics="".join(
            f'<option value="{one.name}">{escape(_capital(one.phrase))}</option>'
            for one in dict.fromkeys(one.metric for one in made)
        ),
        records="\n".join(_record(run, embedded) for run in embedded.records),
        count=len(embedded.records),
        thinned=(
            f" Curves here are thinned to at most {MOST_POINTS} of up to {embedded.longest} epochs;"
            " the record's file has all."
            if embedded.longest > MOST_POINTS
            else ""
        ),
    )


def _tables(entries: Sequence[Entry], about: About, quotes: Quotes | None) -> list[Table]:
    """The tables of each metric that any record has, the first one always."""
    found = [
        one
        for name in METRICS
        for one in tables_of.tables(entries, about, name, quotes if name == "top1" else None)
    ]
    first = found[0].metric
    return [
        one
        for one in found
        if one.metric == first or any(c.measured for row in one.rows for c in row.cells)
    ]


def _record(run: str, embedded: Embedded) -> str:
    """A line of the list of all records."""
    record = embedded.records[run]
    top1 = ((record.get("metrics") or {}).get("last") or {}).get("top1")
    shown = "" if top1 is None else f"{top1:.2f}"
    seconds = record.get("seconds")
    name, status = str(record.get("name") or run), str(record.get("status"))
    return (
        f'<tr><th scope="row"><button type="button" class="run" data-run="{escape(line(run))}" '
        f'aria-haspopup="dialog">{escape(line(name))}</button></th>'
        f"<td>{escape(line(status))}</td><td>{shown}</td>"
        f"<td>{'' if seconds is None else f'{seconds:.1f}'}</td></tr>"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded, sent or run but the page's own style and script."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return files("bench.report").joinpath("assets", name).read_text("utf-8")
