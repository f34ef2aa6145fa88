"""Statistics over seeds: estimates, differences, corrected verdicts, ranks. Imports no torch.

Tables call `compare_to_baseline`; the regression check calls `regression_verdicts` and
`difference_verdicts`. All tests assume that the runs of a cell are normally distributed.
"""

from bench.stats.comparison import (
    ALPHA,
    Comparison,
    FamilyVerdicts,
    Ranks,
    compare_to_baseline,
    difference_verdicts,
    holm,
    ranks,
    regression_verdicts,
    relative_improvement,
)
from bench.stats.estimates import (
    MAX_SEEDS,
    POWER,
    Difference,
    Samples,
    interval,
    moderated,
    paired,
    resolution,
    samples,
    seeds_needed,
    welch,
)

__all__ = [
    "ALPHA", "MAX_SEEDS", "POWER", "Comparison", "Difference", "FamilyVerdicts", "Ranks", "Samples",
    "compare_to_baseline", "difference_verdicts", "holm", "interval", "moderated", "paired",
    "ranks", "regression_verdicts", "relative_improvement", "resolution", "samples", "seeds_needed",
    "welch",
]  # fmt: skip
