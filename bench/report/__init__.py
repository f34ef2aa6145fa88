"""Write tables of results, and their statistics, as Markdown, LaTeX, CSV, JSON, text or HTML.

The same records always give the same bytes. `bench.report.build` makes a `Report` from a plan and
its records; this module writes a `Report` to files. This module does not import torch.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.errors import BenchError, unknown
from bench.report.document import Document, statistics_document, table_document
from bench.report.model import Report
from bench.report.writers import save
from bench.report.writers.data import csv_text, json_text
from bench.report.writers.latex import latex
from bench.report.writers.markdown import markdown
from bench.report.writers.text import text

__all__ = [
    "DEFAULT_FORMATS", "FORMATS", "PAGE", "Kind", "Report", "ReportOptions", "check_formats",
    "markdown", "render", "save", "show", "text", "write",
]  # fmt: skip

FORMATS = ("md", "tex", "csv", "json", "txt")
PAGE = "html"  # one page with the tables of all metrics, their statistics and figures
DEFAULT_FORMATS = ("md", "tex", "csv")
Kind = Literal["tables", "statistics"]


@dataclass(frozen=True)
class ReportOptions:
    """The content of a report and its file formats.

    Attributes:
        metric: Name of the metric that the tables show.
        formats: Formats to write: any of `FORMATS`, and `PAGE` (html).
        standalone: Whether a LaTeX file is a complete document instead of only its tables.
        published: Whether tables show the papers' values next to the measured ones.
        reference: Name of the method with which all others are compared; None: `kd`.
        tolerance: Largest difference that counts as zero, in the metric's unit; None: the metric's
            default.
    """

    metric: str = "top1"
    formats: Sequence[str] = DEFAULT_FORMATS
    standalone: bool = False
    published: bool = False
    reference: str | None = None
    tolerance: float | None = None


def check_formats(names: Iterable[str], *, page: bool = True) -> tuple[str, ...]:
    """Check the names of formats and return them without duplicates.

    Args:
        names: Names of formats.
        page: Whether `html` is allowed.

    Raises:
        BenchError: A format is unknown.
    """
    allowed = (*FORMATS, PAGE) if page else FORMATS
    formats = tuple(dict.fromkeys(names))
    for name in formats:
        if name not in allowed:
            raise BenchError(unknown("format", name, allowed))
    return formats


def render(
    report: Report, name: str, kind: Kind = "tables", *, label: str = "", standalone: bool = False
) -> str:
    """Return the tables of a report, or their statistics, in a format other than `html`.

    Args:
        report: The report.
        name: The format, one of `FORMATS`.
        kind: `tables` or `statistics`; JSON always contains both.
        label: LaTeX label of the first table.
        standalone: Whether LaTeX is a complete document instead of only its tables.
    """
    if name == "csv":
        return csv_text(report, kind == "statistics")
    if name == "json":
        return json_text(report)
    if name == "tex":
        return latex(_documents(report, kind), label, standalone)
    return "\n".join(map(markdown if name == "md" else text, _documents(report, kind)))


def show(report: Report, kind: Kind = "tables", *, width: int | None, terminal: bool) -> str:
    """Return the tables of a report, or their statistics, as text for a screen.

    Args:
        report: The report.
        kind: `tables` or `statistics`.
        width: Characters per line of the screen; None: a table may have any width.
        terminal: Whether to use bold and underline instead of `*` and `_`.
    """
    documents = _documents(report, kind)
    return "\n".join(text(each, width=width, terminal=terminal) for each in documents)


def write(
    report: Report,
    folder: Path,
    stem: str,
    options: ReportOptions = ReportOptions(),  # noqa: B008 (frozen)
    kind: Kind = "tables",
    page: Callable[[], str] | None = None,
) -> list[Path]:
    """Write the tables of a report, or their statistics, as <stem>.<format>, each file atomically.

    Args:
        report: The report.
        folder: Folder of the files.
        stem: File name without its extension.
        options: Only `formats` and `standalone` are used.
        kind: `tables` or `statistics`. For `statistics`, `html` is skipped, because the page of
            the tables contains the statistics.
        page: Function that returns the content of the `html` file; None: `html` is not allowed.

    Returns:
        The paths of the files.

    Raises:
        BenchError: A format is unknown (no file is written), or a file cannot be written.
    """
    statistics = kind == "statistics"
    paths = []
    for name in check_formats(options.formats, page=statistics or page is not None):
        if name != PAGE:
            content = render(report, name, kind, label=stem, standalone=options.standalone)
        elif page and not statistics:
            content = page()
        else:
            continue
        paths.append(save(folder / f"{stem}.{name}", content.encode()))
    return paths


def _documents(report: Report, kind: Kind) -> list[Document]:
    make = table_document if kind == "tables" else statistics_document
    return list(map(make, report.tables))
