"""`python -m tests.benchmarks.curves PICTURE JSON…` draws the rows about growth that were kept."""

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure


def main(picture: Path, *kept: Path) -> None:
    """A panel for each axis: the median time, and that of the rounds between which it lies."""
    axes: dict[str, list[tuple[float, list[float]]]] = defaultdict(list)
    for row in (row for path in kept for row in json.loads(path.read_text())["rows"]):
        if row["part"].startswith("growth: "):
            axes[row["part"].removeprefix("growth: ")].append((float(row["what"]), row["samples"]))
    figure = Figure(figsize=(3 * len(axes), 2.6), layout="constrained")
    for panel, (name, points) in zip(figure.subplots(1, len(axes)), axes.items(), strict=True):
        x, samples = zip(*sorted(points), strict=True)
        panel.plot(x, [median(one) for one in samples], "o-", color="black", markersize=3)
        panel.fill_between(x, [min(s) for s in samples], [max(s) for s in samples], alpha=0.3)
        most = max(map(max, samples))
        panel.set(xlabel=name, ylabel="ms", ylim=(0, 1.1 * most), xlim=(0, None))
        panel.locator_params(axis="x", nbins=4)
    figure.savefig(picture)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
