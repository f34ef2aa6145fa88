"""Render the templates of a site."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from bench.config.text import count
from bench.report import labels
from bench.report.document import verdict
from bench.report.labels import Metric, one_line, p_value, signed
from bench.report.model import Cell, Measured, Table
from bench.site.content import Site, anchor, runs_anchor
from bench.site.leaderboards import slug

PAGE_ROWS = 500  # rows of a long list on one page
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)


def page(template: str, path: str, site: Site, **values: Any) -> str:
    """Return a page from a template; all texts are escaped.

    Args:
        template: Name of the template.
        path: Path of the page in the site.
        site: The site.
        values: Values for the template.
    """
    root = "../" * path.count("/")
    shared = {"root": root, "site": site, "policy": POLICY}
    return _environment().get_template(template).render(**shared, **values)


def paged(
    template: str, path: str, site: Site, rows: Sequence[Any], **values: Any
) -> dict[str, str]:
    """Return a page; and further pages `<name>-2.html`, `<name>-3.html` if there are many rows.

    Args:
        template: As in `page`.
        path: As in `page`.
        site: As in `page`.
        rows: The rows of the page's list.
        values: As in `page`.
    """
    chunks = split(rows, PAGE_ROWS) or [[]]
    stem = path.removesuffix(".html")
    paths = [path, *(f"{stem}-{number}.html" for number in range(2, len(chunks) + 1))]
    values["pages"] = [each.rpartition("/")[2] for each in paths]
    return {
        each: page(template, each, site, rows=chunk, number=number, **values)
        for number, (each, chunk) in enumerate(zip(paths, chunks, strict=True), 1)
    }


def split(rows: Sequence[Any], size: int) -> list[list[Any]]:
    """Return the rows in lists of at most `size` rows."""
    return [list(rows[start : start + size]) for start in range(0, len(rows), size)]


def asset(package: str, name: str) -> str:
    """Return the text of a file of a package."""
    return files(package).joinpath(*name.split("/")).read_text("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(lambda name: asset("bench.site", f"templates/{name}")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_one_line,
    )
    environment.filters |= {
        "slug": slug,
        "network": labels.network,
        "data": labels.data_set,
        "count": count,
    }
    environment.globals |= {
        "anchor": anchor,
        "runs_anchor": runs_anchor,
        "mean": _mean,
        "interval": _interval,
        "difference": _difference,
        "p": _p,
        "signed": signed,
        "verdict": _verdict,
    }
    return environment


def _one_line(value: Any) -> Any:
    """Return texts on one line, without unprintable characters; markup stays unchanged."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return one_line(value) if is_text else value


def _mean(cell: Cell, metric: Metric) -> str:
    """Return the mean and the standard deviation of a cell, or its status."""
    shown = cell.shown
    return metric.mean_std(shown.mean, shown.std) if shown else cell.status


def _interval(measured: Measured | None, metric: Metric) -> str:
    if measured is None or measured.low is None or measured.high is None:
        return ""
    return f"[{metric.format(measured.low)}, {metric.format(measured.high)}]"


def _difference(cell: Cell, metric: Metric) -> str:
    """Return the difference from the reference method, with its interval."""
    comparison = cell.comparison
    if comparison is None:
        return ""
    text = signed(comparison.mean, metric.digits)
    if comparison.low is None or comparison.high is None:
        return text
    ends = (signed(end, metric.digits) for end in (comparison.low, comparison.high))
    return f"{text} [{', '.join(ends)}]"


def _p(cell: Cell) -> str:
    comparison = cell.comparison
    return "" if comparison is None or comparison.p is None else p_value(comparison.p)


def _verdict(cell: Cell, table: Table) -> str:
    return verdict(cell.comparison, table.tolerance) if cell.comparison else ""
