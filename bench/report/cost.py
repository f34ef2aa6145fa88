"""Accuracy against the seconds of one training, a point for each method. Needs matplotlib."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import cos, pi, sin
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError
from bench.report import wording
from bench.report.cells import Entry, Measured, cell
from bench.report.embedded import Embedded
from bench.report.figures import SOFT, SPREAD, axis, empty, looks, methods, style, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = tuple[float, float, float]  # x, y, and how far y spreads
_AWAY = (4, 8, 13, 19, 27, 37, 49, 63)  # points between a mark and its name, the nearest first
_LEADER = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
_WAYS = [turn * pi / 8 for turn in (0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 13, 5, 11)]


@dataclass(frozen=True)
class _Run:
    seconds: float
    value: float
    machine: str


def cost(entries: Sequence[Entry], pair: str, metric: str = "top1") -> "Figure":
    """A metric against the seconds of one training, means over the seeds ± standard deviation.

    Seconds are a run's own and those that its cohort shares, as if it had trained alone, on the
    machine of the records. Raises BenchError where no record tells them.
    """
    asked = methods(entries, pair)
    records = Embedded(chain.from_iterable(asked.values())).content()["records"]
    points = {label: list(_runs(some, metric, records)) for label, some in asked.items()}
    points = {label: found for label, found in points.items() if found}
    if not points:
        raise BenchError(f"no record tells both {metric} and the seconds of its training")
    with style():
        figure, axes = empty(6.2, 4.2)
        axes.margins(0.08)
        places: list[Place] = []
        for found, look in zip(points.values(), looks(len(points)), strict=True):
            seconds, values = [one.seconds for one in found], [one.value for one in found]
            places.append((fmean(seconds), fmean(values), stdev(values) if len(values) > 1 else 0))
            x, y, spread = places[-1]
            axes.errorbar(x, y, spread, **{**look, "linestyle": "-"}, elinewidth=0.7)
        machines = sorted({one.machine for found in points.values() for one in found})
        axes.set_xlabel(f"seconds of one training, as if alone on {wording.joined(machines)}")
        axes.set_ylabel(axis(metric))
        axes.set_title(title(entries, pair, map(len, points.values()), SPREAD))
        _name_points(axes, places, list(points))
    return figure


def _runs(entries: Sequence[Entry], metric: str, records: Mapping[str, Any]) -> Iterator[_Run]:
    """The runs that have both a value and seconds."""
    for one in entries:
        found = cell([one], metric).measured
        if one.record and isinstance(found, Measured):
            cost = records[one.record["id"]]["cost"]
            if "seconds" in cost:
                yield _Run(cost["seconds"], found.mean, one.record["environment"]["device"])


def _name_points(axes: "Axes", places: Sequence[Place], names: Sequence[str]) -> None:
    """A name beside each point, as near as it covers nothing; a line to it if it is not next."""
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # as they are now
    ends = np.array([[(x, y - spread), (x, y + spread)] for x, y, spread in places])  # (n, 2, 2)
    pixels = axes.figure.dpi / 72
    taken = axes.transData.transform(ends.reshape(-1, 2)).reshape(-1, 2, 2)
    taken += 3 * pixels * np.array([[-1], [1]])
    moves = [(away, np.array((cos(way), sin(way)))) for away in _AWAY for way in _WAYS]
    for (x, y, _), name in zip(places, names, strict=True):
        text = axes.annotate(name, (x, y), (0, 0), textcoords="offset points", fontsize=8.5,
                             ha="center", va="center")  # fmt: skip
        box = np.asarray(text.get_window_extent())
        half = (box[1] - box[0]) / 2 / pixels
        offsets = np.array([(half + away) * way for away, way in moves])  # (m, 2)
        boxes = box + offsets[:, None] * pixels
        outside = np.prod(box[1] - box[0]) - _common(boxes, axes.bbox.get_points()[None])
        covered = outside + _common(boxes, taken)
        best = int(covered.round(1).argmin())  # the nearest of those that cover as little
        text.set_position(offsets[best])
        taken = np.concatenate([taken, boxes[best : best + 1]])
        if moves[best][0] > _AWAY[0]:
            edge = np.clip(0, offsets[best] - half, offsets[best] + half)
            axes.annotate("", (x, y), edge, textcoords="offset points", arrowprops=_LEADER)


def _common(some: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """The areas that boxes (m, 2, 2) have in common with others (k, 2, 2), summed: (m,)."""
    low = np.maximum(some[:, None, 0], others[None, :, 0])
    high = np.minimum(some[:, None, 1], others[None, :, 1])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=2).sum(axis=1), dtype=np.float64)
