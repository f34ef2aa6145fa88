"""Figures from records: learning curves, ablations and rank diagrams.

Ablations look like CRD's Figure 5, and rank diagrams like those of Demšar (JMLR 7, 2006).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import fmean, stdev
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.report import labels
from bench.report.figures import style
from bench.report.figures.style import LINE, SPREAD, TOOLTIP, looks, methods, name_lines
from bench.report.model import Entry, Measured, cell
from bench.stats.comparison import ALPHA, Ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_MARKS = 12  # limit for the number of markers on a curve
_MAX_BANDS = 5  # limit for the number of bands that can be told apart
_TICK_INCHES = 0.18  # smallest distance of two ranks on the line of a rank diagram
_FAINT: style.Look = {"color": "#b9b5ac", "linestyle": "-", "marker": "", "lw": 0.5, "zorder": 1}
Option = tuple[str, str]  # a distiller (loss term), and one of its options or `weight`


def learning_curves(
    entries: Sequence[Entry],
    pair: str,
    value: str = "top1",
    reference: str = "",
    width: float = style.PAGE,
) -> "Figure":
    """Return a figure of a metric on the test set by epoch: means over the seeds.

    The first panel shows all epochs. If there are several epochs and methods, a second panel shows
    the last fifth of the epochs. Its lines are the methods' differences from a reference method.
    A band shows one standard deviation over the seeds: of each method if there are at most
    `_MAX_BANDS`, otherwise only of the reference. If there are more than `style.MAX_NAMED` methods,
    the best ones have colours and names, and the others are thin and grey.

    Args:
        entries: Runs; their records include the learning curves.
        pair: Name of the pair.
        value: A metric, or `loss` for the training loss.
        reference: Label of the reference method; empty: the first method.
        width: Width of the figure in inches; the panels of a narrow figure are stacked.

    Raises:
        BenchError: No record has a curve of the metric.
    """
    by_label = methods(entries, pair)
    curves = {name: runs for name, each in by_label.items() if (runs := _curves(each, value))}
    if not curves:
        raise BenchError(f"no record has a curve of {value}")
    from matplotlib.ticker import MaxNLocator

    base = reference if reference in curves else next(iter(curves))
    late = _last_epochs(curves[base])
    higher = value != "loss" and labels.metric(value).higher
    plain = [name for name, each in by_label.items() if each[0].role == "student"]
    lasts = {name: fmean(run[max(run)] for run in runs) for name, runs in curves.items()}
    chosen = style.named(lasts, [base, *plain], higher=higher)
    look_of = dict(zip(chosen, looks(len(chosen)), strict=True))
    panels = 2 if len(late) > 1 and len(curves) > 1 else 1
    beside = panels if width >= 2 * style.WIDTHS["column"] else 1
    height = style.lines_height(len(curves)) + 1.9 * (panels > beside)
    with style.style():
        figure = style.canvas(width, height)
        axes, *others = figure.subplots(panels // beside, beside, squeeze=False).flat
        room = width / beside - (0.6 if beside > 1 else 1.2)
        text = style.title(entries, pair, map(len, curves.values()))
        style.label(axes, room, title=text, x="epoch", y=style.axis_label(value))
        _draw_curves(axes, curves, look_of, names=not others)
        for each in (axes, *others):
            each.xaxis.set_major_locator(MaxNLocator(integer=True))
        for end in others:
            axes.axvspan(late[0], late[-1], color=style.SOFT, alpha=0.1, lw=0)
            changes = {k: _differences(runs, curves[base], late) for k, runs in curves.items()}
            changes = {name: runs for name, runs in changes.items() if runs}
            bands = [*changes] if len(changes) <= _MAX_BANDS else [base]
            spread = f"band: {base}{SPREAD}" if bands == [base] else f"bands:{SPREAD}"
            text = f"epochs {late[0]} to {late[-1]}; {spread}"
            style.label(end, room, title=text, x="epoch", y=_difference_label(value, base))
            _draw_curves(end, changes, look_of, names=True, bands=bands)
    return figure


def _difference_label(value: str, base: str) -> str:
    unit = "" if value == "loss" else f" ({labels.metric(value).difference_unit})"
    return f"difference from {base}{unit}"


def _draw_curves(
    axes: "Axes",
    curves: Mapping[str, Sequence[Mapping[int, float]]],
    look_of: Mapping[str, style.Look],
    *,
    names: bool,
    bands: Sequence[str] = (),
) -> None:
    """Draw the mean of each method's runs by epoch.

    Args:
        axes: The axes.
        curves: For each method's label, one curve per seed.
        look_of: Look of each method with a colour; other methods are thin and grey.
        names: Whether to write the methods' names next to the axes.
        bands: Methods that get a band of one standard deviation.
    """
    ends = {}
    for i, (label, runs) in enumerate(curves.items()):
        epochs = sorted(set.intersection(*map(set, runs)))
        means = [fmean(run[epoch] for run in runs) for epoch in epochs]
        step = -(-len(epochs) // _MAX_MARKS)
        tooltip = f"{TOOLTIP}{label}: {means[-1]:.4g} after {epochs[-1]} epochs"
        look = look_of.get(label, _FAINT)
        axes.plot(epochs, means, **look, markevery=(i * 3 % step, step), gid=tooltip)
        if label in bands and len(runs) > 1:
            spreads = [stdev(run[epoch] for run in runs) for epoch in epochs]
            low, high = zip(
                *((m - s, m + s) for m, s in zip(means, spreads, strict=True)), strict=True
            )
            axes.fill_between(epochs, low, high, color=look["color"], alpha=0.12, lw=0)
        if label in look_of:
            ends[label] = means[-1]
    if names:
        texts, line_looks = [*ends], [look_of[label] for label in ends]
        heights = [*ends.values()]
        if others := len(curves) - len(ends):
            texts.append(f"{others} others")
            line_looks.append(_FAINT)
            heights.append(axes.get_ylim()[0])
        name_lines(axes, heights, texts, line_looks)


def _last_epochs(runs: Sequence[Mapping[int, float]]) -> list[int]:
    """Return the evaluated epochs in the last fifth of the training, or the last two."""
    epochs = sorted(set.intersection(*map(set, runs)))
    late = [epoch for epoch in epochs if epoch > 0.8 * epochs[-1]]
    return late if len(late) > 1 else epochs[-2:]


def _differences(
    runs: Sequence[Mapping[int, float]], base: Sequence[Mapping[int, float]], epochs: Sequence[int]
) -> list[dict[int, float]]:
    """Return each run minus the mean of the reference's runs, at epochs that all runs have."""
    shared = [epoch for epoch in epochs if all(epoch in run for run in (*runs, *base))]
    means = {epoch: fmean(run[epoch] for run in base) for epoch in shared}
    return [{epoch: run[epoch] - means[epoch] for epoch in shared} for run in runs if shared]


def _curves(entries: Sequence[Entry], value: str) -> list[dict[int, float]]:
    """Return one curve, the value by epoch, for each finished run that has the value."""
    curves = (
        {
            epoch.epoch: number
            for epoch in entry.record.curves
            if (number := epoch.loss if value == "loss" else epoch.test.get(value)) is not None
        }
        for entry in entries
        if entry.record and entry.finished
    )
    return list(filter(None, curves))


@dataclass(frozen=True)
class Point:
    """One method of an ablation: its settings and its result.

    Attributes:
        label: The method's name in figures.
        distillers: Names of the distillers that use the teacher, such as `crd+kd`. For a plain
            student, names of all its distillers.
        settings: Value of each option and weight in the method's loss.
        measured: The metric of the figure.
    """

    label: str
    distillers: str
    settings: Mapping[Option, Any]
    measured: Measured

    def without(self, option: Option) -> Mapping[Option, Any]:
        """Return all settings except one option."""
        return {key: value for key, value in self.settings.items() if key != option}


Series = Mapping[float, Point]  # methods that differ in one option only, sorted by its value


def varied(entries: Sequence[Entry], pair: str, metric: str = "top1") -> list[Option]:
    """Return each option that is the only difference between two methods of a pair."""
    points = list(_points(entries, pair, metric))
    options = dict.fromkeys(option for point in points for option in point.settings)
    return [option for option in options if any(len(s) > 1 for s in _series(points, option))]


def ablation(
    entries: Sequence[Entry],
    pair: str,
    option: Option,
    metric: str = "top1",
    label_of: Mapping[str, str] = MappingProxyType({}),
    width: float = style.PAGE,
) -> "Figure":
    """Return a plot of a metric's mean over the seeds against the value of an option.

    A line joins methods that differ only in this option. A band shows the standard deviation.
    Methods without the option's distiller are drawn as horizontal lines.

    Args:
        entries: Runs.
        pair: Name of the pair.
        option: Name of the distiller, and the name of its option or `weight`.
        metric: Name of the metric.
        label_of: Printed name of each combination of distillers, such as `crd` or `crd+kd`.
        width: Largest width of the figure in inches.

    Raises:
        BenchError: No two methods with results differ only in this option.
    """
    distiller, setting = option
    points = list(_points(entries, pair, metric))
    series = _series(points, option)
    if all(len(line) < 2 for line in series):
        raise BenchError(f"no two methods with results differ only in {distiller}'s {setting}")
    levels = [p for p in points if all(name != distiller for name, _ in p.settings)]
    with style.style():
        width = min(width, 4.6)
        figure, axes = style.empty(width, style.lines_height(len(series) + len(levels)))
        line_looks = looks(len(series) + len(levels))
        for line, look in zip(series, line_looks, strict=False):
            spreads = [(p.measured.mean, p.measured.std or 0.0) for p in line.values()]
            low, high = ([mean + side * std for mean, std in spreads] for side in (-1, 1))
            axes.fill_between([*line], low, high, color=look["color"], alpha=0.16, lw=0)
            axes.plot([*line], [mean for mean, _ in spreads], **look)
        across = [{**look, "marker": ""} for look in line_looks[len(series) :]]
        for level, look in zip(levels, across, strict=True):
            axes.axhline(level.measured.mean, **look, zorder=1)
        scale = _set_scale(axes, sorted({value for line in series for value in line}))
        ends = [[*line.values()][-1] for line in series]
        names = [_name(end, ends, option, label_of) for end in ends] + [p.label for p in levels]
        means = [point.measured.mean for point in ends + levels]
        xlabel = f"{setting} of {label_of.get(distiller, distiller)}{scale}"
        title = style.title(entries, pair, [point.measured.n for point in points], SPREAD)
        style.label(axes, width - 0.6, title=title, x=xlabel, y=style.axis_label(metric))
        name_lines(axes, means, names, [*line_looks[: len(series)], *across])
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
    """Group the methods that have a number for the option and differ only in this number."""
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
    """Return a line's name: its distillers, and settings that other lines do not share.

    Only lines with the same distillers are compared.
    """
    others = [end.without(option) for end in ends if end.distillers == point.distillers]
    differences = [
        f"{setting} {value}"
        for (name, setting), value in point.without(option).items()
        if any(other.get((name, setting)) != value for other in others)
    ]
    return ", ".join([label_of.get(point.distillers, point.distillers), *differences])


def _set_scale(axes: "Axes", values: Sequence[float]) -> str:
    """Set a tick at each value of the x axis; use a log scale if the values span a factor of 10.

    Return the end of the axis label: ` (log scale)` or empty.
    """
    wide = values[0] > 0 and values[-1] >= 10 * values[0]
    axes.set_xscale("log" if wide else "linear")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xticks([], minor=True)
    return " (log scale)" if wide else ""


def rank_diagram(
    names: Sequence[str], result: Ranks, metric: str, width: float = style.PAGE
) -> "Figure":
    """Return a plot of the methods' average ranks on a line, where 1 is the best rank.

    A thick bar joins methods whose ranks are not significantly different. Their ranks differ by
    less than Nemenyi's critical distance; see `bench.stats.comparison.ranks`.

    Args:
        names: Labels of the methods, in the order of `result.average`.
        result: The average ranks and their critical distance.
        metric: Printed name of the metric that ranks the methods.
        width: Width of the figure in inches.
    """
    from matplotlib.figure import Figure

    ranks = dict(zip(names, result.average, strict=True))
    order = sorted(ranks, key=lambda label: (ranks[label], label))
    rows, most = -(-len(order) // 2), len(order)
    joined = groups(ranks, result.critical)
    room = min(max(0.6 + 0.055 * max(map(len, order)), 1.15), 0.36 * width)  # inches for labels
    unit = (most - 1) / (width - 2 * room)  # ranks per inch
    with style.style():
        top, deep = 0.85, 0.3 + 0.1 * len(joined)  # inches above and below the line
        bottom = deep + LINE * (rows - 0.3)
        figure = Figure(figsize=(width, top + bottom))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set(xlim=(1 - room * unit, most + room * unit), ylim=(bottom, -top))
        _ruler(axes, result, metric, width, unit)
        for i, group in enumerate(joined):
            span = ranks[group[0]] - 0.005 * most, ranks[group[-1]] + 0.005 * most
            axes.plot(span, (0.14 + 0.1 * i,) * 2, color="black", lw=2.2)
        for i, label in enumerate(order[:rows]):
            _stem(axes, label, ranks[label], deep + LINE * i, 1 - 0.08 * unit)
        for i, label in enumerate(reversed(order[rows:])):
            _stem(axes, label, ranks[label], deep + LINE * i, most + 0.08 * unit)
    return figure


def groups(ranks: Mapping[str, float], critical: float) -> list[list[str]]:
    """Return the largest groups of methods whose ranks are not significantly different.

    Args:
        ranks: Average rank of each method.
        critical: Critical distance; ranks within a group differ by less than this.
    """
    order = sorted(ranks, key=lambda label: (ranks[label], label))
    joined: list[list[str]] = []
    for i, label in enumerate(order):
        near = [other for other in order[i:] if ranks[other] - ranks[label] < critical]
        if len(near) > 1 and not (joined and near[-1] in joined[-1]):
            joined.append(near)
    return joined


def _ruler(axes: "Axes", result: Ranks, metric: str, width: float, unit: float) -> None:
    """Draw the line of ranks, its title, and a bar as long as the critical distance.

    `width` is the figure's width in inches, and `unit` the number of ranks per inch.
    """
    most = len(result.average)
    axes.plot((1, most), (0, 0), color="black", lw=0.8)
    for rank in range(1, most + 1, max(1, ceil(_TICK_INCHES * unit))):
        axes.plot((rank, rank), (0, -0.05), color="black", lw=0.8)
        axes.text(rank, -0.08, str(rank), ha="center", va="bottom", fontsize=7.5)
    p = f"p = {labels.p_value(result.p)}" if result.p >= 0.001 else "p < 0.001"
    text = f"average rank by {metric}, {result.pairs} pairs; Friedman: {p}"
    text = style.wrapped(text, width)
    axes.text((1 + most) / 2, -0.53, text, ha="center", va="bottom", fontsize=8)
    end = 1 + result.critical
    axes.plot((1, end), (-0.36, -0.36), color=style.COLOURS[1], lw=1.6)
    for x in (1, end):
        axes.plot((x, x), (-0.39, -0.33), color=style.COLOURS[1], lw=1.0)
    text = f"critical distance {result.critical:.2f}\n(Nemenyi, {ALPHA:.0%})"
    axes.annotate(text, (1, -0.36), (-5, 0), textcoords="offset points", ha="right", va="center",
                  fontsize=7.5, linespacing=1.1)  # fmt: skip


def _stem(axes: "Axes", label: str, rank: float, y: float, edge: float) -> None:
    """Draw a method's label at height `y`, and a thin line to the method's rank on the ruler.

    The label is at the x coordinate `edge`.
    """
    axes.plot((rank, rank, edge), (0, y, y), color=style.SOFT, lw=0.7)
    axes.plot((rank,), (0,), "o", color="black", ms=2.8)
    left = edge < rank
    text = f"{label}  {rank:.2f}" if left else f"{rank:.2f}  {label}"
    axes.annotate(text, (edge, y), (-4 if left else 4, 0), textcoords="offset points",
                  ha="right" if left else "left", va="center", fontsize=8)  # fmt: skip
