"""The verb `baseline`: save a suite's results for later checks."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from bench import report
from bench.cli import options
from bench.cli.console import RUNS_FAILED, echo, print_error
from bench.report import Report, build
from bench.results import Results


@options.suite_verb("filter_", "limit")
def command(
    suite: options.SuiteOptions,
    output: Annotated[
        Path | None,
        Option(metavar="FILE", help="File to write; default: RESULTS/SUITE-baseline.json."),
    ] = None,
) -> None:
    """Save a suite's means and standard deviations, for `check`.

    Example: bench baseline quickstart --results results --output baseline.json
    """
    plan = suite.load_plan(recorded=True)
    baseline = build.assemble(plan, Results(suite.results))
    if baseline.problems:
        print_error("\n".join(["no baseline: these cells have no result:", *baseline.problems]))
        raise typer.Exit(RUNS_FAILED)
    path = output or suite.results / f"{plan.stem}-baseline.json"
    report.save(path, report.render(baseline, "json").encode())
    echo(f"written: {path}: {_size(baseline)}")


def _size(baseline: Report) -> str:
    """Return the number of cells, and the number n of seeds per cell: `14 cells, n = 3`."""
    ns = sorted({metric.n for cell in baseline.cells for metric in cell.metrics.values()})
    cells = sum(bool(cell.metrics) for cell in baseline.cells)
    return f"{cells} cells, n = {' to '.join(map(str, dict.fromkeys((ns[0], ns[-1]))))}"
