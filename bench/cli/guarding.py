"""The verbs of the gate: baseline, check, compare."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bench.cli import options as given
from bench.cli.telling import RUNS_FAILED, complain, made_plan, tell, told
from bench.config.text import as_json as json_text
from bench.config.text import printable
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.regression import Verdicts
    from bench.report import Report
    from bench.results import Record

RESULTS = Path("results")


def baseline(
    suite: given.SuiteName,
    results: given.ResultsDir = RESULTS,
    data_root: given.DataRoot = None,
    set_: given.Set = None,
    seeds: given.Seeds = None,
    output: given.Output = None,
    no_plugins: given.NoPlugins = False,
) -> None:
    """Record a suite's means and spreads, for `check`."""
    with told():
        from bench import report
        from bench.report import build
        from bench.results import Results

        plan = made_plan(suite, set_, seeds, data_root=data_root)
        made = build.assemble(plan, Results(results))
        if made.problems:
            complain("\n".join(["no baseline: cells without a result", *made.problems]))
            raise typer.Exit(RUNS_FAILED)
        path = output or results / f"{plan.stem}-baseline.json"
        report.save(path, report.render(made, "json").encode())
        tell(f"written: {path}: {_size(made)}")


def check(
    suite: given.SuiteName,
    baseline: given.BaselineFile = None,
    results: given.ResultsDir = RESULTS,
    data_root: given.DataRoot = None,
    set_: given.Set = None,
    seeds: given.Seeds = None,
    filter_: given.Filter = "",
    against: given.AgainstName = given.Against.baseline,
    metric: given.Metric = "top1",
    tolerance: given.Tolerance = None,
    strict: given.Strict = False,
    as_json: given.AsJson = False,
    junit: given.JUnit = None,
    markdown: given.MarkdownFile = None,
    no_plugins: given.NoPlugins = False,
) -> None:
    """Hold records against a baseline, or the papers."""
    with told():
        from bench import regression
        from bench.report import build
        from bench.results import Results

        _agree(suite, baseline, against, metric)
        known = regression.read(baseline) if baseline else None
        made = made_plan(suite, set_, seeds, filter_, data_root=data_root)
        entries = build.entries(made, Results(results))
        if known:
            found = regression.check(entries, known, metric, tolerance, complete=not filter_)
        else:
            found = regression.against_published(entries, _papers(), made.suite.name, tolerance)
        _tell(found, strict, as_json, junit, markdown)


def compare(
    before: given.Before,
    now: given.Now,
    metric: given.Metric = "top1",
    tolerance: given.Tolerance = None,
    as_json: given.AsJson = False,
    junit: given.JUnit = None,
    markdown: given.MarkdownFile = None,
) -> None:
    """Set two results folders side by side."""
    with told():
        from bench import regression

        sides = _records(before), _records(now)
        found = regression.compare(*sides, metric, tolerance, (str(before), str(now)))
        _tell(found, False, as_json, junit, markdown)


def _size(made: "Report") -> str:
    """`14 cells, n = 3`."""
    ns = sorted({one.n for cell in made.cells for one in cell.metrics.values()})
    cells = sum(bool(cell.metrics) for cell in made.cells)
    return f"{cells} cells, n = {' to '.join(map(str, dict.fromkeys((ns[0], ns[-1]))))}"


def _agree(suite: str, baseline: Path | None, against: given.Against, metric: str) -> None:
    """Refuse flags that do not go together."""
    if against is given.Against.published:
        if baseline:
            raise BenchError("--baseline: the papers' numbers need none; leave out one of the two")
        if metric != "top1":
            raise BenchError(f"--metric {metric}: the papers' tables hold top1 alone")
    elif baseline is None:
        raise BenchError(
            "--baseline: no file is named. Allowed: a file that "
            f"`bench baseline {suite} --results DIR` wrote, or --against published"
        )


def _papers() -> dict[str, dict[str, Any]]:
    """The terms of each method of the papers' tables, as specifications have them."""
    from bench import suite

    return {
        name: {term: asdict(of) for term, of in suite.papers(name).items()}
        for name in suite.canonical()
    }


def _records(folder: Path) -> "Sequence[Record]":
    from bench.results import Results

    found = list(Results(folder).summaries())
    if not found:
        raise BenchError(f"{folder}: no records. Allowed: a folder that `bench run` wrote to")
    return found


def _tell(
    found: "Verdicts", strict: bool, as_json: bool, junit: Path | None, markdown: Path | None
) -> None:
    """Print the verdicts, write them where asked, and end with their exit code."""
    from bench import regression, report

    document = regression.verdicts_document(found)
    if junit:
        report.save(junit, regression.verdicts_junit(found, strict).encode())
    if markdown:
        report.save(markdown, report.markdown(document).encode())
    text = json_text(regression.verdicts_data(found, strict)) + "\n"
    print(text if as_json else printable(report.text(document)), end="")
    raise typer.Exit(found.exit_code(strict))
