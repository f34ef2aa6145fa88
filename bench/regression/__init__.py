"""The regression check: compare records with a baseline, another results folder, or the papers.

A baseline is a report, saved as JSON: `baseline` makes the report, `read` loads the JSON. `check`
compares later records with a baseline. `against_published` compares records with the papers'
tables. `compare` compares two results folders. All three return `Verdicts`. Without torch.
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
