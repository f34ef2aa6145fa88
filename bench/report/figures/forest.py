"""The forest plot: each method's difference from a reference, with 95 % confidence intervals."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report.figures import style
from bench.report.figures.style import COLOURS, SOFT, TOOLTIP
from bench.report.labels import signed
from bench.report.model import Cell, Column, Table
from bench.stats.comparison import ALPHA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, LINE, MARGIN = 6.2, 0.22, 0.75  # inches: a figure's width, a row's height, a panel's margin
BETTER, WORSE, NEITHER = COLOURS[0], COLOURS[1], SOFT
TEXT_ROOM = 0.42  # space for text to the right of the intervals, as a fraction of their range


def forest_plot(tables: Sequence[Table]) -> "Figure":
    """Return a figure with a panel for each pair and, in each panel, a row for each method.

    A filled marker shows a significant difference (Holm-corrected over the table). The grey band
    shows the tolerance, within which differences count as zero.

    Args:
        tables: Tables of one metric.

    Raises:
        BenchError: No method was compared with the reference.
    """
    panels = [
        (table, column, cells)
        for table in tables
        for place, column in enumerate(table.columns)
        if (cells := _compared(table, place))
    ]
    if not panels:
        reason = "no method was compared with the reference: at least 2 seeds of both are needed"
        raise BenchError(reason)
    from matplotlib.figure import Figure

    heights = [MARGIN + LINE * len(cells) for _, _, cells in panels]
    with style.style():
        figure = Figure(figsize=(WIDTH, sum(heights) + 0.3))
        gap = {"hspace": MARGIN * len(heights) / sum(heights), "height_ratios": heights}
        grid = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw=gap)
        for axes, panel in zip(grid[:, 0], panels, strict=True):
            _panel(axes, *panel)
        table = panels[0][0]
        name = table.baseline.label if table.baseline else table.reference
        unit = table.metric.difference_unit
        note = f"filled: significant, p < {ALPHA}"
        text = f"{table.metric.short}: method minus {name} ({unit}), 95 % interval; {note}"
        grid[-1, 0].set_xlabel(text)
    return figure


def _compared(table: Table, place: int) -> list[Cell]:
    """Return the cells of a column for which the interval of the difference is known."""
    cells = (row.cells[place] for row in table.rows if row.role != "teacher")
    return [cell for cell in cells if cell.comparison and cell.comparison.low is not None]


def _panel(axes: "Axes", table: Table, column: Column, cells: Sequence[Cell]) -> None:
    axes.axvspan(-table.tolerance, table.tolerance, color=SOFT, alpha=0.12, lw=0)
    axes.axvline(0, color=SOFT, lw=0.8)
    ends = [end for cell in cells for end in _interval(cell)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = (high - low) or 1.0
    for height, cell in enumerate(cells):
        start, end = _interval(cell)
        mean = cell.comparison.mean if cell.comparison else 0.0
        good = mean if table.metric.higher else -mean
        colour = (BETTER if good > 0 else WORSE) if cell.significant else NEITHER
        tooltip = f"{TOOLTIP}{cell.label}: {signed(mean, table.metric.digits)}"
        axes.plot([start, end], [height, height], color=colour, lw=1.4, gid=tooltip)
        face = colour if cell.significant else "white"
        axes.plot(mean, height, "o", color=colour, markerfacecolor=face, markersize=4.5)
        numbers = (signed(x, table.metric.digits) for x in (mean, start, end))
        text = "{} [{}, {}]".format(*numbers)
        axes.text(high + 0.04 * room, height, text, va="center", fontsize=8)
    axes.set_xlim(low - 0.04 * room, high + TEXT_ROOM * room)
    axes.set_yticks(range(len(cells)), [cell.label for cell in cells])
    axes.set_ylim(len(cells) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    seeds = sorted({n for cell in cells if cell.measured and (n := cell.measured.n)})
    count = "-".join(map(str, dict.fromkeys((seeds[0], seeds[-1])))) if seeds else ""
    axes.set_title(f"{column.name}, n = {count} seeds" if count else column.name)


def _interval(cell: Cell) -> Iterator[float]:
    comparison = cell.comparison
    if comparison and comparison.low is not None and comparison.high is not None:
        yield comparison.low
        yield comparison.high
