"""Runs whose records in several folders have different numbers, as a document."""

from collections.abc import Sequence

from bench.config.text import count
from bench.report.document import Document, Section, spans
from bench.report.labels import sentences
from bench.report.provenance import DIGITS, section
from bench.results.pool import RULE, Disagreement, Value

TITLE = "Records that disagree"


def disagreements_document(disagreements: Sequence[Disagreement]) -> Document:
    """Return a document with a grid for each run: the numbers that differ, and where from."""
    caption = sentences(
        [
            f"{count(len(disagreements), 'run')} with records of different numbers",
            "of the curves, only the first epoch that differs is listed",
            f"kept: {RULE}",
        ]
    )
    return Document(TITLE, spans(caption), tuple(map(_section, disagreements)), (), "")


def _section(each: Disagreement) -> Section:
    names = [" and ".join(sources) for sources in each.sources]
    heads = ["Number", *(f"{name}{'' if place else ' (kept)'}" for place, name in enumerate(names))]
    if is_one_number := len(each.copies) == 2:
        heads.append("Difference")
    rows = []
    for name, values in each.values.items():
        texts = list(map(_text, values))
        rows.append((name, *texts, *([_difference(*values)] if is_one_number else [])))
    return section(f"{each.name} ({each.run})", heads, rows)


def _text(value: Value) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) < 2 * DIGITS else text[:DIGITS]


def _difference(first: Value, second: Value) -> str:
    if isinstance(first, int | float) and isinstance(second, int | float):
        return f"{second - first:+.3g}".replace("-", "−")
    return ""
