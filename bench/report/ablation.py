"""Accuracy against a setting that a suite varies, as in CRD's Figure 5. Needs matplotlib."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.report.cells import Entry, Measured, cell
from bench.report.figures import SPREAD, Look, axis, empty, looks, methods, name_lines, style, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Option = tuple[str, str]  # of a distiller, an option or `weight`


@dataclass(frozen=True)
class Point:
    """What a method reaches, and its settings as its records specify them."""

    label: str
    settings: Mapping[Option, Any]
    found: Measured

    @property
    def distillers(self) -> str:
        """What it is made of: `crd+kd`; cross-entropy goes without saying."""
        names = dict.fromkeys(name for name, _ in self.settings)
        return "+".join(name for name in names if name != "ce" or len(names) == 1)

    def without(self, option: Option) -> Mapping[Option, Any]:
        """All settings but one."""
        return {key: value for key, value in self.settings.items() if key != option}


Series = Mapping[float, Point]  # by the value of the one setting in which they differ, ascending


def varied(entries: Sequence[Entry], pair: str, metric: str = "top1") -> list[Option]:
    """The numbers in which methods of a pair differ that have a result and nothing else differs."""
    points = list(_points(entries, pair, metric))
    options = dict.fromkeys(option for point in points for option in point.settings)
    return [one for one in options if any(len(of) > 1 for of in _series(points, one))]


def ablation(
    entries: Sequence[Entry],
    pair: str,
    option: Option,
    metric: str = "top1",
    labels: Mapping[str, str] | None = None,
) -> "Figure":
    """A metric against a setting of a distiller, mean and a band of one standard deviation.

    The values are read from the records; a line joins methods that differ in this setting alone.
    Methods without the distiller are lines across. labels: how `crd` or `crd+kd` is shown.
    Raises BenchError where no two values were measured.
    """
    (distiller, setting), known = option, labels or {}
    points = list(_points(entries, pair, metric))
    series = _series(points, option)
    if all(len(of) < 2 for of in series):
        raise BenchError(f"no two values of {distiller}'s {setting} among the records")
    levels = [one for one in points if all(name != distiller for name, _ in one.settings)]
    with style():
        figure, axes = empty(4.6, max(3.2, 0.9 + 0.2 * (len(series) + len(levels))))
        drawn = looks(len(series) + len(levels))
        for of, look in zip(series, drawn, strict=False):
            _curve(axes, of, look)
        across = [{**look, "marker": ""} for look in drawn[len(series) :]]
        for level, look in zip(levels, across, strict=True):
            axes.axhline(level.found.mean, **look, zorder=1)
        scale = _scale(axes, sorted({value for of in series for value in of}))
        axes.set_xlabel(f"{setting} of {known.get(distiller, distiller)}{scale}")
        axes.set_ylabel(axis(metric))
        ends = [[*of.values()][-1] for of in series]
        names = [_name(one, ends, option, known) for one in ends] + [one.label for one in levels]
        means = [one.found.mean for one in ends + levels]
        name_lines(axes, means, names, [*drawn[: len(series)], *across])
        axes.set_title(title(entries, pair, [one.found.n for one in points], SPREAD))
    return figure


def _points(entries: Sequence[Entry], pair: str, metric: str) -> Iterator[Point]:
    """The student and the methods of a pair that have a result."""
    for label, some in methods(entries, pair).items():
        found = cell(some, metric).measured
        if isinstance(found, Measured):
            record = next(one.record for one in some if one.record)
            terms = record["specification"]["method"].items()
            settings = {
                (name, setting): value
                for name, term in terms
                for setting, value in {"weight": term["weight"], **term["options"]}.items()
            }
            yield Point(label, settings, found)


def _series(points: Sequence[Point], option: Option) -> list[Series]:
    """The methods for which the setting is a number, those together that differ in it alone."""
    found: list[dict[float, Point]] = []
    for point in points:
        value = point.settings.get(option)
        if isinstance(value, int | float) and not isinstance(value, bool):
            rest = point.without(option)
            alike = (of for of in found if next(iter(of.values())).without(option) == rest)
            if (of := next(alike, None)) is None:
                found.append(of := {})
            of[float(value)] = point
    return [dict(sorted(of.items())) for of in found]


def _name(one: Point, ends: Sequence[Point], option: Option, known: Mapping[str, str]) -> str:
    """The distillers of a line, and its other settings where lines of the same differ in them."""
    alike = [other.without(option) for other in ends if other.distillers == one.distillers]
    apart = [
        f"{setting} {value}"
        for (name, setting), value in one.without(option).items()
        if any(other.get((name, setting)) != value for other in alike)
    ]
    return ", ".join([known.get(one.distillers, one.distillers), *apart])


def _curve(axes: "Axes", series: Series, look: Look) -> None:
    spreads = [(one.found.mean, one.found.std or 0.0) for one in series.values()]
    low, high = ([mean + side * std for mean, std in spreads] for side in (-1, 1))
    axes.fill_between([*series], low, high, color=look["color"], alpha=0.16, lw=0)
    axes.plot([*series], [mean for mean, _ in spreads], **look)


def _scale(axes: "Axes", values: Sequence[float]) -> str:
    """Set a tick at each value, the axis logarithmic where they span a decade: says if it is."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    wide = values[0] > 0 and values[-1] >= 10 * values[0]
    axes.set_xscale("log" if wide else "linear")
    axes.xaxis.set_major_locator(FixedLocator(values))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{value:g}" for value in values]))
    axes.xaxis.set_minor_locator(NullLocator())
    return " (log scale)" if wide else ""
