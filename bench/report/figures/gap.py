"""The capacity-gap figure: a student's accuracy against the accuracy of its teachers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.config.text import count
from bench.errors import BenchError
from bench.report import labels
from bench.report.figures import style
from bench.report.figures.style import SOFT, SPREAD, TOOLTIP, looks, name_lines
from bench.report.model import Entry, Measured, cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MIN_TEACHERS = 3
_LABEL_GAP = 0.17  # inches between two names of teachers
_DODGE = 2.4  # points between the markers of two methods
_PLAIN: style.Look = {"color": SOFT, "linestyle": (0, (1.2, 1.2)), "marker": ""}


@dataclass(frozen=True)
class Taught:
    """A student's results with one teacher.

    Attributes:
        name: The teacher's name in the figure.
        accuracy: The teacher's top-1 test accuracy in percent, a mean over its seeds.
        methods: The metric of the figure, by label of the method.
        plain: The metric of plain students, by their label.
    """

    name: str
    accuracy: float
    methods: Mapping[str, Measured]
    plain: Mapping[str, Measured]


def students(entries: Sequence[Entry]) -> list[str]:
    """Return the students that have at least `MIN_TEACHERS` pairs."""
    pairs = {entry.pair: entry.student for entry in entries}
    names = list(pairs.values())
    return [name for name in dict.fromkeys(names) if names.count(name) >= MIN_TEACHERS]


def capacity_gap(
    entries: Sequence[Entry], student: str, metric: str = "top1", width: float = style.PAGE
) -> "Figure":
    """Return a plot of a metric of one student against the accuracy of its teachers.

    Each method has a line through its means over the seeds; error bars show one standard deviation.
    The plain student has a grey band.

    Args:
        entries: Runs.
        student: Name of the student's network.
        metric: Name of the metric.
        width: Width of the figure in inches.

    Raises:
        BenchError: Fewer than `MIN_TEACHERS` teachers have results.
    """
    chosen = [entry for entry in entries if entry.student == student]
    results = (_taught(chosen, pair, metric) for pair in dict.fromkeys(e.pair for e in chosen))
    teachers = sorted(filter(None, results), key=lambda each: (each.accuracy, each.name))
    if len(teachers) < MIN_TEACHERS:
        reason = f"{count(len(teachers), 'teacher')} of {student} with results"
        raise BenchError(f"{reason}; the figure needs {MIN_TEACHERS}")
    methods = list(dict.fromkeys(name for each in teachers for name in each.methods))
    plain = list(dict.fromkeys(name for each in teachers for name in each.plain))
    with style.style():
        figure, axes = style.empty(width, style.lines_height(len(methods + plain)) + 0.9)
        line_looks = looks(len(methods))
        ends = [
            _draw_method(axes, teachers, name, line_looks[i], i - (len(methods) - 1) / 2)
            for i, name in enumerate(methods)
        ]
        ends += [_draw_plain(axes, teachers, name) for name in plain]
        axes.margins(0.06)
        numbers = [m.n for each in teachers for m in (*each.methods.values(), *each.plain.values())]
        _, _, seeds = style.title(chosen, chosen[0].pair, numbers, SPREAD).partition(", ")
        title = f"{labels.network(student)} and its teachers, {seeds}"
        teachers_label, y = "top-1 test accuracy of the teacher (%)", style.axis_label(metric)
        pad = _names_height(teachers)
        style.label(axes, width - 0.6, title=title, x=teachers_label, y=y, pad=pad)
        name_lines(axes, ends, methods + plain, [*line_looks, *[_PLAIN] * len(plain)])
        _name_teachers(axes, teachers)
    return figure


def _taught(entries: Sequence[Entry], pair: str, metric: str) -> Taught | None:
    """Return the results of a pair; None if the teacher or every method has no result."""
    runs = [entry for entry in entries if entry.pair == pair]
    teacher = cell([e for e in runs if e.role == "teacher"], "top1").measured
    measured: dict[bool, dict[str, Measured]] = {True: {}, False: {}}
    for name, group in style.methods(runs, pair).items():
        if group[0].role != "control" and (result := cell(group, metric).measured):
            measured[group[0].role == "student"][name] = result
    if teacher is None or not measured[False]:
        return None
    network, student = runs[0].teacher, runs[0].student
    plain_name = pair == f"{network}/{student}"
    name = labels.network(network) if plain_name else pair.removesuffix(f"/{student}")
    return Taught(labels.one_line(name), teacher.mean, measured[False], measured[True])


def _draw_method(
    axes: "Axes", teachers: Sequence[Taught], name: str, look: style.Look, place: float
) -> float:
    """Draw the line of a method; return the line's last y value.

    `place` moves the line to the right, in units of `_DODGE`, so that error bars do not overlap.
    """
    from matplotlib.transforms import ScaledTranslation

    points = [(t.accuracy, t.methods[name]) for t in teachers if name in t.methods]
    scale = axes.figure.dpi_scale_trans
    moved = axes.transData + ScaledTranslation(place * _DODGE / 72, 0, scale)
    means = [measured.mean for _, measured in points]
    spreads = [measured.std or 0.0 for _, measured in points]
    bars = axes.errorbar(
        [x for x, _ in points], means, spreads, **look, elinewidth=0.7, transform=moved
    )
    ranges = zip(points, means, spreads, strict=True)
    axes.update_datalim([(x, y + side * s) for (x, _), y, s in ranges for side in (-1, 1)])
    bars.lines[0].set_gid(f"{TOOLTIP}{name}: {min(means):.4g} to {max(means):.4g}")
    return means[-1]


def _draw_plain(axes: "Axes", teachers: Sequence[Taught], name: str) -> float:
    """Draw a plain student's line and a band of one standard deviation; return its last y."""
    points = [(t.accuracy, t.plain[name]) for t in teachers if name in t.plain]
    places, means = [x for x, _ in points], [measured.mean for _, measured in points]
    low, high = (
        [measured.mean + side * (measured.std or 0.0) for _, measured in points]
        for side in (-1, 1)
    )  # fmt: skip
    axes.fill_between(places, low, high, color=SOFT, alpha=0.16, lw=0)
    axes.plot(places, means, **_PLAIN, zorder=1)
    return means[-1]


def _names_height(teachers: Sequence[Taught]) -> float:
    """Return the height, in points, of the teachers' names above the axes."""
    return 16 + 3.6 * max(len(teacher.name) for teacher in teachers)


def _name_teachers(axes: "Axes", teachers: Sequence[Taught]) -> None:
    """Write the teachers' names above the axes."""
    low, high = axes.get_xlim()
    axes.set_xlim(low, high)
    width = axes.get_window_extent().width / axes.figure.dpi
    accuracies = [teacher.accuracy for teacher in teachers]
    spaced = style.spaced(accuracies, (high - low) * _LABEL_GAP / width, low, high)
    across = axes.get_xaxis_transform()
    for teacher, place in zip(teachers, spaced, strict=True):
        x = (teacher.accuracy, teacher.accuracy, place)
        axes.plot(x, (0, 1, 1.05), color=SOFT, lw=0.4, alpha=0.6, transform=across, clip_on=False,
                  scalex=False, scaley=False, zorder=0)  # fmt: skip
        axes.text(place, 1.06, teacher.name, fontsize=7.5, rotation=90, ha="center", va="bottom",
                  transform=across)  # fmt: skip
