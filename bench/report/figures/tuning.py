"""The tuning figure: the best value so far, by trial, of each tuned method."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.report.figures import style
from bench.report.figures.style import TOOLTIP, looks, name_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench.planning.search import Search


def best_so_far(searches: Sequence["Search"], labels: Mapping[str, str]) -> "Figure":
    """Return a plot of the best accuracy on the held-out images after each trial.

    A pale marker is the accuracy of one trial. Trials that were pruned have no marker.

    Args:
        searches: The trials of each tuned method, all on one pair.
        labels: The label of each method, by its name.

    Raises:
        BenchError: No trial has ended with a result.
    """
    from matplotlib.ticker import MaxNLocator

    drawn = [each for each in searches if each.best and each.best[-1] is not None]
    if not drawn:
        raise BenchError("no trial has ended with a result")
    with style.style():
        figure, axes = style.empty(6.2, max(3.4, 0.9 + 0.2 * len(drawn)))
        line_looks, ends = looks(len(drawn)), []
        for each, look in zip(drawn, line_looks, strict=True):
            done = [(t.number, t.value) for t in each.trials if t.state == "done"]
            pale = {"color": look["color"], "marker": look["marker"]}
            axes.plot(*zip(*done, strict=True), **pale, linestyle="none", alpha=0.35)
            best = [(i, value) for i, value in enumerate(each.best, 1) if value is not None]
            [line] = axes.plot(*zip(*best, strict=True), **look, drawstyle="steps-post")
            ends.append(best[-1][1])
            line.set_gid(f"{TOOLTIP}{labels[each.method]}: {ends[-1]:.4g}")
        axes.set(xlabel="trial", ylabel="top-1 accuracy on held-out images (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        names = [labels[each.method] for each in drawn]
        name_lines(axes, ends, names, line_looks)
        axes.set_title(f"{drawn[0].pair}: best trial so far")
    return figure
