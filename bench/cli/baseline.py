"""The verb `baseline`."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from bench import regression
from bench.cli import options
from bench.cli.console import RUNS_FAILED, echo, print_error
from bench.regression import Baseline
from bench.report import build
from bench.results import Results


@options.suite_verb("filter_", "limit")
def command(
    suite: options.SuiteOptions,
    output: Annotated[
        Path | None,
        Option(metavar="FILE", help="File to write; without: RESULTS/SUITE-baseline.json."),
    ] = None,
) -> None:
    """Record a suite's means and spreads, for `check`.

    Example: bench baseline quickstart --results results --output baseline.json
    """
    plan = suite.load_plan()
    baseline = regression.baseline(build.entries(plan, Results(suite.results)), plan.suite.name)
    if baseline.trouble:
        print_error("\n".join(["no baseline: cells without a result", *baseline.trouble]))
        raise typer.Exit(RUNS_FAILED)
    path = output or suite.results / f"{plan.stem}-baseline.json"
    regression.write(baseline, path)
    echo(f"written: {path}: {_size(baseline)}")


def _size(baseline: Baseline) -> str:
    """`14 cells, n = 3`."""
    ns = sorted({metric.n for cell in baseline.cells for metric in cell.metrics.values()})
    cells = sum(bool(cell.metrics) for cell in baseline.cells)
    return f"{cells} cells, n = {' to '.join(map(str, dict.fromkeys((ns[0], ns[-1]))))}"
