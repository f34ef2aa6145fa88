"""Average ranks over all pairs as a diagram, as in Demšar's paper."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.report.figures.style import COLOURS, SOFT, style
from bench.report.labels import p_value
from bench.stats import ALPHA, Ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINE_INCHES = 0.24  # between two labels


def rank_diagram(labels: Sequence[str], result: Ranks, metric: str) -> "Figure":
    """Return average ranks on a line, 1 the best; bars join ranks that do not differ.

    A bar joins ranks that differ by less than Nemenyi's critical distance, see `bench.stats.ranks`.

    Args:
        labels: Of the methods, in the order of the ranks.
        result: The ranks.
        metric: The metric by which they are ranked.
    """
    from matplotlib.figure import Figure

    ranks = dict(zip(labels, result.average, strict=True))
    order = sorted(ranks, key=lambda label: (ranks[label], label))
    rows, most = -(-len(order) // 2), len(order)
    joined = groups(ranks, result.critical)
    with style():
        top, deep = 0.9, 0.35 + 0.12 * len(joined)  # inches above the line, and below to the names
        bottom = deep + _LINE_INCHES * (rows - 0.5)
        figure = Figure(figsize=(6.2, top + bottom))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(1 - 0.42 * most, most + 0.42 * most)
        axes.set_ylim(bottom, -top)
        _ruler(axes, result, metric)
        for i, group in enumerate(joined):
            span = ranks[group[0]] - 0.005 * most, ranks[group[-1]] + 0.005 * most
            axes.plot(span, (0.16 + 0.12 * i,) * 2, color="black", lw=2.6)
        for i, label in enumerate(order[:rows]):
            _stem(axes, label, ranks[label], deep + _LINE_INCHES * i, 0.6)
        for i, label in enumerate(reversed(order[rows:])):
            _stem(axes, label, ranks[label], deep + _LINE_INCHES * i, most + 0.4)
    return figure


def groups(ranks: Mapping[str, float], critical: float) -> list[list[str]]:
    """Return the largest groups of methods whose ranks differ by less than a critical distance."""
    order = sorted(ranks, key=lambda label: (ranks[label], label))
    joined: list[list[str]] = []
    for i, label in enumerate(order):
        near = [other for other in order[i:] if ranks[other] - ranks[label] < critical]
        if len(near) > 1 and not (joined and near[-1] in joined[-1]):
            joined.append(near)
    return joined


def _ruler(axes: "Axes", result: Ranks, metric: str) -> None:
    """Draw the line of ranks, its title, and the critical distance as a length."""
    most = len(result.average)
    axes.plot((1, most), (0, 0), color="black", lw=0.8)
    for rank in range(1, most + 1):
        axes.plot((rank, rank), (0, -0.06), color="black", lw=0.8)
        axes.text(rank, -0.1, str(rank), ha="center", va="bottom", fontsize=8.5)
    p = f"p = {p_value(result.p)}" if result.p >= 0.001 else "p < 0.001"
    text = f"average rank by {metric}, {result.pairs} pairs; Friedman: {p}"
    axes.text((1 + most) / 2, -0.66, text, ha="center", va="bottom", fontsize=9)
    end = 1 + result.critical
    axes.plot((1, end), (-0.42, -0.42), color=COLOURS[1], lw=1.6)
    for x in (1, end):
        axes.plot((x, x), (-0.45, -0.39), color=COLOURS[1], lw=1.0)
    text = f"critical distance {result.critical:.2f}\n(Nemenyi, {ALPHA:.0%})"
    axes.annotate(text, (1, -0.42), (-5, 0), textcoords="offset points", ha="right", va="center",
                  fontsize=8.5, linespacing=1.15)  # fmt: skip


def _stem(axes: "Axes", label: str, rank: float, y: float, edge: float) -> None:
    """Draw a thin line from the rank on the ruler down and out to the label."""
    axes.plot((rank, rank, edge), (0, y, y), color=SOFT, lw=0.7)
    axes.plot((rank,), (0,), "o", color="black", ms=3.2)
    left = edge < rank
    text = f"{label}  {rank:.2f}" if left else f"{rank:.2f}  {label}"
    axes.annotate(text, (edge, y), (-4 if left else 4, 0), textcoords="offset points",
                  ha="right" if left else "left", va="center", fontsize=9)  # fmt: skip
