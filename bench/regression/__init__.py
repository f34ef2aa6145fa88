"""The gate: whether records still are what a baseline, another folder or a paper says. No torch.

A baseline is recorded once (`baseline`, `write`) and held against later records (`read`, `check`).
`against_published` takes the papers' numbers in its place, `compare` a second results folder. All
three return `Verdicts`, which `text`, `data`, `junit` and `markdown` write down.
"""

from bench.regression.baseline import Baseline, baseline
from bench.regression.cells import Cell, Summary
from bench.regression.check import check
from bench.regression.compare import compare
from bench.regression.file import read, write
from bench.regression.published import against_published
from bench.regression.to_data import data
from bench.regression.to_junit import junit
from bench.regression.to_markdown import markdown
from bench.regression.to_text import text
from bench.regression.verdicts import Verdict, Verdicts

__all__ = [
    "Baseline",
    "Cell",
    "Summary",
    "Verdict",
    "Verdicts",
    "against_published",
    "baseline",
    "check",
    "compare",
    "data",
    "junit",
    "markdown",
    "read",
    "text",
    "write",
]
