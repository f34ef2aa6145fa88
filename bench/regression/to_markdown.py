"""Verdicts as Markdown, short enough for a pull request."""

from collections.abc import Sequence

from bench.regression.to_text import columns, heading, numbers, remarks
from bench.regression.verdicts import Verdict, Verdicts
from bench.report.markup import MARKDOWN

_WELL = ("pass", "same", "skipped", "uncompared")


def markdown(found: Verdicts) -> str:
    """The verdict, the cells that need attention, and all others folded away."""
    escape = MARKDOWN.escape
    title, asked = (escape(each) for each in heading(found))
    attention = [cell for outcome in found.counts for cell in found.named(outcome)]
    attention = [cell for cell in attention if cell.outcome not in _WELL]
    others = [cell for cell in found.cells if cell.outcome in _WELL]
    parts = [f"### {title}", asked[0].upper() + asked[1:] + "."]
    if attention:
        parts.append(_table(attention, found))
    if others:
        count = f"{len(others)} other cells" if attention else f"All {len(others)} cells"
        parts.append(
            f"<details><summary>{count}</summary>\n\n{_table(others, found)}\n\n</details>"
        )
    notes = [f"- {escape(each[0].upper() + each[1:])}" for each in remarks(found)]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])]) + "\n"


def _table(cells: Sequence[Verdict], found: Verdicts) -> str:
    escape = MARKDOWN.escape
    header = ["Verdict", "Pair", "Method", *map(_head, columns(found)), "Why"]
    rows = [
        [cell.outcome, cell.pair, cell.method, *numbers(cell, found.metric), cell.reason]
        for cell in cells
    ]
    shown = [header, *([escape(value) for value in row] for row in rows)]
    lines = ["| " + " | ".join(row) + " |" for row in shown]
    rule = "|:--|:--|:--|" + "--:|" * 5 + ":--|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _head(name: str) -> str:
    return name if name == "p" else name.capitalize()
