"""The regression test: compare all cells before and now; give each a verdict and a reason."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bench.errors import BenchError
from bench.regression.verdicts import Kind, Outcome, Verdict, Verdicts
from bench.report import labels
from bench.report.labels import Metric, p_equals, setting
from bench.report.model import Cell, Measured
from bench.stats.comparison import (
    ALPHA,
    difference_verdicts,
    regression_verdicts,
    without_shared_shift,
)
from bench.stats.estimates import (
    Array,
    Difference,
    Samples,
    Variances,
    difference,
    moderated,
    pooled,
    prior,
    resolution,
)
from bench.stats.power import MAX_SEEDS, Design

MAX_CHANGES = 6  # maximum number of changed settings that a note lists
_VERSIONS = ("torch", "torchvision", "cuda", "device", "precision", "threads", "cuda_graphs")
TEACHER_NOTE = (
    "another teacher's weights, which can shift all methods of the pair; a regression must also be "
    "significant relative to the median of the pair's other methods"
)
Notes = tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """A cell before and now; both sides (before, now) have a value of the tested metric."""

    before: Cell
    now: Cell

    @property
    def notes(self) -> tuple[str, ...]:
        """Changes that may explain a different result: settings, the teacher's weights."""
        return tuple(filter(None, (self.setting_note, TEACHER_NOTE if self.shifted else "")))

    @property
    def setting_note(self) -> str:
        """The changed settings; empty if none changed, or if a side does not state its settings."""
        before, now = self.before, self.now
        changes: list[str] = []
        if before.setting and now.setting:
            changes = setting_changes(before.setting, now.setting)
            if not ("teacher" in before.setting and "teacher" in now.setting):
                # one side does not state its teacher's settings
                changes = [change for change in changes if not change.startswith("teacher.")]
        if before.terms and now.terms:
            changes += setting_changes(before.terms, now.terms)
        if not changes:
            return ""
        more = f" and {len(changes) - MAX_CHANGES} more" if len(changes) > MAX_CHANGES else ""
        return f"another setting: {', '.join(changes[:MAX_CHANGES])}{more}"

    @property
    def shifted(self) -> bool:
        """Whether all seeds share a teacher, with other weights on each side.

        Other weights of a shared teacher shift the results of all its students alike. The standard
        deviation over the seeds does not show such a shift.
        """
        before, now = self.before.teachers, self.now.teachers
        n = max((measured.n for measured in self.now.metrics.values()), default=0)
        return bool(before and now) and before != now and not len(now) >= n > 1

    def sides(self, metric: str) -> tuple[Measured, Measured]:
        """Return the mean, standard deviation and n of a metric before, and the same now."""
        return self.before.metrics[metric], self.now.metrics[metric]

    def identical(self) -> bool:
        """Whether all metrics that both sides have are bit-for-bit equal, for the same seeds."""
        before, now = self.before.metrics, self.now.metrics
        shared = before.keys() & now.keys()
        return bool(shared) and all(
            before[name].values and before[name].values == now[name].values for name in shared
        )


@dataclass(frozen=True)
class RegressionTest:
    """How to test matches: the metric, the tolerance, and the rule.

    Attributes:
        metric: The metric to compare.
        tolerance: Largest accepted difference, in the unit of the metric.
        two_sided: True: verdicts are better, same or worse. False: pass or regression.
        exact: True: if the baseline is a single run, the verdict is inconclusive. False: a single
            run is tested with the standard deviation of the runs now, because most published
            numbers have no standard deviation.
    """

    metric: Metric
    tolerance: float
    two_sided: bool = False
    exact: bool = True

    @classmethod
    def of(cls, metric: str, tolerance: float | None, **how: bool) -> "RegressionTest":
        """Return a test after checking its metric and tolerance.

        Args:
            metric: Name of the metric.
            tolerance: In the unit of the metric; None: 0.5 for a metric in percent.
            **how: The attributes `two_sided` and `exact`.

        Raises:
            BenchError: The metric is unknown, or the tolerance is invalid or missing.
        """
        unit = labels.metric(metric)
        if tolerance is None and unit.default_tolerance is None:
            raise BenchError(
                f"{metric}: no default tolerance. Allowed: --tolerance with a number of {unit.unit}"
            )
        return cls(unit, unit.tolerance(tolerance), **how)

    def verdicts(self, cells: Iterable[Match | Verdict]) -> list[Verdict]:
        """Test each `Match`, keep each `Verdict`; return all verdicts in the given order."""
        decided = [c if isinstance(c, Verdict) else self._at_once(c) or c for c in cells]
        family = iter(self._family([match for match in decided if isinstance(match, Match)]))
        return [cell if isinstance(cell, Verdict) else next(family) for cell in decided]

    def summary(
        self, kind: Kind, suite: str, against: str, verdicts: Iterable[Verdict], notes: Notes
    ) -> Verdicts:
        """Return the verdicts, combined with the metric and the tolerance of the test."""
        return Verdicts(kind, suite, against, self.metric, self.tolerance, tuple(verdicts), notes)

    def _at_once(self, match: Match) -> Verdict | None:
        """Return the verdict if all values are equal or seeds are too few; None: test needed."""
        before, now = match.sides(self.metric.name)
        if match.identical():
            outcome: Outcome = "same" if self.two_sided else "pass"
            return self._verdict(match, outcome, "bit-for-bit identical")
        if now.std is None or (self.exact and before.std is None):
            reason = f"not tested: n = {before.n} before and {now.n} now; at least 2 seeds per side"
            return self._verdict(match, "inconclusive", f"{reason} are needed")
        return None

    def _family(self, matches: Sequence[Match]) -> Iterator[Verdict]:
        """Test the matches, with p-values corrected over all of them; yield a verdict for each."""
        if not matches:
            return
        before, now, variances = _estimates([match.sides(self.metric.name) for match in matches])
        noise = moderated(variances)
        gain = difference(before, now, noise).as_gain(self.metric.higher)
        relative = without_shared_shift(gain, [m.now.pair if m.shifted else None for m in matches])
        rule = difference_verdicts if self.two_sided else regression_verdicts
        verdicts = rule(gain, self.tolerance, relative)
        results = _results(gain, relative, verdicts.verdict.tolist(), verdicts.p)
        shared, total = prior(variances), float(variances.df.sum())
        for i, (match, result) in enumerate(zip(matches, results, strict=True)):
            needed = None
            if result.outcome == "inconclusive" and self.exact and not result.unknown_shift:
                seeds = before.n[i] + now.n[i] - 2
                others = total - float(variances.df[i])
                design = Design(
                    (2 * float(noise.value[i])) ** 0.5, 2.0, 2 * others / seeds, shared,
                    self.tolerance,
                )  # fmt: skip
                needed = self._needed(match, result, design, len(matches))
            low, high = result.low, result.high
            if not self.metric.higher:
                low, high = -high, -low
            verdict = self._verdict(match, result.outcome, self._reason(result, needed))
            yield replace(verdict, low=low, high=high, p=result.p, seeds_needed=needed)

    def _needed(self, match: Match, result: "_Result", design: Design, family: int) -> int | None:
        """Return the seeds per side that would decide an inconclusive cell with 80 % power.

        If the measured difference exceeds the tolerance, the test must find a true difference of
        this size significant in the family. Otherwise the test must show that the true difference
        is within the tolerance. In this case, the true difference is assumed to be the measured
        difference if the 95 % bounds exclude 0; if they include 0, it is assumed to be 0.

        Returns:
            The number of seeds; None: more than 100, or no number suffices.
        """
        distance = self._distance(result)
        least = min(side.n for side in match.sides(self.metric.name)) + 1
        if distance > self.tolerance:
            alpha = ALPHA / (family * (2 if self.two_sided else 1))
            return design.seeds_beyond(distance, alpha, least)
        effect = distance if self._real(result) else 0.0
        return design.seeds_within(effect, ALPHA, least, both=self.two_sided)

    def _reason(self, result: "_Result", needed: int | None) -> str:
        """Return the reason for a verdict; if inconclusive, add how many seeds would decide it."""
        kind = "difference" if self.two_sided else "loss"
        limit = f"{self.tolerance:g} {self.metric.difference_unit}"
        way = "better" if result.gain > 0 else "worse"
        amount = f"{self.metric.format(abs(result.gain))} {self.metric.difference_unit}"
        p = p_equals(result.p)
        if result.outcome in ("pass", "same"):
            return f"a {kind} of more than {limit} is ruled out"
        if result.outcome != "inconclusive":
            return f"{way} by {amount}, more than the tolerance of {limit}; significant ({p})"
        beyond = self._distance(result) > self.tolerance
        if beyond:
            reason = f"{way} by {amount}, not significant ({p})"
        elif self._real(result):
            reason = f"a significant {kind} that may exceed {limit}"
        else:
            reason = f"a {kind} of more than {limit} is not ruled out"
        if result.unknown_shift:
            return f"{reason}; the shift by the other teacher is unknown: fewer than three methods"
        if not self.exact:
            return reason
        if not self.tolerance and not beyond:
            return f"{reason}; with a tolerance of 0 no number of seeds can rule out a {kind}"
        number = f"more than {MAX_SEEDS}" if needed is None else f"about {needed}"
        real = beyond or self._real(result)
        condition = f"if the true {kind} is as measured" if real else "if nothing has changed"
        return f"{reason}; {number} seeds per side would decide it {condition}"

    def _distance(self, result: "_Result") -> float:
        return abs(result.gain) if self.two_sided else -result.gain

    def _real(self, result: "_Result") -> bool:
        return result.high < 0 or (self.two_sided and result.low > 0)

    def _verdict(self, match: Match, outcome: Outcome, reason: str) -> Verdict:
        now = match.now
        return Verdict(
            now.pair, now.method, now.label, outcome, reason, *match.sides(self.metric.name),
            notes=match.notes, altered=bool(match.setting_note),
        )  # fmt: skip


@dataclass(frozen=True)
class _Result:
    """The test result of one cell.

    Attributes:
        gain: Mean now minus mean before; the sign is set so that improvements are positive.
        low: One-sided 95 % lower bound of the gain.
        high: One-sided 95 % upper bound of the gain.
        p: Holm-corrected p-value.
        unknown_shift: Whether the teacher's weights differ, and the pair has fewer than three such
            cells, so that the shift by the teacher is unknown.
    """

    outcome: Outcome
    gain: float
    low: float
    high: float
    p: float
    unknown_shift: bool


def setting_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a text such as `recipe.epochs 20 → 30` for each value that differs."""
    old, new = dict(_flat(before)), dict(_flat(now))
    return [
        f"{key} {setting(old.get(key))} → {setting(new.get(key))}"
        for key in dict.fromkeys((*old, *new))
        if _plain(old.get(key)) != _plain(new.get(key))
    ]


def version_changes(before: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Return `torch: 2.15.0, now 2.16.0` for each change that can alter results."""
    return tuple(
        f"{key}: {before[key]}, now {now[key]}"
        for key in _VERSIONS
        if key in before and key in now and before[key] != now[key]
    )


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, prefix if key == "options" else f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plain(value: Any) -> Any:
    """Return a value as JSON would load it; an empty mapping becomes None, like a missing key."""
    if isinstance(value, tuple):
        return list(value)
    return None if value == {} else value


def _results(
    gain: Difference, relative: Difference, outcomes: Sequence[Outcome], p: Array
) -> list[_Result]:
    numbers = np.array([gain.mean, *gain.interval(1 - 2 * ALPHA), p]).T.tolist()
    unknown = np.isinf(relative.error).tolist()
    return [
        _Result(outcome, mean, low, high, corrected, each)
        for outcome, (mean, low, high, corrected), each in zip(
            outcomes, numbers, unknown, strict=True
        )
    ]


def _estimates(pairs: Sequence[tuple[Measured, Measured]]) -> tuple[Samples, Samples, Variances]:
    """Return the statistics of all cells before, of all cells now, and one variance per cell.

    Accuracies move in steps of one test image. Rounding to such steps has a standard deviation of
    step / √12; smaller measured standard deviations are raised to this value.
    """
    values = (v for pair in pairs for side in pair for v in side.values.values())
    before, now = (
        Samples(*np.array([(side.mean, side.std or 0.0, side.n) for side in sides], dtype=float).T)
        for sides in zip(*pairs, strict=True)
    )
    return before, now, pooled(before, now).at_least(resolution(values) / 12**0.5)
