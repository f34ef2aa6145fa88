"""The Pareto figure: a metric against the cost of networks and of their training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import cos, radians, sin
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.report import labels
from bench.report.figures import style
from bench.report.figures.style import COLOURS, SPREAD, TOOLTIP
from bench.report.model import Entry
from bench.results.measured import measured_metrics
from bench.results.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Boxes = NDArray[np.float64]
COSTS = {
    "parameters": "parameters (millions)",
    "multiply_adds": "multiply-adds of one image (millions)",
    "seconds": "seconds of one training, as if alone",
}
_UNITS = {"parameters": "M", "multiply_adds": "M", "seconds": "s"}
_MILLION = 1e6
_FRONT, _DOMINATED, _DOMINATED_NAME = COLOURS[0], "#a39f96", "#5f5b54"
_FRONT_LOOK: style.Look = {"color": _FRONT, "marker": "o", "markersize": 4.0, "zorder": 3}
_DOMINATED_LOOK: style.Look = {
    "color": _DOMINATED, "marker": "s", "markersize": 2.8, "zorder": 2,
}  # fmt: skip
_MAX_NAMES = 20  # of candidates; if there are more, only those of the front have names
_LOG = 5.0  # a cost whose values span this factor has a log scale
_ANGLES = (45, 0, 90, 135, 315, 180, 270, 225, 20, 70, 110, 160, 200, 250, 290, 340)  # degrees
_DISTANCES = (4.0, 8.0, 14.0, 22.0, 32.0, 44.0)  # points, from a marker to its name


@dataclass(frozen=True, eq=False)
class Candidate:
    """A method on a pair: means over the seeds.

    Attributes:
        name: The method's label; with several pairs, also the student or the pair.
        student: Name of the student's network.
        value: The metric.
        spread: Standard deviation of the metric; 0 for a single run.
        costs: Each known cost, by its key in `COSTS`.
        n: Number of runs.
        machines: Devices on which the runs were trained.
    """

    name: str
    student: str
    value: float
    spread: float
    costs: Mapping[str, float]
    n: int
    machines: frozenset[str]


def pareto_plot(
    entries: Sequence[Entry], pair: str = "", metric: str = "top1", width: float = style.PAGE
) -> "Figure":
    """Return a plot of a metric against costs, in which the Pareto front is marked.

    A method on a pair is dominated, and grey, if another one costs as much or less and is better.
    A line joins all others, the front. With several students, the panels show parameters,
    multiply-adds and the seconds of one training. With one student, which always costs the same to
    use, there are only the seconds, with error bars of one standard deviation. The seconds are
    estimated for a run that trains alone: the run's own seconds plus the seconds of all work that
    it shared with other runs. They are left out if the runs were trained on different machines.

    Args:
        entries: Runs; their records include the learning curves.
        pair: Name of the pair; empty: all pairs.
        metric: Name of the metric.
        width: Width of the figure in inches; the panels of a narrow figure are stacked.

    Raises:
        BenchError: No record has both the metric and a cost, or the only cost is the time, and the
            runs were trained on different machines.
    """
    chosen = [entry for entry in entries if pair in ("", entry.pair)]
    candidates = list(_candidates(chosen, metric))
    is_one = len({entry.student for entry in chosen}) == 1
    kinds = [kind for kind in COSTS if any(kind in each.costs for each in candidates)]
    kinds = [kind for kind in kinds if not is_one or kind == "seconds"]
    machines = _machines(candidates)
    if "seconds" in kinds and len(machines) > 1:
        kinds.remove("seconds")
        if not kinds:
            raise BenchError(f"the times of {labels.join(machines)} cannot be compared")
    if not kinds:
        raise BenchError(
            f"no record has both {metric} and a {'training time' if is_one else 'cost'}"
        )
    across = len(kinds) if width >= 2 * style.WIDTHS["column"] else 1
    room = width / across - 0.4
    counts = [each.n for each in candidates]
    title = style.title(chosen, chosen[0].pair, counts, SPREAD if is_one else "")
    if len({entry.pair for entry in chosen}) > 1:
        title = f"all pairs, {title.rpartition(', ')[2]}"
    with style.style():
        figure = style.canvas(width, (3.0 if is_one else 2.6) * (len(kinds) // across))
        panels = figure.subplots(len(kinds) // across, across, squeeze=False).ravel()
        for axes, kind in zip(panels, kinds, strict=True):
            _draw(axes, kind, candidates, metric, error_bars=is_one)
            text = COSTS[kind] + (f" on {machines[0]}" if kind == "seconds" else "")
            first = title if axes is panels[0] else ""
            style.label(axes, room, title=first, x=text, y=style.axis_label(metric))
        style.lay_out(panels[0])
        for axes, kind in zip(panels, kinds, strict=True):
            _write_names(axes, kind, candidates, metric, error_bars=is_one)
    return figure


def front(candidates: Sequence[Candidate], kind: str, *, higher: bool) -> list[Candidate]:
    """Return the candidates that are not dominated, from the lowest cost to the highest.

    Args:
        candidates: The candidates; those without the cost are left out.
        kind: The cost, a key of `COSTS`.
        higher: Whether a higher value of the metric is better.
    """
    sign = 1 if higher else -1
    priced = [each for each in candidates if kind in each.costs]
    chosen: list[Candidate] = []
    for each in sorted(priced, key=lambda each: (each.costs[kind], -sign * each.value)):
        if not chosen or sign * each.value > sign * chosen[-1].value:
            chosen.append(each)
    return chosen


def _candidates(entries: Sequence[Entry], metric: str) -> Iterator[Candidate]:
    """Yield a candidate for each method on each pair, if its records have the metric."""
    pairs = list(dict.fromkeys(entry.pair for entry in entries))
    students = {entry.pair: entry.student for entry in entries}
    for pair in pairs:
        network = labels.network(students[pair])
        is_only = list(students.values()).count(students[pair]) == 1
        where = network if is_only else pair
        for label, runs in style.methods(entries, pair).items():
            records = [e.record for e in runs if e.record and e.finished]
            numbers = [(r, measured_metrics(r).get(metric)) for r in records]
            values = {record.id: value for record, value in numbers if value is not None}
            measured = [record for record in records if record.id in values]
            if measured:
                yield Candidate(
                    label if len(pairs) == 1 else f"{label}, {where}",
                    students[pair],
                    fmean(values.values()),
                    stdev(values.values()) if len(values) > 1 else 0.0,
                    {kind: fmean(costs) for kind, costs in _costs(measured).items() if costs},
                    len(values),
                    frozenset(labels.one_line(str(r.environment.get("device"))) for r in measured),
                )


def _costs(records: Sequence[Record]) -> dict[str, list[float]]:
    """Return the known costs of runs, in the units of `COSTS`."""
    networks = [record.network for record in records]
    return {
        "parameters": [n.parameters / _MILLION for n in networks if n.parameters],
        "multiply_adds": [n.multiply_adds / _MILLION for n in networks if n.multiply_adds],
        "seconds": [
            sum(epoch.seconds + epoch.shared_seconds for epoch in record.curves)
            for record in records
            if record.curves
        ],
    }


def _machines(candidates: Sequence[Candidate]) -> list[str]:
    """Return the machines on which the candidates with a known time were trained."""
    timed = (each.machines for each in candidates if "seconds" in each.costs)
    return sorted(frozenset[str]().union(*timed))


def _draw(
    axes: "Axes", kind: str, candidates: Sequence[Candidate], metric: str, *, error_bars: bool
) -> None:
    """Draw the candidates, grey if they are dominated, and a line through the front."""
    unit = labels.metric(metric)
    best = front(candidates, kind, higher=unit.higher)
    shown = [each for each in candidates if kind in each.costs]
    for each in shown:
        x, is_best = each.costs[kind], each in best
        look = _FRONT_LOOK if is_best else _DOMINATED_LOOK
        number = f"{unit.format(each.value)} ± {unit.format(each.spread)} {unit.unit}".strip()
        cost = f"{x:.4g} {_UNITS[kind]}"
        axes.plot(x, each.value, **look, gid=f"{TOOLTIP}{each.name}: {number}, {cost}")
        if error_bars and each.spread:
            ends = (each.value - each.spread, each.value + each.spread)
            axes.plot((x, x), ends, color=look["color"], lw=0.6, zorder=look["zorder"])
    line = [each.costs[kind] for each in best], [each.value for each in best]
    axes.plot(*line, color=_FRONT, lw=1.0, zorder=2.5, drawstyle="steps-post")
    axes.margins(0.12)
    costs = [each.costs[kind] for each in shown]
    if min(costs) > 0 and max(costs) >= _LOG * min(costs):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")


def _write_names(
    axes: "Axes", kind: str, candidates: Sequence[Candidate], metric: str, *, error_bars: bool
) -> None:
    """Write names next to markers, where they cover nothing.

    If there are more than `_MAX_NAMES` candidates, only each student's best of the front is named.
    """
    best = front(candidates, kind, higher=labels.metric(metric).higher)
    shown = [each for each in candidates if kind in each.costs]
    crowded = len(shown) > _MAX_NAMES
    names = [*{each.student: each for each in best}.values()] if crowded else [*best, *shown]
    taken = _boxes(axes, kind, shown, best, error_bars=error_bars)
    for each in dict.fromkeys(names):
        colour = _FRONT if each in best else _DOMINATED_NAME
        if box := _write_name(axes, each, each.costs[kind], colour, taken):
            taken = np.vstack([taken, box])


def _boxes(
    axes: "Axes",
    kind: str,
    shown: Sequence[Candidate],
    best: Sequence[Candidate],
    *,
    error_bars: bool,
) -> Boxes:
    """Return the boxes, in pixels, of all markers, error bars and steps of the front."""
    radius = 2.5 * axes.figure.dpi / 72

    def pixels(some: Sequence[Candidate], side: int = 0) -> Boxes:
        points = [(each.costs[kind], each.value + side * each.spread) for each in some]
        return np.asarray(axes.transData.transform(points))

    marks, corners = pixels(shown), pixels(best)
    ends = np.hstack([pixels(shown, -1), pixels(shown, 1)]) if error_bars else np.empty((0, 4))
    steps = [
        (min(a, b), min(c, d), max(a, b), max(c, d))
        for (x, y), (right, up) in pairwise(corners)
        for (a, c), (b, d) in (((x, y), (right, y)), ((right, y), (right, up)))
    ]
    lines = np.vstack([ends, np.reshape(steps, (-1, 4))])
    return np.vstack([np.hstack([marks - radius, marks + radius]), lines + (-1, -1, 1, 1)])


def _write_name(
    axes: "Axes", candidate: Candidate, cost: float, colour: str, taken: Boxes
) -> tuple[float, float, float, float] | None:
    """Write a name at the nearest free place, and return its box; None: no place is free.

    A thin line joins a name to its marker if the name is not next to the marker.

    Args:
        axes: The axes, which have their final size.
        candidate: The candidate.
        cost: The candidate's place on the x axis.
        colour: Colour of the name.
        taken: Boxes (x0, y0, x1, y1), in pixels, that the name must not cover.
    """
    point, frame = axes.figure.dpi / 72, axes.get_window_extent()
    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6.5, "color": colour}
    sample = axes.text(cost, candidate.value, candidate.name, **look)
    size = sample.get_window_extent().padded(point)
    sample.remove()
    for distance, angle in product(_DISTANCES, _ANGLES):
        x = cos(radians(angle)) * (distance * point + size.width / 2)
        y = sin(radians(angle)) * (distance * point + size.height / 2)
        left, low, right, high = size.translated(x, y).extents
        if left < frame.x0 or right > frame.x1 or low < frame.y0 or high > frame.y1:
            continue
        apart = (taken[:, 0] > right) | (taken[:, 2] < left)
        if not (apart | (taken[:, 1] > high) | (taken[:, 3] < low)).all():
            continue
        line = {"arrowstyle": "-", "color": colour, "lw": 0.4, "shrinkA": 0, "shrinkB": 2}
        text = axes.annotate(
            candidate.name, (cost, candidate.value), (x / point, y / point), **look, zorder=4,
            textcoords="offset points", arrowprops=line if distance > _DISTANCES[1] else None,
        )  # fmt: skip
        text.set_in_layout(False)
        return left, low, right, high
    return None
