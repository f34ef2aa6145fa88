"""Diagrams over a whole suite: average ranks, and what of the teacher's class structure is lost."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.report.figures import COLOURS, SOFT, style
from bench.stats import ALPHA, Ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Matrix = NDArray[np.float64]
_ROW = 0.24  # inches between two labels


def class_correlation(logits: NDArray[np.floating]) -> Matrix:
    """How the logits (n, K) of two classes vary together over n images: (K, K), 1 on the diagonal.

    CRD, Figure 2. Raises BenchError where a class's logit is the same for all images.
    """
    values = np.asarray(logits, dtype=np.float64)
    if (values == values[0]).all(axis=0).any():
        raise BenchError("class correlations: a logit is the same for all images")
    return np.asarray(np.corrcoef(values, rowvar=False), dtype=np.float64)


def mean_difference(difference: Matrix) -> float:
    """The mean of the absolute values off the diagonal of a matrix (K, K)."""
    off = ~np.eye(len(difference), dtype=bool)
    return float(np.abs(difference[off]).mean())


def correlations(differences: Mapping[str, Sequence[Matrix]], title: str = "") -> "Figure":
    """Teacher's minus student's class correlations, a square for each method.

    differences: by label, a matrix (K, K) for each seed. The first seed is drawn; the number above
    is the mean |difference| off the diagonal, over all seeds.
    """
    from matplotlib.figure import Figure

    if not differences:
        raise BenchError("class correlations: no student's weights are there")
    limit = max(float(np.abs(some[0]).max()) for some in differences.values()) or 1.0
    count = len(differences)
    across = min(count, min((5, 4, 3), key=lambda columns: -count % columns))  # the fewest gaps
    down = -(-count // across)
    with style():
        figure = Figure(figsize=(1.9 * across + 0.6, 2.15 * down + 0.3), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, (label, some) in zip(grid.flat, differences.items(), strict=False):
            drawn = axes.imshow(some[0], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="equal")
            axes.set_title(f"{label}\n{amount(some)}", fontsize=9, loc="center")
        bar = figure.colorbar(drawn, ax=grid, shrink=0.7, aspect=24, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label("correlation, teacher − student", fontsize=8.5)
        if title:
            figure.suptitle(title, fontsize=10)
    return figure


def amount(some: Sequence[Matrix]) -> str:
    """`mean |Δ| = 0.123 ± 0.004`: over the seeds, of what is off the diagonal."""
    values = [mean_difference(one) for one in some]
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"mean |Δ| = {np.mean(values):.3f}{spread}"


def rank_diagram(labels: Sequence[str], found: Ranks, metric: str) -> "Figure":
    """Average ranks on a line, 1 the best; bars join methods that cannot be told apart.

    labels: of the methods, in the order of `found`; metric: by what they are ranked. A bar joins
    ranks that differ by less than Nemenyi's critical distance, as in Demšar's diagrams, see
    `bench.stats.ranks`.
    """
    from matplotlib.figure import Figure

    ranks = dict(zip(labels, found.average, strict=True))
    order = sorted(ranks, key=lambda label: (ranks[label], label))
    rows, most = -(-len(order) // 2), len(order)
    cliques = groups(ranks, found.critical)
    with style():
        top, deep = 0.9, 0.35 + 0.12 * len(cliques)  # inches above the line, and below to the names
        bottom = deep + _ROW * (rows - 0.5)
        figure = Figure(figsize=(6.2, top + bottom))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(1 - 0.42 * most, most + 0.42 * most)
        axes.set_ylim(bottom, -top)
        _ruler(axes, found, metric)
        for place, clique in enumerate(cliques):
            span = ranks[clique[0]] - 0.005 * most, ranks[clique[-1]] + 0.005 * most
            axes.plot(span, (0.16 + 0.12 * place,) * 2, color="black", lw=2.6)
        for place, label in enumerate(order[:rows]):
            _stem(axes, label, ranks[label], deep + _ROW * place, 0.6)
        for place, label in enumerate(reversed(order[rows:])):
            _stem(axes, label, ranks[label], deep + _ROW * place, most + 0.4)
    return figure


def groups(ranks: Mapping[str, float], critical: float) -> list[list[str]]:
    """The largest groups of methods that are all less than a critical distance apart."""
    order = sorted(ranks, key=lambda label: (ranks[label], label))
    found: list[list[str]] = []
    for place, label in enumerate(order):
        near = [other for other in order[place:] if ranks[other] - ranks[label] < critical]
        if len(near) > 1 and not (found and near[-1] in found[-1]):
            found.append(near)
    return found


def _ruler(axes: "Axes", found: Ranks, metric: str) -> None:
    """The line of ranks, above it what they are, and the critical distance as a length."""
    most = len(found.average)
    axes.plot((1, most), (0, 0), color="black", lw=0.8)
    for rank in range(1, most + 1):
        axes.plot((rank, rank), (0, -0.06), color="black", lw=0.8)
        axes.text(rank, -0.1, str(rank), ha="center", va="bottom", fontsize=8.5)
    p = f"p = {found.p:.2g}" if found.p >= 0.001 else "p < 0.001"
    said = f"average rank by {metric}, {found.pairs} pairs; Friedman: {p}"
    axes.text((1 + most) / 2, -0.66, said, ha="center", va="bottom", fontsize=9)
    end = 1 + found.critical
    axes.plot((1, end), (-0.42, -0.42), color=COLOURS[1], lw=1.6)
    for x in (1, end):
        axes.plot((x, x), (-0.45, -0.39), color=COLOURS[1], lw=1.0)
    said = f"critical distance {found.critical:.2f}\n(Nemenyi, {ALPHA:.0%})"
    axes.annotate(said, (1, -0.42), (-5, 0), textcoords="offset points", ha="right", va="center",
                  fontsize=8.5, linespacing=1.15)  # fmt: skip


def _stem(axes: "Axes", label: str, rank: float, y: float, edge: float) -> None:
    """A thin line from the rank on the ruler down and out to the label."""
    axes.plot((rank, rank, edge), (0, y, y), color=SOFT, lw=0.7)
    axes.plot((rank,), (0,), "o", color="black", ms=3.2)
    left = edge < rank
    said = f"{label}  {rank:.2f}" if left else f"{rank:.2f}  {label}"
    axes.annotate(said, (edge, y), (-4 if left else 4, 0), textcoords="offset points",
                  ha="right" if left else "left", va="center", fontsize=9)  # fmt: skip
