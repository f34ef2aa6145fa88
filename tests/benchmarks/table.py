"""What was found, as one table."""

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
    """Numbers of one thing, one a round, and their ratios to another's, round by round."""

    part: str
    what: str
    samples: Sequence[float]
    unit: str = "ms"
    ratio: str = ""  # of what: "reference / it"
    ratios: Sequence[float] = ()
    target: str = ""  # "≥ 1.3": of the ratio, or of the numbers where there is none

    @property
    def met(self) -> bool | None:
        if not self.target:
            return None
        sign, bound = self.target.split()[:2]
        return BOUNDS[sign](median(self.ratios or self.samples), float(bound))


def over(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(one, other, strict=True)]


def added(*samples: Sequence[float]) -> list[float]:
    """Round by round the sum."""
    return [sum(values) for values in zip(*samples, strict=True)]


def markdown(rows: Sequence[Row]) -> str:
    cells = [
        [
            row.part,
            row.what,
            f"{digits(median(row.samples))} {row.unit}",
            spread(row.samples),
            row.ratio,
            digits(median(row.ratios)) if row.ratios else "",
            spread(row.ratios),
            len(row.samples),
            row.target,
            {None: "", True: "met", False: "missed"}[row.met],
        ]
        for row in rows
    ]
    return tabulate.tabulate(cells, COLUMNS, "pipe", disable_numparse=True)


def heading(load: Workload) -> str:
    """Where, with what and how the numbers were made."""
    of = environment(load.device, "float32")
    versions = ", ".join(f"{name} {of[name]}" for name in ("python", "torch", "torchvision"))
    busy = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{of['device']}; {versions}; commit {of['commit']}; {load.threads} threads, "
        f"{load.workers} loader processes; {load.clock} time; {now()}, load average {busy}. "
        f"{load.teacher}/{load.student}, {load.rounds} rounds of {load.steps} timed steps after "
        f"{load.warm} untimed."
    )


def spread(samples: Sequence[float]) -> str:
    if len(samples) < 2:
        return ""
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return f"{digits(low)} to {digits(high)}"


def digits(value: float) -> str:
    """Three of them that count."""
    places = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, places)}f}"
