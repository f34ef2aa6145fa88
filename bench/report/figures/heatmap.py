"""The heat map of pairs by methods: each cell is the difference from a reference method."""

from statistics import fmean
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report.figures import style
from bench.report.figures.style import LINE, MAX_HEIGHT
from bench.report.labels import signed
from bench.report.model import Cell, Table
from bench.stats.comparison import ALPHA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

_NARROW, _BROAD, _NAMES = 0.44, 1.1, 1.0  # inches: widths of cells, and of the methods' names
_MEAN_GAP = 0.15  # distance of the column of means, in widths of a cell
_SATURATED = 0.9  # quantile of the differences at which the colours end
_HATCH = "#b9b5ac"
_PALE = 0.3  # distance from the map's middle, white, up to which black numbers are legible


def heat_map(table: Table, width: float = style.PAGE) -> "Figure":
    """Return a heat map: a row for each method and a column for each pair.

    A cell shows the method's mean minus the reference's. Blue is better and red is worse, as
    readers with any colour blindness can tell them apart. A bold number is significant
    (Holm-corrected over the table). A hatched cell has no value. With several pairs, the last
    column has the means over the pairs.

    Args:
        table: The table; differences are taken from its reference.
        width: Largest width of the figure in inches.

    Raises:
        BenchError: The table has no reference method, or no method has a difference from it.
    """
    base = table.baseline
    if base is None:
        raise BenchError(f"the suite has no method {table.reference!r} as the reference")
    rows = [row for row in table.rows if row.role != "teacher" and row is not base]
    grid = [list(map(_difference, row.cells, base.cells)) for row in rows]
    sizes = sorted(abs(value) for line in grid for value in line if value is not None)
    if not sizes:
        raise BenchError(f"no method and {base.label} have values on the same pair")
    limit = sizes[int(_SATURATED * (len(sizes) - 1))] or sizes[-1] or 1.0
    columns = len(table.columns) + (len(table.columns) > 1)
    upright = _NAMES + _BROAD * columns > width
    names = [f"{c.teacher} →{' ' if upright else chr(10)}{c.student}" for c in table.columns]
    width = min(width, _NAMES + (_NARROW if upright else _BROAD) * max(columns, 2))
    top = 0.1 + 0.053 * max(map(len, names)) if upright else 0.35
    with style.style():
        figure, axes = style.empty(width, min(1.15 * LINE * len(rows) + top + 0.6, MAX_HEIGHT))
        colours = _colours(limit, higher=table.metric.higher)
        small = columns * _NARROW + _NAMES > width
        for y, (row, line) in enumerate(zip(rows, grid, strict=True)):
            for x, (cell, value) in enumerate(zip(row.cells, line, strict=True)):
                _cell(
                    axes, (x, y), value, table, colours, bold=cell.significant or False, small=small
                )
            if len(line) > 1:
                values = [value for value in line if value is not None]
                mean = fmean(values) if len(values) == len(line) else None
                _cell(axes, (len(line) + _MEAN_GAP, y), mean, table, colours, small=small)
        places = [*range(len(names)), *([len(names) + _MEAN_GAP] if len(names) > 1 else [])]
        axes.set_xticks(places, [*names, "mean"][: len(places)], rotation=90 if upright else 0)
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        axes.set(xlim=(-0.5, places[-1] + 0.5), ylim=(len(rows) - 0.5, -0.5))
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _bar(figure, axes, colours, table, width, hatched=None in sum(grid, []))
    return figure


def _difference(cell: Cell, base: Cell) -> float | None:
    """Return a cell's mean minus the reference's; None if any of their seeds is missing."""
    if cell.rankable is None or base.rankable is None:
        return None
    return cell.rankable.mean - base.rankable.mean


def _colours(limit: float, *, higher: bool) -> "ScalarMappable":
    """Return a map from differences to colours: white is 0, blue is better, red is worse."""
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    shades = np.linspace(0.5 - _PALE, 0.5 + _PALE, 255)
    pale = ListedColormap(colormaps["RdBu" if higher else "RdBu_r"](shades))
    return ScalarMappable(Normalize(-limit, limit), pale)


def _cell(
    axes: "Axes",
    place: tuple[float, float],
    value: float | None,
    table: Table,
    colours: "ScalarMappable",
    *,
    bold: bool = False,
    small: bool = False,
) -> None:
    """Draw a cell, hatched if it has no value."""
    import numpy as np
    from matplotlib.patches import Rectangle

    x, y = place
    if value is None:
        axes.add_patch(
            Rectangle((x - 0.5, y - 0.5), 1, 1, fc="white", ec=_HATCH, hatch="/////", lw=0)
        )
    else:
        face = tuple(colours.to_rgba(np.array([value]))[0])
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=face, ec="white", lw=0.8))
        text = signed(value, table.metric.digits)
        axes.text(x, y, text, ha="center", va="center_baseline", fontsize=6 if small else 7,
                  weight="bold" if bold else "normal")  # fmt: skip


def _bar(
    figure: "Figure",
    axes: "Axes",
    colours: "ScalarMappable",
    table: Table,
    width: float,
    *,
    hatched: bool,
) -> None:
    """Draw the colour bar, and the explanation of the cells below it."""
    bar = figure.colorbar(colours, ax=axes, location="bottom", aspect=45, pad=0.02, extend="both")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, labelsize=7)
    base = table.baseline.label if table.baseline else ""
    parts = [
        f"{table.metric.short}: method minus {base} ({table.metric.difference_unit})",
        f"bold: significant (p < {ALPHA})" if any(c.significant for c in table.cells) else "",
        "hatched: no value" if hatched else "",
    ]
    style.label(bar.ax, width - 0.2, x="; ".join(filter(None, parts)))
