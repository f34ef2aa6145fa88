"""Learning curves, a line for each method. Needs matplotlib."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report.cells import Entry
from bench.report.figures import axis, empty, looks, methods, name_lines, style, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curves(entries: Sequence[Entry], pair: str, value: str = "top1") -> "Figure":
    """A metric on the test set by epoch, a line for each method of a pair: means over the seeds.

    value: a metric, or `loss` for that of the training. Raises BenchError where there is no curve.
    """
    lines = {label: _courses(some, value) for label, some in methods(entries, pair).items()}
    lines = {label: found for label, found in lines.items() if found}
    if not lines:
        raise BenchError(f"no record has a curve of {value}")
    from matplotlib.ticker import MaxNLocator

    with style():
        figure, axes = empty(6.2, max(3.6, 0.9 + 0.2 * len(lines)))
        drawn = looks(len(lines))
        ends = []
        for place, (found, look) in enumerate(zip(lines.values(), drawn, strict=True)):
            epochs = sorted(set.intersection(*map(set, found)))
            means = [fmean(one[epoch] for one in found) for epoch in epochs]
            step = -(-len(epochs) // 12)
            axes.plot(epochs, means, **look, markevery=(place * 3 % step, step))
            ends.append(means[-1])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        name_lines(axes, ends, list(lines), drawn)
        axes.set_xlabel("epoch")
        axes.set_ylabel(axis(value))
        axes.set_title(title(entries, pair, map(len, lines.values())))
    return figure


def _courses(entries: Sequence[Entry], value: str) -> list[dict[int, float]]:
    """For each run that finished and has the value, the value by epoch."""
    found = []
    for one in entries:
        if one.record and one.record.get("status") == "done":
            curves = one.record.get("curves") or ()
            course = {e["epoch"]: e.get(value, (e.get("test") or {}).get(value)) for e in curves}
            found.append({epoch: at for epoch, at in course.items() if at is not None})
    return [course for course in found if course]
