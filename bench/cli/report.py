"""The verb `report`: make tables from records."""

import shutil
import sys
from typing import Annotated

from typer import Option

from bench import report
from bench.cli import options
from bench.cli.console import print_files, require_record
from bench.report import Kind, Report, ReportOptions, build
from bench.report import checklist as cards
from bench.results import Results


@options.suite_verb("limit")
def command(
    suite: options.SuiteOptions,
    metric: options.Metric = None,
    formats: Annotated[
        str,
        Option("--format", metavar="FORMATS", help="Any of md,tex,csv,json,txt,html."),
    ] = "md,tex,csv",
    standalone: Annotated[
        bool, Option("--standalone", help="Write LaTeX that compiles on its own.")
    ] = False,
    published: Annotated[
        bool,
        Option(
            "--published",
            help="In each cell, also show the papers' value and the difference of ours from it.",
        ),
    ] = False,
    published_only: Annotated[
        bool,
        Option(
            "--published-only", help="Print only the papers' numbers of the suite's experiment."
        ),
    ] = False,
    statistics: Annotated[
        bool, Option("--statistics", help="Instead, make a table of intervals, verdicts and ranks.")
    ] = False,
    checklist: Annotated[
        bool,
        Option(
            "--checklist",
            help="Instead, make a report card: what a reviewer asks (md, tex, txt).",
        ),
    ] = False,
    versus: options.Versus = None,
    tolerance: options.Tolerance = None,
    wide: Annotated[
        bool, Option("--wide", help="LaTeX: all tables span both columns of a page (table*).")
    ] = False,
    compact: Annotated[
        bool, Option("--compact", help="Show means only, without standard deviations and arrows.")
    ] = False,
    siunitx: Annotated[
        bool,
        Option("--siunitx", help="LaTeX: align numbers with the package siunitx, version 3."),
    ] = False,
    output: options.OutputDir = None,
) -> None:
    """Print and write a suite's table or report card, from records.

    Example: bench report quickstart --metric nll
    """
    kinds = report.check_formats([kind.strip() for kind in formats.split(",")])
    plan, results = suite.load_plan(recorded=True), Results(suite.results)
    content = ReportOptions(
        metric, kinds, standalone, published, versus, tolerance, wide, compact, siunitx, output
    )
    if published_only:
        files = build.write_published(plan, results, content)
        print_report(build.published_report(plan, metric))
        print_files(files)
        return
    require_record(plan, results, suite.command("run"))
    kind: Kind = "statistics" if statistics else "tables"
    entries = list(build.entries(plan, results, curves=report.PAGE in kinds))
    tables = build.assemble(plan, results, content, entries)
    if checklist:
        card = cards.checklist(plan, results, tables.tables)
        folder, how = output or results.folder, {"standalone": standalone, "wide": wide}
        files = cards.write(card, folder, plan.stem, kinds, **how)
        print(report.text(card, width=shutil.get_terminal_size((100, 24)).columns), flush=True)
        print_files(files)
        return
    try:
        files = build.write(plan, results, content, kind, entries, tables)
    finally:  # if a file cannot be written, the table is still printed
        print_report(tables, kind, compact)
    print_files(files)


def print_report(tables: Report, kind: Kind = "tables", compact: bool = False) -> None:
    """Print tables or statistics as wide as the terminal allows."""
    width = shutil.get_terminal_size((100, 24)).columns
    is_terminal = sys.stdout.isatty()
    shown = report.show(tables, kind, width=width, terminal=is_terminal, compact=compact)
    print(shown, flush=True)
