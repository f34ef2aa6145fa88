"""Learning curves, and accuracy against the cost of a training: a line or point per method."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report import labels
from bench.report.figures import style
from bench.report.figures.style import SPREAD, TOOLTIP, looks, methods, name_lines
from bench.report.model import Entry, measured_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_MARKS = 12  # on a curve


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

    with style.style():
        figure, axes = style.empty(6.2, max(3.6, 0.9 + 0.2 * len(curves)))
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
        axes.set_ylabel(style.axis_label(value))
        axes.set_title(style.title(entries, pair, map(len, curves.values())))
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
    with style.style():
        figure, axes = style.empty(6.2, 4.2)
        axes.margins(0.08)
        line_looks, heights = [{**look, "linestyle": ""} for look in looks(len(points))], []
        for (label, runs), look in zip(points.items(), line_looks, strict=True):
            seconds, values, _ = zip(*runs, strict=True)
            x, y, spread = fmean(seconds), fmean(values), stdev(values) if len(values) > 1 else 0
            bar = axes.errorbar(x, y, spread, **look, elinewidth=0.7)
            number = f"{unit.format(y)} ± {unit.format(spread)} {unit.unit}"
            bar.lines[0].set_gid(f"{TOOLTIP}{label}: {number}, {x:.1f} s")
            heights.append(y)
        machines = sorted({machine for runs in points.values() for _, _, machine in runs})
        axes.set_xlabel(f"seconds of one training, as if alone on {labels.join(machines)}")
        axes.set_ylabel(style.axis_label(metric))
        axes.set_title(style.title(entries, pair, map(len, points.values()), SPREAD))
        name_lines(axes, heights, list(points), line_looks)
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
