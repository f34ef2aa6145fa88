"""Learning curves, and accuracy against the cost of a training: a line or point per method."""

from collections.abc import Sequence
from math import cos, pi, sin
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.report import labels
from bench.report.figures.style import (
    SOFT,
    SPREAD,
    TOOLTIP,
    axis_label,
    empty,
    looks,
    methods,
    name_lines,
    style,
    title,
)
from bench.report.model import Entry, measured_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = tuple[float, float, float]  # x, y, standard deviation of y
_MAX_MARKS = 12  # on a curve
_DISTANCES = (4, 8, 13, 19, 27, 37, 49, 63)  # points between a mark and its name, nearest first
_LEADER = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
_ANGLES = [turn * pi / 8 for turn in (0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 13, 5, 11)]


def learning_curves(entries: Sequence[Entry], pair: str, value: str = "top1") -> "Figure":
    """Return the figure of a metric on the test set by epoch: means over the seeds.

    Args:
        entries: Runs with curves.
        pair: Name of the pair.
        value: A metric, or `loss` for that of the training.

    Raises:
        BenchError: No record has such a curve.
    """
    curves = {label: _curves(runs, value) for label, runs in methods(entries, pair).items()}
    curves = {label: runs for label, runs in curves.items() if runs}
    if not curves:
        raise BenchError(f"no record has a curve of {value}")
    from matplotlib.ticker import MaxNLocator

    with style():
        figure, axes = empty(6.2, max(3.6, 0.9 + 0.2 * len(curves)))
        line_looks, ends = looks(len(curves)), []
        for i, ((label, runs), look) in enumerate(zip(curves.items(), line_looks, strict=True)):
            epochs = sorted(set.intersection(*map(set, runs)))
            means = [fmean(run[epoch] for run in runs) for epoch in epochs]
            step = -(-len(epochs) // _MAX_MARKS)
            tooltip = f"{TOOLTIP}{label}: {means[-1]:.4g} after {epochs[-1]} epochs"
            axes.plot(epochs, means, **look, markevery=(i * 3 % step, step), gid=tooltip)
            ends.append(means[-1])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        name_lines(axes, ends, list(curves), line_looks)
        axes.set_xlabel("epoch")
        axes.set_ylabel(axis_label(value))
        axes.set_title(title(entries, pair, map(len, curves.values())))
    return figure


def cost(entries: Sequence[Entry], pair: str, metric: str = "top1") -> "Figure":
    """Return the figure of a metric against the seconds of one training, means over the seeds.

    Seconds are those of the run and those that its cohort shares, as if it had trained alone.

    Args:
        entries: Runs with curves.
        pair: Name of the pair.
        metric: Name of the metric.

    Raises:
        BenchError: No record has both.
    """
    points = {label: _costs(runs, metric) for label, runs in methods(entries, pair).items()}
    points = {label: runs for label, runs in points.items() if runs}
    if not points:
        raise BenchError(f"no record has both {metric} and the seconds of its training")
    unit = labels.metric(metric)
    with style():
        figure, axes = empty(6.2, 4.2)
        axes.margins(0.08)
        places: list[Place] = []
        for (label, runs), look in zip(points.items(), looks(len(points)), strict=True):
            seconds, values, _ = zip(*runs, strict=True)
            x, y, spread = fmean(seconds), fmean(values), stdev(values) if len(values) > 1 else 0
            bar = axes.errorbar(x, y, spread, **{**look, "linestyle": "-"}, elinewidth=0.7)
            number = f"{unit.format(y)} ± {unit.format(spread)} {unit.unit}"
            bar.lines[0].set_gid(f"{TOOLTIP}{label}: {number}, {x:.1f} s")
            places.append((x, y, spread))
        machines = sorted({machine for runs in points.values() for _, _, machine in runs})
        axes.set_xlabel(f"seconds of one training, as if alone on {labels.join(machines)}")
        axes.set_ylabel(axis_label(metric))
        axes.set_title(title(entries, pair, map(len, points.values()), SPREAD))
        _name_points(axes, places, list(points))
    return figure


def _curves(entries: Sequence[Entry], value: str) -> list[dict[int, float]]:
    """Return the value by epoch of each finished run that has it."""
    curves = []
    for entry in entries:
        if entry.record and entry.finished:
            course = {
                epoch.epoch: epoch.loss if value == "loss" else epoch.test.get(value)
                for epoch in entry.record.curves
            }
            curves.append({epoch: at for epoch, at in course.items() if at is not None})
    return [course for course in curves if course]


def _costs(entries: Sequence[Entry], metric: str) -> list[tuple[float, float, str]]:
    """Return seconds, value and machine of each finished run that has them."""
    return [
        (
            sum(epoch.seconds + epoch.shared_seconds for epoch in record.curves),
            value,
            labels.one_line(str(record.environment.get("device"))),
        )
        for entry in entries
        if entry.finished and (record := entry.record) and record.curves
        if (value := measured_metrics(record).get(metric)) is not None
    ]


def _name_points(axes: "Axes", places: Sequence[Place], names: Sequence[str]) -> None:
    """Write a name near each point where it covers least; a line to it if it is not adjacent."""
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # fix them
    ends = np.array([[(x, y - spread), (x, y + spread)] for x, y, spread in places])  # (n, 2, 2)
    pixels = axes.figure.dpi / 72
    taken = axes.transData.transform(ends.reshape(-1, 2)).reshape(-1, 2, 2)
    taken += 3 * pixels * np.array([[-1], [1]])
    moves = [(far, np.array((cos(way), sin(way)))) for far in _DISTANCES for way in _ANGLES]
    for (x, y, _), name in zip(places, names, strict=True):
        text = axes.annotate(name, (x, y), (0, 0), textcoords="offset points", fontsize=8.5,
                             ha="center", va="center")  # fmt: skip
        box = np.asarray(text.get_window_extent())
        half = (box[1] - box[0]) / 2 / pixels
        offsets = np.array([(half + far) * way for far, way in moves])  # (m, 2)
        boxes = box + offsets[:, None] * pixels
        outside = np.prod(box[1] - box[0]) - _overlap(boxes, axes.bbox.get_points()[None])
        covered = outside + _overlap(boxes, taken)
        best = int(covered.round(1).argmin())  # the nearest of those that cover least
        text.set_position(offsets[best])
        taken = np.concatenate([taken, boxes[best : best + 1]])
        if moves[best][0] > _DISTANCES[0]:
            edge = np.clip(0, offsets[best] - half, offsets[best] + half)
            axes.annotate("", (x, y), edge, textcoords="offset points", arrowprops=_LEADER)


def _overlap(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the summed overlap (m,) of boxes (m, 2, 2) with others (k, 2, 2)."""
    low = np.maximum(boxes[:, None, 0], others[None, :, 0])
    high = np.minimum(boxes[:, None, 1], others[None, :, 1])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=2).sum(axis=1), dtype=np.float64)
