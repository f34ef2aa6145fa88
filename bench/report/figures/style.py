"""The style of all figures, and functions that save figures.

A file is exactly as wide as the figure, and its text has the sizes of a paper's text at this width.
So a paper includes it without scaling. Equal records give files with equal bytes.
"""

import io
import re
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from bench.report import labels
from bench.report.labels import one_line
from bench.report.model import Entry
from bench.report.writers import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours for colour-blind readers, without yellow. Lines also differ in dashes and
# markers, so up to 36 lines can be told apart in black and white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#000000", "#cc79a7", "#e69f00", "#56b4e9")
SOFT = "#6a665e"
WIDTHS = {"column": 3.3, "page": 6.75}  # inches: a column, and the full width, of a paper
PAGE = WIDTHS["page"]
MAX_HEIGHT = 8.8  # inches: the height of a paper's text
MAX_NAMED = 14  # lines with a colour and a name; further lines are thin and grey
LINE = 0.15  # inches: distance of two lines of text
SPREAD = " ± standard deviation"
TOOLTIP = "tooltip:"  # prefix of the id of an SVG element; the rest of the id is its tooltip
_CHARACTERS_PER_INCH = 19.0  # of a title
_LEADING = 0.85  # distance of the lines of a title; the font's lines are far apart
_DASHES = ("-", (0, (5, 1.6)), (0, (5, 1.4, 1, 1.4)), (0, (1.2, 1.2)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", "p")
_STYLE: Any = {
    "text.parse_math": False,  # a `$` in a method's name is only a character
    "font.size": 8.0,
    "font.family": ["STIXGeneral", "DejaVu Sans"],  # the second font adds missing glyphs
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.2,
    "hatch.linewidth": 0.5,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "savefig.dpi": 220,
}
_METADATA: Mapping[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
}
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
Look = Mapping[str, Any]  # the color, linestyle and marker of a line


@contextmanager
def style() -> Iterator[None]:
    """Apply this style inside a `with` block, independent of the user's matplotlib settings."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # names may contain characters that neither font has
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        # or be longer than a figure is wide
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def save_figure(figure: "Figure", folder: Path, stem: str) -> list[Path]:
    """Write a figure as <stem>.png and <stem>.pdf, each atomically; return the paths."""
    return [save(folder / f"{stem}.{kind}", _rendered(figure, kind)) for kind in ("png", "pdf")]


def png(figure: "Figure") -> bytes:
    """Return a figure as the content of a PNG file."""
    return _rendered(figure, "png")


def svg(figure: "Figure", name: str) -> str:
    """Return a figure as inline SVG for a page with a strict content security policy.

    The policy forbids `style` attributes, so each property of a style becomes an attribute. Black
    becomes the page's text colour. An element whose id begins with `TOOLTIP` gets a tooltip.

    Args:
        figure: The figure.
        name: Prefix of all ids in the figure; must be unique in the page.
    """
    root = ET.fromstring(_rendered(figure, "svg", transparent=True))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.removeprefix(_SVG) in ("style", "metadata") or "}RDF" in child.tag:
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.tail = None
        if not (element.text or "").strip():
            element.text = None
        _make_inline(element, name)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"stroke-linejoin": "round", "role": "presentation"}
    return ET.tostring(root, "unicode")


def _rendered(figure: "Figure", kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    with style():
        metadata = _METADATA[kind]
        figure.savefig(out, format=kind, metadata=metadata, **how)
    return out.getvalue()


def _make_inline(element: ET.Element, name: str) -> None:
    attributes = element.attrib
    identity = attributes.pop("id", "")
    if identity and element.tag != "g":  # ids of groups are dropped, because no link uses them
        attributes["id"] = f"{name}-{identity}"
    if identity.startswith(TOOLTIP):
        title = ET.Element("title")
        title.text = identity.removeprefix(TOOLTIP)
        element.insert(0, title)
    for declaration in filter(None, attributes.pop("style", "").split("; ")):
        key, _, value = declaration.rstrip(";").partition(": ")
        size = re.search(r"[\d.]+px", value)
        if key == "font" and size:
            key, value = "font-size", size[0]
        attributes[key] = "currentColor" if value == "#000000" else value
    attributes.pop("font-family", None)
    if link := attributes.pop(_LINK, ""):
        attributes["href"] = f"#{name}-{link.removeprefix('#')}"
    if clip := attributes.get("clip-path"):
        attributes["clip-path"] = clip.replace("url(#", f"url(#{name}-")


def methods(entries: Sequence[Entry], pair: str) -> dict[str, list[Entry]]:
    """Group the runs of a pair, without teachers, by the method's label, in the given order."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.pair == pair and entry.role != "teacher":
            groups.setdefault(entry.method, []).append(entry)
    names = distinct({name: group[0].label or name for name, group in groups.items()})
    return {names[name]: group for name, group in groups.items()}


def distinct(label_of: Mapping[str, str]) -> dict[str, str]:
    """Return a unique label for each method, by the method's name.

    If several methods share a label, the method's name is added to the label in brackets.

    Args:
        label_of: Label of each method, by the method's name.
    """
    shared = Counter(label_of.values())
    return {
        name: one_line(f"{label} ({name})" if shared[label] > 1 else label)
        for name, label in label_of.items()
    }


def canvas(width: float, height: float) -> "Figure":
    """Return an empty figure, with width and height in inches, whose contents fill it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def empty(width: float, height: float) -> tuple["Figure", "Axes"]:
    """Return an empty figure, with width and height in inches, and its axes."""
    figure = canvas(width, height)
    return figure, figure.add_subplot()


def lines_height(names: int) -> float:
    """Return the height, in inches, of a panel with names of lines at its side."""
    return max(2.3, 0.7 + LINE * min(names, MAX_NAMED))


def looks(count: int) -> list[Look]:
    """Return the colour, dashes and marker of `count` lines; 36 lines differ in black and white."""
    kinds = {"color": COLOURS, "linestyle": _DASHES, "marker": _MARKS}
    return [{key: values[n % len(values)] for key, values in kinds.items()} for n in range(count)]


def wrapped(text: str, inches: float) -> str:
    """Return a text in lines that fit a width in inches, for titles and labels of axes."""
    return textwrap.fill(text, max(int(inches * _CHARACTERS_PER_INCH), 8), break_long_words=False)


def label(
    axes: "Axes", inches: float, *, title: str = "", x: str = "", y: str = "", pad: float = 6
) -> None:
    """Set the title and the labels of the axes, in lines that fit a width in inches.

    `pad` is the distance of the title from the axes, in points.
    """
    axes.set_title(wrapped(title, inches), pad=pad, linespacing=_LEADING)
    axes.set_xlabel(wrapped(x, inches), linespacing=_LEADING)
    axes.set_ylabel(y)


def named(ends: Mapping[str, float], kept: Iterable[str], *, higher: bool) -> list[str]:
    """Return the lines that get a colour and a name, at most `MAX_NAMED`, in the given order.

    Args:
        ends: Last value of each line, by the line's name.
        kept: Lines that always get a name, such as the reference method.
        higher: Whether higher values are better; the best lines get a name.
    """
    best = sorted(ends, key=lambda name: ends[name], reverse=higher)
    chosen = list(dict.fromkeys([*filter(ends.__contains__, kept), *best]))[:MAX_NAMED]
    return [name for name in ends if name in chosen]


def name_lines(
    axes: "Axes", heights: Sequence[float], texts: Sequence[str], line_looks: Sequence[Look]
) -> None:
    """Write the names of lines to the right of the axes, without overlaps.

    A short sample of the line precedes each name.

    Args:
        axes: The axes, which have their final content and labels.
        heights: Last y value of each line, in the units of the y axis.
        texts: Name of each line.
        line_looks: Look of each line.
    """
    if not heights:
        return
    lay_out(axes)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    box = axes.get_window_extent()
    width, height_in = box.width / axes.figure.dpi, box.height / axes.figure.dpi
    side = axes.get_yaxis_transform()
    places = spaced(heights, (high - low) * LINE * 0.9 / height_in, low, high)
    start, middle, end = (1 + inches / width for inches in (0.06, 0.19, 0.32))
    for text, height, look in zip(texts, places, line_looks, strict=True):
        axes.plot((start, middle, end), (height,) * 3, **look, markevery=[1], transform=side,
                  clip_on=False, scalex=False, scaley=False)  # fmt: skip
        axes.annotate(text, (end, height), (3, 0), xycoords=side, textcoords="offset points",
                      fontsize=7.5, va="center", annotation_clip=False)  # fmt: skip


def lay_out(axes: "Axes") -> None:
    """Give the axes their final size, so that texts can be placed."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)


def spaced(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return heights, moved as little as possible, so that neighbours are at least `gap` apart.

    The order stays the same. All results lie between `low` and `high` if the range is large enough;
    otherwise, the lowest results lie below `low`.
    """
    import numpy as np
    from scipy.optimize import isotonic_regression

    order = np.argsort(heights, kind="stable")
    steps = gap * np.arange(len(heights))
    fitted = isotonic_regression(np.asarray(heights, dtype=float)[order] - steps).x
    places = np.empty(len(heights))
    places[order] = np.minimum(np.maximum(fitted, low), high - steps[-1]) + steps
    return [float(height) for height in places]


def axis_label(value: str) -> str:
    """Return the axis label of a metric; the label of `loss` is `training loss`."""
    if value == "loss":
        return "training loss"
    metric = labels.metric(value)
    return f"{metric.short} ({metric.unit})" if metric.unit else metric.short


def title(entries: Sequence[Entry], pair: str, counts: Iterable[int], more: str = "") -> str:
    """Return a figure's title, such as `WRN-40-2 → WRN-16-2, means of 3 seeds`.

    Args:
        entries: Runs, of which at least one belongs to the pair.
        pair: Name of the pair.
        counts: For each mean in the figure, the number of runs.
        more: End of the title, left out if all counts are 1.
    """
    entry = next(entry for entry in entries if entry.pair == pair)
    few, *_, many = sorted({*counts}) * 2
    numbers = many if few == many else f"{few} to {many}"
    text = "single runs" if many == 1 else f"means of {numbers} seeds{more}"
    names = f"{labels.network(entry.teacher)} → {labels.network(entry.student)}"
    return f"{one_line(names)}, {text}"
