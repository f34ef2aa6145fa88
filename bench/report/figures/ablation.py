"""Accuracy against a setting that a suite varies, as in CRD's Figure 5."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.report.figures import style
from bench.report.figures.style import SPREAD, Look, looks, methods, name_lines
from bench.report.model import Entry, Measured, cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Option = tuple[str, str]  # a distiller, and one of its options or `weight`


@dataclass(frozen=True)
class Point:
    """A method's result, and its settings as its records specify them.

    Attributes:
        distillers: `crd+kd`: those that use the teacher, or all of a plain student.
    """

    label: str
    distillers: str
    settings: Mapping[Option, Any]
    measured: Measured

    def without(self, option: Option) -> Mapping[Option, Any]:
        """Return all settings but one."""
        return {key: value for key, value in self.settings.items() if key != option}


Series = Mapping[float, Point]  # by the value of the one setting in which they differ, ascending


def varied(entries: Sequence[Entry], pair: str, metric: str = "top1") -> list[Option]:
    """Return the options in which methods of a pair differ, and in nothing else."""
    points = list(_points(entries, pair, metric))
    options = dict.fromkeys(option for point in points for option in point.settings)
    return [option for option in options if any(len(s) > 1 for s in _series(points, option))]


def ablation(
    entries: Sequence[Entry],
    pair: str,
    option: Option,
    metric: str = "top1",
    labels: Mapping[str, str] | None = None,
) -> "Figure":
    """Return the figure of a metric against a setting: mean, and a band of one deviation.

    A line joins methods that differ in this setting alone; methods without the distiller are
    horizontal lines.

    Args:
        entries: Runs.
        pair: Name of the pair.
        option: The distiller and its setting.
        metric: Name of the metric.
        labels: Labels of `crd` or `crd+kd`.

    Raises:
        BenchError: Fewer than two values were measured.
    """
    (distiller, setting), label_of = option, labels or {}
    points = list(_points(entries, pair, metric))
    series = _series(points, option)
    if all(len(line) < 2 for line in series):
        raise BenchError(f"the records have no two values of {distiller}'s {setting}")
    levels = [p for p in points if all(name != distiller for name, _ in p.settings)]
    with style.style():
        figure, axes = style.empty(4.6, max(3.2, 0.9 + 0.2 * (len(series) + len(levels))))
        line_looks = looks(len(series) + len(levels))
        for line, look in zip(series, line_looks, strict=False):
            _plot(axes, line, look)
        across = [{**look, "marker": ""} for look in line_looks[len(series) :]]
        for level, look in zip(levels, across, strict=True):
            axes.axhline(level.measured.mean, **look, zorder=1)
        scale = _set_scale(axes, sorted({value for line in series for value in line}))
        axes.set_xlabel(f"{setting} of {label_of.get(distiller, distiller)}{scale}")
        axes.set_ylabel(style.axis_label(metric))
        ends = [[*line.values()][-1] for line in series]
        names = [_name(end, ends, option, label_of) for end in ends] + [p.label for p in levels]
        means = [point.measured.mean for point in ends + levels]
        name_lines(axes, means, names, [*line_looks[: len(series)], *across])
        axes.set_title(style.title(entries, pair, [point.measured.n for point in points], SPREAD))
    return figure


def _points(entries: Sequence[Entry], pair: str, metric: str) -> Iterator[Point]:
    for label, runs in methods(entries, pair).items():
        measured = cell(runs, metric).measured
        record = next((entry.record for entry in runs if entry.record), None)
        if measured and record:
            terms = record.specification.method
            settings = {
                (name, setting): value
                for name, term in terms.items()
                for setting, value in {"weight": term.weight, **term.options}.items()
            }
            names = "+".join(runs[0].distillers or terms)
            yield Point(label, names, settings, measured)


def _series(points: Sequence[Point], option: Option) -> list[Series]:
    """Return the methods with a number as that setting, grouped where nothing else differs."""
    series: list[dict[float, Point]] = []
    for point in points:
        value = point.settings.get(option)
        if isinstance(value, int | float) and not isinstance(value, bool):
            rest = point.without(option)
            same = (line for line in series if next(iter(line.values())).without(option) == rest)
            if (line := next(same, None)) is None:
                series.append(line := {})
            line[float(value)] = point
    return [dict(sorted(line.items())) for line in series]


def _name(point: Point, ends: Sequence[Point], option: Option, label_of: Mapping[str, str]) -> str:
    """Return the distillers of a line, and the settings in which lines with the same differ."""
    others = [end.without(option) for end in ends if end.distillers == point.distillers]
    differences = [
        f"{setting} {value}"
        for (name, setting), value in point.without(option).items()
        if any(other.get((name, setting)) != value for other in others)
    ]
    return ", ".join([label_of.get(point.distillers, point.distillers), *differences])


def _plot(axes: "Axes", series: Series, look: Look) -> None:
    spreads = [(p.measured.mean, p.measured.std or 0.0) for p in series.values()]
    low, high = ([mean + side * std for mean, std in spreads] for side in (-1, 1))
    axes.fill_between([*series], low, high, color=look["color"], alpha=0.16, lw=0)
    axes.plot([*series], [mean for mean, _ in spreads], **look)


def _set_scale(axes: "Axes", values: Sequence[float]) -> str:
    """Set a tick at each value, the axis logarithmic over a decade; return what its label adds."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    wide = values[0] > 0 and values[-1] >= 10 * values[0]
    axes.set_xscale("log" if wide else "linear")
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{value:g}" for value in values]))
    axes.xaxis.set_minor_locator(NullLocator())
    return " (log scale)" if wide else ""
