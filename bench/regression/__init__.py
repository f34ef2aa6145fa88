"""The regression check: records compared with a baseline, another folder, or the papers.

A baseline is the JSON of a report (`baseline`, `read`). `check` compares later records with it,
`against_published` compares them with the papers, `compare` compares two results folders. All three
return `Verdicts`. It imports no torch.
"""

from bench.regression.baseline import baseline, read
from bench.regression.check import against_published, check, compare
from bench.regression.verdicts import (
    Verdict,
    Verdicts,
    verdicts_data,
    verdicts_document,
    verdicts_junit,
)

__all__ = [
    "Verdict", "Verdicts", "against_published", "baseline", "check", "compare", "read",
    "verdicts_data", "verdicts_document", "verdicts_junit",
]  # fmt: skip
