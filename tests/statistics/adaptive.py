"""Simulate tables with `seeds: {first, most, until: settled}`: false alarms, power and runs.

`python -m tests.statistics.adaptive --first 3 --most 10 --cells 13 --effects 2 --tolerance 0.5`
draws tables. With `--reruns results/reruns/quickstart-part.csv`, it draws orders of the seeds of
a committed table instead.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy import stats

from bench.stats.comparison import (
    ALPHA,
    REFERENCE,
    difference_verdicts,
    holm,
    judge,
    regression_verdicts,
)
from bench.stats.estimates import (
    Array,
    Difference,
    Samples,
    Variances,
    difference,
    moderated,
    pooled,
)
from bench.stats.sequential import Looks
from tests.statistics.simulate import SPREAD, Noise, Setup, draw, floor, share, table_differences

Verdicts = NDArray[np.str_]  # (tables, methods)
Counts = NDArray[np.int_]  # seeds of each method, of the same shape
CHUNK = 500_000  # most values drawn at a time


SEEDS = [(2, 3), (2, 10), (2, 20), (3, 5), (3, 10), (5, 20)]
CELLS = [1, 4, 13, 40]
VALUES = 2_000_000  # most simulated runs per design of the grid
COLUMNS = [
    "noise",
    "first",
    "most",
    "cells",
    "images",
    "tables",
    "alarms",
    "percent",
    "low",
    "high",
]


@dataclass
class _Open:
    """The state of many tables of one pair between looks, as in `bench.stats.sequential`."""

    verdict: Verdicts
    seeds: Counts
    p: Array
    value: Array  # of variances, as of the last look of each method
    df: Array

    @classmethod
    def of(cls, tables: int, methods: int) -> "_Open":
        shape = (tables, methods)
        verdict, ones = np.full(shape, "inconclusive", dtype="<U12"), np.ones(shape)
        return cls(verdict, np.zeros(shape, dtype=int), ones, np.zeros(shape), ones.copy())

    def rows(self, index: NDArray[np.int_]) -> "_Open":
        return _Open(*(each[index] for each in vars(self).values()))

    def update(self, index: NDArray[np.int_], part: "_Open") -> None:
        for mine, theirs in zip(vars(self).values(), vars(part).values(), strict=True):
            mine[index] = theirs


def looked(
    base: Array, methods: Array, looks: Looks, tolerance: float, least: float
) -> tuple[Verdicts, Counts]:
    """Return the verdicts of `compare_in_looks` for many tables of one pair, and the seeds.

    Args:
        base: Values of the reference method (tables, 1, seeds).
        methods: Values of the other methods (tables, methods, seeds).
        looks: The looks.
        tolerance: Largest difference that is treated as zero.
        least: Smallest standard deviation, that of rounding.
    """
    state = _Open.of(*methods.shape[:2])
    for n in range(looks.first, looks.most + 1):
        index = np.flatnonzero((state.verdict == "inconclusive").any(1))
        if index.size:
            part = state.rows(index)
            _look(part, base[index, :, :n], methods[index, :, :n], looks, tolerance, least)
            state.update(index, part)
    return state.verdict, state.seeds


def _look(
    state: _Open, base: Array, methods: Array, looks: Looks, tolerance: float, least: float
) -> None:
    n, is_open = base.shape[-1], state.verdict == "inconclusive"
    runs = np.concatenate([base, methods], 1)
    block = np.concatenate([np.ones((len(runs), 1), dtype=bool), is_open], 1)
    number = block.sum(1, keepdims=True)
    rest = runs - runs.mean(-1, keepdims=True)
    rest = rest - (rest * block[..., None]).sum(1, keepdims=True) / number[..., None]
    part = (number - 1) / number
    value = np.maximum((rest**2).sum(-1) / ((n - 1) * part), least**2)
    single = number == 2  # one estimate with n - 1 degrees of freedom
    df = np.broadcast_to(np.where(single, n - 1, (n - 1) * part), value.shape)
    state.value = np.where(is_open, value[:, 1:], state.value)
    state.df = np.where(is_open, df[:, 1:], state.df)
    state.seeds = np.where(is_open, n, state.seeds)
    first = np.where(single, 0.0, value[:, :1])  # no variance of its own
    cells = Variances(
        np.concatenate([first, state.value], 1), np.concatenate([df[:, :1], state.df], 1)
    )
    gain = _difference(runs[:, 1:].mean(-1) - runs[:, :1].mean(-1), cells, single, n)
    state.p = np.where(is_open, looks.corrected(gain.p_two_sided(), n), state.p)
    result = judge(gain, holm(state.p), tolerance, looks.level(n, ALPHA))
    state.verdict = np.where(is_open, result.verdict, state.verdict)


def _difference(mean: Array, cells: Variances, single: NDArray[np.bool_], n: int) -> Difference:
    """Return what `contrasts` returns for the reference method (cell 0) and all other cells."""
    noise = moderated(cells)
    lent = noise.df[:, :1] - cells.df[:, :1]
    degrees = np.maximum(cells.df[:, :1] + REFERENCE * lent, 1e-9)
    squares, others = noise.value[:, :1] / n, noise.value[:, 1:] / n
    weight = squares**2 / degrees + others**2 / noise.df[:, 1:]
    total = np.where(single, 2 * others, squares + others)
    equal = 4 / (1 / degrees + 1 / noise.df[:, 1:])
    both = np.divide((squares + others) ** 2, weight, out=equal.copy(), where=weight > 0)
    both = np.where(single, noise.df[:, 1:], np.minimum(both, equal))
    return Difference(mean, np.sqrt(total), both)


def fixed(base: Array, methods: Array, n: int, tolerance: float, least: float) -> Verdicts:
    """Return the verdicts of a table with a fixed number of seeds."""
    differences = table_differences(base[..., :n], methods[..., :n], paired=True, floor=least)
    return difference_verdicts(differences, tolerance).verdict


@dataclass(frozen=True)
class Tables:
    """Simulated or resampled tables.

    Attributes:
        base: Values of the reference method (tables, 1, seeds).
        methods: Values of the other methods (tables, methods, seeds).
        least: Standard deviation of rounding.
    """

    base: Array
    methods: Array
    least: float

    def settled(self, n: int, tolerance: float) -> float:
        """Return the share of verdicts other than inconclusive with n seeds for all methods."""
        verdicts = fixed(self.base, self.methods, n, tolerance, self.least)
        return float((verdicts != "inconclusive").mean())


def simulated(setup: Setup, effects: float, tables: int, seed: int, drop: float = 0.0) -> Tables:
    """Draw tables in which a seed shifts all methods alike.

    Args:
        setup: `now`: seeds; `cells`: methods beside the reference method; its noise and images.
        effects: Standard deviation of the methods' true differences, in std of a method's runs.
        tables: Number of tables.
        seed: Seed of the draws.
        drop: True drop of the first method, in std of its runs.
    """
    rng = np.random.default_rng(seed)
    base, methods = draw(replace(setup, before=setup.now, images=0), rng, tables, drop)
    shared = rng.normal(0, SPREAD, (tables, 1, setup.now))
    shift = rng.normal(0, effects * SPREAD, (tables, setup.cells, 1))
    base, methods = base[:, :1] + shared, methods + shared + shift
    if setup.images:
        step = 100 / setup.images
        base, methods = (np.round(runs / step) * step for runs in (base, methods))
    return Tables(base, methods, floor(setup))


def reruns(path: Path, reference: str, tables: int, seed: int, images: int) -> Tables:
    """Return a table of many seeds with its seeds in random orders."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = {line["method"]: line for line in csv.DictReader(file) if line["role"] != "teacher"}
    values = {name: line["values"].split(";") for name, line in lines.items()}
    others = [name for name in values if name != reference]
    runs = np.array([values[name] for name in (reference, *others)], dtype=float)
    order = np.random.default_rng(seed).random((tables, runs.shape[1])).argsort(1)
    drawn = runs[:, order].transpose(1, 0, 2)
    return Tables(drawn[:, :1], drawn[:, 1:], 100 / images / 12**0.5)


def savings(tables: Tables, looks: Looks, tolerance: float) -> str:
    """Return how many verdicts settle, with how many runs, and how many a fixed number needs."""
    verdicts, seeds = looked(tables.base, tables.methods, looks, tolerance, tables.least)
    settled = float((verdicts != "inconclusive").mean())
    runs = float((seeds.sum(1) + seeds.max(1)).mean())
    counts = np.arange(2, tables.base.shape[-1] + 1)
    shares = np.array([tables.settled(n, tolerance) for n in counts])
    text = f"settled: {100 * settled:.1f} % of verdicts with {runs:.1f} runs a table"
    if shares[-1] < settled:
        fewer, number = 100 * shares[-1], counts[-1] * (seeds.shape[1] + 1)
        return f"{text}; {counts[-1]} fixed seeds settle {fewer:.1f} % with {number} runs"
    place = int(np.argmax(shares >= settled))
    n = float(np.interp(settled, shares[place - 1 : place + 1], counts[place - 1 : place + 1]))
    all_runs = n * (seeds.shape[1] + 1)
    return (
        f"{text}; {n:.1f} fixed seeds settle as many with {all_runs:.1f} runs: "
        f"{100 * (1 - runs / all_runs):.0f} % saved"
    )


def alarms(setup: Setup, looks: Looks, tables: int, seed: int) -> NDArray[np.bool_]:
    """Return which tables raise an alarm, if no method differs from the reference method."""
    flags = []
    chunk = max(1, CHUNK // (setup.now * (setup.cells + 1)))
    for i, start in enumerate(range(0, tables, chunk)):
        drawn = simulated(setup, 0.0, min(chunk, tables - start), seed * 1000 + i)
        verdicts, _ = looked(drawn.base, drawn.methods, looks, setup.tolerance, drawn.least)
        flags.append(np.isin(verdicts, ["better", "worse"]).any(1))
    return np.concatenate(flags)


def check_alarms(setup: Setup, looks: Looks, tables: int, seed: int) -> NDArray[np.bool_]:
    """Return which checks of two such tables raise an alarm, if nothing has changed."""
    sides = []
    for i in range(2):
        drawn = simulated(setup, 0.0, tables, seed + i)
        _, seeds = looked(drawn.base, drawn.methods, looks, setup.tolerance, drawn.least)
        runs = np.concatenate([drawn.base, drawn.methods], 1)
        sides.append(_samples(runs, np.concatenate([seeds.max(1, keepdims=True), seeds], 1)))
    noise = moderated(pooled(*sides).at_least(floor(setup)))
    verdicts = regression_verdicts(difference(*sides, noise), setup.tolerance).verdict
    return np.asarray((verdicts == "regression").any(1))


def _samples(runs: Array, n: Counts) -> Samples:
    """Return the statistics of the first n runs of each cell."""
    used = np.arange(runs.shape[-1]) < n[..., None]
    mean = (runs * used).sum(-1) / n
    squares = (((runs - mean[..., None]) * used) ** 2).sum(-1)
    return Samples(mean, np.sqrt(squares / (n - 1)), n.astype(float))


def designs() -> Iterator[Setup]:
    """Yield the designs of the grid; `before` is the number of seeds of the first look."""
    for noise, (first, most), cells in product(Noise, SEEDS, CELLS):
        yield Setup(first, most, cells, noise)
    for images, (first, most), cells in product([100, 1000], [(2, 10), (3, 10)], CELLS):
        yield Setup(first, most, cells, images=images)


def write_grid(path: Path, most_tables: int) -> None:
    """Write the share of tables with a false alarm for each design as CSV, line by line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for setup in designs():
            tables = min(most_tables, VALUES // (setup.now * (setup.cells + 1)))
            hits = int(alarms(setup, Looks(setup.before, setup.now), tables, seed=0).sum())
            low, high = stats.binomtest(hits, tables).proportion_ci()
            shares = [f"{100 * each:.2f}" for each in (hits / tables, low, high)]
            design = [setup.noise, setup.before, setup.now, setup.cells, setup.images]
            writer.writerow([*design, tables, hits, *shares])
            file.flush()


def main(
    first: Annotated[int, typer.Option(help="Seeds of the first look.")] = 3,
    most: Annotated[int, typer.Option(help="Seeds of the last look.")] = 10,
    cells: Annotated[int, typer.Option(help="Methods beside the reference method.")] = 13,
    noise: Noise = Noise.normal,
    images: Annotated[int, typer.Option(help="Test images; 0: no rounding.")] = 10_000,
    tables: Annotated[int, typer.Option(help="Tables to simulate.")] = 20_000,
    seed: int = 0,
    drop: Annotated[float, typer.Option(help="True drop of one method, in std of its runs.")] = 0.0,
    effects: Annotated[
        float, typer.Option(help="Std of the methods' true differences, in std of their runs.")
    ] = 0.0,
    tolerance: Annotated[float, typer.Option(help="In percentage points (std: 0.3).")] = 0.0,
    rerun: Annotated[
        Path | None, typer.Option("--reruns", help="CSV file of a table with many seeds.")
    ] = None,
    reference: Annotated[str, typer.Option(help="Reference method of --reruns.")] = "kd",
    grid: Annotated[Path | None, typer.Option(help="Simulate all designs; write this CSV.")] = None,
) -> None:
    """Print false alarms over all looks, then power, and the runs that looks save."""
    if grid:
        write_grid(grid, tables)
        return
    looks, setup = Looks(first, most), Setup(most, most, cells, noise, images, tolerance=tolerance)
    if rerun:
        print(savings(reruns(rerun, reference, tables, seed, images), looks, tolerance))
        return
    flags = alarms(setup, looks, tables, seed)
    print(f"false alarms: {share(int(flags.sum()), tables)} of {tables} tables")
    number = min(tables, VALUES // (most * (cells + 1)))
    checks = check_alarms(setup, looks, number, seed)
    print(f"false alarms of bench check: {share(int(checks.sum()), number)} of {number} tables")
    if drop:
        print(_power(setup, looks, number, seed, drop))
    if effects:
        more = replace(setup, now=2 * most)
        print(savings(simulated(more, effects, number // 2, seed), looks, tolerance))


def _power(setup: Setup, looks: Looks, tables: int, seed: int, drop: float) -> str:
    drawn = simulated(setup, 0.0, tables, seed, drop)
    verdicts, seeds = looked(drawn.base, drawn.methods, looks, setup.tolerance, drawn.least)
    full = fixed(drawn.base, drawn.methods, looks.most, setup.tolerance, drawn.least)
    powers: Sequence[str] = [
        share(int((each[:, 0] == "worse").sum()), tables) for each in (verdicts, full)
    ]
    return (
        f"power: {powers[0]} for one method that drops by {drop:g} std, with "
        f"{seeds[:, 0].mean():.1f} seeds on average; {powers[1]} with {looks.most} fixed seeds"
    )


if __name__ == "__main__":
    typer.run(main)
