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
    "documents", "markdown", "render", "save", "show", "text", "write",
]  # fmt: skip

FORMATS = ("md", "tex", "csv", "json", "txt")
PAGE = "html"  # one page with the tables of all metrics, their statistics and figures
DEFAULT_FORMATS = ("md", "tex", "csv")
Kind = Literal["tables", "statistics"]


@dataclass(frozen=True)
class ReportOptions:
    """The content of a report and its file formats.

    Attributes:
        metric: Metric of the tables; None: `bench.report.measured.main_metric`.
        formats: Formats to write, from `FORMATS` and `PAGE`.
        standalone: Whether a LaTeX file is a complete document, with a preamble.
        published: Whether published values are shown next to the measured ones.
        reference: Method with which all others are compared; None: KD.
        tolerance: Largest difference that is treated as zero; None: the metric's default.
        wide: Whether LaTeX floats span both columns of a page.
        compact: Whether cells show means only.
        siunitx: Whether LaTeX aligns numbers with the package siunitx.
        output: Folder to write to; None: the results folder.
    """

    metric: str | None = None
    formats: Sequence[str] = DEFAULT_FORMATS
    standalone: bool = False
    published: bool = False
    reference: str | None = None
    tolerance: float | None = None
    wide: bool = False
    compact: bool = False
    siunitx: bool = False
    output: Path | None = None


def check_formats(names: Iterable[str]) -> tuple[str, ...]:
    """Return the formats without duplicates.

    Args:
        names: Formats as a user wrote them.

    Raises:
        BenchError: A format is unknown.
    """
    allowed = (*FORMATS, PAGE)
    formats = tuple(dict.fromkeys(names))
    for name in formats:
        if name not in allowed:
            raise BenchError(unknown("format", name, allowed))
    return formats


def render(
    report: Report,
    name: str,
    kind: Kind = "tables",
    *,
    label: str = "",
    options: ReportOptions = ReportOptions(),  # noqa: B008 (frozen)
) -> str:
    """Return the tables of a report, or their statistics, in a format other than `html`.

    Args:
        report: The report.
        name: The format, one of `FORMATS`.
        kind: `tables` or `statistics`; JSON always contains both.
        label: LaTeX label of the first table.
        options: Only `standalone`, `wide`, `compact` and `siunitx` are used.
    """
    if name == "csv":
        return csv_text(report, kind == "statistics")
    if name == "json":
        return json_text(report)
    parts = documents(report, kind, options.compact)
    if name == "tex":
        return latex(parts, label, options.standalone, options.wide, options.siunitx)
    return "\n".join(map(markdown if name == "md" else text, parts))


def show(
    report: Report,
    kind: Kind = "tables",
    *,
    width: int | None,
    terminal: bool,
    compact: bool = False,
) -> str:
    """Return tables, or their statistics, as text for a screen `width` characters wide."""
    parts = documents(report, kind, compact)
    return "\n".join(text(each, width=width, terminal=terminal) for each in parts)


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
        options: Only `formats`, `standalone`, `wide`, `compact` and `siunitx` are used.
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
    formats = check_formats(options.formats)
    if PAGE in formats and page is None and not statistics:
        raise BenchError(unknown("format", PAGE, FORMATS))
    for name in formats:
        if name != PAGE:
            content = render(report, name, kind, label=stem, options=options)
        elif page and not statistics:
            content = page()
        else:
            continue
        paths.append(save(folder / f"{stem}.{name}", content.encode()))
    return paths


def documents(report: Report, kind: Kind = "tables", compact: bool = False) -> list[Document]:
    """Return the documents of tables, or of their statistics."""
    if kind == "statistics":
        return list(map(statistics_document, report.tables))
    return [table_document(table, compact=compact) for table in report.tables]
