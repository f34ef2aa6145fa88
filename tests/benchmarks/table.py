"""The table that the benchmarks print: one row a measurement, with ratios and targets."""

import math
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

import tabulate

from bench.results.environment import environment, now
from tests.benchmarks.workload import Workload

BOUNDS: Mapping[str, Callable[[float, float], bool]] = {"≥": operator.ge, "≤": operator.le}
COLUMNS = (
    "part", "what", "median", "quartiles", "ratio", "median", "quartiles", "n", "target", "",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One subject's samples, one a round, and their ratios to another subject's, round by round."""

    part: str
    what: str
    samples: Sequence[float]
    unit: str = "ms"
    ratio: str = ""  # what is divided: "reference / this"; "this" is the row's own sample
    ratios: Sequence[float] = ()
    target: str = ""  # "≥ 1.3": for the median ratio, or for the median sample without ratios

    @property
    def met(self) -> bool | None:
        """Return whether the target is met; None without a target."""
        if not self.target:
            return None
        sign, bound = self.target.split()[:2]
        return BOUNDS[sign](median(self.ratios or self.samples), float(bound))


def divide(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Return the ratios, round by round."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def add(*samples: Sequence[float]) -> list[float]:
    """Return the sums, round by round."""
    return [sum(values) for values in zip(*samples, strict=True)]


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    cells = [
        [
            row.part,
            row.what,
            f"{three_digits(median(row.samples))} {row.unit}",
            quartiles(row.samples),
            row.ratio,
            three_digits(median(row.ratios)) if row.ratios else "",
            quartiles(row.ratios),
            len(row.samples),
            row.target,
            {None: "", True: "met", False: "missed"}[row.met],
        ]
        for row in rows
    ]
    return tabulate.tabulate(cells, COLUMNS, "pipe", disable_numparse=True)


def heading(load: Workload) -> str:
    """Return the line above a table: hardware, versions, commit, clock, date, load, rounds."""
    machine = environment(load.device, "float32")
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "torchvision"))
    busy = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{machine['device']}; {versions}; commit {machine['commit']}; {load.threads} threads, "
        f"{load.workers} loader processes; {load.clock} time; {now()}, load average {busy}. "
        f"{load.teacher}/{load.student}, {load.rounds} rounds of {load.steps} timed steps after "
        f"{load.warm} untimed."
    )


def quartiles(samples: Sequence[float]) -> str:
    """Return "lower to upper quartile"; empty for fewer than two samples."""
    if len(samples) < 2:
        return ""
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return f"{three_digits(low)} to {three_digits(high)}"


def three_digits(value: float) -> str:
    """Return the number with three significant digits."""
    places = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, places)}f}"
