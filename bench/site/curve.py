"""The curves of one record as SVG.

matplotlib needs about 0.15 s for a figure, so thousands of records would need minutes. These
curves have no style of their own: the site's style sheet colours them, also in the dark.
"""

from collections.abc import Sequence

from markupsafe import Markup, escape

from bench.report import labels
from bench.report.figures import style
from bench.results import Record

WIDTH, HEIGHT = 320, 150  # of a panel, in units of the SVG
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 22, 26  # margins
Points = Sequence[tuple[int, float]]


def curves(record: Record) -> Markup:
    """Return a panel for the training loss, and one for the accuracy or another test metric.

    The result is empty if the record has no curves.
    """
    loss = [(epoch.epoch, epoch.loss) for epoch in record.curves if epoch.loss is not None]
    names = dict.fromkeys(name for epoch in record.curves for name in epoch.test)
    name = next((name for name in labels.METRICS if name in names), "")
    test = [
        (epoch.epoch, value)
        for epoch in record.curves
        if (value := epoch.test.get(name)) is not None
    ]
    panels = [("loss", loss), (name, test)]
    return Markup("\n").join(_panel(value, points) for value, points in panels if points)


def _panel(value: str, points: Points) -> Markup:
    """Return a panel with one curve."""
    title = style.axis_label(value)
    first, last = points[0], points[-1]
    low, high = min(y for _, y in points), max(y for _, y in points)
    spread, epochs = (high - low) or 1.0, (last[0] - first[0]) or 1
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    places = [
        (LEFT + width * (x - first[0]) / epochs, TOP + height * (high - y) / spread)
        for x, y in points
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    numbers = [f"{y:.4g}" for y in (high, low, first[1], last[1])]
    about = f"{title}: {numbers[2]} in epoch {first[0]}, {numbers[3]} in epoch {last[0]}"
    base = HEIGHT - BOTTOM
    return Markup(
        f'<figure class="curve"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(about)}">'
        f'<path class="axis" d="M{LEFT} {TOP}V{base}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT}" y="12">{escape(title)}</text>'
        f'<text class="tick end" x="{LEFT - 5}" y="{TOP + 4}">{numbers[0]}</text>'
        f'<text class="tick end" x="{LEFT - 5}" y="{base}">{numbers[1]}</text>'
        f'<text class="tick" x="{LEFT}" y="{HEIGHT - 10}">epoch {first[0]}</text>'
        f'<text class="tick end" x="{WIDTH - RIGHT}" y="{HEIGHT - 10}">{last[0]}</text>'
        f'<polyline points="{line}"/>'
        f'<circle cx="{places[-1][0]:.1f}" cy="{places[-1][1]:.1f}" r="2.5"/>'
        f"</svg></figure>"
    )
