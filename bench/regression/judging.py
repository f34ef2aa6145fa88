"""Cells that can be compared, as one family: from before and now to a verdict each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np

from bench.errors import BenchError
from bench.regression.matching import Match, noise
from bench.regression.verdicts import Outcome, Verdict
from bench.regression.wording import Words
from bench.report import wording
from bench.report.wording import Metric
from bench.stats import ALPHA, compared, guard, seeds, welch

Rule = Literal["guard", "compare"]


@dataclass(frozen=True)
class Question:
    """What is asked of every match: the metric, how much may be lost, and by which rule."""

    metric: Metric
    tolerance: float
    rule: Rule
    exact: bool = True  # a single number is never compared; False: as one run with our own noise

    def all(self, cells: Iterable[Match | Verdict]) -> list[Verdict]:
        """A verdict for each cell, in their order; some have theirs before anything is asked."""
        found = list(cells)
        judged = iter(self.verdicts([one for one in found if isinstance(one, Match)]))
        return [next(judged) if isinstance(one, Match) else one for one in found]

    def verdicts(self, matches: Sequence[Match]) -> list[Verdict]:
        """A verdict for each match, in their order; what is identical is not of the family."""
        found: dict[int, Verdict] = {}
        family: list[int] = []
        for i, match in enumerate(matches):
            verdict = self._at_once(match)
            if verdict is None:
                family.append(i)
            else:
                found[i] = verdict
        judged = self._family([matches[i] for i in family])
        found |= dict(zip(family, judged, strict=True))
        return [found[i] for i in range(len(matches))]

    def _at_once(self, match: Match) -> Verdict | None:
        """The verdict on cells that need no statistics, or allow none."""
        before, now = match.sides(self.metric.name)
        if match.before.identical(match.now):
            outcome: Outcome = "pass" if self.rule == "guard" else "same"
            return self._verdict(match, outcome, "the same numbers to the last digit")
        if now.std is None or (self.exact and before.std is None):
            reason = (
                "a single seed is no measure of noise: "
                f"n = {before.n} before and {now.n} now, at least 2 each are needed"
            )
            return self._verdict(match, "inconclusive", reason)
        return None

    def _family(self, matches: Sequence[Match]) -> list[Verdict]:
        """The verdicts on cells that only differ by more or less than their noise."""
        if not matches:
            return []
        m = len(matches)
        before, now = noise([match.sides(self.metric.name) for match in matches])
        gain = welch(before, now).turned(1.0 if self.metric.higher else -1.0)
        judged = (guard if self.rule == "guard" else compared)(gain, self.tolerance)
        lows, highs = gain.interval(1 - 2 * ALPHA)
        spread = np.sqrt(before.std**2 + now.std**2)
        borrowed = (before.df - before.n) + (now.df - now.n) + 2
        return [
            self._judged(
                match,
                str(judged.verdict[i]),
                _Found(*(float(each[i]) for each in (gain.mean, lows, highs, judged.p))),
                _Context(float(spread[i]), float(borrowed[i]), m),
            )
            for i, match in enumerate(matches)
        ]

    def _judged(self, match: Match, outcome: str, found: "_Found", context: "_Context") -> Verdict:
        """The verdict in words, and for an inconclusive one the seeds that it lacks."""
        two = self.rule == "compare"
        words = Words(self.metric, self.tolerance, found.gain, found.p)
        needed = None
        if outcome == "inconclusive":
            real = found.high < 0 or (two and found.low > 0)
            if self.exact:
                needed = self._needed(match, found, context, real=real)
            reason = words.doubt(real=real, needed=needed, two_sided=two, plan=self.exact)
        else:
            reason = words.told(outcome)
        low, high = (found.low, found.high) if self.metric.higher else (-found.high, -found.low)
        verdict = self._verdict(match, cast(Outcome, outcome), reason)
        return replace(verdict, low=low, high=high, p=found.p, seeds=needed)

    def _needed(
        self, match: Match, found: "_Found", context: "_Context", *, real: bool
    ) -> int | None:
        """Seeds on both sides with which an inconclusive cell would be settled, at 80 %.

        A difference beyond the tolerance is taken as it looks, and is to be found in the family;
        another is taken for none, or as it looks where it is real, and is to be shown within.
        """
        two = self.rule == "compare"
        distance = abs(found.gain) if two else -found.gain
        spread, borrowed = context.spread, context.borrowed
        if distance > self.tolerance:
            alpha = ALPHA / (context.family * (2 if two else 1))
            n = seeds(distance, spread, alpha, borrowed=borrowed)
        else:
            room = self.tolerance - (distance if real else 0.0)
            n = seeds(room, spread, ALPHA, borrowed=borrowed, both=two)
        return (
            None if n is None else max(n, min(one.n for one in match.sides(self.metric.name)) + 1)
        )

    def _verdict(self, match: Match, outcome: Outcome, reason: str) -> Verdict:
        now = match.now
        return Verdict(
            now.pair,
            now.method,
            now.label,
            outcome,
            reason,
            *match.sides(self.metric.name),
            notes=match.notes,
            altered=match.altered,
        )


@dataclass(frozen=True)
class _Found:
    """A gain, its bounds of 95 % each, and the p behind an alarm."""

    gain: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class _Context:
    """What the seeds needed depend on."""

    spread: float  # of the difference of two runs
    borrowed: float  # degrees of freedom, on both sides
    family: int  # cells


def question(
    metric: str, tolerance: float | None, rule: Rule = "guard", *, exact: bool = True
) -> Question:
    """The question, checked. Raises BenchError for an unknown metric and a tolerance that is none.

    tolerance: in the unit of the metric; None: 0.5 for a metric in percent.
    """
    measure = wording.metric(metric)
    if tolerance is None and measure.tolerance is None:
        raise BenchError(
            f"{metric}: no tolerance; it is in {measure.unit}, say how much of it may be lost"
        )
    return Question(measure, measure.allowed(tolerance), rule, exact)
