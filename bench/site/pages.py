"""The pages of a site, as files."""

import inspect
import json
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from markupsafe import Markup, escape

from bench.config.text import printable
from bench.report import labels
from bench.report.disagreements import disagreements_document
from bench.report.labels import one_line
from bench.report.writers.html import html, specification
from bench.results import Record
from bench.results.measured import measured_metrics
from bench.results.pool import Copy, Disagreement
from bench.site.content import MACHINE, Site, SiteMethod, place_link
from bench.site.curve import curves
from bench.site.leaderboards import Leaderboard, differences, slug
from bench.site.published import published_rows
from bench.site.render import asset, page, paged, split
from bench.site.suites import suite_files

INDEX_ROWS = 5000  # entries of one file of the search index
MAX_DIFFERENCES = 6  # that a leaderboard lists
INTERVAL_WIDTH = 120  # of the drawing of an interval, in pixels


def site_files(site: Site) -> dict[str, bytes]:
    """Return the files of a site: content by path."""
    texts: dict[str, str] = {}
    entries = list(_search_entries(site))
    scripts = {}
    for number, rows in enumerate(split(entries, INDEX_ROWS)):
        text = json.dumps(rows, separators=(",", ":"))
        scripts[f"assets/index-{number}.js"] = f"(self.siteIndex ??= []).push({text});\n"
    texts |= scripts
    texts |= {"index.html": _index(site, list(scripts))}
    for suite in site.suites:
        texts |= suite_files(suite, site)
    for board in site.boards:
        path = f"leaderboards/{board.slug}.html"
        texts[path] = page("leaderboard.html", path, site, **_leaderboard(board, site))
    for name, boards in site.data_sets.items():
        texts |= paged("data.html", f"data/{slug(name)}.html", site, boards, title=name)
    for method in site.methods.values():
        path = f"methods/{method.slug}.html"
        texts |= paged("method.html", path, site, method.cells, **_method(method))
    texts |= _records(site)
    if site.disagreements:
        path = "disagreements.html"
        table = _disagreements([*site.disagreements.values()])
        texts[path] = page(path, path, site, table=table)
    texts["assets/site.css"] = asset("bench.report", "assets/page.css")
    texts["assets/site.css"] += asset("bench.site", "assets/site.css")
    texts["assets/table.js"] = asset("bench.report", "assets/page.js")
    texts["assets/search.js"] = asset("bench.site", "assets/search.js")
    return {path: text.encode() for path, text in texts.items()}


def _index(site: Site, scripts: list[str]) -> str:
    records = list(site.pool.records(curves=False))
    values = {
        "records": len(records),
        "finished": max((record.finished or "" for record in records), default="")[:10],
        "scripts": scripts,
        "machine": list(MACHINE.values()),
    }
    return page("index.html", "index.html", site, **values)


def _disagreements(disagreements: Sequence[Disagreement]) -> Markup:
    """Return the numbers that differ as an open `<details>` element."""
    text = html(disagreements_document(disagreements))
    return Markup(text.replace("<details ", "<details open ", 1))


def _search_entries(site: Site) -> Iterator[tuple[str, str, str]]:
    """Yield the kind, the text and the address of everything that can be searched."""
    for suite in site.suites:
        name = suite.plan.suite.name
        yield "suite", _joined(suite.title, name), f"suites/{suite.slug}/index.html"
    for method in site.methods.values():
        yield "method", _joined(method.label, method.name), f"methods/{method.slug}.html"
    for board in site.boards:
        text = _joined(board.pair, f"{board.teacher}/{board.student}", labels.data_set(board.data))
        yield "leaderboard", text, f"leaderboards/{board.slug}.html"
    records = site.pool.records(curves=False)
    for record in sorted(records, key=lambda record: (record.name, record.id)):
        yield "run", _joined(record.name, record.id), f"records/{slug(record.id)}.html"


def _joined(*texts: str) -> str:
    return " · ".join(dict.fromkeys(map(one_line, texts)))


def _leaderboard(board: Leaderboard, site: Site) -> dict[str, Any]:
    """Return the values for the page of a leaderboard."""
    links = {
        name: [(site_suite(site, place.suite), place_link(place)) for place in places]
        for name, places in board.places.items()
    }
    others = [
        (other, differences(board.setting, other.setting))
        for other in site.data_sets[board.data_set]
        if other is not board and (other.teacher, other.student) == (board.teacher, board.student)
    ]
    text = yaml.safe_dump(dict(board.setting), sort_keys=False, allow_unicode=True)
    return {
        "board": board,
        "bars": _bars(board),
        "links": links,
        "methods": {name: places[0].method for name, places in board.places.items()},
        "published": published_rows(board, {s.slug: s.plan.suite for s in site.suites}),
        "others": [(other, parts[:MAX_DIFFERENCES], len(parts)) for other, parts in others],
        "setting": Markup(escape(printable(text))),
    }


def site_suite(site: Site, page_name: str) -> str:
    """Return the name of a suite by the name of its page."""
    return next(suite.plan.suite.name for suite in site.suites if suite.slug == page_name)


def _bars(board: Leaderboard) -> dict[tuple[str, str], Markup]:
    """Return a drawing of each row's mean and interval, on a common scale, by role and name."""
    shown = {(row.role, row.name): row.cells[0].measured for row, _ in board.rows}
    cells = {key: cell for key, cell in shown.items() if cell}
    ends = [v for c in cells.values() for v in (c.mean, c.low, c.high) if v is not None]
    low, spread = min(ends, default=0.0), (max(ends, default=1.0) - min(ends, default=0.0)) or 1.0

    def place(value: float) -> str:
        return f"{5 + (INTERVAL_WIDTH - 10) * (value - low) / spread:.1f}"

    drawings: dict[tuple[str, str], Markup] = {}
    for key, cell in cells.items():
        line = Markup("")
        if cell.low is not None and cell.high is not None:
            line = Markup(f'<path d="M{place(cell.low)} 7H{place(cell.high)}"/>')
        dot = Markup(f'<circle cx="{place(cell.mean)}" cy="7" r="3.2"/>')
        head = f'<svg class="bar" viewBox="0 0 {INTERVAL_WIDTH} 14" aria-hidden="true">'
        drawings[key] = Markup(head) + line + dot + Markup("</svg>")
    return drawings


def _method(method: SiteMethod) -> dict[str, Any]:
    """Return the values for the page of a method."""
    losses = []
    for name, distiller in method.distillers:
        settings = [terms[name] for terms in method.terms if name in terms]
        about = inspect.getdoc(distiller) if distiller else ""
        formula, _, _ = (about or "").partition("\n\n")
        texts = list(dict.fromkeys(map(_setting, settings)))
        losses.append((name, distiller, formula, texts))
    return {"method": method, "losses": losses}


def _setting(term: dict[str, Any]) -> str:
    """Return a term's weight and options: `weight 0.9, temperature 4`."""
    options = {key: value for key, value in term.get("options", {}).items() if value is not None}
    parts = {"weight": term["weight"], **options}
    return ", ".join(f"{key} {labels.setting(value)}" for key, value in parts.items())


def _records(site: Site) -> dict[str, str]:
    """Return the page of each record, and the list of all records."""
    texts, rows = {}, []
    boards = _boards_by_run(site)
    for run in site.pool.copies:
        copy, record = site.pool.kept(run), site.pool.record(run)
        if copy is None or record is None:
            continue
        path = f"records/{slug(run)}.html"
        values = _record(copy, record, site)
        texts[path] = page("record.html", path, site, boards=boards.get(run, []), **values)
        rows.append((copy.record, copy.source))
    rows.sort(key=lambda row: (row[1], row[0].name, row[0].id))
    return texts | paged("records.html", "records/index.html", site, rows)


def _boards_by_run(site: Site) -> dict[str, list[Leaderboard]]:
    boards: dict[str, list[Leaderboard]] = {}
    for board in site.boards:
        for run in dict.fromkeys(run for cell in board.table.cells for run in cell.runs):
            boards.setdefault(run, []).append(board)
    return boards


def _record(copy: Copy, record: Record, site: Site) -> dict[str, Any]:
    """Return the values for the page of a record."""
    uses = site.uses.get(record.id, ())
    notes = {
        f"{kind} {label}": text
        for use in uses
        for kind, label, text in (
            ("pair", use.column.name, use.column.note),
            ("method", use.row.label, use.row.note if use.row.role != "teacher" else ""),
        )
        if text
    }
    metrics = []
    for name, value in measured_metrics(record).items():
        metric = labels.known(name)
        text = f"{metric.format(value)} {metric.unit}".strip() if metric else f"{value:g}"
        metrics.append((name, metric.phrase if metric else name, text))
    disagreement = site.disagreements.get(record.id)
    return {
        "record": record,
        "copies": site.pool.copies[record.id],
        "kept": copy,
        "metrics": metrics,
        "curves": curves(record),
        "specification": Markup(escape(specification(record))),
        "uses": uses,
        "notes": notes,
        "disagreement": _disagreements([disagreement]) if disagreement else "",
        "linked": [run for run in record.specification.needs if run in site.pool.copies],
    }
