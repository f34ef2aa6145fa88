"""Tables and their statistics in each format: the same records give the same bytes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bench.errors import BenchError, unknown
from bench.report.output import written
from bench.report.sheet import sheet
from bench.report.statistics import Statistics
from bench.report.statistics_data import statistics_csv, statistics_json
from bench.report.table import Table
from bench.report.to_data import as_json, comma_separated
from bench.report.to_latex import document, latex, latex_sheet
from bench.report.to_markdown import markdown, markdown_sheet
from bench.report.to_text import text, text_sheet

__all__ = [
    "FORMATS", "PAGE", "STATISTICS", "USUAL", "as_json", "comma_separated", "document",
    "known_formats", "latex", "markdown", "sheet", "text", "text_sheet", "write",
    "write_statistics",
]  # fmt: skip

T = TypeVar("T")
Writer = Callable[[Sequence[T], str, bool], str]  # what is written, stem, standalone


def _each(made: Callable[[T], str]) -> Writer[T]:
    """One below the other."""
    return lambda found, stem, standalone: "\n".join(map(made, found))


def _all(made: Callable[[Sequence[T]], str]) -> Writer[T]:
    """All in one."""
    return lambda found, stem, standalone: made(found)


def _floats(made: Callable[[T, str], str]) -> Writer[T]:
    """LaTeX, each with a label of its own."""

    def written(found: Sequence[T], stem: str, standalone: bool) -> str:
        labels = [stem if place == 1 else f"{stem}-{place}" for place in range(1, len(found) + 1)]
        parts = list(map(made, found, labels))
        return document(parts) if standalone else "\n".join(parts)

    return written


FORMATS: Mapping[str, Writer[Table]] = {
    "md": _each(markdown),
    "tex": _floats(latex),
    "csv": _all(comma_separated),
    "json": _all(as_json),
    "txt": _each(text),
}
STATISTICS: Mapping[str, Writer[Statistics]] = {
    "md": _each(lambda found: markdown_sheet(sheet(found))),
    "tex": _floats(lambda found, label: latex_sheet(sheet(found), label)),
    "csv": _all(statistics_csv),
    "json": _all(statistics_json),
    "txt": _each(lambda found: text_sheet(sheet(found))),
}
PAGE = "html"  # the format that holds the tables of all metrics, and their statistics
USUAL = ("md", "tex", "csv")


def known_formats(names: Iterable[str], *, page: bool = True) -> tuple[str, ...]:
    """The formats, each once; raises BenchError, with the nearest one, for an unknown format.

    page: whether there is a page to write, too.
    """
    known = (*FORMATS, PAGE) if page else tuple(FORMATS)
    found = tuple(dict.fromkeys(names))
    for name in found:
        if name not in known:
            raise BenchError(unknown("format", name, known))
    return found


def write(
    tables: Sequence[Table],
    folder: Path,
    stem: str,
    formats: Sequence[str] = USUAL,
    *,
    standalone: bool = False,
    page: Callable[[], str] | None = None,
) -> list[Path]:
    """Write the tables as <stem>.<format>, each whole or not at all: the paths written.

    standalone: LaTeX as a document that compiles as it is; page: makes what `html` is to hold, see
    `bench.report.page`. Raises BenchError, before anything is written, for an unknown format.
    """
    return [
        _text(
            folder / f"{stem}.{name}",
            page() if page and name == PAGE else FORMATS[name](tables, stem, standalone),
        )
        for name in known_formats(formats, page=page is not None)
    ]


def write_statistics(
    found: Sequence[Statistics],
    folder: Path,
    stem: str,
    formats: Sequence[str] = USUAL,
    *,
    standalone: bool = False,
) -> list[Path]:
    """Write statistics as <stem>.<format>, as `write` does: the paths written.

    For `html` there is no file: the page of a suite holds its statistics.
    """
    return [
        _text(folder / f"{stem}.{name}", STATISTICS[name](found, stem, standalone))
        for name in known_formats(formats)
        if name != PAGE
    ]


def _text(path: Path, content: str) -> Path:
    return written(path, content.encode())
