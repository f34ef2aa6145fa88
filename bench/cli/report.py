"""The verb `report`."""

import shutil
import sys
from collections.abc import Sequence
from typing import Annotated, Any

from typer import Option

from bench import report
from bench.cli import options
from bench.cli.console import print_files, require_record
from bench.report import build
from bench.report.statistics import Statistics
from bench.report.table import Table
from bench.results import Results


@options.suite_verb("limit")
def command(
    suite: options.SuiteOptions,
    metric: options.Metric = "top1",
    formats: Annotated[
        str, Option("--format", metavar="FORMATS", help="Of md, tex, csv, json, txt, html.")
    ] = "md,tex,csv",
    standalone: Annotated[
        bool, Option("--standalone", help="Write LaTeX that compiles on its own.")
    ] = False,
    published: Annotated[
        bool, Option("--published", help="Show the papers' value and the gap in each cell.")
    ] = False,
    published_only: Annotated[
        bool, Option("--published-only", help="Only the papers' tables of the suite's pairs.")
    ] = False,
    statistics: Annotated[
        bool,
        Option("--statistics", help="Instead of the table: intervals, verdicts, mean ranks."),
    ] = False,
    versus: Annotated[
        str | None,
        Option(metavar="METHOD", help="Compare methods with this one; without: kd."),
    ] = None,
    tolerance: options.Tolerance = None,
) -> None:
    """Print and write a suite's table, from its records.

    Example: bench report quickstart --metric nll
    """
    kinds = report.known_formats(formats.split(","), page=not published_only)
    plan, results = suite.load_plan(), Results(suite.results)
    how: dict[str, Any] = {"formats": kinds, "standalone": standalone}
    if published_only:
        print_tables(build.published_only(plan))
        print_files(build.write_published(plan, results, **how))
        return
    require_record(plan, results, suite.suite)
    content: dict[str, Any] = {"versus": versus, "tolerance": tolerance}
    if statistics:
        content["known"] = list(build.entries(plan, results))
        _print_statistics(build.statistics(plan, results, metric, **content))
        print_files(build.write_statistics(plan, results, metric, **content, **how))
        return
    content["beside"] = published
    content["known"] = list(build.entries(plan, results, curves="html" in kinds))
    tables = build.of(plan, results, metric, **content)
    print_tables(tables)
    print_files(build.write(plan, results, metric, made=tables, **content, **how))


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables as wide as the terminal allows."""
    print("\n".join(report.text(table, **_terminal()) for table in tables), flush=True)


def _print_statistics(statistics: Sequence[Statistics]) -> None:
    sheets = (report.text_sheet(report.sheet(sheet), **_terminal()) for sheet in statistics)
    print("\n".join(sheets), flush=True)


def _terminal() -> dict[str, Any]:
    """The width of standard output, and whether it is a terminal."""
    width = shutil.get_terminal_size((100, 24)).columns
    return {"width": width, "terminal": sys.stdout.isatty()}
