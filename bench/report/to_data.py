"""Tables as data: CSV with a line for each cell, and JSON with all that a table holds."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from bench.config.text import as_json as json_text
from bench.report.markup import spreadsheet
from bench.report.table import Cell, Row, Table

_FIELDS = (
    "table", "metric", "pair", "teacher", "student", "role", "method", "label", "note",
    "status", "n", "mean", "std", "seeds", "values", "rank", "versus", "p", "significant",
    "published", "gap", "source", "reason",
)  # fmt: skip


def comma_separated(tables: Sequence[Table]) -> str:
    """One line for each pair and method of each table; numbers unrounded, seeds joined by `;`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_FIELDS)
    for table in tables:
        for row in table.rows:
            writer.writerows(_csv_lines(table, row))
    return out.getvalue()


def as_json(tables: Sequence[Table]) -> str:
    """The tables with captions, notes and every cell's values and run ids; numbers unrounded."""
    return json_text([content(one) for one in tables]) + "\n"


def content(table: Table) -> dict[str, Any]:
    """A table as plain values."""
    metric = table.metric
    return {
        "title": table.title,
        "caption": table.caption,
        "reference": table.reference if table.baseline else None,
        "metric": {"name": metric.name, "unit": metric.unit, "higher_is_better": metric.higher},
        "pairs": [
            {"pair": one.pair, "teacher": one.teacher, "student": one.student, "note": one.note}
            for one in table.columns
        ],
        "rows": [
            {
                "role": row.role,
                "method": row.name,
                "label": row.label,
                "note": row.note,
                "cells": [_cell(one) for one in row.cells],
            }
            for row in table.rows
        ],
        "notes": [{"mark": note.mark, "text": note.text} for note in table.notes],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    found, quoted = cell.measured, cell.published
    return {
        "status": cell.status,
        "n": found.n if found else 0,
        "mean": found.mean if found else None,
        "std": found.std if found else None,
        "seeds": list(found.seeds) if found else [],
        "values": list(found.values) if found else [],
        "rank": cell.rank,
        "versus": cell.versus,
        "p": _chance(cell),
        "significant": cell.significant,
        "published": quoted.mean if quoted else None,
        "gap": cell.gap,
        "source": _source(cell) or None,
        "reason": cell.hole.reason if cell.hole else None,
        "runs": list(cell.runs),
    }


def _csv_lines(table: Table, row: Row) -> Iterator[list[str]]:
    for column, cell in zip(table.columns, row.cells, strict=True):
        found = cell.measured
        words = (table.title, table.metric.name, column.pair, column.teacher, column.student)
        yield [
            *map(spreadsheet, (*words, row.role, row.name, row.label, row.note, cell.status)),
            str(found.n if found else 0),
            _number(found.mean if found else None),
            _number(found.std if found else None),
            ";".join(map(str, found.seeds)) if found else "",
            ";".join(map(repr, found.values)) if found else "",
            cell.rank or "",
            cell.versus or "",
            _number(_chance(cell)),
            {True: "yes", False: "no", None: ""}[cell.significant],
            _number(cell.published.mean if cell.published else None),
            _number(cell.gap),
            spreadsheet(_source(cell)),
            spreadsheet(cell.hole.reason if cell.hole else ""),
        ]


def stable(value: float) -> float:
    """The value with 10 significant digits: further ones depend on the version of scipy."""
    return float(f"{value:.10g}")


def _chance(cell: Cell) -> float | None:
    """The p of no difference to the reference, where that was tested."""
    p = cell.judgement.p if cell.judgement else None
    return None if p is None else stable(p)


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _source(cell: Cell) -> str:
    """Where the cell's published value is from, be it beside or in place of a measured one."""
    quoted = cell.published
    return quoted.source if quoted else getattr(cell.measured, "source", "")
