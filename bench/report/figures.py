"""What all figures have in common: how they look, what they say, how they are kept.

Same records, same bytes: no dates, no versions, fonts that come with matplotlib. Needs matplotlib.
"""

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.report import wording
from bench.report.cells import Entry
from bench.report.markup import line
from bench.report.output import written

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart, without their yellow; lines differ in
# dashes and marks too: on paper without colours no two of 36 look alike.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#000000", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("-", (0, (5, 1.6)), (0, (5, 1.4, 1, 1.4)), (0, (1.2, 1.2)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", "p")
SOFT = "#6a665e"
SPREAD = " ± standard deviation"
_STYLE: Any = {
    "text.parse_math": False,  # names of methods are text, whatever is in them
    "font.family": ["STIXGeneral", "DejaVu Sans"],  # the second has what the first lacks
    "mathtext.fontset": "stix",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.6,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}
Look = Mapping[str, Any]  # how matplotlib draws a line: color, linestyle, marker


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
        paths.append(written(folder / f"{stem}.{suffix}", out.getvalue()))
    return paths


def methods(entries: Sequence[Entry], pair: str) -> dict[str, list[Entry]]:
    """The entries of each student and method of a pair, by its label, in the suite's order."""
    groups: dict[str, list[Entry]] = {}
    for one in entries:
        if one.pair == pair and one.role != "teacher":
            groups.setdefault(one.method, []).append(one)
    labels = distinct({name: some[0].label or name for name, some in groups.items()})
    return {labels[name]: some for name, some in groups.items()}


def distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """By a method's name its label on one line; those that share one have their name behind it."""
    shared = Counter(labels.values())
    return {
        name: line(f"{label} ({name})" if shared[label] > 1 else label)
        for name, label in labels.items()
    }


def empty(width: float, height: float) -> tuple["Figure", "Axes"]:
    """A figure of so many inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def looks(count: int) -> list[Look]:
    """How so many lines are drawn, so that no two of them look alike without colours either."""
    kinds = {"color": COLOURS, "linestyle": _DASHES, "marker": _MARKS}
    return [{key: of[n % len(of)] for key, of in kinds.items()} for n in range(count)]


def name_lines(
    axes: "Axes", heights: Sequence[float], texts: Sequence[str], drawn: Sequence[Look]
) -> None:
    """Names at the right end of lines, each with a piece of its line, moved apart where needed."""
    if not heights:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    inches = axes.get_window_extent().height / axes.figure.dpi
    side = axes.get_yaxis_transform()
    spaced = _apart(heights, (high - low) * 0.15 / inches, low, high)
    for text, height, look in zip(texts, spaced, drawn, strict=True):
        axes.plot((1.02, 1.05, 1.08), (height,) * 3, **look, markevery=[1], transform=side,
                  clip_on=False, scalex=False, scaley=False)  # fmt: skip
        axes.text(1.09, height, text, fontsize=8.5, va="center", transform=side)


def _apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights closest to the wanted ones, in their order, no two closer than the gap.

    Within low and high, or from high downwards where there is no room for all.
    """
    import numpy as np
    from scipy.optimize import isotonic_regression

    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    found = isotonic_regression(np.asarray(wanted, dtype=float)[order] - steps).x
    spaced = np.empty(len(wanted))
    spaced[order] = np.minimum(np.maximum(found, low), high - steps[-1]) + steps
    return [float(height) for height in spaced]


def axis(value: str) -> str:
    """What an axis says of a metric, or of `loss`."""
    if value == "loss":
        return "training loss"
    metric = wording.metric(value)
    return f"{metric.short} ({metric.unit})"


def title(entries: Sequence[Entry], pair: str, counts: Iterable[int], more: str = "") -> str:
    """`WRN-40-2 → WRN-16-2, means of 3 seeds`; counts: of how many runs each mean is.

    more: what else is said where there are several.
    """
    of = next(one for one in entries if one.pair == pair)
    found = sorted(set(counts))
    few, many = found[0], found[-1]
    said = f"means of {many if few == many else f'{few} to {many}'} seeds{more}"
    if many == 1:
        said = "single runs"
    return f"{wording.network(of.teacher)} → {wording.network(of.student)}, {said}"
