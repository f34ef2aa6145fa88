"""Statistics over seeds: estimates, differences, corrected verdicts, ranks. Imports no torch.

Tables call `compare_to_baseline`; the regression check calls `regression_verdicts` and
`difference_verdicts`. All tests assume that the runs of a cell are normally distributed.
"""

from bench.stats.comparison import MAX_SEEDS, POWER, Difference, paired, seeds_needed, welch
from bench.stats.estimates import Estimate, Samples, estimate, moderated, resolution, samples
from bench.stats.multiple_testing import (
    ALPHA,
    Comparison,
    FamilyVerdicts,
    compare_to_baseline,
    difference_verdicts,
    holm,
    regression_verdicts,
)
from bench.stats.ranking import Ranks, ranks, relative_improvement

__all__ = [
    "ALPHA", "MAX_SEEDS", "POWER", "Comparison", "Difference", "Estimate", "FamilyVerdicts",
    "Ranks", "Samples", "compare_to_baseline", "difference_verdicts", "estimate", "holm",
    "moderated", "paired", "ranks", "regression_verdicts", "relative_improvement", "resolution",
    "samples", "seeds_needed", "welch",
]  # fmt: skip
