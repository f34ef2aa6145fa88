"""The verb `compare`, and the function that prints the verdicts of `compare` and `check`."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from bench import regression, report
from bench.cli import options
from bench.cli.console import print_result
from bench.errors import BenchError
from bench.regression import Verdicts
from bench.results import Record, Results


def command(
    before: Annotated[Path, Argument(metavar="A", help="Folder with the earlier results.")],
    now: Annotated[Path, Argument(metavar="B", help="Folder with the results to compare.")],
    metric: options.Metric = None,
    tolerance: options.Tolerance = None,
    strict: Annotated[
        bool, Option("--strict", help="Exit 1 if a cell is worse, 4 if a cell is inconclusive.")
    ] = False,
    as_json: options.AsJson = False,
    junit: options.JUnit = None,
    markdown: options.MarkdownFile = None,
) -> None:
    """Compare two results folders.

    Example: bench compare results.before results --tolerance 0.5
    """
    names = str(before), str(now)
    verdicts = regression.compare(_records(before), _records(now), metric, tolerance, names)
    report_verdicts(verdicts, strict, as_json, junit, markdown)


def report_verdicts(
    verdicts: Verdicts, strict: bool, as_json: bool, junit: Path | None, markdown: Path | None
) -> None:
    """Print verdicts, write the requested files, and exit with the code of the verdicts."""
    document = regression.verdicts_document(verdicts)
    content = regression.verdicts_data(verdicts, strict)
    width = shutil.get_terminal_size((120, 24)).columns
    text = report.text(document, width=width).removesuffix("\n")
    try:
        if junit:
            report.save(junit, regression.verdicts_junit(verdicts, strict).encode())
        if markdown:
            report.save(markdown, report.markdown(document).encode())
    finally:  # if a file cannot be written, the verdicts are still printed
        print_result(content, lambda _: text, as_json)
    raise typer.Exit(verdicts.exit_code(strict))


def _records(folder: Path) -> Sequence[Record]:
    records = list(Results(folder).records(curves=False))
    if not records:
        raise BenchError(f"{folder}: no records. Allowed: a folder that `bench run` wrote to")
    return records
