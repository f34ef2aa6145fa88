"""Write reports as data: CSV with one line per cell, and JSON with all values.

A JSON file can serve as the baseline of a regression check.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter

from bench.config.text import as_json
from bench.report.comparison import overall
from bench.report.document import untested_reason
from bench.report.labels import one_line
from bench.report.model import Cell, Report, Row, Table

SCHEMA: TypeAdapter[Report] = TypeAdapter(Report)
_FIELDS = (
    "table", "metric", "pair", "teacher", "student", "role", "method", "label", "note", "status",
    "n", "mean", "std", "low", "high", "seeds", "values", "rank", "versus", "difference",
    "difference_low", "difference_high", "p", "significant", "verdict", "paired", "seeds_needed",
    "published", "gap", "source", "reason",
)  # fmt: skip
_STATISTICS_FIELDS = (
    "scope", *_FIELDS, "reference", "tolerance", "pairs", "average_rank", "relative_improvement",
    "friedman", "friedman_p", "critical_distance",
)  # fmt: skip
_STABLE = {  # keys of test statistics: `_stable` rounds their values
    "low", "high", "p", "statistic", "critical", "average", "improvements", "difference",
    "difference_low", "difference_high", "average_rank", "relative_improvement", "friedman",
    "friedman_p", "critical_distance",
}  # fmt: skip


_RENAMED = {  # fields of a `Comparison` with another name in CSV
    "mean": "difference", "low": "difference_low", "high": "difference_high",
    "seeds": "seeds_needed",
}  # fmt: skip


def csv_text(report: Report, statistics: bool = False) -> str:
    """Return a report as CSV, with one line for each pair and method of each table.

    Means and values are not rounded; test statistics have 10 significant digits.

    Args:
        report: The report.
        statistics: Whether to add the results over all pairs and to leave out teachers. The column
            `scope` then says whether a line is about a cell, a method or a table.
    """
    out = io.StringIO()
    fields = _STATISTICS_FIELDS if statistics else _FIELDS
    writer = csv.DictWriter(out, fields, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for table in report.tables:
        about = {
            "table": table.title,
            "metric": table.metric.name,
            "reference": table.reference if table.baseline else None,
            "tolerance": table.tolerance,
        }
        for line in (*_cells(table, statistics), *(_over_pairs(table) if statistics else ())):
            writer.writerow({key: _text(value) for key, value in _stable(about | line).items()})
    return out.getvalue()


def json_text(report: Report) -> str:
    """Return a report as JSON, with every metric by seed, the settings and the environment."""
    tables = tuple(replace(table, overall=overall(table)) for table in report.tables)
    content = SCHEMA.dump_python(replace(report, tables=tables), mode="json")
    return as_json({"format": content.pop("format"), **_stable(content)}) + "\n"


def _cells(table: Table, statistics: bool) -> Iterator[dict[str, Any]]:
    """Yield a line for each cell; for statistics, sorted by pair and without teachers."""
    places = [(row, i) for row in table.rows for i in range(len(table.columns))]
    if statistics:
        places = [place for place in places if place[0].role != "teacher"]
        places.sort(key=lambda place: place[1])
    for row, i in places:
        column = table.columns[i]
        line = {"pair": column.pair, "teacher": column.teacher, "student": column.student}
        missing = row.cells[i].missing
        reasons = [missing.reason] if missing else []
        reasons.append("" if row.role == "teacher" else untested_reason(row, i, table))
        reason = "; ".join(filter(None, reasons))
        yield {"scope": "cell", **line, **_row(row), **_cell(row.cells[i]), "reason": reason}


def _cell(cell: Cell) -> dict[str, Any]:
    shown, measured, published = cell.shown, cell.measured, cell.published
    line: dict[str, Any] = {"status": cell.status, "n": 0, "gap": cell.gap}
    line |= {"rank": cell.rank, "versus": cell.versus, "significant": cell.significant}
    if shown:
        line |= {"mean": shown.mean, "std": shown.std}
    if published:
        line |= {"source": published.source}
        line |= {} if cell.only_published else {"published": published.mean}
    if measured:
        seeds, values = list(measured.values), list(measured.values.values())
        line |= {"n": measured.n, "low": measured.low, "high": measured.high}
        line |= {"seeds": seeds, "values": values}
    if cell.comparison:
        line |= {_RENAMED.get(key, key): value for key, value in asdict(cell.comparison).items()}
    return line


def _row(row: Row) -> dict[str, Any]:
    return {"role": row.role, "method": row.name, "label": row.label, "note": row.note}


def _over_pairs(table: Table) -> Iterator[dict[str, Any]]:
    """Yield a line with results over all pairs for each method, then a line for the table."""
    result = overall(table)
    ranks, gains = result.ranks, result.improvements
    averages = dict(zip(result.methods, ranks.average, strict=True)) if ranks else {}
    improvements = dict(zip(result.methods, gains, strict=True)) if gains else {}
    for row in table.rows:
        if row.role == "method":
            yield {
                "scope": "method",
                **_row(row),
                "average_rank": averages.get(row.name),
                "relative_improvement": improvements.get(row.name),
                "reason": "values or seeds missing" if row.name in result.incomplete else "",
            }
    line = {"scope": "table", "pairs": result.pairs, "reason": "; ".join(result.obstacles)}
    if ranks:
        line |= {"friedman": ranks.statistic, "friedman_p": ranks.p}
        line |= {"critical_distance": ranks.critical}
    yield line


def _stable(content: Any, key: str = "") -> Any:
    """Round test statistics to 10 significant digits; later digits depend on scipy's version."""
    match content:
        case dict():
            return {name: _stable(value, name) for name, value in content.items()}
        case list():
            return [_stable(value, key) for value in content]
        case float() if key in _STABLE:
            return float(f"{content:.10g}")
    return content


def _text(value: Any) -> str:
    """Return a value on one line; a leading apostrophe prevents formulas in spreadsheets."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return ";".join(map(repr, value))
        case str():
            text = one_line(value)
            return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
    return repr(value)
