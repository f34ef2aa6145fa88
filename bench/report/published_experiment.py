"""Tables of the numbers that a source publishes for a suite's experiment, such as linear probes."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.report import labels, published_settings
from bench.report.caption import arrows, mark, published_caption
from bench.report.comparison import by_mean
from bench.report.model import ROLES, Cell, Column, Note, Role, Row, Table, TableContext
from bench.report.published_settings import Match, Numbers

if TYPE_CHECKING:
    from bench.suite import Pair, Suite

_REFERENCE = TableContext.reference


def tables(suite: "Suite", pairs: Collection[str], metric: str | None = None) -> list[Table]:
    """Return a table for each metric and source that publishes numbers of a suite's pairs.

    A cell is empty if its number exists only in a plot, or if the source has no such number.

    Args:
        suite: The suite. Its key `published` names the source; numbers of transfer and ensembles
            need no name.
        pairs: Names of the pairs to show.
        metric: Name of the metric; None: all metrics.
    """
    numbers = published_settings.numbers(suite)
    groups: dict[tuple[str, str], list[Match]] = {}
    for match in (*numbers.named, *numbers.unnamed):
        if match.pair in pairs and metric in (None, match.metric):
            groups.setdefault((match.metric, match.line.source), []).append(match)
    shown = [pair for pair in suite.pairs if pair.name in pairs]
    return [_table(key, matches, shown) for key, matches in groups.items()]


def _table(key: tuple[str, str], matches: Sequence[Match], pairs: Sequence["Pair"]) -> Table:
    """Return the table of a metric and a source; `key` has their names."""
    (name, source), unit = key, labels.metric(key[0])
    numbers = Numbers({}, tuple(matches), ())
    values = numbers.values(name)
    lines = [match.line for match in matches if not match.line.is_gain]
    printed = {line.name: line.label for line in reversed(lines)}
    present = {match.pair for match in matches}
    columns = [
        Column.of(pair.name, pair.teacher.network, pair.student)
        for pair in pairs
        if pair.name in present
    ]
    rows = []
    for method in dict.fromkeys(line.name for line in lines):
        label, role = printed[method], _role(method)
        cells = (
            Cell(
                column.pair, method, label, role,
                published=values.get((column.pair, method)), only_published=True,
            )
            for column in columns
        )  # fmt: skip
        rows.append(Row(tuple(cells), method, label, role))
    rows = by_mean(sorted(rows, key=lambda row: ROLES.index(row.role)), unit, _REFERENCE)
    origins = dict.fromkeys(line.origin for line in lines)
    caption = published_caption(
        f"as published, not run here: {'; '.join(origins)}",
        replace(unit, phrase=unit.short).description,
        ["an empty cell has no number in a readable source"],
        arrows(rows, _REFERENCE),
    )
    marked_columns, marked_rows, notes = mark(columns, rows)
    others = (Note("", text) for text in numbers.notes(name, present, set(printed)))
    title = f"Published: {source}"
    notes = (*notes, *others)
    return Table(marked_rows, title, caption, unit, marked_columns, notes, _REFERENCE)


def _role(method: str) -> Role:
    """Return the role of a published row, from the method's name."""
    return next((role for role in ROLES if role == method), "method")
