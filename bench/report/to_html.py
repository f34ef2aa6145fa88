"""Tables as HTML: real tables with headers, every number a button that leads to its records."""

import re
from collections.abc import Mapping, Sequence
from html import escape as _escape
from typing import Any

from bench.report.cells import Cell, Quoted
from bench.report.layout import Grid, Sheet
from bench.report.markup import Style, line, signed
from bench.report.table import Column, Note, Row, Table


def escape(text: Any) -> str:
    """The text on one line, safe within an element and within a quoted attribute."""
    return _escape(line(str(text)))


HTML = Style(
    escape,
    "<b>{}</b>",
    '<span class="second">{}</span>',
    "{}",
    "<sup>{}</sup>",
    " ± ",
    ' <span class="quote">[{}]</span>',
)
_ARROWS = {"↑": "better", "↓": "worse"}
Places = Mapping[tuple[str, str, str], int]  # pair, role, method -> the number of the cell


def html(table: Table, places: Places) -> str:
    """The table with its caption and notes, as a figure."""
    columns = "".join(map(_column, table.columns))
    fixed = "".join(_row(row, table, places) for row in table.rows if row.role != "method")
    methods = "".join(_row(row, table, places) for row in table.rows if row.role == "method")
    name = escape(table.title)
    return (
        f'<figure class="result" data-metric="{table.metric.name}">'
        f'<div class="scroll" role="region" tabindex="0" aria-label="{name}">'
        f'<table><caption class="hidden">{name}: {escape(table.metric.phrase)}</caption>'
        f'<thead><tr><th scope="col" aria-sort="none">'
        '<button type="button" class="sort" data-order="paper" title="the suite\'s order">'
        f"<span>Teacher</span><br><span>Student</span></button></th>{columns}</tr></thead>"
        f'<tbody>{fixed}</tbody><tbody class="methods">{methods}</tbody></table></div>'
        f"<figcaption><p><strong>{name}.</strong> {HTML.legend(table)}</p>"
        f"{_notes(table.notes)}</figcaption></figure>"
    )


def html_sheet(sheet: Sheet) -> str:
    """The sheet as details that a reader opens: a table for each grid."""
    grids = "".join(_grid(one, f"{sheet.title}, {one.title.text}") for one in sheet.grids)
    return (
        f'<details class="statistics" data-metric="{sheet.metric.name}">'
        f"<summary>{escape(sheet.title)}</summary>"
        f"<p>{escape(sheet.caption)}</p>{grids}{_notes(sheet.notes)}</details>"
    )


def _grid(grid: Grid, name: str) -> str:
    text = f"<p>{escape(grid.text)}</p>" if grid.text else ""
    pair = f' data-pair="{escape(grid.pair)}"' if grid.pair else ""
    title = f"<h3>{HTML.marked(grid.title)}</h3>"
    if not grid.rows:
        return f"<section{pair}>{title}{text}</section>"
    header = "".join(f'<th scope="col">{escape(one)}</th>' for one in grid.header)
    rows = "".join(
        f'<tr data-method="{escape(row.method)}"><th scope="row">{HTML.marked(row.cells[0])}</th>'
        + "".join(f"<td>{HTML.marked(cell)}</td>" for cell in row.cells[1:])
        + "</tr>"
        for row in grid.rows
    )
    return (
        f"<section{pair}>{title}{text}"
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(name)}">'
        f'<table><caption class="hidden">{escape(name)}</caption>'
        f"<thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _notes(notes: Sequence[Note]) -> str:
    items = "".join(f"<li>{HTML.note(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _column(column: Column) -> str:
    return (
        f'<th scope="col" aria-sort="none" data-pair="{escape(column.pair)}">'
        '<button type="button" class="sort" title="sort by this column">'
        f"<span>{escape(column.teacher)}</span><br><span>{HTML.student(column)}</span>"
        "</button></th>"
    )


def _row(row: Row, table: Table, places: Places) -> str:
    cells = "".join(
        _cell(cell, row, column, table, places)
        for cell, column in zip(row.cells, table.columns, strict=True)
    )
    return (
        f'<tr data-method="{escape(row.name)}" data-role="{row.role}">'
        f'<th scope="row">{HTML.label(row)}</th>{cells}</tr>'
    )


def _cell(cell: Cell, row: Row, column: Column, table: Table, places: Places) -> str:
    value, remark = HTML.value(cell, table), HTML.remark(cell, row)
    for arrow, kind in _ARROWS.items():
        remark = re.sub(rf"{arrow}\*?", rf'<span class="{kind}">\g<0></span>', remark)
    remark += HTML.quote(cell, table)
    place = places.get((column.pair, row.role, row.name))
    if place is not None and cell.runs:
        label = escape(f"{row.label}, {column.teacher} to {column.student}: {told(cell, table)}")
        value = (
            f'<button type="button" class="number" data-cell="{place}" aria-haspopup="dialog" '
            f'aria-label="{label}; its records">{value}</button>'
        )
    sort = f' data-value="{cell.measured.mean!r}"' if cell.measured else ""
    kind = f' class="{cell.status}"' if cell.status not in ("done", "empty") else ""
    return f'<td data-pair="{escape(column.pair)}"{sort}{kind}>{value}{remark}</td>'


def told(cell: Cell, table: Table) -> str:
    """A cell as it would be read out."""
    found, metric = cell.measured, table.metric
    if found is None:
        return cell.status
    parts = [metric.shown(found.mean)]
    if found.std is not None:
        parts[0] += f" ± {metric.shown(found.std)}"
    if not isinstance(found, Quoted):
        parts.append(f"n = {found.n}")
    parts += [f"{cell.rank} of its column"] if cell.rank else []
    if cell.versus:
        parts.append(f"{cell.versus} than the reference")
        parts += ["noise ruled out"] if cell.significant else []
    if cell.published and cell.gap is not None:
        gap = signed(cell.gap, metric.digits)
        parts.append(f"published {metric.shown(cell.published.mean)}, gap {gap}")
    return ", ".join(parts)
