"""Tables as Markdown, LaTeX, CSV, JSON and plain text: the same records give the same bytes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError, unknown
from bench.report.table import Table
from bench.report.to_data import as_json, comma_separated
from bench.report.to_latex import document, latex
from bench.report.to_markdown import markdown
from bench.report.to_text import text
from bench.results import write_whole

__all__ = [
    "FORMATS", "USUAL", "as_json", "comma_separated", "document", "latex", "markdown", "text",
    "write",
]  # fmt: skip

Writer = Callable[[Sequence[Table], str, bool], str]  # tables, stem, standalone


def _markdown(tables: Sequence[Table], stem: str, standalone: bool) -> str:
    return "\n".join(map(markdown, tables))


def _latex(tables: Sequence[Table], stem: str, standalone: bool) -> str:
    labels = [stem if number == 1 else f"{stem}-{number}" for number in range(1, len(tables) + 1)]
    made = [latex(one, label) for one, label in zip(tables, labels, strict=True)]
    return document(made) if standalone else "\n".join(made)


FORMATS: Mapping[str, Writer] = {
    "md": _markdown,
    "tex": _latex,
    "csv": lambda tables, stem, standalone: comma_separated(tables),
    "json": lambda tables, stem, standalone: as_json(tables),
    "txt": lambda tables, stem, standalone: "\n".join(map(text, tables)),
}
USUAL = ("md", "tex", "csv")


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
    known = {**FORMATS, **({"html": lambda *_: page()} if page else {})}
    for name in formats:
        if name not in known:
            raise BenchError(unknown("format", name, known))
    paths = []
    for name in dict.fromkeys(formats):
        path = folder / f"{stem}.{name}"
        write_whole(path, known[name](tables, stem, standalone).encode())
        paths.append(path)
    return paths
