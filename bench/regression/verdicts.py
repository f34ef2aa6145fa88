"""What the gate says: a verdict for each cell, and one for all of them."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from bench.regression.cells import Summary
from bench.report.wording import Metric

Outcome = Literal[
    "regression", "failed", "missing", "worse", "inconclusive", "better", "same", "pass",
    "skipped", "uncompared",
]  # fmt: skip
Kind = Literal["check", "published", "compare"]

ORDER: tuple[Outcome, ...] = (
    "regression", "failed", "missing", "worse", "inconclusive", "better", "same", "pass",
    "skipped", "uncompared",
)  # fmt: skip
_JUDGED = frozenset(ORDER) - {"skipped", "uncompared"}
_PASS, _REGRESSION, _WRONG_USE, _FAILED, _INCONCLUSIVE = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class Verdict:
    """One cell, before and now; all numbers in the unit of the metric."""

    pair: str
    method: str
    label: str
    outcome: Outcome
    reason: str  # one phrase
    before: Summary | None = None
    now: Summary | None = None
    low: float | None = None  # of the change: each bound alone holds with 95 %
    high: float | None = None
    p: float | None = None  # behind an alarm, Holm over the family
    seeds: int | None = None  # on both sides, that would settle an inconclusive one
    notes: tuple[str, ...] = ()  # what else differs: setting, teacher
    altered: bool = False  # compared although its setting is not that of before

    @property
    def name(self) -> str:
        """How people call the cell: `resnet8x4/resnet8 crd+kd`."""
        return f"{self.pair} {self.method}"

    @property
    def doubtful(self) -> bool:
        """Whether it fails where strictness is asked for: inconclusive, or another setting."""
        return self.outcome == "inconclusive" or self.altered

    @property
    def change(self) -> float | None:
        """The mean now minus the mean before."""
        return self.now.mean - self.before.mean if self.now and self.before else None


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of one check, in the order of the suite."""

    kind: Kind
    suite: str
    against: str  # "the baseline of quickstart (commit 61fcf1e, 2026-11-21)"
    metric: Metric
    tolerance: float
    cells: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()  # on the whole: another version, another device

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many cells have each outcome, the gravest first."""
        found = Counter(cell.outcome for cell in self.cells)
        return {outcome: found[outcome] for outcome in ORDER if found[outcome]}

    def named(self, *outcomes: Outcome) -> list[Verdict]:
        """The cells with one of these outcomes."""
        return [cell for cell in self.cells if cell.outcome in outcomes]

    @property
    def outcome(self) -> str:
        """One word for all cells: that of the gravest."""
        if not self.named(*_JUDGED):
            return "nothing compared"
        if self.kind == "compare":
            return "compared"
        return next(iter(self.counts))

    def exit_code(self, strict: bool = False) -> int:
        """0 pass, 1 regression, 2 nothing could be compared, 3 runs failed or missing, 4 doubt.

        A regression outweighs missing runs: it stands whatever they will bring. 4 only if strict:
        a cell is inconclusive, or it was compared although its setting has changed. Of `compare`,
        which asks for no verdict on the whole, 0 or 2.
        """
        if not self.named(*_JUDGED):
            return _WRONG_USE
        if self.kind == "compare":
            return _PASS
        if self.named("regression"):
            return _REGRESSION
        if self.named("failed", "missing"):
            return _FAILED
        doubt = any(cell.doubtful for cell in self.cells)
        return _INCONCLUSIVE if strict and doubt else _PASS
