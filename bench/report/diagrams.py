"""Diagrams over a whole suite: average ranks, and what of the teacher's class structure is lost."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.report.figures import COLOURS, SOFT, style

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
    if (values.std(axis=0) == 0).any():
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
    shown = {label: some[0] for label, some in differences.items()}
    limit = max(float(np.abs(one).max()) for one in shown.values()) or 1.0
    across = min(4, len(shown))
    down = -(-len(shown) // across)
    with style():
        figure = Figure(figsize=(1.9 * across + 0.6, 2.15 * down + 0.3), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        drawn = None
        for axes, (label, matrix) in zip(grid.flat, shown.items(), strict=False):
            drawn = axes.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="equal")
            axes.set_title(f"{label}\n{_number(differences[label])}", fontsize=9)
        if drawn is not None:
            bar = figure.colorbar(drawn, ax=grid, shrink=0.7, aspect=24, pad=0.02)
            bar.outline.set_visible(False)
            bar.set_label("correlation, teacher − student", fontsize=8.5)
        if title:
            figure.suptitle(title, fontsize=10)
    return figure


def _number(some: Sequence[Matrix]) -> str:
    values = [mean_difference(one) for one in some]
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"mean |Δ| = {np.mean(values):.3f}{spread}"


def rank_diagram(ranks: Mapping[str, float], pairs: int, critical: float | None = None) -> "Figure":
    """Average ranks on a line, 1 the best; bars join methods that a critical distance holds apart.

    ranks: by label, averages over `pairs` pairs (`bench.report.ranking.average_ranks`); critical:
    the least difference of average ranks that counts, e.g. Nemenyi's; None: no bars.
    """
    if len(ranks) < 2:
        raise BenchError("average ranks: fewer than two methods have a value for every pair")
    order = sorted(ranks, key=lambda label: (ranks[label], label))
    left, right = order[: -(-len(order) // 2)], order[-(-len(order) // 2) :]
    cliques = groups(ranks, critical) if critical is not None else []
    from matplotlib.figure import Figure

    with style():
        rows = max(len(left), len(right))
        deep = 0.35 + 0.12 * len(cliques)
        height = 0.95 + deep + _ROW * rows
        figure = Figure(figsize=(6.2, height))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set_xlim(1 - 0.42 * len(ranks), len(ranks) + 0.42 * len(ranks))
        axes.set_ylim(height - 0.8, -0.8)
        _ruler(axes, len(ranks), critical, pairs)
        for place, clique in enumerate(cliques):
            span = [ranks[label] for label in clique]
            y = 0.16 + 0.12 * place
            axes.plot((min(span) - 0.04, max(span) + 0.04), (y, y), color="black", lw=2.6,
                      solid_capstyle="round")  # fmt: skip
        for place, label in enumerate(left):
            _stem(axes, label, ranks[label], deep + _ROW * place, 0.6, "right")
        for place, label in enumerate(reversed(right)):
            _stem(axes, label, ranks[label], deep + _ROW * place, len(ranks) + 0.4, "left")
    return figure


def groups(ranks: Mapping[str, float], critical: float) -> list[list[str]]:
    """The largest runs of methods within a critical distance of each other, two at least."""
    order = sorted(ranks, key=lambda label: (ranks[label], label))
    found: list[list[str]] = []
    for place, label in enumerate(order):
        near = [other for other in order[place:] if ranks[other] - ranks[label] <= critical]
        if len(near) > 1 and not (found and near[-1] in found[-1]):
            found.append(near)
    return found


def _ruler(axes: "Axes", most: int, critical: float | None, pairs: int) -> None:
    axes.plot((1, most), (0, 0), color="black", lw=0.8)
    for rank in range(1, most + 1):
        axes.plot((rank, rank), (0, -0.06), color="black", lw=0.8)
        axes.text(rank, -0.1, str(rank), ha="center", va="bottom", fontsize=8.5)
    said = f"average rank over {pairs} {'pair' if pairs == 1 else 'pairs'}"
    axes.text(1, -0.62, said, ha="left", va="bottom", fontsize=9, color=SOFT)
    if critical is not None:
        end = 1 + critical
        axes.plot((1, end), (-0.42, -0.42), color=COLOURS[1], lw=1.6)
        for x in (1, end):
            axes.plot((x, x), (-0.45, -0.39), color=COLOURS[1], lw=1.0)
        axes.text(0.85, -0.42, f"critical distance {critical:.2f}", ha="right", va="center",
                  fontsize=8.5, color=COLOURS[1])  # fmt: skip


def _stem(axes: "Axes", label: str, rank: float, y: float, edge: float, side: str) -> None:
    """A thin line from the rank on the ruler down and out to the label."""
    axes.plot((rank, rank, edge), (0, y, y), color=SOFT, lw=0.7)
    axes.plot((rank,), (0,), "o", color="black", ms=3.2)
    value = f"{rank:.2f}"
    said = f"{label}  {value}" if side == "right" else f"{value}  {label}"
    shift = -0.08 if side == "right" else 0.08
    axes.text(edge + shift, y, said, ha=side, va="center", fontsize=9)
