"""Simulate tables, and count false alarms and detected drops.

For example, `python -m tests.statistics.simulate --before 3 --now 3 --cells 13 --drop 2`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy import stats

from bench.stats.comparison import (
    contrasts,
    difference_verdicts,
    regression_verdicts,
    without_shared_shift,
)
from bench.stats.estimates import (
    Difference,
    Variances,
    difference,
    moderated,
    pooled,
    samples,
    within_seeds,
)

SPREAD, LEVEL = 0.3, 75.0  # standard deviation and mean of accuracies, in percentage points
CHUNK = 500_000  # most values drawn at a time
Runs = NDArray[np.float64]  # (tables, cells, seeds)
Flags = NDArray[np.bool_]  # (tables, cells)


class Rule(StrEnum):
    """The test: `bench check`, `bench compare`, or the statistics of `bench report`."""

    gate = "gate"
    compare = "compare"
    report = "report"


class Noise(StrEnum):
    """How the runs of a cell scatter around its mean.

    normal: all cells have the same standard deviation. lognormal: normal noise; the standard
    deviations are log-normal, with a standard deviation of the logarithm of 1. t3: Student's t with
    three degrees of freedom. skewed: exponential, with its long tail towards low accuracies.
    """

    normal = "normal"
    lognormal = "lognormal"
    t3 = "t3"
    skewed = "skewed"


@dataclass(frozen=True)
class Setup:
    """What to simulate; drop and shift in standard deviations of a cell, tolerance in points.

    Attributes:
        before: Seeds before; for the rule `report`, seeds of the reference method.
        now: Seeds now; for the rule `report`, seeds of the other methods.
        cells: Cells of a table; for the rule `report`, methods beside the reference method.
        images: Test images, which round the accuracies; 0: no rounding.
        shift: Standard deviation of the shift of all cells by another teacher.
    """

    before: int
    now: int
    cells: int
    noise: Noise = Noise.normal
    images: int = 10_000
    rule: Rule = Rule.gate
    shift: float = 0.0
    tolerance: float = 0.0


def alarms(setup: Setup, tables: int, seed: int, drop: float = 0.0) -> Iterator[Flags]:
    """Yield which cells raise an alarm; the first cell of each table has a true drop.

    An alarm is a regression (gate), a worse or better (compare and report).
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, CHUNK // ((setup.before + setup.now) * (setup.cells + 1)))
    judge = {Rule.gate: _gate, Rule.compare: _compare, Rule.report: _report}[setup.rule]
    for first in range(0, tables, chunk):
        yield judge(setup, *draw(setup, rng, min(chunk, tables - first), drop))


def draw(setup: Setup, rng: np.random.Generator, tables: int, drop: float) -> tuple[Runs, Runs]:
    """Return the runs of tables before and now; now, the first cell of each table drops."""
    cells = setup.cells
    spread = np.full((tables, cells, 1), SPREAD)
    if setup.noise is Noise.lognormal:
        spread = spread * np.exp(rng.normal(0, 1, spread.shape))
    runs = spread * _noise(setup.noise, rng, (tables, cells, setup.before + setup.now))
    runs[..., setup.before :] += setup.shift * SPREAD * rng.normal(size=(tables, 1, 1))
    runs[:, 0, setup.before :] -= drop * spread[:, 0]
    if setup.images:
        step = 100 / setup.images
        runs = np.round((LEVEL + runs) / step) * step
    return runs[..., : setup.before], runs[..., setup.before :]


def _noise(noise: Noise, rng: np.random.Generator, shape: tuple[int, ...]) -> Runs:
    """Return noise with mean 0 and standard deviation 1."""
    if noise is Noise.t3:
        return rng.standard_t(3, shape) / 3**0.5
    if noise is Noise.skewed:
        return 1 - rng.exponential(size=shape)
    return rng.normal(size=shape)


def _gate(setup: Setup, before: Runs, now: Runs) -> Flags:
    gain, relative = gains(setup, before, now)
    return regression_verdicts(gain, setup.tolerance, relative).verdict == "regression"


def _compare(setup: Setup, before: Runs, now: Runs) -> Flags:
    gain, relative = gains(setup, before, now)
    return np.isin(
        difference_verdicts(gain, setup.tolerance, relative).verdict, ["better", "worse"]
    )


def gains(setup: Setup, before: Runs, now: Runs) -> tuple[Difference, Difference]:
    old, new = samples(before), samples(now)
    gain = difference(old, new, moderated(pooled(old, new).at_least(floor(setup))))
    groups = ["pair" if setup.shift else None] * setup.cells
    return gain, without_shared_shift(gain, groups)


def _report(setup: Setup, before: Runs, now: Runs) -> Flags:
    """Compare the first cell of `before`, the reference method, with all cells of `now`.

    If both have equally many seeds, a seed shifts all methods alike.
    """
    base = before[:, :1]
    if paired := setup.before == setup.now:
        shared = np.random.default_rng(len(now)).normal(0, SPREAD, (len(now), 1, setup.now))
        base, now = base + shared, now + shared
    differences = table_differences(base, now, paired, floor(setup))
    verdicts = difference_verdicts(differences, setup.tolerance).verdict
    return np.isin(verdicts, ["better", "worse"])


def table_differences(base: Runs, methods: Runs, paired: bool, floor: float) -> Difference:
    """Return what `compare_to_baseline` tests, for many tables of one pair at once."""
    k = methods.shape[1]
    mean = methods.mean(-1) - base.mean(-1)
    if paired:
        cells = within_seeds(np.concatenate([base, methods], 1))
        if k == 1:
            cells = Variances(cells.value[:, :1], 2 * cells.df[:, :1])
    else:
        each = [samples(base), samples(methods)]
        std, n = (np.concatenate([getattr(s, key) for s in each], 1) for key in ("std", "n"))
        cells = Variances(std**2, n - 1)
    single = paired and k == 1
    parts = np.array([[0, 0]] if single else [[0, i + 1] for i in range(k)])
    runs = np.array([[base.shape[-1], methods.shape[-1]]] * k, dtype=float)
    return contrasts(mean, cells.at_least(floor), parts, runs)


def floor(setup: Setup) -> float:
    """Return the standard deviation of rounding."""
    return 100 / setup.images / 12**0.5 if setup.images else 0.0


def share(hits: int, trials: int) -> str:
    """Return `4.2 % [3.9, 4.5]`: a share and its 95 % interval (Clopper and Pearson, 1934)."""
    low, high = stats.binomtest(hits, trials).proportion_ci()
    return f"{100 * hits / trials:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def main(
    before: Annotated[int, typer.Option(help="Seeds before (report: of the reference method).")],
    now: Annotated[int, typer.Option(help="Seeds now (report: of the other methods).")],
    cells: Annotated[int, typer.Option(help="Cells of a table.")],
    noise: Noise = Noise.normal,
    images: Annotated[int, typer.Option(help="Test images; 0: no rounding.")] = 10_000,
    tables: Annotated[int, typer.Option(help="Tables to simulate.")] = 20_000,
    seed: int = 0,
    rule: Rule = Rule.gate,
    drop: Annotated[float, typer.Option(help="True drop of one cell, in std of its runs.")] = 0.0,
    shift: Annotated[
        float, typer.Option(help="Std of the shift by another teacher, in std of the runs.")
    ] = 0.0,
    tolerance: Annotated[float, typer.Option(help="In percentage points (std: 0.3).")] = 0.0,
) -> None:
    """Print the share of tables with a false alarm, and the power to detect a drop of one cell."""
    setup = Setup(before, now, cells, noise, images, rule, shift, tolerance)
    count = sum(int(flags.any(1).sum()) for flags in alarms(setup, tables, seed))
    print(f"false alarms: {share(count, tables)} of {tables} tables")
    if drop:
        flags = np.concatenate(list(alarms(setup, tables, seed, drop)))
        power = share(int(flags[:, 0].sum()), tables)
        print(f"power: {power} for one cell that drops by {drop:g} std")
        print(f"false alarms of the other cells: {share(int(flags[:, 1:].any(1).sum()), tables)}")


if __name__ == "__main__":
    typer.run(main)
