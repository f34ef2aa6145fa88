"""The tuning figure: the best value so far, by trial, of each tuned method."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report.figures import style
from bench.report.figures.style import TOOLTIP, looks, name_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.planning.search import Search


def best_so_far(
    searches: Sequence["Search"], labels: Mapping[str, str], width: float = style.PAGE
) -> "Figure":
    """Return a plot of the best accuracy on the held-out images after each trial.

    A pale marker is the accuracy of one trial. Trials that were pruned have no marker. The axis
    begins below the lines, so a trial far below them has its marker on the axis.

    Args:
        searches: The trials of each tuned method, all on one pair.
        labels: The label of each method, by its name.
        width: Width of the figure in inches.

    Raises:
        BenchError: No trial has ended with a result.
    """
    from matplotlib.ticker import MaxNLocator

    drawn = [each for each in searches if each.best and each.best[-1] is not None]
    if not drawn:
        raise BenchError("no trial has ended with a result")
    with style.style():
        figure, axes = style.empty(width, style.lines_height(len(drawn)))
        line_looks, ends = looks(len(drawn)), []
        values = [value for each in drawn for value in each.best if value is not None]
        bottom = min(values) - 0.5 * (max(values) - min(values) or 1.0)
        for each, look in zip(drawn, line_looks, strict=True):
            done = [t for t in each.trials if t.state == "done" and t.value is not None]
            heights = [max(t.value or 0.0, bottom) for t in done]
            pale = {"color": look["color"], "marker": look["marker"], "linestyle": "none"}
            axes.plot([t.number for t in done], heights, **pale, alpha=0.35, clip_on=False)
            best = [(i, value) for i, value in enumerate(each.best, 1) if value is not None]
            [line] = axes.plot(*zip(*best, strict=True), **look, drawstyle="steps-post")
            ends.append(best[-1][1])
            line.set_gid(f"{TOOLTIP}{labels[each.method]}: {ends[-1]:.4g}")
        title, accuracy = f"{drawn[0].pair}: best trial so far", "top-1 accuracy on held-out images"
        style.label(axes, width - 0.6, title=title, x="trial", y=f"{accuracy} (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=bottom)
        names = [labels[each.method] for each in drawn]
        name_lines(axes, ends, names, line_looks)
    return figure
