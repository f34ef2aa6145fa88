"""The gate: whether records still are what a baseline, another folder or a paper says. No torch.

A baseline is recorded once (`baseline`, `write`) and held against later records (`read`, `check`).
`against_published` takes the papers' numbers in its place, `compare` a second results folder. All
three return `Verdicts`, which `text`, `data`, `junit` and `markdown` write down.
"""

from bench.gate.baseline import Baseline, baseline
from bench.gate.cells import Cell, Summary
from bench.gate.check import check
from bench.gate.compare import compare
from bench.gate.file import read, write
from bench.gate.published import against_published
from bench.gate.to_data import data
from bench.gate.to_junit import junit
from bench.gate.to_markdown import markdown
from bench.gate.to_text import text
from bench.gate.verdicts import Verdict, Verdicts

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
