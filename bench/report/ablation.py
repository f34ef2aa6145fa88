"""Accuracy against an option that a suite varies, as in CRD's Figure 5. Needs matplotlib."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.report.cells import Entry, Measured, cell
from bench.report.figures import COLOURS, SOFT, axis, empty, name_lines, pair_of, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Level:
    """What a method that does not have the option reaches: a line across."""

    label: str
    mean: float


def ablation(
    entries: Iterable[Entry], distiller: str, option: str, metric: str = "top1"
) -> "Figure":
    """A metric against an option of a distiller, mean and a band of one standard deviation.

    The option's values are read from the records; KD, the student and other methods without the
    distiller are lines across. Raises BenchError where no two values were measured.
    """
    asked = [one for one in entries if one.role != "teacher"]
    points: dict[str, dict[float, Measured]] = {}
    levels = []
    for some in _methods(asked):
        found = cell(some, metric).measured
        if not isinstance(found, Measured):
            continue
        terms = _terms(some)
        if distiller in terms:
            value = float(terms[distiller]["options"][option])
            series = "+".join(name for name in terms if name != "ce")
            points.setdefault(series, {})[value] = found
        else:
            levels.append(Level(some[0].label or some[0].method, found.mean))
    if all(len(series) < 2 for series in points.values()):
        raise BenchError(f"no two values of {distiller}'s {option} among the records")
    with style():
        figure, axes = empty(4.6, 3.2)
        _series(axes, points)
        for level in levels:
            axes.axhline(level.mean, color=SOFT, lw=0.9, ls=(0, (5, 3)), zorder=1)
        looks = [(SOFT, "--")] * len(levels)
        name_lines(axes, [one.mean for one in levels], [one.label for one in levels], looks)
        axes.set_xlabel(f"{option} (log scale)")
        axes.set_ylabel(axis(metric))
        axes.set_title(pair_of(asked[0]), loc="left", fontsize=10)
    return figure


def _series(axes: "Axes", points: Mapping[str, Mapping[float, Measured]]) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    for place, (name, series) in enumerate(points.items()):
        xs = sorted(series)
        means = [series[x].mean for x in xs]
        spreads = [series[x].std or 0.0 for x in xs]
        colour = COLOURS[place]
        low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
        high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
        axes.fill_between(xs, low, high, color=colour, alpha=0.16, lw=0)
        axes.plot(xs, means, "o-", color=colour, lw=1.3, ms=3.5, label=name.upper())
    ticks = sorted({x for series in points.values() for x in series})
    axes.set_xscale("log", base=2 if ticks[0] >= 1 else 10)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{x:g}" for x in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.legend(frameon=False, loc="best", fontsize=9)


def _methods(entries: Sequence[Entry]) -> Iterable[list[Entry]]:
    groups: dict[tuple[str, str], list[Entry]] = {}
    for one in entries:
        groups.setdefault((one.pair, one.method), []).append(one)
    return groups.values()


def _terms(entries: Sequence[Entry]) -> Mapping[str, Any]:
    """A method's terms, as its records specify them."""
    record = next((one.record for one in entries if one.record), {}) or {}
    terms: Mapping[str, Any] = (record.get("specification") or {}).get("method") or {}
    return terms
