"""Tables as HTML: real tables with headers, every number a button that leads to its records."""

from collections.abc import Mapping
from html import escape as _escape
from typing import Any

from bench.report.cells import Cell, Quoted
from bench.report.markup import Style, line, signed
from bench.report.table import Column, Row, Table


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
_ARROWS = {"↑": '<span class="better">↑</span>', "↓": '<span class="worse">↓</span>'}
Places = Mapping[tuple[str, str, str], int]  # pair, role, method -> the number of the cell


def html(table: Table, places: Places) -> str:
    """The table with its caption and notes, as a figure."""
    columns = "".join(map(_column, table.columns))
    fixed = "".join(_row(row, table, places) for row in table.rows if row.role != "method")
    methods = "".join(_row(row, table, places) for row in table.rows if row.role == "method")
    notes = "".join(
        f"<li>{HTML.mark.format(escape(note.mark))} {escape(note.text)}</li>"
        for note in table.notes
    )
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
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + "</figcaption></figure>"
    )


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
    for arrow, coloured in _ARROWS.items():
        remark = remark.replace(arrow, coloured)
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
    parts += [f"{cell.versus} than the reference"] if cell.versus else []
    if cell.published and cell.gap is not None:
        gap = signed(cell.gap, metric.digits)
        parts.append(f"published {metric.shown(cell.published.mean)}, gap {gap}")
    return ", ".join(parts)
