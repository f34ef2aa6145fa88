"""Simulate the promise of at most 5 % false alarms for many designs; write the results as CSV.

`nice python -m tests.statistics.grid --output docs/statistics/false_alarms.csv` takes about half an
hour on one core. The file gets a line after each design, so that an interrupted grid is not lost.
"""

import csv
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated

import typer
from scipy import stats

from tests.statistics.simulate import Noise, Rule, Setup, alarms

SEEDS = [
    (2, 2), (2, 5), (5, 2), (2, 10), (10, 2), (2, 20), (20, 2), (3, 3), (3, 5), (5, 5), (10, 10),
    (20, 20),
]  # fmt: skip
CELLS = [1, 4, 13, 40, 100]
VALUES = 8_000_000  # most simulated runs per design
COLUMNS = [
    "rule", "noise", "before", "now", "cells", "images", "shift", "tables", "alarms", "percent",
    "low", "high",
]  # fmt: skip


def designs() -> Iterator[Setup]:
    """Yield all designs: noise, seeds and cells for each rule; rounding; another teacher."""
    for rule, noise, (before, now), cells in product(Rule, Noise, SEEDS, CELLS):
        yield Setup(before, now, cells, noise, rule=rule)
    for rule, images, seeds, cells in product(Rule, [100, 1000], [(2, 2), (3, 3), (2, 5)], CELLS):
        yield replace(Setup(*seeds, cells, rule=rule), images=images)
    for rule, shift, seeds, cells in product(
        [Rule.gate, Rule.compare], [1.0, 3.0], [(3, 3), (5, 5), (2, 5)], CELLS
    ):
        yield Setup(*seeds, cells, rule=rule, shift=shift)


def line(setup: Setup, most_tables: int) -> list[object]:
    """Simulate a design; return its line, with the 95 % interval of the share of alarms."""
    runs = (setup.before + setup.now) * setup.cells
    tables = max(1000, min(most_tables, VALUES // runs))
    hits = sum(int(flags.any(1).sum()) for flags in alarms(setup, tables, seed=0))
    low, high = stats.binomtest(hits, tables).proportion_ci()
    numbers = [f"{100 * share:.2f}" for share in (hits / tables, low, high)]
    design = [setup.rule, setup.noise, setup.before, setup.now, setup.cells, setup.images]
    return [*design, setup.shift, tables, hits, *numbers]


def main(
    output: Annotated[Path, typer.Option(help="CSV file to write.")],
    tables: Annotated[int, typer.Option(help="Most tables per design.")] = 20_000,
) -> None:
    """Simulate all designs."""
    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for setup in designs():
            writer.writerow(line(setup, tables))
            file.flush()


if __name__ == "__main__":
    typer.run(main)
