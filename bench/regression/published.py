"""Records held against the papers' numbers."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from bench.regression.cells import Cell, Summary, from_entries
from bench.regression.check import verdict
from bench.regression.judging import question
from bench.regression.matching import Match
from bench.regression.verdicts import Verdict, Verdicts
from bench.report import deviations, published
from bench.report.cells import Entry, Quoted

NOTES = (
    "a paper's number without a spread is taken for one run with the noise of the runs here",
    "the papers had other teachers' weights, and say nothing of what these change",
)


def against_published(
    entries: Iterable[Entry],
    papers: Mapping[str, Mapping[str, Any]],
    suite: str,
    tolerance: float | None = None,
) -> Verdicts:
    """A verdict for every cell that ran as the papers' did; of the others, why they did not.

    Accuracies of the last epoch on CIFAR-100 alone, with the papers' recipe and weights; rules as
    in `check`. Means and spreads are of 5 and 3 runs in CRD's Tables 1 and 2; other numbers have no
    spread. papers: for each canonical method its terms, as specifications have them.
    """
    asked = question("top1", tolerance, exact=False)
    verdicts = tuple(asked.all(_matched(cell, papers) for cell in from_entries(entries)))
    notes = NOTES if any(found.before for found in verdicts) else ()
    against = "the papers' tables"
    return Verdicts("published", suite, against, asked.metric, asked.tolerance, verdicts, notes)


def _matched(cell: Cell, papers: Mapping[str, Mapping[str, Any]]) -> Match | Verdict:
    """The cell beside its published number, or why there is none to hold it to."""
    if cell.hole is not None:
        missing = cell.hole.status == "missing"
        return verdict(cell, "missing" if missing else "failed", cell.hole.reason)
    if "top1" not in cell.metrics:
        return verdict(cell, "missing", "the records have no top1")
    quote = _quote(cell)
    if isinstance(quote, str):
        return verdict(cell, "uncompared", quote)
    if deviation := _deviation(cell, papers):
        return verdict(cell, "uncompared", deviation)
    runs = _runs(cell, quote)
    summary = Summary(quote.mean, quote.std if runs else None, runs or 1)
    return Match(replace(cell, metrics={"top1": summary}), cell)


def _quote(cell: Cell) -> Quoted | str:
    """The published number of a cell, or why there is none."""
    data = cell.setting.get("data") or {}
    if data.get("name") != "cifar100":
        return f"on {data.get('name')}: the papers' tables are of CIFAR-100"
    if not deviations.whole(data):
        return deviations.of_pair(data, {}, "")
    quote = published.quotes(data).get((cell.pair, _name(cell)))
    if quote is None:
        return "no paper has a number of it that could be read"
    return f"the published number is {quote.doubt}" if quote.doubt else quote


def _deviation(cell: Cell, papers: Mapping[str, Mapping[str, Any]]) -> str:
    """In what a cell was not made as in the papers."""
    setting, name = cell.setting, _name(cell)
    said = [deviations.of_pair(setting["data"], setting["recipe"], setting["network"])]
    if name in papers:
        said.append(deviations.of_terms(cell.terms, papers[name]))
    return "; ".join(part for part in said if part)


def _name(cell: Cell) -> str:
    """The papers' name of a method; the plain student is the one that learns from labels alone."""
    return "student" if cell.terms.keys() == {"ce"} else cell.method


def _runs(cell: Cell, quote: Quoted) -> int | None:
    """Over how many runs a published mean was taken, as its source says."""
    if quote.std is None:
        return None
    for line in published.lines():
        if (line.pair, line.name, line.quoted) == (cell.pair, _name(cell), quote):
            said = re.search(r"(\d+) runs", line.source)
            return int(said[1]) if said else None
    return None
