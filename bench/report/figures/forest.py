"""The forest plot: each method's difference from a reference, with 95 % confidence intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report.figures import style
from bench.report.figures.style import COLOURS, LINE, MAX_HEIGHT, SOFT, TOOLTIP
from bench.report.labels import signed
from bench.report.model import Cell, Column, Table
from bench.stats.comparison import ALPHA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BETTER, WORSE, NEITHER = COLOURS[0], COLOURS[1], SOFT
_LABELS = 0.6  # inches: height of the labels below all panels
_Key = tuple[str, str]  # role and name of a method
_PANEL = 1.4  # inches: smallest width of one of several panels next to each other


@dataclass(frozen=True)
class _Panel:
    """A pair, and the cells for which the interval of the difference is known."""

    table: Table
    column: Column
    cells: Sequence[Cell]

    @property
    def title(self) -> str:
        """The names of the networks, and the number of seeds."""
        seeds = sorted({cell.measured.n for cell in self.cells if cell.measured})
        count = "-".join(map(str, dict.fromkeys((seeds[0], seeds[-1])))) if seeds else ""
        return f"{self.column.name}, n\u00a0=\u00a0{count}" if count else self.column.name


def forest_plot(tables: Sequence[Table], width: float = style.PAGE) -> "Figure":
    """Return a figure with a panel for each pair and, in each panel, a row for each method.

    All panels share the scale. A filled marker shows a significant difference (Holm-corrected over
    the table). The grey band shows the tolerance, within which differences count as zero. Panels
    stand below each other, with the numbers as text; if they are too many for a page, they stand
    next to each other without the numbers.

    Args:
        tables: Tables of one metric.
        width: Width of the figure in inches.

    Raises:
        BenchError: No method was compared with the reference.
    """
    panels = [
        _Panel(table, column, cells)
        for table in tables
        for place, column in enumerate(table.columns)
        if (cells := _compared(table, place))
    ]
    if not panels:
        reason = "no method was compared with the reference: at least 2 seeds of both are needed"
        raise BenchError(reason)
    heights = [_title_height(panel, width - 0.8) + LINE * len(panel.cells) for panel in panels]
    stacked = len(panels) == 1 or sum(heights) + _LABELS <= MAX_HEIGHT
    with style.style():
        figure = _stacked(panels, heights, width) if stacked else _grid(panels, width)
        table = panels[0].table
        name = table.baseline.label if table.baseline else table.reference
        unit = table.metric.difference_unit
        band = f"; band: ± {table.tolerance:g} {unit}" if table.tolerance else ""
        text = f"{table.metric.short}: method minus {name} ({unit}), 95 % interval"
        note = f"filled: significant (p < {ALPHA}){band}"
        lines = "\n".join(style.wrapped(line, width) for line in (text, note))
        figure.supxlabel(lines, fontsize=8, linespacing=0.9)
    return figure


def _stacked(panels: Sequence[_Panel], heights: Sequence[float], width: float) -> "Figure":
    """Return the figure with its panels below each other."""
    figure = style.canvas(width, min(sum(heights) + _LABELS, MAX_HEIGHT))
    grid = figure.subplots(
        len(panels), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
    )
    for axes, panel in zip(grid[:, 0], panels, strict=True):
        _draw(axes, panel, _rows([panel]), width - 0.8)
        for height, cell in enumerate(panel.cells):
            mean, digits = _mean(cell), panel.table.metric.digits
            numbers = (signed(x, digits) for x in (mean, *_interval(cell)))
            axes.annotate("{} [{}, {}]".format(*numbers), (1, height), (4, 0),
                          xycoords=axes.get_yaxis_transform(), textcoords="offset points",
                          va="center", fontsize=7, annotation_clip=False)  # fmt: skip
    return figure


def _grid(panels: Sequence[_Panel], width: float) -> "Figure":
    """Return the figure with its panels next to each other, which share the names of the rows."""
    rows = _rows(panels)
    across = max(1, min(len(panels), int((width - 1.0) / _PANEL)))
    down = -(-len(panels) // across)
    height = down * (LINE * len(rows) + 0.55) + _LABELS
    figure = style.canvas(width, height)
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for axes, panel in zip(grid.flat, panels, strict=False):
        _draw(axes, panel, rows, (width - 0.8) / across)
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_axis_off()
        elif place + across >= len(panels):  # no panel is below this one
            axes.tick_params(labelbottom=True)
    return figure


def _title_height(panel: _Panel, room: float) -> float:
    """Return the height, in inches, of a panel's title and of the space around the panel."""
    return 0.16 + 0.14 * len(style.wrapped(panel.title, room).splitlines())


def _compared(table: Table, place: int) -> list[Cell]:
    """Return the cells of a column for which the interval of the difference is known."""
    cells = (row.cells[place] for row in table.rows if row.role != "teacher")
    return [cell for cell in cells if cell.comparison and cell.comparison.low is not None]


def _rows(panels: Sequence[_Panel]) -> dict[_Key, str]:
    """Return the label of each method that a panel shows."""
    return {_key(cell): cell.label for panel in panels for cell in panel.cells}


def _key(cell: Cell) -> _Key:
    return cell.role, cell.method


def _draw(axes: "Axes", panel: _Panel, rows: Mapping[_Key, str], room: float) -> None:
    """Draw the intervals of a pair; the place of a method in `rows` is its y value."""
    places = {key: place for place, key in enumerate(rows)}
    table = panel.table
    axes.axvspan(-table.tolerance, table.tolerance, color=SOFT, alpha=0.12, lw=0)
    axes.axvline(0, color=SOFT, lw=0.8)
    for cell in panel.cells:
        height, mean = places[_key(cell)], _mean(cell)
        good = mean if table.metric.higher else -mean
        colour = (BETTER if good > 0 else WORSE) if cell.significant else NEITHER
        tooltip = f"{TOOLTIP}{cell.label}: {signed(mean, table.metric.digits)}"
        axes.plot(_interval(cell), [height, height], color=colour, lw=1.2, gid=tooltip)
        face = colour if cell.significant else "white"
        axes.plot(mean, height, "o", color=colour, markerfacecolor=face, markersize=3.8)
    axes.set_yticks(range(len(rows)), list(rows.values()))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    style.label(axes, room, title=panel.title, pad=4)


def _mean(cell: Cell) -> float:
    return cell.comparison.mean if cell.comparison else 0.0


def _interval(cell: Cell) -> list[float]:
    comparison = cell.comparison
    if comparison and comparison.low is not None and comparison.high is not None:
        return [comparison.low, comparison.high]
    return []
