"""Write documents in GitHub's Markdown."""

import re
from collections.abc import Iterator, Sequence

from bench.report.document import Document, Section
from bench.report.writers import Markup


def _escape(text: str) -> str:
    text = re.sub(r"([\\`*_{}\[\]|~$])", r"\\\1", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


MARKDOWN = Markup(
    _escape,
    {
        "best": "**{}**",
        "second": "<u>{}</u>",
        "mark": "<sup>{}</sup>",
        "published": r"<br>\[{}\]",
    },
)


def markdown(document: Document) -> str:
    """Return a document as GitHub's Markdown: heading, caption, grids, notes."""
    parts = [f"## {MARKDOWN.plain(document.title)}", MARKDOWN(document.full_caption)]
    for section in document.sections:
        parts += list(_section(section))
    parts.append("\n".join(f"- {MARKDOWN.note(note)}" for note in document.notes))
    return "\n\n".join(filter(None, parts)) + "\n"


def _section(section: Section) -> Iterator[str]:
    title = MARKDOWN(section.title)
    if section.folded:
        yield f"<details><summary>{title}</summary>"
    elif title:
        yield f"### {title}"
    yield MARKDOWN.plain(section.text)
    if section.rows:
        heads = ["<br>".join(parts) for parts in _columns(section)]
        rows = [[MARKDOWN(cell.text + cell.below) for cell in row.cells] for row in section.rows]
        yield _paragraphs([heads, *rows]) if section.wrapped else _grid([heads, *rows])
    if section.folded:
        yield "</details>"


def _columns(section: Section) -> Iterator[list[str]]:
    """Yield the header cells of each column, from top to bottom."""
    for cells in zip(*section.header, strict=True):
        yield [MARKDOWN(cell.text) for cell in cells]


def _paragraphs(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the header first, as a table of paragraphs, which are not padded."""
    rule = [":--"] * len(rows[0])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [rows[0], rule, *rows[1:]])


def _grid(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the header first, as a table; columns after the first are centred."""
    widths = [max(3, *map(len, cells)) for cells in zip(*rows, strict=True)]
    rule = [":" + "-" * (widths[0] - 1), *(f":{'-' * (width - 2)}:" for width in widths[1:])]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [rows[0], rule, *rows[1:]]
    )
