"""Figures from records: how they look, how they are kept, and learning curves.

Same records, same bytes: no dates, no versions, fonts that come with matplotlib. Needs matplotlib.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.report import wording
from bench.report.cells import Entry
from bench.results import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    "#0b5fa5", "#c1440e", "#1a7f5a", "#8a3a8f", "#946c00", "#3f7f93", "#b3365f", "#59633a",
)  # fmt: skip
SOFT = "#6a665e"
_STYLE: Any = {
    "text.parse_math": False,  # names of methods are text, whatever is in them
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


@contextmanager
def style() -> Iterator[None]:
    """Within it figures look as they should, whatever the user's own settings are."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def save(figure: "Figure", folder: Path, stem: str) -> list[Path]:
    """Write a figure as <stem>.png and <stem>.pdf, each whole or not at all: the paths."""
    paths = []
    kinds: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    for suffix, metadata in kinds.items():
        out = io.BytesIO()
        with style():
            figure.savefig(out, format=suffix, metadata=metadata, bbox_inches="tight")
        path = folder / f"{stem}.{suffix}"
        write_whole(path, out.getvalue())
        paths.append(path)
    return paths


def learning_curves(entries: Iterable[Entry], pair: str, value: str = "top1") -> "Figure":
    """A metric on the test set by epoch, a line for each method of a pair: means over the seeds.

    value: a metric, or `loss` for that of the training. Raises BenchError where there is no curve.
    """
    of = [one for one in entries if one.pair == pair and one.role != "teacher"]
    groups: dict[str, list[Entry]] = {}
    for one in of:
        groups.setdefault(one.label or one.method, []).append(one)
    lines = {label: _course(some, value) for label, some in groups.items()}
    lines = {label: course for label, course in lines.items() if course}
    if not lines:
        raise BenchError(f"{pair}: no record has a curve of {value}")
    with style():
        figure, axes = empty(6.2, 3.6)
        looks = [
            (COLOURS[place % len(COLOURS)], ("-", "--")[place // len(COLOURS) % 2])
            for place in range(len(lines))
        ]
        for course, (colour, dash) in zip(lines.values(), looks, strict=True):
            mark = "o" if len(course) < 10 else ""
            axes.plot(*zip(*course, strict=True), dash, color=colour, lw=1.1, marker=mark, ms=2.5)
        name_lines(axes, [course[-1][1] for course in lines.values()], list(lines), looks)
        axes.set_xlabel("epoch")
        axes.set_ylabel(axis(value))
        axes.set_title(pair_of(of[0]), loc="left", fontsize=10)
    return figure


def empty(width: float, height: float) -> tuple["Figure", "Axes"]:
    """A figure of so many inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def name_lines(
    axes: "Axes",
    heights: Sequence[float],
    texts: Sequence[str],
    looks: Sequence[tuple[str, str]],
) -> None:
    """Names at the right end of lines, each with a piece of its line, moved apart where needed.

    looks: colour and dash of each line.
    """
    if not heights:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    spaced = _apart(heights, (high - low) * 0.05, high)
    for text, height, (colour, dash) in zip(texts, spaced, looks, strict=True):
        side = axes.get_yaxis_transform()
        axes.plot((1.01, 1.05), (height, height), dash, color=colour, lw=1.1, transform=side,
                  clip_on=False, scalex=False, scaley=False)  # fmt: skip
        axes.text(1.06, height, text, color=colour, fontsize=8.5, va="center", transform=side)


def _apart(wanted: Sequence[float], gap: float, high: float) -> list[float]:
    """Heights near the wanted ones, none closer than the gap, none above the highest."""
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    found = list(wanted)
    for below, place in zip(order, order[1:], strict=False):
        found[place] = max(found[place], found[below] + gap)
    found[order[-1]] = min(found[order[-1]], high)
    for place, above in zip(order[-2::-1], order[:0:-1], strict=True):
        found[place] = min(found[place], found[above] - gap)
    return found


def _course(entries: Sequence[Entry], value: str) -> list[tuple[int, float]]:
    """Epochs and means over those runs that finished, where each of them has a value."""
    held = []
    for one in entries:
        if one.record and one.record.get("status") == "done":
            curves = one.record.get("curves") or ()
            found = {e["epoch"]: e.get(value, (e.get("test") or {}).get(value)) for e in curves}
            held.append({epoch: at for epoch, at in found.items() if at is not None})
    if not held:
        return []
    epochs = sorted(set.intersection(*(set(one) for one in held)))
    return [(epoch, fmean(one[epoch] for one in held)) for epoch in epochs]


def axis(value: str) -> str:
    """What an axis says of a metric, or of `loss`."""
    if value == "loss":
        return "training loss"
    metric = wording.metric(value)
    return f"{metric.short} ({metric.unit})"


def pair_of(entry: Entry) -> str:
    """Teacher and student under the papers' names."""
    return f"{wording.network(entry.teacher)} → {wording.network(entry.student)}"
