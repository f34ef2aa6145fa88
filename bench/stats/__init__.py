"""Statistics over seeds: spreads, differences with their noise, verdicts, ranks. Without torch.

`judge` is the one call that a table needs; `guard` and `compared` are the rules behind the gate.
All of it takes runs to scatter normally around the mean of their cell.
"""

from bench.stats.difference import Difference, paired, welch
from bench.stats.judge import Judgement, judge
from bench.stats.power import MOST, POWER, seeds
from bench.stats.ranks import Ranks, ranks, relative_improvement
from bench.stats.samples import Estimate, Samples, estimate, resolution, samples, shared
from bench.stats.verdicts import ALPHA, Guarded, Judged, Versus, compared, guard, holm

__all__ = [
    "ALPHA",
    "MOST",
    "POWER",
    "Difference",
    "Estimate",
    "Guarded",
    "Judged",
    "Judgement",
    "Ranks",
    "Samples",
    "Versus",
    "compared",
    "estimate",
    "guard",
    "holm",
    "judge",
    "paired",
    "ranks",
    "relative_improvement",
    "resolution",
    "samples",
    "seeds",
    "shared",
    "welch",
]
