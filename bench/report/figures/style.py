"""The style of all figures, and functions that save figures.

Equal records give files with equal bytes.
"""

import io
import re
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
SPREAD = " ± standard deviation"
TOOLTIP = "tooltip:"  # prefix of the id of an SVG element; the rest of the id is its tooltip
_DASHES = ("-", (0, (5, 1.6)), (0, (5, 1.4, 1, 1.4)), (0, (1.2, 1.2)))
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", "p")
_STYLE: Any = {
    "text.parse_math": False,  # a `$` in a method's name is only a character
    "font.family": ["STIXGeneral", "DejaVu Sans"],  # the second font adds missing glyphs
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
    "svg.fonttype": "none",
    "svg.hashsalt": "bench",
    "savefig.dpi": 200,
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
        figure.savefig(out, format=kind, metadata=metadata, bbox_inches="tight", **how)
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


def empty(width: float, height: float) -> tuple["Figure", "Axes"]:
    """Return an empty figure, with width and height in inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def looks(count: int) -> list[Look]:
    """Return the colour, dashes and marker of `count` lines; 36 lines differ in black and white."""
    kinds = {"color": COLOURS, "linestyle": _DASHES, "marker": _MARKS}
    return [{key: values[n % len(values)] for key, values in kinds.items()} for n in range(count)]


def name_lines(
    axes: "Axes", heights: Sequence[float], texts: Sequence[str], line_looks: Sequence[Look]
) -> None:
    """Write the names of lines to the right of the axes, without overlaps.

    A short sample of the line precedes each name.

    Args:
        axes: The axes.
        heights: Last y value of each line, in the units of the y axis.
        texts: Name of each line.
        line_looks: Look of each line.
    """
    if not heights:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    inches = axes.get_window_extent().height / axes.figure.dpi
    side = axes.get_yaxis_transform()
    places = spaced(heights, (high - low) * 0.15 / inches, low, high)
    for text, height, look in zip(texts, places, line_looks, strict=True):
        axes.plot((1.02, 1.05, 1.08), (height,) * 3, **look, markevery=[1], transform=side,
                  clip_on=False, scalex=False, scaley=False)  # fmt: skip
        axes.text(1.09, height, text, fontsize=8.5, va="center", transform=side)


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
