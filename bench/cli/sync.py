"""The verb `sync`: send records to MLflow."""

import typer

from bench.cli import options
from bench.cli.console import WRONG_USE, echo, print_error, require_record
from bench.config.text import count
from bench.results import Results


@options.suite_verb("limit")
def command(suite: options.SuiteOptions) -> None:
    """Log the records that MLflow does not have yet.

    Example: bench sync quickstart --results results
    """
    from bench import api

    plan, results = suite.load_plan(), Results(suite.results)
    records = require_record(plan, results, suite.command("run"))
    tracker = api.sync(plan, results)
    echo(f"{plan.suite.name}: {count(records, 'record')}, {tracker.added} of them logged now")
    for warning in tracker.warnings:
        print_error(f"warning: {warning}")
    if tracker.warnings:
        raise typer.Exit(WRONG_USE)
