"""The gate's reasons, in words that say what was shown and what was not."""

from dataclasses import dataclass
from typing import ClassVar

from bench.report.wording import Metric, chance
from bench.stats import MOST


@dataclass(frozen=True)
class Words:
    """A cell's difference, more being better, as phrases."""

    metric: Metric
    tolerance: float
    gain: float
    p: float

    _RULED: ClassVar = "and noise is ruled out"

    def told(self, outcome: str) -> str:
        """The reason of a verdict that is one."""
        beyond = f"by {self._amount(self.gain)}, more than {self._allowed}, {self._RULED}"
        return {
            "regression": f"worse {beyond} (p {chance(self.p)})",
            "worse": f"worse {beyond} (p {chance(self.p)})",
            "better": f"better {beyond} (p {chance(self.p)})",
            "pass": f"a loss of more than {self._allowed} is ruled out",
            "same": f"a difference of more than {self._allowed} is ruled out",
        }[outcome]

    def doubt(self, *, real: bool, needed: int | None, two_sided: bool, plan: bool) -> str:
        """Why it is inconclusive, and if there is a plan for it, what would settle it."""
        kind = "difference" if two_sided else "loss"
        beyond = abs(self.gain) > self.tolerance if two_sided else -self.gain > self.tolerance
        if beyond:
            way = "better" if self.gain > 0 else "worse"
            said = f"{way} by {self._amount(self.gain)}, which may be noise (p {chance(self.p)})"
            given = f"if the {kind} is as large as it looks"
        elif real:
            said = f"a real {kind}, perhaps of more than {self._allowed}"
            given = f"if the {kind} is as large as it looks"
        else:
            said = f"a {kind} of more than {self._allowed} is not ruled out"
            given = "if nothing has changed"
        if not plan:
            return said
        if not self.tolerance and not beyond:
            return f"{said}; with a tolerance of 0 no number of seeds can rule out a {kind}"
        many = f"more than {MOST} seeds" if needed is None else f"about {needed} seeds"
        return f"{said}; {many} on both sides would settle it, {given}"

    @property
    def _allowed(self) -> str:
        return f"{self.tolerance:g}"

    def _amount(self, size: float) -> str:
        return f"{self.metric.shown(abs(size))} {self.metric.step}"
