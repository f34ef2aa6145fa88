"""Documents: the input of the writers for Markdown, LaTeX, text and HTML.

Tables, statistics and regression checks all become documents, so each format needs only one writer.
Texts are not yet escaped for a format.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench.config.text import count
from bench.report import labels
from bench.report.caption import how_tested, tested
from bench.report.comparison import LOOKS, overall
from bench.report.labels import Metric, join, one_line, p_value, sentences, signed
from bench.report.model import Cell, Column, Measured, Note, Overall, Row, Table, named
from bench.stats.comparison import ALPHA, Comparison
from bench.stats.power import MAX_SEEDS, POWER

Style = Literal["plain", "value", "best", "second", "mark", "better", "worse", "published"]


@dataclass(frozen=True)
class Span:
    """A text in one style; the style `value` is for a number that is neither best nor second."""

    text: str
    style: Style = "plain"


Text = tuple[Span, ...]


@dataclass(frozen=True)
class GridCell:
    """A cell of a printed grid.

    Attributes:
        text: Content of the cell.
        below: A published value, which most formats print below the content.
        sort: Number by which the HTML page sorts the cell; None: the cell has no number.
        status: Status of a table's cell: done, partial, failed, ...
        spoken: Text of the cell for screen readers.
        run: Id of the cell's first record; empty: no record.
        link: Address that the HTML cell leads to; empty: the record of `run` on the same page.
        anchor: Id of the HTML cell; empty: none.
    """

    text: Text = ()
    below: Text = ()
    sort: float | None = None
    status: str = ""
    spoken: str = ""
    run: str = ""
    link: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class GridRow:
    """A row of a printed grid. A line separates methods from teachers and plain students."""

    cells: tuple[GridCell, ...]
    method: str = ""
    role: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a document: an optional title, an optional paragraph and an optional grid.

    Attributes:
        header: Header lines of the grid.
        rows: The grid below the header.
        title: Title of the section.
        text: The paragraph.
        pair: Name of the pair if the section is about one pair; otherwise empty.
        pairs: In a suite's table, the pair of each column after the first; otherwise empty.
        folded: Whether Markdown shows the section collapsed until a reader opens it.
        names: Indices of the columns that name a row. A narrow screen shows the grid in blocks of
            columns, and each block has these columns.
        wrapped: Whether the cells of the second, last column are paragraphs.
    """

    header: tuple[tuple[GridCell, ...], ...] = ()
    rows: tuple[GridRow, ...] = ()
    title: Text = ()
    text: str = ""
    pair: str = ""
    pairs: tuple[str, ...] = ()
    folded: bool = False
    names: tuple[int, ...] = (0,)
    wrapped: bool = False


@dataclass(frozen=True)
class Document:
    """A title, a caption, sections and footnotes.

    Attributes:
        introduction: Text before the caption, which LaTeX prints below the table.
        details: The rest of the caption, which LaTeX prints below the table.
    """

    title: str
    caption: Text
    sections: tuple[Section, ...]
    notes: tuple[Note, ...]
    metric: str
    introduction: Text = ()
    details: Text = ()

    @property
    def full_caption(self) -> Text:
        """The introduction, the caption and its details."""
        before, after = self.introduction, self.details
        return (
            *((*before, Span(" ")) if before else ()),
            *self.caption,
            *((Span(" "), *after) if after else ()),
        )


def spans(text: str, mark: str = "", style: Style = "plain") -> Text:
    """Return a text followed by the mark of its footnote."""
    return tuple(s for s in (Span(one_line(text), style), Span(mark, "mark")) if s.text)


def grid_cell(text: str, mark: str = "") -> GridCell:
    """Return a cell with a text and the mark of its footnote."""
    return GridCell(spans(text, mark))


def header(names: Sequence[str]) -> tuple[tuple[GridCell, ...], ...]:
    """Return a header of one line with these column names."""
    return (tuple(map(grid_cell, names)),)


def table_document(table: Table, *, compact: bool = False) -> Document:
    """Return a table as a document with one grid.

    Args:
        table: The table.
        compact: Whether cells show means only: no standard deviations, no arrows.
    """
    text = table.caption
    introduction, caption = spans(text.introduction), spans(text.metric)
    details = spans(text.compact if compact else text.details)
    if compact:
        table = replace(table, rows=tuple(map(_means_only, table.rows)))
    if any(cell.rank for cell in table.cells):
        legend = Span("Emphasis: "), Span("best", "best"), Span(" and ")
        details = (*details, *((Span(" "),) if details else ()), *legend)
        details += (Span("second best", "second"), Span(" method of a column."))
    teachers = (grid_cell(column.teacher) for column in table.columns)
    students = (grid_cell(column.student, column.mark) for column in table.columns)
    section = Section(
        ((grid_cell("Teacher"), *teachers), (grid_cell("Student"), *students)),
        tuple(_row(row, table) for row in table.rows),
        pairs=tuple(column.pair for column in table.columns),
    )
    title = one_line(table.title)
    return Document(
        title, caption, (section,), table.notes, table.metric.name, introduction, details
    )


def _means_only(row: Row) -> Row:
    """Return a row without standard deviations and arrows.

    If all cells have the same number of runs, this number becomes `n` of the row. Then no cell
    shows its number of runs.
    """
    cells = (
        replace(cell, versus=None, measured=cell.measured and replace(cell.measured, std=None))
        for cell in row.cells
    )
    counts = [cell.measured.n for cell in row.cells if cell.measured]
    return replace(row, cells=tuple(cells), n=counts[0] if len(set(counts)) == 1 else row.n)


def _row(row: Row, table: Table) -> GridRow:
    cells = zip(row.cells, table.columns, strict=True)
    values = (_cell(cell, row, column, table) for cell, column in cells)
    return GridRow((grid_cell(row.label, row.mark), *values), row.name, row.role)


def _cell(cell: Cell, row: Row, column: Column, table: Table) -> GridCell:
    shown, metric = cell.shown, table.metric
    below: Text = ()
    marks = [cell.mark]
    if cell.only_published and cell.published:
        marks.append(cell.published.mark)
    elif cell.published:
        text = metric.format(cell.published.mean)
        if cell.gap is not None:
            text += f"; {signed(cell.gap, metric.digits)}"
        below = spans(text, cell.published.mark, "published")
    number = metric.mean_std(shown.mean, shown.std) if shown else ""
    text = number or (cell.status if cell.missing else "")
    content = [Span(text, cell.rank or "value")]
    if cell.versus:
        arrow = {"better": "↑", "worse": "↓"}[cell.versus]
        content.append(Span(f" {arrow}{'*' if cell.significant else ''}", cell.versus))
    if cell.measured and cell.measured.n != row.n:
        content.append(Span(f" ({cell.measured.n})"))
    content += [Span(mark, "mark") for mark in marks if mark]
    spoken = f"{row.label}, {column.teacher} to {column.student}: {_spoken(cell, table)}"
    value, run = (shown.mean if shown else None), (cell.runs[0] if cell.runs else "")
    return GridCell(tuple(content), below, value, cell.status, spoken, run)


def _spoken(cell: Cell, table: Table) -> str:
    """Return a cell as a screen reader should read it aloud."""
    shown, metric = cell.shown, table.metric
    if shown is None:
        return cell.status
    parts = [metric.mean_std(shown.mean, shown.std)]
    if isinstance(shown, Measured):
        parts.append(f"n = {shown.n}")
    parts += [f"{cell.rank} of its column"] if cell.rank else []
    if cell.versus:
        parts.append(f"{cell.versus} than the reference")
        parts += ["significant"] if cell.significant else []
    if cell.published and cell.gap is not None:
        gap = signed(cell.gap, metric.digits)
        parts.append(f"published {metric.format(cell.published.mean)}, gap {gap}")
    return ", ".join(parts)


def statistics_document(table: Table) -> Document:
    """Return a table's intervals, differences, p-values, verdicts and ranks as a document."""
    pairs = tuple(_pair(i, column, table) for i, column in enumerate(table.columns))
    sections = (*pairs, _over_pairs(overall(table), table))
    grids = [cell.text for s in sections for row in s.rows for cell in row.cells]
    texts = [*grids, *(section.title for section in sections)]
    marks = {span.text for text in texts for span in text if span.style == "mark"}
    notes = [note for note in table.notes if note.mark in marks or _is_about_looks(note)]
    notes += [Note("", text) for text in _assumptions(table)]
    title = spans(f"{table.title}: statistics")[0].text
    caption = spans(_statistics_caption(table))
    return Document(title, caption, sections, tuple(notes), table.metric.name)


def verdict(comparison: Comparison, tolerance: float) -> str:
    """Return a verdict such as `better`, or such as `inconclusive (about 6 seeds)`.

    The number in brackets is the number of seeds that would decide the comparison.

    Args:
        comparison: A method compared with the reference method.
        tolerance: Largest difference that counts as zero, in the metric's unit.
    """
    if comparison.verdict != "inconclusive":
        return comparison.verdict
    if comparison.seeds is not None:
        return f"inconclusive (about {comparison.seeds} seeds)"
    if not tolerance and not comparison.mean:
        return "inconclusive"
    return f"inconclusive (more than {MAX_SEEDS} seeds)"


def untested_reason(row: Row, place: int, table: Table) -> str:
    """Return why a cell was not compared with the reference method.

    The result is empty if the cell was compared, if it belongs to the reference method itself, or
    if the table has no reference method.

    Args:
        row: Row of the cell.
        place: Index of the cell's column.
        table: The table.
    """
    base, cell = table.baseline, row.cells[place]
    if base is None or row is base or cell.comparison:
        return ""
    if row.role == "control":
        return "control: see the notes of the table"
    for side, name in ((cell, ""), (base.cells[place], f" of {base.label}")):
        if side.missing:
            return f"not tested: {'seeds' if side.measured else 'values'}{name} missing"
    return "not tested: single run"


def _statistics_caption(table: Table) -> str:
    base = table.baseline
    estimates = "mean, standard deviation (n − 1) and 95 % interval of the mean over n runs"
    parts = [table.metric.description, estimates]
    if base is None:
        parts.append("the table has no reference method: nothing is compared")
    elif not tested(table.rows):
        parts.append(f"no cell could be compared with {base.label}")
    else:
        amount = f"{table.tolerance:g} {table.metric.difference_unit}"
        beyond = f" and a difference of more than {amount}" if table.tolerance else ""
        same = "with a tolerance of 0, no verdict is `same`"
        if table.tolerance:
            tests = f"two one-sided tests at {ALPHA}"
            same = f"same: a difference of more than {amount} is ruled out ({tests})"
        p = how_tested(table.rows).removesuffix(f", p < {ALPHA}")
        parts += [
            f"difference: method minus {base.label}, with its 95 % interval",
            f"column p: {p}; intervals are not corrected",
            f"better, worse: p < {ALPHA}{beyond}",
            same,
            "inconclusive: none of these; in brackets the number of seeds that would decide it",
        ]
    return sentences(parts)


def _is_about_looks(note: Note) -> bool:
    return note.text.lower().startswith(LOOKS)


def _assumptions(table: Table) -> list[str]:
    looks = any(map(_is_about_looks, table.notes))
    earlier = "other metrics or other tables"
    earlier = earlier if looks else "other metrics, other tables, or earlier tests with fewer seeds"
    texts = [
        "Assumption: the runs of a cell are normally distributed.",
        "If one teacher serves all seeds, the intervals and p-values do not include the variation "
        "between teachers.",
    ]
    if tested(table.rows):
        texts += [
            "Moderated t-tests average the variance of each cell with the typical variance of the "
            "table's cells; docs/STATISTICS.md explains them.",
            "Seeds pair the runs: within a seed, all methods of a pair use the same batches and "
            "the same initial student. Variation that all methods of a seed share is removed.",
            "p-values are corrected for the comparisons in this table. They are not corrected for "
            f"{earlier}.",
            f"The number of seeds in brackets gives a power of {100 * POWER:g} % if two conditions "
            "hold. The true standard deviation equals the measured standard deviation. The true "
            "difference equals the measured difference, or 0 if the measured difference is within "
            "the tolerance.",
        ]
    return texts


def _pair(place: int, column: Column, table: Table) -> Section:
    """Return the section with the statistics of one pair."""
    names = ["Method", "n", "Mean ± std", "95 % interval"]
    if table.baseline:
        names += [f"Difference to {table.baseline.label}", "p", "Verdict"]
    rows = tuple(
        GridRow(tuple(_statistics_cells(row, place, table))[: len(names)], row.name, row.role)
        for row in table.rows
        if row.role != "teacher"
    )
    return Section(header(names), rows, spans(column.name, column.mark), pair=column.pair)


def _statistics_cells(row: Row, place: int, table: Table) -> Iterator[GridCell]:
    cell, metric = row.cells[place], table.metric
    yield grid_cell(row.label, row.mark)
    if measured := cell.measured:
        yield grid_cell(str(measured.n))
        yield grid_cell(metric.mean_std(measured.mean, measured.std), cell.mark)
        yield grid_cell(_interval(measured.low, measured.high, metric))
    else:
        yield from (grid_cell("0"), grid_cell(cell.status, cell.mark), GridCell())
    comparison = cell.comparison
    if comparison is None:
        reason = "reference" if row is table.baseline else untested_reason(row, place, table)
        yield from (GridCell(), GridCell(), grid_cell(reason))
        return
    interval = _interval(comparison.low, comparison.high, metric, change=True)
    yield grid_cell(f"{signed(comparison.mean, metric.digits)} {interval}")
    yield grid_cell("" if comparison.p is None else p_value(comparison.p))
    yield grid_cell(verdict(comparison, table.tolerance))


def _interval(low: float | None, high: float | None, metric: Metric, change: bool = False) -> str:
    if low is None or high is None:
        return ""
    ends = (signed(e, metric.digits) if change else metric.format(e) for e in (low, high))
    return f"[{', '.join(ends)}]"


def _over_pairs(result: Overall, table: Table) -> Section:
    """Return the section with the methods' average ranks and relative improvements, if any."""
    names, columns = ["Method"], []
    if result.ranks:
        names.append("Average rank")
        columns.append([f"{rank:.2f}" for rank in result.ranks.average])
    if result.improvements:
        names.append("Relative improvement")
        gains = result.improvements
        columns.append(["reference" if g is None else f"{signed(100 * g, 1)} %" for g in gains])
    rows = tuple(
        GridRow((grid_cell(row.label, row.mark), *map(grid_cell, cells)), row.name, row.role)
        for name, *cells in zip(result.methods, *columns, strict=True)
        if (row := named(table.rows, name))
    )
    text = sentences(_over_pairs_text(result, table))
    return Section(header(names), rows if columns else (), spans("Over the pairs"), text)


def _over_pairs_text(result: Overall, table: Table) -> Iterator[str]:
    if ranks := result.ranks:
        yield (
            f"average ranks, 1 the best, over {count(ranks.pairs, 'pair')} and "
            f"{count(len(ranks.average), 'method')}: Friedman's chi-square "
            f"{ranks.statistic:.2f}, {labels.p_equals(ranks.p)}"
        )
        yield (
            f"ranks that differ by less than {ranks.critical:.2f}, Nemenyi's critical distance at "
            f"{ALPHA}, are not significantly different"
        )
        yield (
            "pairs count as independent, even if they share a network; the test uses each pair's "
            "mean over seeds"
        )
    if result.improvements and table.baseline:
        label = table.baseline.label
        yield (
            f"relative improvement, as in the CRD paper: (method − {label}) / ({label} − plain "
            f"student), the mean over {count(result.pairs, 'pair')}"
        )
    yield from result.obstacles
    if result.incomplete:
        names = join(row.label for row in table.rows if row.name in result.incomplete)
        yield f"excluded, as values or seeds are missing: {names}"
