"""Statistics as data: CSV and JSON with a line for each cell and method, 10 digits each."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from bench.config.text import as_json
from bench.report.markup import spreadsheet
from bench.report.sheet import sheet
from bench.report.statistics import Line, Overall, Statistics
from bench.report.table import Row
from bench.report.to_data import stable

_FIELDS = (
    "scope", "table", "metric", "reference", "tolerance", "pair", "teacher", "student", "role",
    "method", "label", "note", "status", "n", "mean", "std", "low", "high", "difference",
    "difference_low", "difference_high", "p", "verdict", "paired", "seeds_needed", "pairs",
    "average_rank", "relative_improvement", "friedman", "friedman_p", "critical_distance", "reason",
)  # fmt: skip


def statistics_csv(found: Sequence[Statistics]) -> str:
    """One line for each pair and method, then one for each method over the pairs, and one for all.

    The field `scope` tells them apart: cell, method, table. Numbers have 10 significant digits.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, _FIELDS, restval="", lineterminator="\n")
    writer.writeheader()
    for one in found:
        for line in _lines(one):
            writer.writerow({key: _text(value) for key, value in (_of_table(one) | line).items()})
    return out.getvalue()


def statistics_json(found: Sequence[Statistics]) -> str:
    """The same lines, with the caption and the notes of the sheets."""
    made = []
    for one in found:
        words = sheet(one)
        notes = [{"mark": note.mark, "text": note.text} for note in words.notes]
        lines = list(_lines(one))
        made.append({**_of_table(one), "caption": words.caption, "lines": lines, "notes": notes})
    return as_json(made) + "\n"


def _of_table(found: Statistics) -> dict[str, Any]:
    table = found.table
    return {
        "table": table.title,
        "metric": table.metric.name,
        "reference": table.reference if table.baseline else None,
        "tolerance": table.tolerance,
    }


def _lines(found: Statistics) -> Iterator[dict[str, Any]]:
    """The lines of a table as plain values, without what is empty."""
    for made in (*_cells(found), *_over_pairs(found.overall)):
        yield {
            key: stable(value) if isinstance(value, float) else value
            for key, value in made.items()
            if value not in (None, "")
        }


def _cells(found: Statistics) -> Iterator[dict[str, Any]]:
    for pair in found.pairs:
        column = pair.column
        of = {"pair": column.pair, "teacher": column.teacher, "student": column.student}
        for line in pair.lines:
            reasons = (line.cell.hole.reason if line.cell.hole else "", line.untested)
            yield {
                "scope": "cell",
                **of,
                **_of_row(line.row),
                "status": line.cell.status,
                **_numbers(line),
                "reason": "; ".join(filter(None, reasons)),
            }


def _numbers(line: Line) -> dict[str, Any]:
    found, beside = line.estimate, line.cell.judgement
    made: dict[str, Any] = {"n": found.n if found else 0}
    if found:
        made |= {"mean": found.mean, "std": found.std, "low": found.low, "high": found.high}
    if beside:
        made |= {
            "difference": beside.mean,
            "difference_low": beside.low,
            "difference_high": beside.high,
            "p": beside.p,
            "verdict": beside.verdict,
            "paired": beside.paired,
            "seeds_needed": beside.seeds,
        }
    return made


def _over_pairs(found: Overall) -> Iterator[dict[str, Any]]:
    ranks, gains = found.ranks, found.improvement
    for place, row in enumerate(found.methods):
        yield {
            "scope": "method",
            **_of_row(row),
            "average_rank": ranks.average[place] if ranks else None,
            "relative_improvement": gains[place] if gains else None,
        }
    for row in found.left_out:
        yield {"scope": "method", **_of_row(row), "reason": "lacks values or seeds"}
    yield {
        "scope": "table",
        "pairs": found.pairs,
        "friedman": ranks.statistic if ranks else None,
        "friedman_p": ranks.p if ranks else None,
        "critical_distance": ranks.critical if ranks else None,
        "reason": "; ".join(found.lacking),
    }


def _of_row(row: Row) -> dict[str, Any]:
    return {"role": row.role, "method": row.name, "label": row.label, "note": row.note}


def _text(value: Any) -> str:
    """A value as a spreadsheet is to read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return spreadsheet(value)
    return "" if value is None else repr(value)
